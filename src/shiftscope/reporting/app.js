// Interactive views of the report, the notebook widget and the live page, as one ES module without framework or build.
//
//   mountExplorer(root, payload, {onMove, image, dy, dx}) -> {setPlacement(dy, dx), setImage(i), ready, destroy()}
//   mountConfusion(root, payload)                         -> {ready, destroy()}
//   mountCurves(root, curves)                             -> {update(curves), destroy()}
//
// drawing.js is placed before this file. report.js mounts the views of a page, widget.js the explorer in a notebook; one
// of them is appended.
// Payloads are made and documented in shiftscope.reporting (explorer.py, confusion.py, curves.py). There is no global
// state: a page may hold any number of views. Text is never inserted as HTML, and styles are set as properties, so that
// a page can forbid inline styles and scripts.

// ---------------------------------------------------------------- constants

/** Paul Tol, "Color Schemes", 2021: the muted scheme and its gray. More than ten classes reuse colors, not letters. */
const LABEL_COLORS = ["#332288", "#88CCEE", "#44AA99", "#117733", "#999933", "#DDCC77", "#CC6677", "#882255",
  "#AA4499", "#DDDDDD"];

/** Nine stops of cividis (Nunez, Anderton and Renslow, 2018): color-blind safe, monotonic in lightness. */
const CIVIDIS = [[0, 34, 78], [18, 53, 112], [59, 73, 108], [87, 93, 109], [112, 113, 115], [138, 134, 120],
  [165, 156, 116], [195, 179, 105], [253, 231, 55]];

/** From -1 (lowers a score) over 0 (white) to 1 (raises it), as in the figures. */
const SIGNED = [[6, 36, 90], [47, 116, 181], [255, 255, 255], [244, 162, 89], [200, 80, 10]];

/** Fractions in a table from 0 to 1, on a light and on a dark page. */
const SHADES = [[[240, 245, 250], [106, 165, 210], [8, 48, 107]], [[32, 43, 55], [60, 120, 170], [190, 224, 255]]];

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const INK = "#000000", PAPER = "#ffffff", OTHERS = "#6e7781";
const UNKNOWN = 65535;
const LARGE_STEP = 4;       // cells of an arrow key with Shift
const ANNOUNCE_AFTER = 600; // milliseconds without a change before predictions are announced to screen readers
const FEW_CELLS = 8;        // maps with at most this many cells per side have a number in each
const MAX_COLUMNS = 26;     // largest number of classes in a table or legend
const NUMBERS = new Intl.NumberFormat("en");

// ---------------------------------------------------------------- elements

/** Create an element. Keys that start with "on" are listeners; attributes that are null or false are left out. */
function element(tag, attributes = {}, ...children) {
  return configure(document.createElement(tag), attributes, children);
}

function svgElement(tag, attributes = {}, ...children) {
  return configure(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function configure(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "text") made.textContent = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

const button = (text, onclick, attributes = {}) => element("button",
  {type: "button", class: "ss-button", text, onclick, ...attributes});

let views = 0;

/** A unique id for groups of radio buttons and targets of labels. */
const uniqueId = (prefix) => `shiftscope-${prefix}-${++views}`;

// ---------------------------------------------------------------- data and text

/** Unpack an array from base64 of zlib-compressed little-endian numbers. */
async function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed.data), (sign) => sign.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const buffer = await new Response(stream).arrayBuffer();
  return packed.dtype === "uint16" ? new Uint16Array(buffer) : new Uint8Array(buffer);
}

/** Format a fraction in percent; values close to 0 or 1 are not rounded to them. */
function percent(fraction, digits = 0) {
  if (!Number.isFinite(fraction)) return "–";
  const text = (100 * fraction).toFixed(digits), least = 10 ** -digits;
  if (fraction > 0 && Number(text) === 0) return `<${least}\u00a0%`;
  return fraction < 1 && Number(text) === 100 ? `>${(100 - least).toFixed(digits)}\u00a0%` : `${text}\u00a0%`;
}

const thousandths = (value) => value === UNKNOWN ? NaN : value / 1000;
const letterOf = (cls) => cls < LETTERS.length ? LETTERS[cls] : String(cls);
const modulo = (value, size) => ((value % size) + size) % size;
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

