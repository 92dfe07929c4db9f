// The live page of a run: shows the state in each event of `shiftscope watch`.
//
// Every event holds the whole state (see server/run_state.py), so pages may connect late or reconnect. Text is never
// inserted as HTML.

import {mountCurves} from "./app.js";

const NUMBERS = new Intl.NumberFormat("en", {maximumFractionDigits: 0});
const ACTIVE = new Set(["training", "finishing"]);
const MISSING = "–";

const byId = (id) => document.getElementById(id);
let state = null;
let curves = null;

/** Create an element with properties and children; null children are left out. */
function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** Format a duration: 75 seconds are "1 min 15 s", 4000 are "1 h 7 min". */
function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  const minutes = Math.round(whole / 60);
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Format a time in the local time zone, for instance 2026-11-24 18:50:18. */
const dateTime = (date) => date.toLocaleString("sv-SE");

const percent = (fraction) => `${(100 * fraction).toFixed(1)} %`;
const title = (name) => name.replace(/\.\w+$/, "").replaceAll("-", " ");

/** Set a text if it changed, so that screen readers announce it once. */
function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

function label(cell, text) {
  cell.dataset.label = text;
  return cell;
}

// ---------------------------------------------------------------- parts of the page

function showHead() {
  const current = state.trainings.find((training) => training.status === "training");
  const epochs = current && current.epochs ? `, epoch ${current.epoch} of ${current.epochs}` : "";
  document.title = `${state.name}: ${state.phase}${epochs} – Shiftscope`;
  setText(byId("name"), state.name);
  byId("state").dataset.phase = state.phase;
  setText(byId("state"), state.message);
  byId("report").hidden = state.report === null;
  const list = byId("problems").querySelector("ul");
  byId("problems").hidden = state.problems.length === 0;
  list.replaceChildren(...state.problems.map((problem) => make("li", {textContent: problem})));
}

/** Show the task that the run is working on: an epoch, an evaluation, an audit. */
function showWork() {
  const work = state.work;
  byId("work").hidden = work === null;
  if (work === null) return;
  setText(byId("task"), work.task);
  byId("task-bar").max = work.total;
  byId("task-bar").value = work.done;
}

function workNumbers(work, now) {
  const done = `${Math.floor(100 * work.done / work.total)} %`;
  if (!work.rate || work.seconds_left === null) return done;
  const left = work.seconds_left - (work.time ? now - work.time : 0);
  return `${done} · ${NUMBERS.format(work.rate)} ${work.unit}/s · about ${duration(left)} left`;
}

/** Update the texts that change with time. */
function showTimes() {
  const now = Date.now() / 1000;
  const started = state.started ? `started ${dateTime(new Date(state.started))}` : null;
  const written = state.changed === 0 ? null : ACTIVE.has(state.phase)
    ? `last write ${duration(now - state.changed)} ago` : `last write ${dateTime(new Date(1000 * state.changed))}`;
  const dataset = state.dataset ? `dataset ${state.dataset}` : null;
  setText(byId("facts"), [dataset, started, written].filter(Boolean).join(" · "));
  if (state.work !== null) setText(byId("task-numbers"), workNumbers(state.work, now));
  for (const cell of document.querySelectorAll("[data-left]")) {
    const left = Number(cell.dataset.left) - Math.min(now - state.changed, Number(cell.dataset.epoch));
    setText(cell, `about ${duration(left)}`);
  }
}

function epochsCell(training) {
  const cell = label(make("td", {className: "text-cell"}), "Epochs");
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
    label(make("td", {className: "text-cell", textContent: training.status}), "Status"), epochsCell(training),
    label(make("td", {textContent: rate === null ? MISSING : NUMBERS.format(rate)}), "Images/s"), left,
    label(make("td", {textContent: best ? `${percent(best.val_accuracy)} (epoch ${best.epoch})` : MISSING}),
      "Best validation accuracy"));
  row.dataset.status = training.status;
  for (const cell of row.cells) cell.classList.toggle("empty", cell.textContent === MISSING && !cell.dataset.left);
  return row;
}

function showTrainings() {
  byId("trainings").hidden = state.trainings.length === 0;
  byId("trainings").querySelector("tbody").replaceChildren(...state.trainings.map(trainingRow));
}

function showCurves() {
  const histories = state.trainings.filter((training) => training.history.length > 0)
    .map((training) => ({title: training.title, epochs: training.history}));
  byId("curves").hidden = state.trainings.length === 0;
  byId("no-curves").hidden = histories.length > 0;
  if (curves) curves.update(histories);
  else if (histories.length > 0) curves = mountCurves(byId("curves-view"), histories);
}

/** Existing figures are kept, so that they do not flicker and keep the focus. */
function showFigures() {
  const list = byId("figures").querySelector("ul");
  byId("figures").hidden = state.figures.length === 0;
  const existing = new Map([...list.children].map((item) => [item.dataset.name, item]));
  state.figures.forEach(({name, time}, index) => {
    const item = existing.get(name) ?? figureItem(name);
    existing.delete(name);
    const address = `figures/${name}?time=${time}`;
    if (item.dataset.address !== address) {
      item.dataset.address = address;
      item.querySelector("a").href = address;
      item.querySelector("img").src = address;
    }
    if (list.children[index] !== item) list.insertBefore(item, list.children[index] ?? null);
  });
  for (const item of existing.values()) item.remove();
}

function figureItem(name) {
  const image = make("img", {alt: `Figure: ${title(name)}`, loading: "lazy"});
  const frame = make("span", {className: "frame"}, image);
  const item = make("li", {}, make("a", {target: "_blank", rel: "noopener"}, frame, title(name)));
  item.dataset.name = name;
  return item;
}

// ---------------------------------------------------------------- events

function show(text) {
  state = JSON.parse(text);
  showHead();
  showWork();
  showTrainings();
  showCurves();
  showFigures();
  showTimes();
}

function follow() {
  const events = new EventSource("events");
  events.addEventListener("state", (event) => show(event.data));
  events.addEventListener("open", () => { byId("connection").hidden = true; });
  events.addEventListener("error", () => { byId("connection").hidden = false; });
}

follow();
setInterval(() => { if (state) showTimes(); }, 1000);
