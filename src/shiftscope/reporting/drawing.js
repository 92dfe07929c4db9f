// Placed before app.js: images and maps on canvases.

/** One image (C, h, w) of an unpacked array of images. */
function imageAt(pixels, shape, index) {
  const [, depth, height, width] = shape;
  const size = depth * height * width;
  return {depth, height, width, values: pixels.subarray(index * size, (index + 1) * size)};
}

/** In mode fill, the row (or column) of the image, up to `last`, that is shown where the image has none. */
const FILLS = {edge: (at, last) => clamp(at, 0, last), reflect: (at, last) => last - Math.abs(last - Math.abs(at))};

/** The rows (axis 0) or columns (axis 1) of an image on the canvas; those outside of the image are background. */
function placedLines({mode, fill, canvas, start}, axis, shift, size) {
  const line = FILLS[fill] ?? ((at) => at);
  const of = {crop: (at) => at + shift, circular: (at) => modulo(at - start[axis] - shift, canvas[axis])}[mode]
    ?? ((at) => line(at - shift, size - 1));
  return Array.from({length: canvas[axis]}, (_, at) => of(at));
}

/** Draw an image at an offset, as `Placement.place` does; `geometry` has mode, canvas, start, fill and background.
 *
 * `recolor`, if given, may change the pixels, four values each. */
function drawPlaced(canvas, image, geometry, dy, dx, recolor) {
  const [H, W] = geometry.canvas;
  Object.assign(canvas, {height: H, width: W});
  const context = canvas.getContext("2d"), data = context.createImageData(W, H), empty = geometry.background ?? 110;
  const rows = placedLines(geometry, 0, dy, image.height), columns = placedLines(geometry, 1, dx, image.width);
  const plane = image.height * image.width;
  for (let y = 0; y < H; y++) {
    for (let x = 0; x < W; x++) {
      const row = rows[y], column = columns[x], at = 4 * (y * W + x), from = row * image.width + column;
      const inside = row >= 0 && row < image.height && column >= 0 && column < image.width;
      for (let channel = 0; channel < 3; channel++) {
        data.data[at + channel] = inside ? image.values[(image.depth >= 3 ? channel * plane : 0) + from] : empty;
      }
      data.data[at + 3] = 255;
    }
  }
  recolor?.(data.data);
  context.putImageData(data, 0, 0);
}

/** Draw a whole image. */
const drawWhole = (canvas, image) =>
  drawPlaced(canvas, image, {mode: "crop", canvas: [image.height, image.width]}, 0, 0);

/** Draw an attribution map (H * W, from 0 to 2 * levels) over a pale copy of the image at its offset. */
function drawAttribution(canvas, image, geometry, [dy, dx], values, levels) {
  drawPlaced(canvas, image, geometry, dy, dx, (rgba) => values.forEach((value, pixel) => {
    const gray = (rgba[4 * pixel] + rgba[4 * pixel + 1] + rgba[4 * pixel + 2]) / 3;
    blend(SIGNED, value / (2 * levels)).forEach((part, channel) => {
      rgba[4 * pixel + channel] = part * (1 - 0.3 * gray / 255);
    });
  }));
}

/** Borders of the cells of a map in whole pixels. */
const edges = (count, size) => Array.from({length: count + 1}, (_, at) => Math.round(at * size / count));

/** Match a canvas to the resolution of the screen; returns context and size in CSS pixels, or null if it is hidden. */
function fitToScreen(canvas) {
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (!width || !height) return null;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return {context, width, height};
}

