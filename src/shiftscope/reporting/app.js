// Shiftscope's views, one ES module for the report, the notebook's widget and the live page. No framework, no build.
//
//   mountExplorer(root, payload, {onMove, image, dy, dx}) -> {setPlacement(dy, dx), setImage(i), ready, destroy()}
//   mountConfusion(root, payload)                         -> {ready, destroy()}
//   mountCurves(root, histories)                          -> {update(histories), destroy()}
//   startPage(document)                                   mounts what a report holds
//   export default {render({model, el})}                  a widget, see anywidget
//
// Payloads are made by shiftscope.reporting (explorer.py, confused.py, histories.py), where their shapes are written
// down. Nothing here is global: a page may hold any number of views. Text goes in as text, never as HTML, and styles as
// properties, never as attributes, so that a page may forbid inline styles and scripts.

// ---------------------------------------------------------------- constants

/** Paul Tol, "Color Schemes", 2021: the muted scheme and its gray. With more classes they begin anew: letters tell. */
const LABEL_COLORS = ["#332288", "#88CCEE", "#44AA99", "#117733", "#999933", "#DDCC77", "#CC6677", "#882255",
  "#AA4499", "#DDDDDD"];

/** Nine stops of cividis (Nunez, Anderton and Renslow, 2018): even steps to all eyes, and rising in gray. */
const CIVIDIS = [[0, 34, 78], [18, 53, 112], [59, 73, 108], [87, 93, 109], [112, 113, 115], [138, 134, 120],
  [165, 156, 116], [195, 179, 105], [253, 231, 55]];

/** Counts in a table: from nothing to all, on a light and on a dark page. */
const SHADES = [[[240, 245, 250], [106, 165, 210], [8, 48, 107]], [[32, 43, 55], [60, 120, 170], [190, 224, 255]]];

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const INK = "#000000", PAPER = "#ffffff";
const UNKNOWN = 65535;
const LEAP = 4;             // pixels of an arrow key with Shift
const SPEAK_AFTER = 600;    // milliseconds of rest before the answers are read out
const FEW_CELLS = 8;        // a map with so few cells a side has a number in each
const MOST_COLUMNS = 26;    // more classes than this make no table or legend that fits on a screen
const NUMBERS = new Intl.NumberFormat("en");

// ---------------------------------------------------------------- elements

/** Make an element. Keys that start with "on" are listeners, `text` is its text, null and false leave a key out. */
function element(tag, attributes = {}, ...children) {
  return furnish(document.createElement(tag), attributes, children);
}

function drawing(tag, attributes = {}, ...children) {
  return furnish(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function furnish(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "text") made.textContent = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

let views = 0;

/** A name that no other view of the page has: for groups of radio buttons and what labels point to. */
function uniqueName(word) {
  views += 1;
  return `shiftscope-${word}-${views}`;
}

// ---------------------------------------------------------------- data and words

/** Unpack an array: base64 of deflated little-endian numbers. */
async function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed.data), (sign) => sign.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const buffer = await new Response(stream).arrayBuffer();
  return packed.dtype === "uint16" ? new Uint16Array(buffer) : new Uint8Array(buffer);
}

/** A share in percent; a no-break space keeps the sign with its number, and what is not quite all is not called so. */
function percent(share, digits = 0) {
  if (!Number.isFinite(share)) return "–";
  const text = (100 * share).toFixed(digits), least = 10 ** -digits;
  if (share > 0 && Number(text) === 0) return `<${least}\u00a0%`;
  return share < 1 && Number(text) === 100 ? `>${(100 - least).toFixed(digits)}\u00a0%` : `${text}\u00a0%`;
}

const thousandths = (value) => value === UNKNOWN ? NaN : value / 1000;
const letterOf = (cls) => cls < LETTERS.length ? LETTERS[cls] : String(cls);
const modulo = (value, size) => ((value % size) + size) % size;
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