/** The text color with sufficient contrast on a color [r, g, b] from 0 to 255 (relative luminance of WCAG 2). */
function readableOn(color) {
  const linear = color.map((part) => part / 255).map((part) => part <= 0.04045 ? part / 12.92
    : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.179 ? INK : PAPER;
}

/** Interpolate color stops at a fraction from 0 to 1; returns [r, g, b]. */
function blend(stops, fraction) {
  const at = clamp(fraction, 0, 1) * (stops.length - 1), low = Math.min(Math.floor(at), stops.length - 2);
  return stops[low].map((part, index) => Math.round(part + (at - low) * (stops[low + 1][index] - part)));
}

const cividis = (fraction) => blend(CIVIDIS, fraction);

/** Color an element by a fraction, for light and for dark pages. */
function colorByFraction(node, fraction) {
  const [light, dark] = SHADES.map((stops) => blend(stops, fraction));
  node.style.backgroundColor = `light-dark(rgb(${light.join()}), rgb(${dark.join()}))`;
  node.style.color = `light-dark(${readableOn(light)}, ${readableOn(dark)})`;
}

/** Color and letter of a class. */
const styleOf = (cls) => ({color: LABEL_COLORS[cls % LABEL_COLORS.length], sign: letterOf(cls)});

/** Like `styleOf`, for more classes than colors: the first of `frequent` have one each, the others are gray. */
function styleByRank(count, frequent) {
  if (count <= LABEL_COLORS.length) return styleOf;
  const ranks = new Map(frequent.map((cls, rank) => [cls, rank]));
  return (cls) => ({color: LABEL_COLORS[ranks.get(cls)] ?? OTHERS,
    sign: count > LETTERS.length ? String(cls) : letterOf(cls)});
}

function badge(cls, name, style = styleOf) {
  const {color, sign} = style(cls);
  const made = element("span", {class: "ss-badge", text: sign, title: name, "aria-hidden": "true"});
  made.style.backgroundColor = color;
  made.style.color = readableOn(channels(color));
  return made;
}

/** Base class of the views of a page; `watcher` is an optional observer. */
class View {
  constructor(root, name) {
    Object.assign(this, {root, name, destroyed: false});
    root.classList.add("shiftscope", name);
  }

  destroy() {
    this.destroyed = true;
    this.watcher?.disconnect();
    this.root.replaceChildren();
    this.root.classList.remove("shiftscope", this.name);
  }
}

// ---------------------------------------------------------------- the explorer

/** The placements of a group as rows and columns; in circular mode offsets are signed. */
class Grid {
  constructor(group) {
    this.rows = group.rows;
    this.columns = group.columns;
    this.shape = [group.rows.length, group.columns.length];
    this.circular = group.mode === "circular";
    this.size = group.canvas;
    this.middle = group.middle ?? this.shape.map((count) => Math.floor(count / 2));
  }

  /** The offset [dy, dx] of a cell, as in `Placement`. */
  offset(row, column) {
    const found = [this.rows[row], this.columns[column]];
    return this.circular ? found.map((value, axis) => modulo(value, this.size[axis])) : found;
  }

  /** The cell [row, column] of an offset, or null if it is not one of the placements. */
  find(dy, dx) {
    const cell = [this.indexOf(this.rows, dy, 0), this.indexOf(this.columns, dx, 1)];
    return cell.includes(-1) ? null : cell;
  }

  indexOf(values, wanted, axis) {
    return values.findIndex((value) => value === wanted
      || (this.circular && modulo(value, this.size[axis]) === modulo(wanted, this.size[axis])));
  }

  /** The row (axis 0) or column (axis 1) nearest to an offset. */
  nearest(axis, wanted) {
    const values = axis ? this.columns : this.rows, size = this.size[axis];
    const around = this.circular ? modulo(wanted - values[0] + 0.5, size) + values[0] - 0.5 : wanted;
    const far = (value) => Math.abs(value - around);
    return values.reduce((best, value, at) => far(value) < far(values[best]) ? at : best, 0);
  }

  /** Move by some cells; in circular mode with all shifts the grid wraps around. */
  step(axis, from, by) {
    const count = this.shape[axis];
    const wraps = this.circular && count === this.size[axis];
    return wraps ? modulo(from + by, count) : clamp(from + by, 0, count - 1);
  }
}

const ARROWS = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]};

class Explorer extends View {
  constructor(root, payload, options) {
    super(root, "ss-explorer");
    this.groups = payload.groups ?? [];
    this.onMove = options.onMove ?? (() => {});
    this.wanted = {...options};
    this.table = payload.table;
    this.watcher = new ResizeObserver(() => this.drawMaps());
    this.ready = this.groups.length ? this.open(0) : Promise.resolve(this.showMessage("No images were stored "
      + "in the audits."));
  }

  showMessage(text) {
    this.root.replaceChildren(element("p", {class: "ss-quiet", text}));
  }

  /** Show a group, starting in the middle. */
  async open(index) {
    const group = this.groups[index];
    const data = await unpackGroup(group).catch((error) => {
      this.showMessage(`The explorer cannot be shown: ${error.message}. It needs a browser of 2023 or later.`);
      throw error;
    });
    if (this.destroyed) return;
    Object.assign(this, {groupIndex: index, group, data, grid: new Grid(group), kept: new Map(), explained: false});
    this.image = clamp(Math.trunc(this.wanted.image ?? 0), 0, group.images.numbers.length - 1);
    [this.row, this.column] = this.grid.find(this.wanted.dy, this.wanted.dx) ?? this.grid.middle;
    this.wanted = {};
    this.build();
    this.applyFilter();
    this.showImage();
    this.root.dataset.ready = "true";
  }

  // ------------------------------------------------------------ the page

  build() {
    this.watcher.disconnect();
    this.announcer = element("div", {class: "ss-announcement", role: "status", "aria-live": "polite"});
    this.cards = this.group.models.map((model, index) => this.buildCard(model, index));
    const models = element("div", {class: "ss-models"}, ...this.cards.map((card) => card.node));
    this.legend = element("div", {class: "ss-legend"});
    this.root.replaceChildren(
      ...[this.buildChoice(), this.buildLead(),
        element("div", {class: "ss-layout"},
          element("div", {class: "ss-side"}, this.buildStage(), this.buildPosition()), this.buildImages(),
          element("div", {class: "ss-main"}, models, this.legend, ...this.buildScales(), this.buildNotes())),
        this.announcer].filter(Boolean));
    for (const card of this.cards) {
      this.watcher.observe(card.labels);
      this.watcher.observe(card.accuracies);
    }
  }

  buildChoice() {
    if (this.groups.length < 2) return null;
    const name = uniqueId("group");
    const list = element("select", {id: name, onchange: () => this.open(list.selectedIndex)},
      ...this.groups.map((group) => element("option", {text: `${group.dataset}: ${group.title}`})));
    list.selectedIndex = this.groupIndex;
    return element("p", {class: "ss-choice"}, element("label", {for: name, text: "Images and placements"}), list);
  }

  buildLead() {
    const action = {circular: "Drag the image: pixels that leave the canvas at one side reappear at the opposite side.",
      crop: "Drag the window over the image: the models see the part inside it.",
      fill: "Drag the image: what leaves the canvas is lost, and the rest is filled."}[this.group.mode]
      ?? "Drag the image over the canvas.";
    return element("p", {class: "ss-lead"}, element("strong", {text: action}),
      " Alternatively, click on a map or use the arrow keys (with Shift: large steps; Home: middle). The predictions "
      + `of all models at all ${NUMBERS.format(this.cells)} positions were computed in advance.`);
  }

  buildStage() {
    this.canvas = element("canvas", {class: "ss-canvas"});
    this.frame = element("div", {class: "ss-frame", "aria-hidden": "true"});
    const moving = this.group.mode === "crop" ? "window" : "image";
    this.hint = element("span", {class: "ss-hint", text: `drag the ${moving}`, "aria-hidden": "true"});
    this.stage = this.pad(element("div", {class: "ss-stage"}, this.canvas, this.frame, this.hint),
      `Canvas: position of the ${moving}`);
    limitSize(this.stage, this.sizes[1], 19.5);
    let from = null;
    trackPointer(this.stage, (event) => {
      this.grabAt(event);
      from = {x: event.clientX, y: event.clientY, dy: this.grid.rows[this.row], dx: this.grid.columns[this.column]};
    }, (event) => this.dragTo(event, from));
    return this.stage;
  }