function drawText(context, text, x, y, size, color) {
  context.font = `600 ${size}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineJoin = "round";
  context.lineWidth = 2.5;
  context.strokeStyle = color === INK ? "rgba(255,255,255,0.75)" : "rgba(0,0,0,0.55)";
  context.strokeText(text, x, y);
  context.fillStyle = color;
  context.fillText(text, x, y);
}

/** Fill the cells of a map; cells without a color were not computed and are crossed out.
 *
 * Returns the borders of the rows and of the columns. */
function fillCells(context, [R, Q], width, height, colorOf) {
  const down = edges(R, height), across = edges(Q, width);
  for (let cell = 0; cell < R * Q; cell++) {
    const row = Math.floor(cell / Q), column = cell % Q, color = colorOf(cell);
    const [left, right, top, bottom] = [across[column], across[column + 1], down[row], down[row + 1]];
    context.fillStyle = color ?? PAPER;
    context.fillRect(left, top, right - left, bottom - top);
    if (color) continue;
    context.lineWidth = 1;
    context.strokeStyle = "#8c959f";
    context.beginPath();
    context.moveTo(left, bottom);
    context.lineTo(right, top);
    context.stroke();
  }
  return [down, across];
}

/** Draw predicted classes as colors and letters, with an outline around the cells with correct predictions. */
function drawLabels(canvas, labels, shape, truth, codes, style) {
  const fitted = fitToScreen(canvas);
  if (!fitted) return;
  const {context, width, height} = fitted, [R, Q] = shape;
  const [down, across] = fillCells(context, shape, width, height, (cell) => labels[cell] === codes.not_computed ? null
    : labels[cell] === codes.nonfinite ? INK : style(labels[cell]).color);
  outline(context, labels, shape, truth, down, across);
  for (const {label, row, column, reach} of regions(labels, shape, codes)) {
    const size = clamp(reach * 1.5 * Math.min(width / Q, height / R), 9, 15);
    const nonfinite = label === codes.nonfinite;
    const {color, sign} = nonfinite ? {color: INK, sign: "?"} : style(label);
    drawText(context, sign, (across[column] + across[column + 1]) / 2,
      (down[row] + down[row + 1]) / 2 + 0.5, size, readableOn(channels(color)));
  }
}

function outline(context, labels, [R, Q], truth, down, across) {
  const lines = new Path2D();
  const border = (cell, next, from, to) => {
    if ((labels[cell] === truth) === (labels[next] === truth)) return;
    lines.moveTo(...from);
    lines.lineTo(...to);
  };
  for (let cell = 0; cell < R * Q; cell++) {
    const row = Math.floor(cell / Q), column = cell % Q, right = across[column + 1], bottom = down[row + 1];
    if (column + 1 < Q) border(cell, cell + 1, [right, down[row]], [right, bottom]);
    if (row + 1 < R) border(cell, cell + Q, [across[column], bottom], [right, bottom]);
  }
  context.lineCap = "square";
  for (const [color, thick] of [["#ffffff", 3.2], ["#000000", 1.6]]) {
    context.strokeStyle = color;
    context.lineWidth = thick;
    context.stroke(lines);
  }
}

/** Connected regions of equal labels with room for a letter: {label, row, column, reach} of their most central cell,
 * which is `reach` cells from the border. */
function regions(labels, [R, Q], codes) {
  const seen = new Uint8Array(R * Q), depth = depths(labels, R, Q), found = [];
  const least = Math.max(3, R * Q / 120);
  for (let start = 0; start < R * Q; start++) {
    if (seen[start] || labels[start] === codes.not_computed) continue;
    const region = [start];
    seen[start] = 1;
    for (const cell of region) {  // which grows
      for (const next of neighbors(cell, R, Q)) {
        if (!seen[next] && labels[next] === labels[start]) {
          seen[next] = 1;
          region.push(next);
        }
      }
    }
    if (region.length < least && R * Q > FEW_CELLS ** 2) continue;
    const best = region.reduce((deepest, cell) => depth[cell] > depth[deepest] ? cell : deepest);
    found.push({label: labels[start], row: Math.floor(best / Q), column: best % Q, reach: depth[best]});
  }
  return found;
}

function neighbors(cell, R, Q) {
  const row = Math.floor(cell / Q), column = cell % Q, found = [];
  if (row > 0) found.push(cell - Q);
  if (row < R - 1) found.push(cell + Q);
  if (column > 0) found.push(cell - 1);
  if (column < Q - 1) found.push(cell + 1);
  return found;
}

/** Distance of each cell, in steps, to another label, to the border of the map, or to the middle (initial marker). */
function depths(labels, R, Q) {
  const depth = new Uint16Array(R * Q).fill(R + Q), middle = Math.floor(R / 2) * Q + Math.floor(Q / 2);
  const update = (cell) => {
    const near = neighbors(cell, R, Q);
    const ends = near.length < 4 || cell === middle || near.some((next) => labels[next] !== labels[cell]);
    depth[cell] = ends ? 1 : 1 + Math.min(...near.map((next) => depth[next]));
  };
  for (let cell = 0; cell < R * Q; cell++) update(cell);  // two passes give the distance in steps
  for (let cell = R * Q - 1; cell >= 0; cell--) update(cell);
  return depth;
}

/** Give an element the proportions [height, width], and at most a height in rem. */
function limitSize(node, [height, width], most) {
  node.style.aspectRatio = `${width} / ${height}`;
  node.style.maxWidth = `${most * width / height}rem`;
}

/** Draw accuracies as colors, with numbers in percent on some cells. */
function drawAccuracies(canvas, accuracies, shape, [low, high]) {
  const fitted = fitToScreen(canvas);
  if (!fitted) return;
  const {context, width, height} = fitted, [R, Q] = shape;
  const colorOf = (accuracy) => cividis((accuracy - low) / (high - low || 1));
  const [down, across] = fillCells(context, shape, width, height, (cell) =>
    accuracies[cell] === UNKNOWN ? null : `rgb(${colorOf(accuracies[cell] / 10000).join()})`);
  for (const row of numberedCells(R, height)) {
    for (const column of numberedCells(Q, width)) {
      const accuracy = accuracies[row * Q + column];
      const covered = R > FEW_CELLS && Q > FEW_CELLS && row === Math.floor(R / 2) && column === Math.floor(Q / 2);
      if (accuracy === UNKNOWN || covered) continue;  // the marker starts in the middle
      const x = clamp((across[column] + across[column + 1]) / 2, 12, width - 12);
      const y = clamp((down[row] + down[row + 1]) / 2, 9, height - 8);
      drawText(context, String(Math.round(accuracy / 100)), x, y, 10.5, readableOn(colorOf(accuracy / 10000)));
    }
  }
}

/** Indices of rows or columns with a number: all of a few, otherwise first, middle and last. */
function numberedCells(count, size) {
  if (count <= FEW_CELLS && size / count >= 18) return Array.from({length: count}, (_, at) => at);
  return count < 3 ? [0] : [0, Math.floor(count / 2), count - 1];
}

