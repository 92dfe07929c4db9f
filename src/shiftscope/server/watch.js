// The live page of a run: it follows the events of `shiftscope watch` and shows the state that each of them holds.
//
// Every event holds the whole state (server/run_state.py says what is in it), so a page that is opened late, or that
// was cut off, shows the same as one that was open all the time. All text goes in as text, never as HTML.

import {mountCurves} from "./app.js";

const NUMBERS = new Intl.NumberFormat("en", {maximumFractionDigits: 0});
const STATES = {waiting: "waits", training: "training", evaluating: "being evaluated", done: "done", stopped: "stopped",
  paused: "paused", silent: "silent"};
const AT_WORK = new Set(["training", "finishing"]);
const MISSING = "–";

const at = (id) => document.getElementById(id);
let state = null;
let curves = null;

/** Make an element with properties and children; null children are left out. */
function make(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** A time span for people: 75 seconds are "1 min 15 s", 4000 are "1 h 7 min". */
function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  const minutes = Math.round(whole / 60);
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A moment on the clock of the reader, as 2026-11-24 18:50:18. */
const moment = (date) => date.toLocaleString("sv-SE");

const percent = (share) => `${(100 * share).toFixed(1)} %`;
const words = (name) => name.replace(/\.\w+$/, "").replaceAll("-", " ");

/** Set a text only where it changed, so that what is read aloud is read once. */
function say(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

function label(cell, text) {
  cell.dataset.label = text;
  return cell;
}

// ---------------------------------------------------------------- the parts of the page

function showHead() {
  const present = state.trainings.find((training) => training.status === "training");
  const epochs = present && present.epochs ? `, epoch ${present.epoch} of ${present.epochs}` : "";
  document.title = `${state.name}: ${state.phase}${epochs} – Shiftscope`;
  say(at("name"), state.name);
  at("state").dataset.phase = state.phase;
  say(at("state"), state.sentence);
  at("report").hidden = state.report === null;
  const list = at("problems").querySelector("ul");
  at("problems").hidden = state.problems.length === 0;
  list.replaceChildren(...state.problems.map((problem) => make("li", {textContent: problem})));
}

/** What goes on by itself as time passes; not read aloud. */
function showTimes() {
  const now = Date.now() / 1000;
  const begun = state.started ? `begun ${moment(new Date(state.started))}` : null;
  const written = state.changed === 0 ? null : AT_WORK.has(state.phase)
    ? `last written ${duration(now - state.changed)} ago` : `last written ${moment(new Date(1000 * state.changed))}`;
  const dataset = state.dataset ? `dataset ${state.dataset}` : null;
  say(at("facts"), [dataset, begun, written].filter(Boolean).join(" · "));
  for (const cell of document.querySelectorAll("[data-left]")) {
    const left = Number(cell.dataset.left) - Math.min(now - state.changed, Number(cell.dataset.epoch));
    say(cell, `about ${duration(left)}`);
  }
}

function epochsCell(training) {
  const cell = label(make("td", {className: "words-cell"}), "Epochs done");
  if (training.epochs === null) {
    cell.append(training.epoch ? String(training.epoch) : MISSING);
    return cell;
  }
  const bar = make("progress", {max: training.epochs, value: training.epoch});
  bar.setAttribute("aria-label", `Epochs of ${training.title}`);
  cell.append(bar, `${training.epoch} of ${training.epochs}`);
  return cell;
}

function trainingRow(training) {
  const left = label(make("td", {textContent: MISSING}), "Time left");
  if (training.seconds_left !== null) {
    left.dataset.left = training.seconds_left;
    left.dataset.epoch = training.epoch_seconds;
  }
  const rate = training.images_per_second;
  const best = training.best;
  const row = make("tr", {}, make("th", {scope: "row", textContent: training.title}),
    label(make("td", {className: "words-cell", textContent: STATES[training.status]}), "State"), epochsCell(training),
    label(make("td", {textContent: rate === null ? MISSING : NUMBERS.format(rate)}), "Images/s"), left,
    label(make("td", {textContent: best ? `${percent(best.val_accuracy)} (epoch ${best.epoch})` : MISSING}),
      "Best validation accuracy"));
  row.dataset.status = training.status;
  for (const cell of row.cells) cell.classList.toggle("empty", cell.textContent === MISSING && !cell.dataset.left);
  return row;
}

function showTrainings() {
  at("trainings").hidden = state.trainings.length === 0;
  at("trainings").querySelector("tbody").replaceChildren(...state.trainings.map(trainingRow));
}

function showCurves() {
  const histories = state.trainings.filter((training) => training.history.length > 0)
    .map((training) => ({title: training.title, epochs: training.history}));
  at("curves").hidden = state.trainings.length === 0;
  at("no-curves").hidden = histories.length > 0;
  if (curves) curves.update(histories);
  else if (histories.length > 0) curves = mountCurves(at("curves-view"), histories);
}

/** Pictures that are there stay as they are, so that nothing flickers and the focus stays where it is. */
function showFigures() {
  const list = at("figures").querySelector("ul");
  at("figures").hidden = state.figures.length === 0;
  const there = new Map([...list.children].map((item) => [item.dataset.name, item]));
  state.figures.forEach(({name, time}, place) => {
    const item = there.get(name) ?? figureItem(name);
    there.delete(name);
    const address = `figures/${name}?time=${time}`;
    if (item.dataset.address !== address) {
      item.dataset.address = address;
      item.querySelector("a").href = address;
      item.querySelector("img").src = address;
    }
    if (list.children[place] !== item) list.insertBefore(item, list.children[place] ?? null);
  });
  for (const gone of there.values()) gone.remove();
}

function figureItem(name) {
  const picture = make("img", {alt: `Figure: ${words(name)}`, loading: "lazy"});
  const frame = make("span", {className: "frame"}, picture);
  const item = make("li", {}, make("a", {target: "_blank", rel: "noopener"}, frame, words(name)));
  item.dataset.name = name;
  return item;
}

// ---------------------------------------------------------------- following

function show(text) {
  state = JSON.parse(text);
  showHead();
  showTrainings();
  showCurves();
  showFigures();
  showTimes();
}

function follow() {
  const events = new EventSource("events");
  events.addEventListener("state", (event) => show(event.data));
  events.addEventListener("open", () => { at("connection").hidden = true; });
  events.addEventListener("error", () => { at("connection").hidden = false; });
}

follow();
setInterval(() => { if (state) showTimes(); }, 1000);