  /** Sizes of the part that moves and of the whole: image and canvas, or in mode crop window and image. */
  get sizes() {
    const {mode, image, canvas} = this.group;
    return mode === "crop" ? [canvas, image] : [image, canvas];
  }

  /** If the pointer goes down outside of the image (or window), center it there. */
  grabAt(event) {
    if (!["canvas", "crop"].includes(this.group.mode)) return;
    const box = this.stage.getBoundingClientRect(), [[h, w], [H, W]] = this.sizes;
    const y = (event.clientY - box.top) / box.height * H, x = (event.clientX - box.left) / box.width * W;
    const dy = this.grid.rows[this.row], dx = this.grid.columns[this.column];
    if (y >= dy && y < dy + h && x >= dx && x < dx + w) return;
    this.moveTo(this.grid.nearest(0, y - h / 2), this.grid.nearest(1, x - w / 2));
  }

  dragTo(event, from) {
    const box = this.stage.getBoundingClientRect(), [, [H, W]] = this.sizes;
    const down = Math.round((event.clientY - from.y) / box.height * H);
    const right = Math.round((event.clientX - from.x) / box.width * W);
    this.moveTo(this.grid.nearest(0, from.dy + down), this.grid.nearest(1, from.dx + right));
  }

  /** Make an element a two-dimensional slider for the keyboard and screen readers. */
  pad(node, label) {
    const [R, Q] = this.grid.shape;
    configure(node, {role: "slider", tabindex: 0, "aria-label": label, "aria-roledescription": "two-dimensional slider",
      "aria-valuemin": 1, "aria-valuemax": R * Q, onkeydown: (event) => this.handleKey(event)}, []);
    return node;
  }

  handleKey(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const arrow = ARROWS[event.key];
    if (!arrow && event.key !== "Home") return;
    event.preventDefault();
    if (!arrow) return void this.moveTo(...this.grid.middle);
    const by = event.shiftKey ? LARGE_STEP : 1;
    this.moveTo(this.grid.step(0, this.row, by * arrow[0]), this.grid.step(1, this.column, by * arrow[1]));
  }

  /** Below the canvas: position of the image, and buttons to center, keep and explain it. */
  buildPosition() {
    this.position = element("p", {class: "ss-where"});
    this.keepButton = button("", () => this.toggleKept());
    this.mapButton = button("Attribution map", () => this.explain(!this.explained));
    this.mapButton.hidden = !this.group.models.some(({attribution}) => attribution);
    return element("div", {class: "ss-position"}, this.position, element("div", {class: "ss-row"},
      button("Center", () => this.moveTo(...this.grid.middle)), this.keepButton, this.mapButton));
  }

  // ------------------------------------------------------------ images

  buildImages() {
    const {numbers, first} = this.group.images, name = uniqueId("images");
    this.radios = numbers.map((number, index) => this.buildThumbnail(name, number, index));
    this.list = element("select", {"aria-label": "Image", onchange: () => this.setImage(this.list.selectedIndex)},
      ...numbers.map((number, index) => element("option", {text: this.nameOf(index)})));
    const turn = (by, sign, label) => button(sign, () => this.setImage(
      this.listed[modulo(this.listed.indexOf(this.image) + by, this.listed.length)]),
    {class: "ss-button ss-turn", "aria-label": label});
    this.keptStrip = element("div", {class: "ss-strip"});
    this.keptTitle = element("p", {class: "ss-strip-title", text: "Kept images"});
    this.strips = [["First images", this.radios.slice(0, first)],
      ["Images with the lowest consistency", this.radios.slice(first)]].map(([text, radios]) => ({radios, parts: [
      element("p", {class: "ss-strip-title", text}),
      element("div", {class: "ss-strip"}, ...radios.map((radio) => radio.node))]}));
    return element("div", {class: "ss-images", role: "group", "aria-label": "Choose an image"}, ...this.buildFilter(),
      element("div", {class: "ss-row"}, turn(-1, "‹", "Previous image"), this.list, turn(1, "›", "Next image")),
      ...this.strips.flatMap(({parts}) => parts), this.keptTitle, this.keptStrip, this.buildDownload());
  }

  buildFilter() {
    const {filters, images: {numbers}} = this.group;
    this.filter = element("select", {"aria-label": "Filter images", onchange: () => this.applyFilter()},
      element("option", {text: `All ${numbers.length} shown images`}), ...filters.map(({text, images}) =>
        element("option", {text: `${text} (${images.length})`, disabled: !images.length})));
    this.filterNote = element("p", {class: "ss-strip-title", role: "status"});
    return [this.filter, this.filterNote];
  }

  /** List the images of the selected filter only. */
  applyFilter() {
    const chosen = this.group.filters[this.filter.selectedIndex - 1], {table} = this;
    this.listed = chosen?.images ?? this.radios.map((_, index) => index);
    this.radios.forEach(({node, input}, index) => {
      const option = this.list.options[index];
      node.hidden = input.disabled = option.hidden = option.disabled = !this.listed.includes(index);
    });
    for (const {radios, parts} of this.strips) {
      for (const part of parts) part.hidden = radios.every(({node}) => node.hidden);
    }
    this.filterNote.textContent = !chosen || chosen.audited === null ? "" : `${this.listed.length} of `
      + `${NUMBERS.format(chosen.audited)} such images are shown${table ? "; the table lists all images" : ""}.`;
    this.filterNote.hidden = !this.filterNote.textContent;
    if (chosen?.audited === null) this.explain(true);
    if (!this.listed.includes(this.image)) this.setImage(this.listed[0]);
  }