function channels(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

/** The text color that is readable on a color [r, g, b] from 0 to 255 (relative luminance of WCAG 2). */
function readableOn(color) {
  const linear = color.map((part) => part / 255).map((part) => part <= 0.04045 ? part / 12.92
    : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.179 ? INK : PAPER;
}

/** The color [r, g, b] at a share of the way through some stops. */
function blend(stops, share) {
  const at = clamp(share, 0, 1) * (stops.length - 1), low = Math.min(Math.floor(at), stops.length - 2);
  return stops[low].map((part, index) => Math.round(part + (at - low) * (stops[low + 1][index] - part)));
}

const cividis = (share) => blend(CIVIDIS, share);

/** Color an element by a share, from the page's own color to a strong one: light or dark as the page is. */
function shade(node, share) {
  const [light, dark] = SHADES.map((stops) => blend(stops, share));
  node.style.backgroundColor = `light-dark(rgb(${light.join()}), rgb(${dark.join()}))`;
  node.style.color = `light-dark(${readableOn(light)}, ${readableOn(dark)})`;
}

const labelColor = (cls) => LABEL_COLORS[cls % LABEL_COLORS.length];

/** A small colored square with the letter of a class. */
function badge(cls, name) {
  const made = element("span", {class: "ss-badge", text: letterOf(cls), title: name, "aria-hidden": "true"});
  made.style.backgroundColor = labelColor(cls);
  made.style.color = readableOn(channels(labelColor(cls)));
  return made;
}

// ---------------------------------------------------------------- pictures

/** Pixels (C, h, w) of one image of an unpacked array, with how to read them. */
function picture(pixels, shape, place) {
  const [, depth, height, width] = shape;
  const size = depth * height * width;
  return {depth, height, width, values: pixels.subarray(place * size, (place + 1) * size)};
}

/** Write an image on a canvas of `size` [H, W] at an offset, as Placement.place does. */
function layOn(canvas, image, place, dy, dx) {
  const [H, W] = place.canvas;
  canvas.height = H;
  canvas.width = W;
  const context = canvas.getContext("2d");
  const data = context.createImageData(W, H);
  const empty = place.background ?? 110;
  const crop = place.mode === "crop", circular = place.mode === "circular";
  const top = circular ? place.start[0] + dy : dy;
  const left = circular ? place.start[1] + dx : dx;
  const plane = image.height * image.width;
  for (let y = 0; y < H; y++) {
    for (let x = 0; x < W; x++) {
      const row = crop ? y + dy : circular ? modulo(y - top, H) : y - top;
      const column = crop ? x + dx : circular ? modulo(x - left, W) : x - left;
      const inside = row >= 0 && row < image.height && column >= 0 && column < image.width;
      const at = 4 * (y * W + x), from = row * image.width + column;
      for (let channel = 0; channel < 3; channel++) {
        const source = image.depth >= 3 ? channel : 0;
        data.data[at + channel] = inside ? image.values[source * plane + from] : empty;
      }
      data.data[at + 3] = 255;
    }
  }
  context.putImageData(data, 0, 0);
}

/** Write an image alone on a canvas of its own size. */
function drawImage(canvas, image) {
  layOn(canvas, image, {mode: "crop", canvas: [image.height, image.width], background: 0}, 0, 0);
}

/** Where the cells of a map begin, in whole pixels of a canvas. */
const edges = (count, size) => Array.from({length: count + 1}, (_, at) => Math.round(at * size / count));

/** Make a canvas as sharp as the screen; returns its context and size in CSS pixels, or null while it is not shown. */
function sharpen(canvas) {
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (!width || !height) return null;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return {context, width, height};
}

function write(context, text, x, y, size, color) {
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

/** Fill a cell of a map; one without a color was not computed and is crossed out. */
function fillCell(context, across, down, row, column, color) {
  const [left, right] = [across[column], across[column + 1]], [top, bottom] = [down[row], down[row + 1]];
  context.fillStyle = color ?? PAPER;
  context.fillRect(left, top, right - left, bottom - top);
  if (color) return;
  context.lineWidth = 1;
  context.strokeStyle = "#8c959f";
  context.beginPath();
  context.moveTo(left, bottom);
  context.lineTo(right, top);
  context.stroke();
}

/** Draw one answer a cell: a color and a letter for the class, a line around the cells where it is right. */
function drawLabels(canvas, labels, shape, truth, codes) {
  const sharp = sharpen(canvas);
  if (!sharp) return;
  const {context, width, height} = sharp, [R, Q] = shape;
  const down = edges(R, height), across = edges(Q, width);
  for (let row = 0; row < R; row++) {
    for (let column = 0; column < Q; column++) {
      const label = labels[row * Q + column], lost = label === codes.nonfinite;
      const color = label === codes.not_computed ? null : lost ? INK : labelColor(label);
      fillCell(context, across, down, row, column, color);
    }
  }
  outline(context, labels, shape, truth, down, across);
  for (const {label, row, column, reach} of regions(labels, shape, codes)) {
    const size = clamp(reach * 1.5 * Math.min(width / Q, height / R), 9, 15);
    const lost = label === codes.nonfinite;
    const color = lost ? PAPER : readableOn(channels(labelColor(label)));
    write(context, lost ? "?" : letterOf(label), (across[column] + across[column + 1]) / 2,
      (down[row] + down[row + 1]) / 2 + 0.5, size, color);
  }
}

function outline(context, labels, [R, Q], truth, down, across) {
  const lines = new Path2D();
  const right = (row, column) => labels[row * Q + column] === truth;
  for (let row = 0; row < R; row++) {
    for (let column = 0; column < Q; column++) {
      if (column + 1 < Q && right(row, column) !== right(row, column + 1)) {
        lines.moveTo(across[column + 1], down[row]);
        lines.lineTo(across[column + 1], down[row + 1]);
      }
      if (row + 1 < R && right(row, column) !== right(row + 1, column)) {
        lines.moveTo(across[column], down[row + 1]);
        lines.lineTo(across[column + 1], down[row + 1]);
      }
    }
  }
  context.lineCap = "square";
  for (const [color, thick] of [["#ffffff", 3.2], ["#000000", 1.6]]) {
    context.strokeStyle = color;
    context.lineWidth = thick;
    context.stroke(lines);
  }
}

/** The connected regions of equal labels that have room for a letter: {label, row, column, reach} of their thickest
 * cell, which lies `reach` cells from the border. */
function regions(labels, [R, Q], codes) {
  const seen = new Uint8Array(R * Q), depth = depths(labels, R, Q), found = [];
  const least = Math.max(3, R * Q / 120);
  for (let start = 0; start < R * Q; start++) {
    if (seen[start] || labels[start] === codes.not_computed) continue;
    const stack = [start];
    let size = 0, best = start;
    seen[start] = 1;
    while (stack.length) {
      const cell = stack.pop();
      size += 1;
      if (depth[cell] > depth[best]) best = cell;
      for (const next of neighbors(cell, R, Q)) {
        if (!seen[next] && labels[next] === labels[start]) {
          seen[next] = 1;
          stack.push(next);
        }
      }
    }
    const reach = depth[best];
    if (size >= least || R * Q <= FEW_CELLS ** 2) {
      found.push({label: labels[start], row: Math.floor(best / Q), column: best % Q, reach});
    }
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

/** How many steps each cell lies from the nearest other label, the rim, or the middle, where the marker begins. */
function depths(labels, R, Q) {
  const depth = new Uint16Array(R * Q), middle = Math.floor(R / 2) * Q + Math.floor(Q / 2);
  let ring = [];
  for (let cell = 0; cell < R * Q; cell++) {
    const near = neighbors(cell, R, Q);
    if (near.length < 4 || cell === middle || near.some((next) => labels[next] !== labels[cell])) {
      depth[cell] = 1;
      ring.push(cell);
    }
  }
  while (ring.length) {
    const further = [];
    for (const cell of ring) {
      for (const next of neighbors(cell, R, Q)) {
        if (!depth[next]) {
          depth[next] = depth[cell] + 1;
          further.push(next);
        }
      }
    }
    ring = further;
  }
  return depth;
}

/** Draw a share a cell: a color, and numbers in percent on some cells. */
function drawShares(canvas, shares, shape, [low, high]) {
  const sharp = sharpen(canvas);
  if (!sharp) return;
  const {context, width, height} = sharp, [R, Q] = shape;
  const down = edges(R, height), across = edges(Q, width);
  const colorOf = (share) => cividis((share - low) / (high - low || 1));
  for (let cell = 0; cell < R * Q; cell++) {
    const row = Math.floor(cell / Q), column = cell % Q;
    const color = shares[cell] === UNKNOWN ? null : `rgb(${colorOf(shares[cell] / 10000).join()})`;
    fillCell(context, across, down, row, column, color);
  }
  for (const row of spots(R, height)) {
    for (const column of spots(Q, width)) {
      const share = shares[row * Q + column];
      const covered = R > FEW_CELLS && Q > FEW_CELLS && row === Math.floor(R / 2) && column === Math.floor(Q / 2);
      if (share === UNKNOWN || covered) continue;  // the marker begins in the middle
      const x = clamp((across[column] + across[column + 1]) / 2, 12, width - 12);
      const y = clamp((down[row] + down[row + 1]) / 2, 9, height - 8);
      write(context, String(Math.round(share / 100)), x, y, 10.5, readableOn(colorOf(share / 10000)));
    }
  }
}

/** Cells of one side of a map that carry a number: all of a few, else begin, middle and end. */
function spots(count, size) {
  if (count <= FEW_CELLS && size / count >= 18) return Array.from({length: count}, (_, at) => at);
  return count < 3 ? [0] : [0, Math.floor(count / 2), count - 1];
}

// ---------------------------------------------------------------- the explorer

/** The placements of a group as rows and columns, whose offsets may be counted the nearer way around. */
class Grid {
  constructor(group) {
    this.rows = group.rows;
    this.columns = group.columns;
    this.shape = [group.rows.length, group.columns.length];
    this.circular = group.mode === "circular";
    this.size = group.canvas;
    this.middle = group.middle ?? this.shape.map((count) => Math.floor(count / 2));
  }

  /** The offset [dy, dx] of a cell, as Placement counts it. */
  offset(row, column) {
    const found = [this.rows[row], this.columns[column]];
    return this.circular ? found.map((value, axis) => modulo(value, this.size[axis])) : found;
  }

  /** The cell [row, column] of an offset, null where it is none of the placements. */
  find(dy, dx) {
    const cell = [this.place(this.rows, dy, 0), this.place(this.columns, dx, 1)];
    return cell.includes(-1) ? null : cell;
  }

  place(values, wanted, axis) {
    return values.findIndex((value) => value === wanted
      || (this.circular && modulo(value, this.size[axis]) === modulo(wanted, this.size[axis])));
  }

  /** The row (axis 0) or column (axis 1) that lies nearest to an offset. */
  nearest(axis, wanted) {
    const values = axis ? this.columns : this.rows, size = this.size[axis];
    const around = this.circular ? modulo(wanted - values[0] + 0.5, size) + values[0] - 0.5 : wanted;
    const far = (value) => Math.abs(value - around);
    return values.reduce((best, value, at) => far(value) < far(values[best]) ? at : best, 0);
  }

  /** One or more cells on; around the corner where all shifts of a circle are there. */
  step(axis, from, by) {
    const count = this.shape[axis];
    const whole = this.circular && count === this.size[axis];
    return whole ? modulo(from + by, count) : clamp(from + by, 0, count - 1);
  }
}

const ARROWS = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]};

class Explorer {
  constructor(root, payload, options) {
    this.root = root;
    this.groups = payload.groups ?? [];
    this.onMove = options.onMove ?? (() => {});
    this.wanted = options;
    this.picks = [];
    this.gone = false;
    this.watcher = new ResizeObserver(() => this.drawMaps());
    root.classList.add("shiftscope", "ss-explorer");
    this.ready = this.groups.length ? this.open(0) : Promise.resolve(this.say("There is nothing to explore here: no "
      + "audit has kept images."));
  }

  say(text) {
    this.root.replaceChildren(element("p", {class: "ss-quiet", text}));
  }

  /** Show a group: unpack it, build the page, begin in the middle. */
  async open(place) {
    const group = this.groups[place];
    let data;
    try {
      data = await unpackGroup(group);
    } catch (error) {
      this.say(`The explorer cannot be shown: ${error.message}. A browser of 2023 or later can show it.`);
      throw error;
    }
    if (this.gone) return;
    Object.assign(this, {place, group, data, grid: new Grid(group), picks: []});
    this.image = clamp(Math.trunc(this.wanted.image ?? 0), 0, group.images.numbers.length - 1);
    [this.row, this.column] = this.grid.find(this.wanted.dy, this.wanted.dx) ?? this.grid.middle;
    this.wanted = {};
    this.build();
    this.showImage();
    this.root.dataset.ready = "true";
  }

  // ------------------------------------------------------------ the page

  build() {
    this.watcher.disconnect();
    this.spoken = element("div", {class: "ss-spoken", role: "status", "aria-live": "polite"});
    this.cards = this.group.models.map((model, place) => this.buildCard(model, place));
    const models = element("div", {class: "ss-models"}, ...this.cards.map((card) => card.node));
    this.legend = element("div", {class: "ss-legend"});
    this.root.replaceChildren(
      ...[this.buildChoice(), this.buildLead(),
        element("div", {class: "ss-layout"},
          element("div", {class: "ss-side"}, this.buildStage(), this.buildPlace()), this.buildImages(),
          element("div", {class: "ss-main"}, models, this.legend, this.buildScale(), this.buildNotes())),
        this.spoken].filter(Boolean));
    for (const card of this.cards) {
      this.watcher.observe(card.labels);
      this.watcher.observe(card.shares);
    }
  }

  /** A list of the sets of images or placements, where there are several. */
  buildChoice() {
    if (this.groups.length < 2) return null;
    const name = uniqueName("group");
    const list = element("select", {id: name, onchange: () => this.open(list.selectedIndex)},
      ...this.groups.map((group) => element("option", {text: `${group.dataset}: ${group.title}`})));
    list.selectedIndex = this.place;
    return element("p", {class: "ss-choice"}, element("label", {for: name, text: "Images and placements"}), list);
  }

  buildLead() {
    const {thing, mode} = this.group;
    const doing = {canvas: `Drag the ${thing} over the canvas`, circular: `Drag the ${thing}: what leaves the canvas `
      + "at one side comes back at the other", crop: `Drag the ${thing}: the models see what lies in the window`}[mode];
    const count = NUMBERS.format(this.grid.shape[0] * this.grid.shape[1]);
    return element("p", {class: "ss-lead"}, element("strong", {text: `${doing}.`}),
      ` Or click into a map, or use the arrow keys (with Shift in leaps, Home for the middle). Every model's answer `
      + `at each of the ${count} places was computed before: the page only looks it up.`);
  }

  buildStage() {
    this.canvas = element("canvas", {class: "ss-canvas"});
    this.frame = element("div", {class: "ss-frame", "aria-hidden": "true"});
    this.hint = element("span", {class: "ss-hint", text: "drag me", "aria-hidden": "true"});
    this.stage = this.pad(element("div", {class: "ss-stage"}, this.canvas, this.frame, this.hint),
      `Canvas: place of the ${this.group.thing}`, this.group.mode === "crop" ? -1 : 1);
    this.stage.style.aspectRatio = `${this.group.canvas[1]} / ${this.group.canvas[0]}`;
    let from = null;
    follow(this.stage, (event) => {
      this.grabAt(event);
      from = {x: event.clientX, y: event.clientY, dy: this.grid.rows[this.row], dx: this.grid.columns[this.column]};
    }, (event) => this.dragTo(event, from));
    return this.stage;
  }

  /** Where the pointer goes down beside the image, bring the image there; it is then dragged from its middle. */
  grabAt(event) {
    if (this.group.mode !== "canvas") return;
    const box = this.stage.getBoundingClientRect(), [h, w] = this.group.image, [H, W] = this.group.canvas;
    const y = (event.clientY - box.top) / box.height * H, x = (event.clientX - box.left) / box.width * W;
    const dy = this.grid.rows[this.row], dx = this.grid.columns[this.column];
    if (y >= dy && y < dy + h && x >= dx && x < dx + w) return;
    this.moveTo(this.grid.nearest(0, y - h / 2), this.grid.nearest(1, x - w / 2));
  }

  dragTo(event, from) {
    const box = this.stage.getBoundingClientRect(), [H, W] = this.group.canvas;
    const sign = this.group.mode === "crop" ? -1 : 1;
    const down = Math.round((event.clientY - from.y) / box.height * H);
    const right = Math.round((event.clientX - from.x) / box.width * W);
    this.moveTo(this.grid.nearest(0, from.dy + sign * down), this.grid.nearest(1, from.dx + sign * right));
  }

  /** Make an element a slider in two directions, for keys and for screen readers. */
  pad(node, label, sign = 1) {
    const [R, Q] = this.grid.shape;
    furnish(node, {role: "slider", tabindex: 0, "aria-label": label, "aria-roledescription": "pad with two directions",
      "aria-valuemin": 1, "aria-valuemax": R * Q, onkeydown: (event) => this.pressed(event, sign)}, []);
    return node;
  }

  pressed(event, sign) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const arrow = ARROWS[event.key];
    if (!arrow && event.key !== "Home") return;
    event.preventDefault();
    if (!arrow) return void this.moveTo(...this.grid.middle);
    const by = sign * (event.shiftKey ? LEAP : 1);
    this.moveTo(this.grid.step(0, this.row, by * arrow[0]), this.grid.step(1, this.column, by * arrow[1]));
  }

  /** Under the canvas: where the image lies, and buttons for the middle and for a pick. */
  buildPlace() {
    this.where = element("p", {class: "ss-where"});
    this.keep = element("button", {type: "button", class: "ss-button", onclick: () => this.pick()});
    return element("div", {class: "ss-place"}, this.where, element("div", {class: "ss-row"},
      element("button", {type: "button", class: "ss-button", text: "To the middle",
        onclick: () => this.moveTo(...this.grid.middle)}), this.keep));
  }

  // ------------------------------------------------------------ images

  buildImages() {
    const {numbers, first} = this.group.images, name = uniqueName("images");
    this.radios = numbers.map((number, place) => this.buildThumbnail(name, number, place));
    this.list = element("select", {"aria-label": "Image", onchange: () => this.setImage(this.list.selectedIndex)},
      ...numbers.map((number, place) => element("option", {text: this.nameOf(place)})));
    const turn = (by, sign, label) => element("button", {type: "button", class: "ss-button ss-turn", text: sign,
      "aria-label": label, onclick: () => this.setImage(modulo(this.image + by, numbers.length))});
    this.own = element("div", {class: "ss-strip"});
    this.ownTitle = element("p", {class: "ss-strip-title", text: "Your own picks"});
    const strip = (title, radios) => radios.length ? [element("p", {class: "ss-strip-title", text: title}),
      element("div", {class: "ss-strip"}, ...radios.map((radio) => radio.node))] : [];
    return element("div", {class: "ss-images", role: "group", "aria-label": "Choose an image"},
      element("div", {class: "ss-row"}, turn(-1, "‹", "Image before"), this.list, turn(1, "›", "Next image")),
      ...strip("The first ones, not picked", this.radios.slice(0, first)),
      ...strip("Those about which the models change their mind most", this.radios.slice(first)),
      this.ownTitle, this.own);
  }

  nameOf(place) {
    const {numbers, labels} = this.group.images;
    return `${this.group.classes[labels[place]]}, image ${numbers[place]}`;
  }

  buildThumbnail(name, number, place) {
    const canvas = element("canvas", {"aria-hidden": "true"});
    drawImage(canvas, this.pictureOf(place));
    const input = element("input", {type: "radio", name, "aria-label": this.nameOf(place),
      onchange: () => this.setImage(place)});
    return {input, node: element("label", {class: "ss-thumbnail", title: this.nameOf(place)}, input, canvas)};
  }

  pictureOf(place) {
    return picture(this.data.pixels, this.group.images.pixels.shape, place);
  }

  /** Keep the image at its place among the own picks, or drop it from there. */
  pick() {
    const at = this.picked();
    if (at >= 0) this.picks.splice(at, 1);
    else this.picks.push({image: this.image, row: this.row, column: this.column});
    this.showPicks();
  }

  picked() {
    return this.picks.findIndex(({image, row, column}) => image === this.image && row === this.row
      && column === this.column);
  }

  showPicks() {
    this.ownTitle.hidden = !this.picks.length;
    this.own.replaceChildren(...this.picks.map(({image, row, column}) => {
      const [dy, dx] = this.grid.offset(row, column), canvas = element("canvas", {"aria-hidden": "true"});
      layOn(canvas, this.pictureOf(image), this.group, dy, dx);
      const label = `${this.nameOf(image)} at dy ${dy}, dx ${dx}`;
      return element("button", {type: "button", class: "ss-thumbnail", "aria-label": label, title: label,
        onclick: () => {
          this.image = image;
          this.row = row;
          this.column = column;
          this.showImage();
          this.tell();
        }}, canvas);
    }));
    this.keep.textContent = this.picked() >= 0 ? "★ Kept" : "☆ Keep this";
    this.keep.setAttribute("aria-pressed", String(this.picked() >= 0));
  }

  // ------------------------------------------------------------ models

  buildCard(model, place) {
    const name = uniqueName("model"), {classes} = this.data.models[place];
    const card = {model, place, ranks: classes.length / (this.group.images.numbers.length * this.cells)};
    card.answer = element("p", {class: "ss-answer"});
    card.bars = element("ol", {class: "ss-bars"});
    card.labels = element("canvas");
    card.shares = element("canvas");
    card.own = element("figcaption");
    card.all = element("figcaption");
    card.pads = [[card.labels, "its answers"], [card.shares, "accuracy over all images"]].map(
      ([canvas, what]) => this.buildMap(canvas, `${model.title}, map of ${what}`));
    card.node = element("article", {class: "ss-card", "aria-labeledby": name, "data-model": model.title},
      element("h3", {id: name, text: model.title}), card.answer, card.bars,
      element("div", {class: "ss-maps"}, element("figure", {}, card.pads[0].node, card.own),
        element("figure", {}, card.pads[1].node, card.all)));
    return card;
  }

  get cells() {
    return this.grid.shape[0] * this.grid.shape[1];
  }

  buildMap(canvas, label) {
    const marker = element("div", {class: "ss-marker", "aria-hidden": "true"}), [R, Q] = this.grid.shape;
    const node = this.pad(element("div", {class: "ss-map"}, canvas, marker), label);
    canvas.style.aspectRatio = `${Q} / ${R}`;
    marker.style.width = `${100 / Q}%`;
    marker.style.height = `${100 / R}%`;
    const jump = (event) => {
      const box = node.getBoundingClientRect();
      this.moveTo(clamp(Math.floor((event.clientY - box.top) / box.height * R), 0, R - 1),
        clamp(Math.floor((event.clientX - box.left) / box.width * Q), 0, Q - 1));
    };
    follow(node, jump, jump, "touch");
    node.addEventListener("click", jump);  // a finger that scrolls the page over a map is none
    return {node, marker};
  }

  buildScale() {
    const bar = element("canvas", {class: "ss-scale", width: 120, height: 1, "aria-hidden": "true"});
    const [low, high] = this.group.scale, context = bar.getContext("2d");
    for (let x = 0; x < 120; x++) {
      context.fillStyle = `rgb(${cividis(x / 119).join()})`;
      context.fillRect(x, 0, 1, 1);
    }
    return element("p", {class: "ss-quiet ss-scales"}, element("span", {text: "Accuracy of all images:"}),
      element("span", {class: "ss-number", text: percent(low)}), bar,
      element("span", {class: "ss-number", text: percent(high)}));
  }

  buildNotes() {
    const {title, credit, notes} = this.group;
    const reading = "Bars: how sure a model is of its likeliest classes (probability). Left map: what it says of this "
      + "image at every place. Right map: the share of all images that it gets right there.";
    return element("p", {class: "ss-quiet", text: [reading, title, ...notes, `${credit}.`].join(" ")});
  }

  // ------------------------------------------------------------ what changes

  /** Show another image: everything but the page's frame is new. */
  showImage() {
    this.radios.forEach(({input}, place) => {
      input.checked = place === this.image;
    });
    this.list.selectedIndex = this.image;
    this.drawMaps();
    this.showLegend();
    this.showPlace();
  }

  /** The answers of a model for the shown image: one class a cell. */
  labelsOf(place) {
    return this.data.models[place].classes.subarray(this.image * this.cells, (this.image + 1) * this.cells);
  }

  get truth() {
    return this.group.images.labels[this.image];
  }

  drawMaps() {
    for (const {place, labels, shares} of this.cards) {
      drawLabels(labels, this.labelsOf(place), this.grid.shape, this.truth, this.group.codes);
      drawShares(shares, this.data.models[place].map, this.grid.shape, this.group.scale);
    }
  }

  showLegend() {
    const said = new Map([[this.truth, Infinity]]), {codes, classes} = this.group;
    for (const {place} of this.cards) {
      this.labelsOf(place).forEach((label) => said.set(label, (said.get(label) ?? 0) + 1));
    }
    const often = [...said.keys()].filter((label) => label < codes.not_computed)
      .sort((one, other) => said.get(other) - said.get(one));
    const known = often.slice(0, MOST_COLUMNS).sort((one, other) => one - other), more = often.length - known.length;
    const entry = (label) => element("span", {class: "ss-entry"}, badge(label, classes[label]),
      element("span", {text: classes[label] + (label === this.truth ? " (true)" : "")}));
    const lost = said.has(codes.nonfinite) && element("span", {class: "ss-entry"},
      element("span", {class: "ss-badge ss-lost", text: "?", "aria-hidden": "true"}), "no finite answer");
    const others = more > 0 && element("span", {class: "ss-entry ss-quiet", text: `and ${more} classes more seldom`});
    this.legend.replaceChildren(...[...known.map(entry), others, lost].filter(Boolean),
      element("span", {class: "ss-entry ss-quiet"}, element("span", {class: "ss-line", "aria-hidden": "true"}),
        "around the places where the answer is right"));
  }

  /** Show the image at another place. */
  showPlace() {
    const [dy, dx] = this.grid.offset(this.row, this.column), {group} = this;
    layOn(this.canvas, this.pictureOf(this.image), group, dy, dx);
    this.placeFrame(dy, dx);
    const where = `image ${group.images.numbers[this.image]}, dy ${dy} (down), dx ${dx} (right)`;
    this.where.replaceChildren("This is ", badge(this.truth), " ", element("strong", {text: group.classes[this.truth]}),
      element("span", {class: "ss-quiet ss-offset", text: where}));
    for (const card of this.cards) this.showAnswer(card);
    const at = this.row * this.grid.shape[1] + this.column + 1;
    for (const pad of [this.stage, ...this.cards.flatMap((card) => card.pads.map(({node}) => node))]) {
      pad.setAttribute("aria-valuenow", at);
      pad.setAttribute("aria-valuetext", `down ${dy}, right ${dx}`);
    }
    this.showPicks();
  }

  /** The frame of the image's own pixels on the canvas, whose background may have the same color. */
  placeFrame(dy, dx) {
    const [h, w] = this.group.image, [H, W] = this.group.canvas;
    this.frame.hidden = this.group.mode !== "canvas";
    this.frame.style.left = `${100 * dx / W}%`;
    this.frame.style.top = `${100 * dy / H}%`;
    this.frame.style.width = `${100 * w / W}%`;
    this.frame.style.height = `${100 * h / H}%`;
  }

  /** What a model says at the shown place: [{label, share}], the likeliest class first. */
  ranking(card) {
    const {classes, shares} = this.data.models[card.place], found = [];
    const images = this.group.images.numbers.length, cell = this.row * this.grid.shape[1] + this.column;
    for (let rank = 0; rank < card.ranks; rank++) {
      const at = (rank * images + this.image) * this.cells + cell;
      found.push({label: classes[at], share: thousandths(shares[at])});
    }
    return found;
  }

  showAnswer(card) {
    const ranking = this.ranking(card), [{label, share}] = ranking, {codes, classes} = this.group;
    const known = label < codes.not_computed, right = label === this.truth;
    card.node.dataset.answer = known ? label : label === codes.nonfinite ? "not finite" : "not computed";
    card.said = known ? classes[label] : label === codes.nonfinite ? "no finite answer" : "not computed here";
    card.verdict = label === codes.not_computed ? "" : right ? "right" : "wrong";
    card.share = share;
    card.answer.className = `ss-answer ss-${card.verdict || "unknown"}`;
    const sign = {right: "✓ right", wrong: "✗ wrong"}[card.verdict] ?? "?";
    card.answer.replaceChildren(element("span", {class: "ss-verdict", text: sign}),
      element("strong", {text: card.said, title: card.said}));
    card.bars.replaceChildren(...ranking.map((entry, rank) => this.bar(entry, rank, known)));
    this.showMaps(card);
  }

  bar({label, share}, rank, known) {
    if (!known || label >= this.group.codes.not_computed) {
      return element("li", {class: "ss-bar ss-quiet", text: rank ? "\u00a0" : "no confidence"});
    }
    const fill = element("span", {class: `ss-fill${label === this.truth ? " ss-true" : ""}`});
    fill.style.width = `${100 * (share || 0)}%`;
    return element("li", {class: "ss-bar"}, badge(label, this.group.classes[label]),
      element("span", {class: "ss-name", text: this.group.classes[label], title: this.group.classes[label]}),
      element("span", {class: "ss-track", "aria-hidden": "true"}, fill),
      element("span", {class: "ss-share", text: Number.isFinite(share) ? percent(share) : "not kept"}));
  }

  showMaps(card) {
    const [R, Q] = this.grid.shape, labels = this.labelsOf(card.place), {codes} = this.group;
    let right = 0, computed = 0;
    for (const label of labels) {
      computed += label !== codes.not_computed;
      right += label === this.truth;
    }
    card.own.textContent = `This image: right at ${percent(right / computed)} of the places`;
    const here = this.data.models[card.place].map[this.row * Q + this.column];
    const share = here === UNKNOWN ? "not computed" : percent(here / 10000, 1);
    card.all.textContent = `All images: ${share} right here, ${percent(card.model.accuracy.mean, 1)} on average`;
    for (const {marker} of card.pads) {
      marker.style.left = `${100 * this.column / Q}%`;
      marker.style.top = `${100 * this.row / R}%`;
    }
  }

  // ------------------------------------------------------------ moving

  /** Go to a cell because the reader wants it. */
  moveTo(row, column) {
    this.hint.hidden = true;
    if (row === this.row && column === this.column) return;
    this.row = row;
    this.column = column;
    this.showPlace();
    this.tell();
  }

  /** Tell the page and, once the reader rests, those who listen. */
  tell() {
    const [dy, dx] = this.grid.offset(this.row, this.column);
    this.onMove({group: this.place, image: this.image, dy, dx});
    clearTimeout(this.speaking);
    this.speaking = setTimeout(() => {
      this.spoken.textContent = `${this.nameOf(this.image)} at down ${dy}, right ${dx}. ` + this.cards.map((card) =>
        `${card.model.title}: ${card.said}${Number.isFinite(card.share) ? `, ${percent(card.share)}` : ""}`
        + `${card.verdict ? `, ${card.verdict}` : ""}`).join(". ");
    }, SPEAK_AFTER);
  }

  setImage(place) {
    if (!this.data) {
      this.wanted = {...this.wanted, image: place};
    } else if (Number.isInteger(place) && place >= 0 && place < this.radios.length && place !== this.image) {
      this.image = place;
      this.showImage();
      this.tell();
    }
  }

  setPlacement(dy, dx) {
    if (!this.data) {
      this.wanted = {...this.wanted, dy, dx};
      return;
    }
    const cell = this.grid.find(dy, dx);
    if (cell) this.moveTo(...cell);
  }

  destroy() {
    this.gone = true;
    clearTimeout(this.speaking);
    this.watcher.disconnect();
    this.root.replaceChildren();
    this.root.classList.remove("shiftscope", "ss-explorer");
  }
}

async function unpackGroup(group) {
  const [pixels, ...models] = await Promise.all([unpack(group.images.pixels), ...group.models.map(async (model) => {
    const [map, classes, shares] = await Promise.all([model.map, model.classes, model.shares].map(unpack));
    return {map, classes, shares};
  })]);
  return {pixels, models};
}

/** Follow a pointer, mouse or finger, from where it goes down until it goes up; not one of the type `but`. */
function follow(node, begin, move, but = "") {
  node.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.pointerType === but) return;
    node.setPointerCapture(event.pointerId);
    node.focus({preventScroll: true, focusVisible: false});
    begin(event);
    event.preventDefault();
  });
  node.addEventListener("pointermove", (event) => {
    if (node.hasPointerCapture(event.pointerId)) move(event);
  });
}