  /** A button that saves the table of all audited images; null without a table. */
  buildDownload() {
    if (!this.table) return null;
    return button("Download table of images (CSV)", async () => {
      const address = URL.createObjectURL(new Blob([await unpack(this.table.data)], {type: "text/csv"}));
      element("a", {href: address, download: this.table.name}).click();
      setTimeout(() => URL.revokeObjectURL(address), 60000);
    });
  }

  get quantity() { return this.group.labeled ? "accuracy" : "agreement with the middle"; }
  nameOf(index) {
    const {names, labels} = this.group.images, {labeled, classes} = this.group;
    return labeled ? `${classes[labels[index]]}, ${names[index]}` : names[index];
  }

  buildThumbnail(name, number, index) {
    const canvas = element("canvas", {"aria-hidden": "true"});
    drawWhole(canvas, this.imageOf(index));
    const input = element("input", {type: "radio", name, "aria-label": this.nameOf(index),
      onchange: () => this.setImage(index)});
    return {input, node: element("label", {class: "ss-thumbnail", title: this.nameOf(index)}, input, canvas)};
  }

  imageOf(index) {
    return imageAt(this.data.pixels, this.group.images.pixels.shape, index);
  }

  /** Keep the image at its position, or remove it from the kept ones. */
  toggleKept() {
    if (!this.kept.delete(this.keptKey)) this.kept.set(this.keptKey, [this.image, this.row, this.column]);
    this.showKept();
  }

  get keptKey() {
    return `${this.image} ${this.row} ${this.column}`;
  }

  showKept() {
    this.keptTitle.hidden = !this.kept.size;
    this.keptStrip.replaceChildren(...[...this.kept.values()].map(([image, row, column]) => {
      const [dy, dx] = this.grid.offset(row, column), canvas = element("canvas", {"aria-hidden": "true"});
      drawPlaced(canvas, this.imageOf(image), this.group, dy, dx);
      const label = `${this.nameOf(image)} at dy ${dy}, dx ${dx}`;
      return element("button", {type: "button", class: "ss-thumbnail", "aria-label": label, title: label,
        onclick: () => {
          Object.assign(this, {image, row, column});
          this.showImage();
          this.notify();
        }}, canvas);
    }));
    this.keepButton.textContent = this.kept.has(this.keptKey) ? "★ Kept" : "☆ Keep";
    this.keepButton.setAttribute("aria-pressed", String(this.kept.has(this.keptKey)));
  }

  // ------------------------------------------------------------ models

  buildCard(model, index) {
    const name = uniqueId("model"), {classes} = this.data.models[index];
    const card = {model, index, ranks: classes.length / (this.group.images.numbers.length * this.cells)};
    card.prediction = element("p", {class: "ss-prediction"});
    card.bars = element("ol", {class: "ss-bars"});
    card.labels = element("canvas");
    card.accuracies = element("canvas");
    card.imageCaption = element("figcaption");
    card.allCaption = element("figcaption");
    card.pads = [[card.labels, "predictions"], [card.accuracies, `${this.quantity} on all images`]].map(
      ([canvas, what]) => this.buildMap(canvas, `${model.title}, map of ${what}`));
    card.attribution = element("canvas", {class: "ss-attribution", role: "img", "aria-label": `${model.title}, attribution map`});
    card.mapCaption = element("figcaption");
    card.figures = [[card.pads[0].node, card.imageCaption], [card.pads[1].node, card.allCaption],
      [card.attribution, card.mapCaption]].map((parts) => element("figure", {}, ...parts));
    card.figures[2].hidden = true;
    card.node = element("article", {class: "ss-card", "aria-labelledby": name, "data-model": model.title},
      element("h3", {id: name, text: model.title}), card.prediction, card.bars,
      element("div", {class: "ss-maps"}, ...card.figures));
    return card;
  }

  /** The stored attribution map of a model for the shown image, if possible at its position; undefined without one. */
  attributionOf({model, index}) {
    const {images = [], offsets, targets} = model.attribution ?? {}, size = this.group.canvas[0] * this.group.canvas[1];
    const here = this.grid.offset(this.row, this.column).join();
    const found = images.map((_, at) => at).filter((at) => images[at] === this.image);
    const at = found.find((one) => offsets[one].join() === here) ?? found[0];
    return at === undefined ? undefined : {offset: offsets[at], target: targets[at],
      values: this.data.models[index].attribution.subarray(at * size, (at + 1) * size)};
  }

  /** Show attribution maps instead of accuracies, and move the image to where its map was computed. */
  explain(on) {
    this.explained = on;
    this.mapButton.setAttribute("aria-pressed", String(on));
    [this.scales[0].hidden, this.scales[1].hidden] = [on, !on];
    for (const {figures} of this.cards) [figures[1].hidden, figures[2].hidden] = [on, !on];
    if (on) this.showAttributions();
  }

  showAttributions() {
    const maps = this.cards.map((card) => this.attributionOf(card)), offset = maps.find(Boolean)?.offset;
    if (offset) this.setPlacement(...offset);
    this.cards.forEach(({model, attribution, mapCaption}, index) => {
      const map = maps[index];
      attribution.hidden = !map;
      if (map) drawAttribution(attribution, this.imageOf(this.image), this.group, map.offset, map.values,
        model.attribution.levels);
      mapCaption.textContent = map ? `${model.attribution.method} for ${map.target}, image at dy ${map.offset[0]}, `
        + `dx ${map.offset[1]}` : "No attribution map of this image was computed.";
    });
  }

  get cells() {
    return this.grid.shape[0] * this.grid.shape[1];
  }

  buildMap(canvas, label) {
    const marker = element("div", {class: "ss-marker", "aria-hidden": "true"}), [R, Q] = this.grid.shape;
    const node = this.pad(element("div", {class: "ss-map"}, canvas, marker), label);
    limitSize(node, [R, Q].map((count) => Math.max(count, Math.max(R, Q) / 5)), 20);
    marker.style.width = `${100 / Q}%`;
    marker.style.height = `${100 / R}%`;
    const jump = (event) => {
      const box = node.getBoundingClientRect();
      this.moveTo(clamp(Math.floor((event.clientY - box.top) / box.height * R), 0, R - 1),
        clamp(Math.floor((event.clientX - box.left) / box.width * Q), 0, Q - 1));
    };
    trackPointer(node, jump, jump, "touch");
    node.addEventListener("click", jump);  // for touch: dragging there scrolls the page
    return {node, marker};
  }

  buildScales() {
    const scale = (title, stops, low, high) => {
      const bar = element("span", {class: "ss-scale", "aria-hidden": "true"});
      bar.style.background = `linear-gradient(to right, ${stops.map((stop) => `rgb(${stop.join()})`).join()})`;
      return element("p", {class: "ss-quiet ss-scales"}, element("span", {text: title}),
        element("span", {class: "ss-number", text: low}), bar, element("span", {class: "ss-number", text: high}));
    };
    this.scales = [scale(`${this.group.labeled ? "Accuracy" : "Agreement with the middle"} on all images:`, CIVIDIS, ...this.group.scale.map((end) => percent(end))),
      scale("Attribution (each map has its own scale): a pixel", SIGNED, "lowers", "raises the score")];
    this.scales[1].hidden = true;
    return this.scales;
  }

  buildNotes() {
    const {title, credit, notes} = this.group;
    const reading = "Bars: confidence of the most probable classes. Left map: prediction for this image at every "
      + `position. Right map: ${this.quantity} on all images at every position`
      + (this.mapButton.hidden ? "." : ", or attribution map of this image.");
    return element("p", {class: "ss-quiet", text: [reading, title, ...notes, `${credit}.`].join(" ")});
  }

  // ------------------------------------------------------------ what changes

  showImage() {
    this.radios[this.image].input.checked = true;
    this.list.selectedIndex = this.image;
    this.frequent = this.frequentLabels();
    this.style = styleByRank(this.group.classes.length, this.frequent);
    this.drawMaps();
    this.showLegend();
    this.showPosition();
    if (this.explained) this.showAttributions();
  }

  /** The predictions of a model for the shown image, one class per cell. */
  labelsOf(index) {
    return this.data.models[index].classes.subarray(this.image * this.cells, (this.image + 1) * this.cells);
  }

  get truth() { return this.group.images.labels[this.image]; }
  outlinedOf(index) {  // the true class, or without labels the prediction for the middle
    const [row, column] = this.group.middle ?? [NaN, NaN];  // without a middle no region
    return this.group.labeled ? this.truth : this.labelsOf(index)[row * this.grid.shape[1] + column];
  }

  drawMaps() {
    for (const {index, labels, accuracies} of this.cards) {
      drawLabels(labels, this.labelsOf(index), this.grid.shape, this.outlinedOf(index), this.group.codes,
        this.style);
      drawAccuracies(accuracies, this.data.models[index].map, this.grid.shape, this.group.scale);
    }
  }

  /** The classes of the shown image by descending number of positions: the true one first, and code of non-finite. */
  frequentLabels() {
    const counts = new Map(this.group.labeled ? [[this.truth, Infinity]] : []);
    for (const {index} of this.cards) {
      this.labelsOf(index).forEach((label) => counts.set(label, (counts.get(label) ?? 0) + 1));
    }
    counts.delete(this.group.codes.not_computed);
    return [...counts.keys()].sort((one, other) => counts.get(other) - counts.get(one));
  }

  showLegend() {
    const {codes, classes} = this.group, frequent = this.frequent.filter((label) => label < codes.not_computed);
    const shown = frequent.slice(0, MAX_COLUMNS).sort((one, other) => one - other);
    const more = frequent.length - shown.length;
    const entry = (label) => element("span", {class: "ss-entry"}, badge(label, classes[label], this.style),
      element("span", {text: classes[label] + (label === this.truth ? " (true)" : "")}));
    const nonfinite = this.frequent.includes(codes.nonfinite) && element("span", {class: "ss-entry"},
      element("span", {class: "ss-badge ss-nonfinite", text: "?", "aria-hidden": "true"}), "non-finite output");
    const others = more > 0 && element("span", {class: "ss-entry ss-quiet", text: `and ${more} less frequent classes`});
    this.legend.replaceChildren(...[...shown.map(entry), others, nonfinite].filter(Boolean),
      element("span", {class: "ss-entry ss-quiet"}, element("span", {class: "ss-line", "aria-hidden": "true"}),
        `border of the positions with ${this.group.labeled ? "correct predictions" : "the prediction of the middle"}`));
  }

  showPosition() {
    const [dy, dx] = this.grid.offset(this.row, this.column), {group} = this;
    if (group.mode === "crop") drawWhole(this.canvas, this.imageOf(this.image));
    else drawPlaced(this.canvas, this.imageOf(this.image), group, dy, dx);
    this.placeFrame(dy, dx);
    const where = `${group.images.names[this.image]}, dy ${dy} (down), dx ${dx} (right)`;
    this.position.replaceChildren(...(group.labeled ? ["True class: ", badge(this.truth, null, this.style), " ",
      element("strong", {text: group.classes[this.truth]})] : []),
      element("span", {class: "ss-quiet ss-offset", text: where}));
    for (const card of this.cards) this.showPrediction(card);
    const at = this.row * this.grid.shape[1] + this.column + 1;
    for (const pad of [this.stage, ...this.cards.flatMap((card) => card.pads.map(({node}) => node))]) {
      pad.setAttribute("aria-valuenow", at);
      pad.setAttribute("aria-valuetext", `down ${dy}, right ${dx}`);
    }
    this.showKept();
  }

  /** Frame the window, or the image on the canvas, whose background may have the same color. */
  placeFrame(dy, dx) {
    const [[h, w], [H, W]] = this.sizes;
    this.frame.hidden = !["canvas", "crop"].includes(this.group.mode);
    this.frame.classList.toggle("ss-window", this.group.mode === "crop");
    this.frame.style.left = `${100 * dx / W}%`;
    this.frame.style.top = `${100 * dy / H}%`;
    this.frame.style.width = `${100 * w / W}%`;
    this.frame.style.height = `${100 * h / H}%`;
  }