/** Show what models say of images at every placement, see `explorer_payload`.
 *
 * `onMove({group, image, dy, dx})` is called after each change; `image`, `dy` and `dx` say where to begin. */
export function mountExplorer(root, payload, options = {}) {
  const explorer = new Explorer(root, payload, options);
  return {
    setPlacement: (dy, dx) => explorer.setPlacement(dy, dx), setImage: (place) => explorer.setImage(place),
    destroy: () => explorer.destroy(), ready: explorer.ready,
  };
}

// ---------------------------------------------------------------- what is taken for what

class Confusion {
  constructor(root, payload) {
    this.root = root;
    this.matrices = payload.matrices ?? [];
    this.pixels = [];
    this.gone = false;
    root.classList.add("shiftscope", "ss-confusion");
    this.ready = this.open();
  }

  async open() {
    this.pixels = await Promise.all(this.matrices.map(({images}) => images ? unpack(images.pixels) : null));
    if (this.gone || !this.matrices.length) return;
    this.build();
    this.show(0);
    this.root.dataset.ready = "true";
  }

  build() {
    const name = uniqueName("matrix");
    this.tabs = this.matrices.map(({title}, place) => element("label", {class: "ss-tab"},
      element("input", {type: "radio", name, onchange: () => this.show(place)}), element("span", {text: title})));
    this.table = element("div", {class: "ss-scroll", tabindex: 0, role: "region", "aria-label": "Confusion matrix"});
    this.panel = element("div", {class: "ss-panel", role: "status"});
    this.root.replaceChildren(
      element("p", {class: "ss-lead"}, element("strong", {text: "Choose a number to see images behind it."}),
        " Rows are true classes, columns what the model said; each image lies at one random place."),
      element("div", {class: "ss-tabs", role: "group", "aria-label": "Model"}, ...this.tabs), this.table, this.panel);
  }

  show(place) {
    this.place = place;
    this.tabs[place].firstChild.checked = true;
    const {counts} = this.matrices[place];
    this.panel.replaceChildren(element("p", {class: "ss-quiet", text: "No cell is chosen."}));
    this.table.replaceChildren(counts.length > MOST_COLUMNS ? this.buildList() : this.buildTable());
  }

  /** A button for the images of one true class that got one answer. */
  button(truth, said) {
    const {counts, classes} = this.matrices[this.place], count = counts[truth][said];
    const total = counts[truth].reduce((sum, part) => sum + part, 0);
    const made = element("button", {type: "button", class: "ss-cell", text: NUMBERS.format(count),
      "aria-label": `${count} of ${total} ${classes[truth]} taken for ${classes[said]}`, "aria-pressed": "false",
      onclick: () => {
        this.table.querySelector("[aria-pressed=true]")?.setAttribute("aria-pressed", "false");
        made.setAttribute("aria-pressed", "true");
        this.openCell(truth, said, count, total);
      }});
    shade(made, count / total);
    return made;
  }

  buildTable() {
    const {counts, classes} = this.matrices[this.place];
    const head = element("tr", {}, element("td"), ...classes.map((name, cls) => element("th", {scope: "col"},
      badge(cls, name), element("span", {class: "ss-column", text: name}))));
    const rows = counts.map((row, truth) => element("tr", {}, element("th", {scope: "row"}, badge(truth), " ",
      classes[truth]), ...row.map((count, said) => element("td", {class: truth === said ? "ss-diagonal" : null},
      count ? this.button(truth, said) : element("span", {class: "ss-none", text: "·"})))));
    return element("table", {class: "ss-matrix"}, element("thead", {}, head), element("tbody", {}, ...rows));
  }