  /** The most probable classes at the shown position: [{label, confidence}], the prediction first. */
  ranking(card) {
    const {classes, confidences} = this.data.models[card.index], found = [];
    const images = this.group.images.numbers.length, cell = this.row * this.grid.shape[1] + this.column;
    for (let rank = 0; rank < card.ranks; rank++) {
      const at = (rank * images + this.image) * this.cells + cell;
      found.push({label: classes[at], confidence: thousandths(confidences[at])});
    }
    return found;
  }

  showPrediction(card) {
    const ranking = this.ranking(card), [{label, confidence}] = ranking, {codes, classes} = this.group;
    const known = label < codes.not_computed;
    card.node.dataset.prediction = known ? label : label === codes.nonfinite ? "non-finite" : "not computed";
    card.predicted = known ? classes[label] : label === codes.nonfinite ? "non-finite output" : "not computed here";
    const what = this.group.labeled ? "correct" : "as in the middle", not = this.group.labeled ? "in" : "not ";
    card.result = label === codes.not_computed ? "" : label === this.outlinedOf(card.index) ? what : not + what;
    card.confidence = confidence;
    card.prediction.className = `ss-prediction ss-${this.group.labeled && card.result || "unknown"}`;
    const sign = {correct: "✓ correct", incorrect: "✗ incorrect"}[card.result] ?? (card.result || "?");
    card.prediction.replaceChildren(element("span", {class: "ss-result", text: sign}),
      element("strong", {text: card.predicted, title: card.predicted}));
    card.bars.replaceChildren(...ranking.map((entry, rank) => this.bar(entry, rank, known)));
    this.showMaps(card);
  }

  bar({label, confidence}, rank, known) {
    if (!known || label >= this.group.codes.not_computed) {
      return element("li", {class: "ss-bar ss-quiet", text: rank ? "\u00a0" : "no confidence"});
    }
    const fill = element("span", {class: `ss-fill${label === this.truth ? " ss-true" : ""}`});
    fill.style.width = `${100 * (confidence || 0)}%`;
    return element("li", {class: "ss-bar"}, badge(label, this.group.classes[label], this.style),
      element("span", {class: "ss-name", text: this.group.classes[label], title: this.group.classes[label]}),
      element("span", {class: "ss-track", "aria-hidden": "true"}, fill),
      element("span", {class: "ss-confidence",
        text: Number.isFinite(confidence) ? percent(confidence) : "not stored"}));
  }

  showMaps(card) {
    const [R, Q] = this.grid.shape, {codes, labeled} = this.group, outlined = this.outlinedOf(card.index);
    const computed = this.labelsOf(card.index).filter((label) => label !== codes.not_computed);
    const same = percent(computed.filter((label) => label === outlined).length / computed.length);
    card.imageCaption.textContent = `This image: ${labeled ? "correct" : "as in the middle"} at ${same} of the positions`;
    const here = this.data.models[card.index].map[this.row * Q + this.column];
    const accuracy = here === UNKNOWN ? "not computed" : percent(here / 10000, 1);
    card.allCaption.textContent = labeled ? `All images: accuracy ${accuracy} here, ${percent(card.model.accuracy.mean, 1)}`
      + " on average" : `All images: ${accuracy} have the prediction of the middle here`;
    const at = {left: `${100 * this.column / Q}%`, top: `${100 * this.row / R}%`};
    card.pads.forEach(({marker}) => Object.assign(marker.style, at));
  }

  // ------------------------------------------------------------ moving

  moveTo(row, column) {
    this.hint.hidden = true;
    if (row === this.row && column === this.column) return;
    this.row = row;
    this.column = column;
    this.showPosition();
    this.notify();
  }

  /** Call the listener, and announce the predictions to screen readers after a pause. */
  notify() {
    const [dy, dx] = this.grid.offset(this.row, this.column);
    this.onMove({group: this.groupIndex, image: this.image, dy, dx});
    clearTimeout(this.announceTimer);
    this.announceTimer = setTimeout(() => {
      const results = this.cards.map(({model, predicted, confidence, result}) => [`${model.title}: ${predicted}`,
        Number.isFinite(confidence) ? percent(confidence) : "", result].filter(Boolean).join(", "));
      this.announcer.textContent = `${this.nameOf(this.image)} at down ${dy}, right ${dx}. ${results.join(". ")}`;
    }, ANNOUNCE_AFTER);
  }

  setImage(index) {
    if (!this.data) Object.assign(this.wanted, {image: index});
    else if (Number.isInteger(index) && index >= 0 && index < this.radios.length && index !== this.image) {
      this.image = index;
      this.showImage();
      this.notify();
    }
  }

  setPlacement(dy, dx) {
    if (!this.data) Object.assign(this.wanted, {dy, dx});
    else this.moveTo(...this.grid.find(dy, dx) ?? [this.row, this.column]);
  }

  destroy() {
    clearTimeout(this.announceTimer);
    super.destroy();
  }
}

async function unpackGroup(group) {
  const [pixels, ...models] = await Promise.all([unpack(group.images.pixels), ...group.models.map(async (model) => {
    const [map, classes, confidences, attribution] = await Promise.all([model.map, model.classes, model.confidences,
      model.attribution?.maps].map((packed) => packed && unpack(packed)));
    return {map, classes, confidences, attribution};
  })]);
  return {pixels, models};
}

/** Track a pressed pointer; pointers of type `ignored` are not tracked. */
function trackPointer(node, begin, move, ignored = "") {
  node.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.pointerType === ignored) return;
    node.setPointerCapture(event.pointerId);
    node.focus({preventScroll: true, focusVisible: false});
    begin(event);
    event.preventDefault();
  });
  node.addEventListener("pointermove", (event) => {
    if (node.hasPointerCapture(event.pointerId)) move(event);
  });
}

/** Show predictions for images at every placement, see `explorer_payload`.
 *
 * `onMove({group, image, dy, dx})` is called after each change; `image`, `dy` and `dx` set the initial state. */
export function mountExplorer(root, payload, options = {}) {
  return new Explorer(root, payload, options);
}

// ---------------------------------------------------------------- confusion matrix

class Confusion extends View {
  constructor(root, payload) {
    super(root, "ss-confusion");
    this.matrices = payload.matrices ?? [];
    this.ready = this.open();
  }