  /** With many classes: the most frequent mistakes, one a line. */
  buildList() {
    const {counts, classes} = this.matrices[this.place];
    const wrong = counts.flatMap((row, truth) => row.map((count, said) => ({truth, said, count})))
      .filter(({truth, said, count}) => count && truth !== said).sort((one, other) => other.count - one.count);
    const head = element("tr", {}, ...["Is", "Said", "Images"].map((text) => element("th", {scope: "col", text})));
    const rows = wrong.slice(0, 60).map(({truth, said}) => element("tr", {}, element("th", {scope: "row",
      text: classes[truth]}), element("td", {text: classes[said]}), element("td", {}, this.button(truth, said))));
    const cut = wrong.length > 60 ? `The 60 most frequent of ${NUMBERS.format(wrong.length)} mistakes. ` : "";
    return element("table", {class: "ss-matrix ss-list"}, element("caption", {text: `${cut}${classes.length} classes`}),
      element("thead", {}, head), element("tbody", {}, ...rows));
  }

  openCell(truth, said, count, total) {
    const {classes, images, title} = this.matrices[this.place];
    const found = images ? images.numbers.map((_, at) => at).filter((at) => images.true[at] === truth
      && images.said[at] === said) : [];
    const what = truth === said ? "rightly called" : "taken for";
    const kept = !images ? "The images behind the cells were not kept." : !found.length
      ? "No image of this cell was kept." : found.length < count
        ? `The first ${found.length}, not picked, as the model saw them:`
        : `As the model saw ${count === 1 ? "it" : "them"}:`;
    this.panel.replaceChildren(element("p", {}, element("strong", {text: classes[truth]}), ` ${what} `,
      element("strong", {text: classes[said]}), ` by the ${title}: ${NUMBERS.format(count)} of ${NUMBERS.format(total)}`
      + ` (${percent(count / total, 1)}). ${kept}`), element("div", {class: "ss-behind"},
      ...found.map((at) => this.buildBehind(at))));
  }

  buildBehind(at) {
    const {images, classes} = this.matrices[this.place], [dy, dx] = images.offsets[at];
    const canvas = element("canvas", {role: "img", "aria-label": `${classes[images.true[at]]} at dy ${dy}, dx ${dx}`});
    layOn(canvas, picture(this.pixels[this.place], images.pixels.shape, at), images, dy, dx);
    const sure = Number.isFinite(images.shares[at]) ? `, ${percent(images.shares[at])} sure` : "";
    return element("figure", {}, canvas, element("figcaption", {text: `image ${images.numbers[at]}, dy ${dy}, `
      + `dx ${dx}${sure}`}));
  }

  destroy() {
    this.gone = true;
    this.root.replaceChildren();
    this.root.classList.remove("shiftscope", "ss-confusion");
  }
}

/** Show confusion matrices whose numbers open the images behind them, see `confusion_payload`. */
export function mountConfusion(root, payload) {
  const view = new Confusion(root, payload);
  return {ready: view.ready, destroy: () => view.destroy()};
}

// ---------------------------------------------------------------- curves

const MARKERS = ["M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z", "M-3.5,-3.5h7v7h-7z", "M0,-4.5L4.5,3.5H-4.5z",
  "M0,-4.8L4.8,0L0,4.8L-4.8,0z", "M0,4.5L4.5,-3.5H-4.5z", "M-1.5,-4.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z"];