  async open() {
    this.pixels = await Promise.all(this.matrices.map(({images}) => images ? unpack(images.pixels) : null));
    if (this.destroyed || !this.matrices.length) return;
    this.build();
    this.show(0);
    this.root.dataset.ready = "true";
  }

  build() {
    const name = uniqueId("matrix");
    this.tabs = this.matrices.map(({title}, index) => element("label", {class: "ss-tab"},
      element("input", {type: "radio", name, onchange: () => this.show(index)}), element("span", {text: title})));
    this.table = element("div", {class: "ss-scroll", tabindex: 0, role: "region", "aria-label": "Confusion matrix"});
    this.panel = element("div", {class: "ss-panel", role: "status"});
    this.root.replaceChildren(
      element("p", {class: "ss-lead"}, element("strong", {text: "Select a cell to see its images."}),
        " Rows: true classes; columns: predicted classes. Each image is at one random position."),
      element("div", {class: "ss-tabs", role: "group", "aria-label": "Model"}, ...this.tabs), this.table, this.panel);
  }

  show(index) {
    this.index = index;
    this.tabs[index].firstChild.checked = true;
    const {counts} = this.matrices[index];
    this.panel.replaceChildren(element("p", {class: "ss-quiet", text: "No cell is selected."}));
    this.table.replaceChildren(counts.length > MAX_COLUMNS ? this.buildList() : this.buildTable());
  }

  button(truth, predicted) {
    const {counts, classes} = this.matrices[this.index], count = counts[truth][predicted];
    const total = counts[truth].reduce((sum, part) => sum + part, 0);
    const made = element("button", {type: "button", class: "ss-cell", text: NUMBERS.format(count),
      "aria-label": `${count} of ${total} ${classes[truth]} predicted as ${classes[predicted]}`,
      "aria-pressed": "false",
      onclick: () => {
        this.table.querySelector("[aria-pressed=true]")?.setAttribute("aria-pressed", "false");
        made.setAttribute("aria-pressed", "true");
        this.openCell(truth, predicted, count, total);
      }});
    colorByFraction(made, count / total);
    return made;
  }

  buildTable() {
    const {counts, classes} = this.matrices[this.index];
    const head = element("tr", {}, element("td"), ...classes.map((name, cls) => element("th", {scope: "col"},
      badge(cls, name), element("span", {class: "ss-column", text: name}))));
    const rows = counts.map((row, truth) => element("tr", {}, element("th", {scope: "row"}, badge(truth), " ",
      classes[truth]), ...row.map((count, predicted) => element("td",
      {class: truth === predicted ? "ss-diagonal" : null},
      count ? this.button(truth, predicted) : element("span", {class: "ss-none", text: "·"})))));
    return element("table", {class: "ss-matrix"}, element("thead", {}, head), element("tbody", {}, ...rows));
  }

  /** With many classes: the most frequent errors. */
  buildList() {
    const {counts, classes} = this.matrices[this.index];
    const errors = counts.flatMap((row, truth) => row.map((count, predicted) => ({truth, predicted, count})))
      .filter(({truth, predicted, count}) => count && truth !== predicted)
      .sort((one, other) => other.count - one.count);
    const head = element("tr", {}, ...["True class", "Predicted class", "Images"].map((text) =>
      element("th", {scope: "col", text})));
    const rows = errors.slice(0, 60).map(({truth, predicted}) => element("tr", {}, element("th", {scope: "row",
      text: classes[truth]}), element("td", {text: classes[predicted]}),
    element("td", {}, this.button(truth, predicted))));
    const cut = errors.length > 60 ? `The 60 most frequent of ${NUMBERS.format(errors.length)} errors. ` : "";
    return element("table", {class: "ss-matrix ss-list"}, element("caption", {text: `${cut}${classes.length} classes`}),
      element("thead", {}, head), element("tbody", {}, ...rows));
  }

  openCell(truth, predicted, count, total) {
    const {classes, images, title} = this.matrices[this.index];
    const found = images ? images.numbers.map((_, at) => at).filter((at) => images.true[at] === truth
      && images.predicted[at] === predicted) : [];
    const what = truth === predicted ? "correctly predicted as" : "predicted as";
    const kept = !images ? "The images of the cells were not stored." : !found.length
      ? "No image of this cell was stored." : found.length < count
        ? `The first ${found.length}, as seen by the model:`
        : "As seen by the model:";
    this.panel.replaceChildren(element("p", {}, element("strong", {text: classes[truth]}), ` ${what} `,
      element("strong", {text: classes[predicted]}),
      ` by the ${title}: ${NUMBERS.format(count)} of ${NUMBERS.format(total)}`
      + ` (${percent(count / total, 1)}). ${kept}`), element("div", {class: "ss-cell-images"},
      ...found.map((at) => this.buildImage(at))));
  }

  buildImage(at) {
    const {images, classes} = this.matrices[this.index], [dy, dx] = images.offsets[at];
    const canvas = element("canvas", {role: "img", "aria-label": `${classes[images.true[at]]} at dy ${dy}, dx ${dx}`});
    drawPlaced(canvas, imageAt(this.pixels[this.index], images.pixels.shape, at), images, dy, dx);
    const confidence = Number.isFinite(images.confidences[at]) ? `, confidence ${percent(images.confidences[at])}` : "";
    return element("figure", {}, canvas, element("figcaption", {text: `${images.names[at]}, dy ${dy}, `
      + `dx ${dx}${confidence}`}));
  }
}

/** Show confusion matrices whose cells open their images, see `confusion_payload`. */
export function mountConfusion(root, payload) {
  return new Confusion(root, payload);
}

// ---------------------------------------------------------------- curves

const MARKERS = ["M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z", "M-3.5,-3.5h7v7h-7z", "M0,-4.5L4.5,3.5H-4.5z",
  "M0,-4.8L4.8,0L0,4.8L-4.8,0z", "M0,4.5L4.5,-3.5H-4.5z", "M-1.5,-4.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z"];
const LEFT = 46, RIGHT = 12, TOP = 10, BOTTOM = 34, CHART_HEIGHT = 250;
const CHARTS = [
  {title: "Training loss", unit: "mean cross entropy (nats)", lines: [["train_loss", false]],
    format: (value) => String(Number(value.toPrecision(3)))},
  {title: "Accuracy", unit: "fraction correct", lines: [["train_accuracy", true], ["val_accuracy", false]],
    format: (value) => `${Number((100 * value).toPrecision(3))} %`}];