const LEFT = 46, RIGHT = 12, TOP = 10, BOTTOM = 34, CHART_HEIGHT = 250;
const CHARTS = [
  {title: "Loss on the training images", unit: "mean cross entropy (nats)", lines: [["train_loss", false]],
    format: (value) => String(Number(value.toPrecision(3)))},
  {title: "Accuracy", unit: "images right", lines: [["train_accuracy", true], ["val_accuracy", false]],
    format: (value) => `${Number((100 * value).toPrecision(3))} %`}];

/** Round numbers that divide a range into about `count` steps. */
function ticks(low, high, count) {
  const raw = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((times) => times * power).find((size) => size >= raw);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({length: Math.floor(high / step + 1e-9) - first + 1}, (_, at) => (first + at) * step);
}

class Curves {
  constructor(root, histories) {
    this.root = root;
    root.classList.add("shiftscope", "ss-curves");
    this.charts = CHARTS.map((chart) => ({...chart, node: drawing("svg", {class: "ss-chart", "aria-hidden": "true",
      onpointermove: (event) => this.point(event, event.currentTarget)})}));
    this.table = element("div", {class: "ss-scroll", tabindex: 0, role: "region", "aria-label": "Values of curves"});
    this.slider = element("input", {type: "range", class: "ss-epoch", step: 1, "aria-label": "Epoch",
      oninput: () => this.choose(Number(this.slider.value))});
    root.replaceChildren(element("div", {class: "ss-charts"}, ...this.charts.map(({title, unit, node}) =>
      element("figure", {}, element("figcaption", {}, element("strong", {text: title}),
        element("span", {class: "ss-quiet", text: ` ${unit}`})), node))),
    element("p", {class: "ss-row ss-quiet"}, element("span", {text: "Point at a curve, or choose an epoch:"}),
      this.slider), this.table);
    this.watcher = new ResizeObserver(() => this.draw());
    this.watcher.observe(root);
    this.update(histories);
  }

  /** Show other histories, or longer ones; who looked at the last epoch goes on to look at it. */
  update(histories) {
    const followed = this.epoch === undefined || this.epoch === this.last;
    this.histories = histories;
    const epochs = histories.flatMap((history) => history.epochs.map(({epoch}) => epoch));
    this.first = epochs.length ? Math.min(...epochs) : 1;
    this.last = epochs.length ? Math.max(...epochs) : 1;
    Object.assign(this.slider, {min: this.first, max: this.last, disabled: this.first === this.last});
    this.draw();
    this.choose(followed ? this.last : clamp(this.epoch, this.first, this.last));
  }

  choose(epoch) {
    this.epoch = epoch;
    this.slider.value = epoch;
    this.slider.setAttribute("aria-valuetext", `epoch ${epoch} of ${this.last}`);
    for (const {cursor, x} of this.charts) {
      if (cursor) furnish(cursor, {x1: x(epoch), x2: x(epoch)}, []);
    }
    this.showTable();
  }

  point(event, node) {
    const chart = this.charts.find((one) => one.node === node), box = node.getBoundingClientRect();
    const share = (event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT);
    if (chart.x && event.pointerType !== "touch") {
      this.choose(clamp(Math.round(this.first + share * (this.last - this.first)), this.first, this.last));
    }
  }

  draw() {
    for (const chart of this.charts) this.drawChart(chart);
  }