/** Round numbers that divide a range into about `count` steps. */
function ticks(low, high, count) {
  const raw = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((times) => times * power).find((size) => size >= raw);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({length: Math.floor(high / step + 1e-9) - first + 1}, (_, at) => (first + at) * step);
}

class Curves extends View {
  constructor(root, curves) {
    super(root, "ss-curves");
    this.charts = CHARTS.map((chart) => ({...chart, node: svgElement("svg", {class: "ss-chart", "aria-hidden": "true",
      onpointermove: (event) => this.point(event, event.currentTarget)})}));
    this.table = element("div", {class: "ss-scroll", tabindex: 0, role: "region", "aria-label": "Values of curves"});
    this.slider = element("input", {type: "range", class: "ss-epoch", step: 1, "aria-label": "Epoch",
      oninput: () => this.choose(Number(this.slider.value))});
    root.replaceChildren(element("div", {class: "ss-charts"}, ...this.charts.map(({title, unit, node}) =>
      element("figure", {}, element("figcaption", {}, element("strong", {text: title}),
        element("span", {class: "ss-quiet", text: ` ${unit}`})), node))),
    element("p", {class: "ss-row ss-quiet"}, element("span", {text: "Point at a curve, or select an epoch:"}),
      this.slider), this.table);
    this.watcher = new ResizeObserver(() => this.draw());
    this.watcher.observe(root);
    this.update(curves);
  }

  /** Replace the curves; if the last epoch was selected, it stays selected. */
  update(curves) {
    const followed = this.epoch === undefined || this.epoch === this.last;
    this.curves = curves;
    const epochs = curves.flatMap((curve) => curve.epochs.map(({epoch}) => epoch));
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
      if (cursor) configure(cursor, {x1: x(epoch), x2: x(epoch)}, []);
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
    const values = chart.lines.flatMap(([key]) => this.curves.flatMap(({epochs}) => epochs.map((line) => line[key])))
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
    chart.cursor = svgElement("line", {class: "ss-cursor", y1: TOP, y2: CHART_HEIGHT - BOTTOM, x1: at, x2: at});
    configure(chart.node, {viewBox: `0 0 ${width} ${CHART_HEIGHT}`, height: CHART_HEIGHT}, []);
    chart.node.replaceChildren(...this.drawAxes(chart, steps[0] > low + 1e-9 ? [low, ...steps] : steps, width),
      chart.cursor,
      ...this.curves.flatMap((curve, series) => chart.lines.flatMap(([key, dashed]) =>
        this.drawLine(chart, curve.epochs, key, series, dashed))));
  }

  drawAxes({x, y, format}, steps, width) {
    const rows = steps.flatMap((value) => [
      svgElement("line", {class: "ss-grid", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value)}),
      svgElement("text", {class: "ss-tick", x: LEFT - 6, y: y(value) + 4, "text-anchor": "end", text: format(value)})]);
    const epochs = [...new Set(ticks(this.first, this.last, Math.min(8, width / 60)).map(Math.round))];
    const columns = epochs.map((epoch) => svgElement("text", {class: "ss-tick", x: x(epoch),
      y: CHART_HEIGHT - BOTTOM + 16,
      "text-anchor": "middle", text: epoch}));
    return [...rows, ...columns, svgElement("text", {class: "ss-tick", x: width - RIGHT, y: CHART_HEIGHT - 3,
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
    return [svgElement("path", {class: `ss-curve ${tone}${dashed ? " ss-dashed" : ""}`, d: path}),
      ...marks.map(([across, down]) => svgElement("path", {class: `ss-mark ${tone}${dashed ? " ss-hollow" : ""}`,
        d: MARKERS[series % MARKERS.length], transform: `translate(${across.toFixed(1)},${down.toFixed(1)})`})),
      ...points.filter(([, down]) => Number.isNaN(down) && key !== "val_accuracy").map(([across]) => svgElement("text",
        {class: "ss-tick", x: across, y: CHART_HEIGHT - BOTTOM - 3, "text-anchor": "middle", text: "✕"}))];
  }

  showTable() {
    const head = ["", `Loss, epoch ${this.epoch}`, "Training accuracy", "Validation accuracy"];
    const rows = this.curves.map(({title, epochs}, series) => {
      const end = epochs.at(-1)?.epoch;
      const line = epochs.find(({epoch}) => epoch === Math.min(this.epoch, end)) ?? {};
      const cells = [Number.isFinite(line.train_loss) ? line.train_loss.toFixed(3) : "–",
        percent(line.train_accuracy ?? NaN, 1), percent(line.val_accuracy ?? NaN, 1)];
      return element("tr", {}, element("th", {scope: "row"}, this.key(series), title,
        this.epoch > end && element("span", {class: "ss-quiet", text: ` at epoch ${end} (latest)`})),
        ...cells.map((text) => element("td", {text})));
    });
    const heads = head.map((text) => text ? element("th", {scope: "col", text}) : element("td"));
    this.table.replaceChildren(element("table", {class: "ss-values"},
      element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows)),
    element("p", {class: "ss-quiet", text: "Dashed: training accuracy, mean over an epoch while the weights change. "
      + "Solid: validation accuracy and training loss. ✕: not defined."}));
  }

  key(series) {
    const tone = `ss-series-${series % MARKERS.length}`;
    return svgElement("svg", {class: "ss-key", viewBox: "-12 -6 24 12", width: 24, height: 12, "aria-hidden": "true"},
      svgElement("path", {class: `ss-curve ${tone}`, d: "M-12,0H12"}),
      svgElement("path", {class: `ss-mark ${tone}`, d: MARKERS[series % MARKERS.length]}));
  }
}

/** Draw loss and accuracy by epoch.
 *
 * `curves` are [{title, epochs: [{epoch, train_loss, train_accuracy, val_accuracy}]}]; a number may be null. */
export function mountCurves(root, curves) {
  return new Curves(root, curves);
}