  drawChart(chart) {
    const width = chart.node.clientWidth;
    if (!width) return;
    const values = chart.lines.flatMap(([key]) => this.histories.flatMap(({epochs}) => epochs.map((line) => line[key])))
      .filter((value) => Number.isFinite(value));
    const least = chart.lines.length > 1 && values.length ? Math.min(...values) : 0;
    const steps = ticks(least, Math.max(...values, 0.01), 5);
    const gap = steps.length > 1 ? steps[1] - steps[0] : steps[0] || 1;
    const low = Math.max(0, Math.min(steps[0], ...values.map((value) => Math.floor(value / gap + 1e-9) * gap)));
    const high = Math.max(...values, steps.at(-1));
    const span = this.last - this.first || 1;
    chart.x = (epoch) => LEFT + (width - LEFT - RIGHT) * (this.last === this.first ? 0.5 : (epoch - this.first) / span);
    chart.y = (value) => CHART_HEIGHT - BOTTOM - (CHART_HEIGHT - BOTTOM - TOP) * (value - low) / (high - low || 1);
    const at = chart.x(this.epoch ?? this.first);
    chart.cursor = drawing("line", {class: "ss-cursor", y1: TOP, y2: CHART_HEIGHT - BOTTOM, x1: at, x2: at});
    furnish(chart.node, {viewBox: `0 0 ${width} ${CHART_HEIGHT}`, height: CHART_HEIGHT}, []);
    chart.node.replaceChildren(...this.drawAxes(chart, steps[0] > low + 1e-9 ? [low, ...steps] : steps, width),
      chart.cursor,
      ...this.histories.flatMap((history, series) => chart.lines.flatMap(([key, dashed]) =>
        this.drawLine(chart, history.epochs, key, series, dashed))));
  }

  drawAxes({x, y, format}, steps, width) {
    const rows = steps.flatMap((value) => [
      drawing("line", {class: "ss-grid", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value)}),
      drawing("text", {class: "ss-tick", x: LEFT - 6, y: y(value) + 4, "text-anchor": "end", text: format(value)})]);
    const epochs = [...new Set(ticks(this.first, this.last, Math.min(8, width / 60)).map(Math.round))];
    const columns = epochs.map((epoch) => drawing("text", {class: "ss-tick", x: x(epoch), y: CHART_HEIGHT - BOTTOM + 16,
      "text-anchor": "middle", text: epoch}));
    return [...rows, ...columns, drawing("text", {class: "ss-tick", x: width - RIGHT, y: CHART_HEIGHT - 3,
      "text-anchor": "end", text: "epoch"})];
  }

  drawLine({x, y}, epochs, key, series, dashed) {
    const points = epochs.map((line) => [x(line.epoch), y(line[key] ?? NaN)]);
    let path = "", pen = "M";
    for (const [across, down] of points) {
      path += Number.isFinite(down) ? `${pen}${across.toFixed(1)},${down.toFixed(1)}` : "";
      pen = Number.isFinite(down) ? "L" : "M";
    }
    const tone = `ss-series-${series % MARKERS.length}`, every = Math.ceil(epochs.length / 12);
    const marked = (at) => at % every === 0 || at === epochs.length - 1;
    const marks = points.filter(([, down], at) => Number.isFinite(down) && marked(at));
    return [drawing("path", {class: `ss-curve ${tone}${dashed ? " ss-dashed" : ""}`, d: path}),
      ...marks.map(([across, down]) => drawing("path", {class: `ss-mark ${tone}${dashed ? " ss-hollow" : ""}`,
        d: MARKERS[series % MARKERS.length], transform: `translate(${across.toFixed(1)},${down.toFixed(1)})`}))];
  }

  showTable() {
    const head = ["", `Loss, epoch ${this.epoch}`, "Training images right", "Validation images right"];
    const rows = this.histories.map(({title, epochs}, series) => {
      const end = epochs.at(-1)?.epoch;
      const line = epochs.find(({epoch}) => epoch === Math.min(this.epoch, end)) ?? {};
      const cells = [Number.isFinite(line.train_loss) ? line.train_loss.toFixed(3) : "–",
        percent(line.train_accuracy ?? NaN, 1), percent(line.val_accuracy ?? NaN, 1)];
      return element("tr", {}, element("th", {scope: "row"}, this.key(series), title,
        this.epoch > end && element("span", {class: "ss-quiet", text: ` at epoch ${end}, its last so far`})),
        ...cells.map((text) => element("td", {text})));
    });
    const heads = head.map((text) => text ? element("th", {scope: "col", text}) : element("td"));
    this.table.replaceChildren(element("table", {class: "ss-values"},
      element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows)),
    element("p", {class: "ss-quiet", text: "Dashed: training images, a running mean while the weights still change. "
      + "Solid: validation images, and the loss."}));
  }

  key(series) {
    const tone = `ss-series-${series % MARKERS.length}`;
    return drawing("svg", {class: "ss-key", viewBox: "-12 -6 24 12", width: 24, height: 12, "aria-hidden": "true"},
      drawing("path", {class: `ss-curve ${tone}`, d: "M-12,0H12"}),
      drawing("path", {class: `ss-mark ${tone}`, d: MARKERS[series % MARKERS.length]}));
  }

  destroy() {
    this.watcher.disconnect();
    this.root.replaceChildren();
    this.root.classList.remove("shiftscope", "ss-curves");
  }
}

/** Draw loss and accuracy against epoch.
 *
 * `histories` are [{title, epochs: [{epoch, train_loss, train_accuracy, val_accuracy}]}]; a number may be null. */
export function mountCurves(root, histories) {
  const curves = new Curves(root, histories);
  return {update: (longer) => curves.update(longer), destroy: () => curves.destroy()};
}

// ---------------------------------------------------------------- the report

const MOUNTS = {explorer: mountExplorer, confusion: mountConfusion, curves: (root, {histories}) =>
  mountCurves(root, histories)};

/** Mount the views of a page: each element with `data-view` shows the JSON of the script with the same `data-of`.
 *
 * A section whose view stands gets the class "is-live": its static pictures then step back. */
export async function startPage(page) {
  const ready = [...page.querySelectorAll("[data-view]")].map(async (root) => {
    const source = page.querySelector(`script[data-of="${root.dataset.view}"]`);
    const view = MOUNTS[root.dataset.view](root, JSON.parse(source.textContent));
    await view.ready;
    root.closest("section")?.classList.add("is-live");
  });
  await Promise.all(ready);
  page.documentElement.dataset.views = "ready";
  performance.mark("shiftscope-ready");
}

// ---------------------------------------------------------------- the widget

function render({model, el}) {
  const integer = (name) => Number.isInteger(model.get(name)) ? model.get(name) : undefined;
  let view;
  const open = () => {
    view?.destroy();
    view = mountExplorer(el, model.get("payload"), {
      image: integer("image"), dy: integer("dy"), dx: integer("dx"),
      onMove: (place) => {
        for (const name of ["image", "dy", "dx"]) model.set(name, place[name]);
        model.save_changes();
      },
    });
  };
  const turn = () => view.setImage(model.get("image"));
  const move = () => view.setPlacement(model.get("dy"), model.get("dx"));
  const listeners = {"change:payload": open, "change:image": turn, "change:dy": move, "change:dx": move};
  open();
  for (const [event, listener] of Object.entries(listeners)) model.on(event, listener);
  return () => {
    for (const [event, listener] of Object.entries(listeners)) model.off(event, listener);
    view.destroy();
  };
}

export default {render};
