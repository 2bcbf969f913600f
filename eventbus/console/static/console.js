// What moves in the console: times in the reader's zone, live numbers, charts, the keyboard, the colours. Pages work without it.
"use strict";

/* --- times --- */

const clock = new Intl.DateTimeFormat(undefined, {
  year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
});

function localize(root) {
  for (const element of root.querySelectorAll("time[datetime]:not([data-local])")) {
    const at = new Date(element.dateTime);
    if (isNaN(at)) continue;
    element.textContent = clock.format(at);
    element.dataset.local = "";
  }
}

/* --- live: an element with data-live="ADDRESS" is kept up to date while the tab is looked at --- */

const waiting = new Map();
const charts = new Map();

/** Call *function_* with each value that the server sends as *name*. */
function onData(name, function_) {
  waiting.set(name, [...(waiting.get(name) ?? []), function_]);
}

class Live {
  constructor(address) {
    this.address = address;
    this.source = null;
    this.paused = false;
    document.addEventListener("visibilitychange", () => this.follow());
    window.addEventListener("pagehide", () => this.close());
    window.addEventListener("pageshow", () => this.follow());
    this.follow();
  }

  follow() {
    if (document.hidden || this.paused) this.close();
    else if (this.source === null) this.open();
  }

  open() {
    this.source = new EventSource(lacking(this.address));
    this.source.addEventListener("open", () => say(""));
    this.source.addEventListener("error", () => this.lose());
    this.source.addEventListener("fragment", (event) => place(JSON.parse(event.data)));
    this.source.addEventListener("data", (event) => {
      const { name, value } = JSON.parse(event.data);
      for (const function_ of waiting.get(name) ?? []) function_(value);
    });
    this.source.addEventListener("trouble", (event) => say(JSON.parse(event.data).sentence));
    this.source.addEventListener("goodbye", () => { this.close(); location.reload(); });
    document.documentElement.dataset.liveState = "open";
  }

  /** A connection that breaks is made again by the browser; not so one that is refused, as when the session is over. */
  async lose() {
    say("No connection to the console; numbers may be old.");
    const lost = this.source;
    if (lost?.readyState !== EventSource.CLOSED) return;
    try {
      const answer = await fetch(this.address);
      answer.body?.cancel();
      if (answer.redirected || answer.status === 401) { location.reload(); return; }
    } catch { /* it is away: later */ }
    setTimeout(() => { if (this.source === lost) { this.source = null; this.follow(); } }, 5000);
  }

  close() {
    this.source?.close();
    this.source = null;
    document.documentElement.dataset.liveState = "closed";
  }
}

/** The address of a stream that tells as well what its list lacks: what came before it was opened, or while it was closed. */
function lacking(address) {
  const list = document.querySelector("[data-since]");
  if (!list) return address;
  const newest = list.querySelector("time")?.dateTime ?? "";
  const after = newest > list.dataset.since ? newest : list.dataset.since;
  return `${address}${address.includes("?") ? "&" : "?"}after=${encodeURIComponent(after)}`;
}

function say(text) {
  const state = document.getElementById("live-state");
  if (state.textContent !== text) state.textContent = text;
}

let missed = 0;
onData("missed", (count) => {
  missed += count;
  tell();
  setTimeout(() => { missed -= count; tell(); }, 30_000);
});

function tell() {
  say(missed ? `${missed} events came too fast to be shown.` : held.size ? "The list waits while something is ticked." : "");
}

/** What waits for the ticks in its rows to be gone, by the element's id. */
const held = new Map();

/** Put what the server made into the element of that id: in the place of its content, or before it with data-prepend. */
function place({ id, html }) {
  const element = document.getElementById(id);
  if (!element) return;
  const made = document.createElement("template");
  made.innerHTML = html;
  localize(made.content);
  if (element.dataset.prepend !== undefined) {
    if (document.getElementById(made.content.firstElementChild?.id)) return;
    element.prepend(made.content);
    const most = Number(element.dataset.prepend) || 200;
    while (element.children.length > most) element.lastElementChild.remove();
  } else if (element.querySelector("[data-row] input:checked")) {
    // A row that comes or goes would lose a tick, or move the next one away from under the mouse.
    held.set(id, html);
  } else {
    held.delete(id);
    const focused = element.contains(document.activeElement) ? keyOf(document.activeElement) : null;
    morph(element, made.content);
    if (focused && !element.contains(document.activeElement)) focusOn(element, focused);
    for (const chart of element.querySelectorAll("[data-chart]")) draw(chart);
  }
  tell();
}

const keyOf = (element) => `${element.tagName} ${element.id} ${element.getAttribute("href") ?? element.textContent}`;

function focusOn(element, key) {
  [...element.querySelectorAll("a, button, input, select, [tabindex]")].find((each) => keyOf(each) === key)?.focus();
}

function release() {
  for (const [id, html] of [...held]) place({ id, html });
}

/* --- charts: <div data-chart="NAME" data-label="…"> is drawn from the data called NAME: {at: [seconds], series: [{label, values}]} --- */

function draw(element) {
  const known = charts.get(element.dataset.chart);
  if (known) show(element, known);
}

function show(element, { at, series }) {
  charts.set(element.dataset.chart, { at, series });
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
  element.replaceChildren();
  new uPlot({
    width: Math.max(240, element.clientWidth), height: Number(element.dataset.height) || 200,
    cursor: { y: false }, legend: { live: true },
    scales: { y: { range: (_, low, high) => [0, Math.max(high, 1)] } },
    // Room for a time of day at each tick, and for half of the last one.
    axes: [{ ...axis, space: 72 }, { ...axis, size: 56 }], padding: [null, 30, null, null],
    series: [{}, ...series.map(({ label }, number) => ({
      label, stroke: colour(`--series-${number + 1}`), width: 2, points: { show: false }, spanGaps: true,
    }))],
  }, [at, ...series.map(({ values }) => values)], element);
}

function prepareCharts() {
  for (const element of document.querySelectorAll("[data-chart]")) {
    onData(element.dataset.chart, (value) => {
      const now = document.querySelector(`[data-chart="${CSS.escape(element.dataset.chart)}"]`);
      if (now) show(now, value);
    });
    const first = document.getElementById(`${element.dataset.chart}-data`);
    if (first) show(element, JSON.parse(first.textContent));
  }
  let timer = 0;
  window.addEventListener("resize", () => { clearTimeout(timer); timer = setTimeout(redraw, 150); });
}

function redraw() {
  for (const element of document.querySelectorAll("[data-chart]")) draw(element);
}

/* --- colours --- */

const THEMES = ["system", "light", "dark"];

function prepareTheme() {
  const button = document.getElementById("theme");
  const name = () => document.documentElement.dataset.theme ?? "system";
  const tell = () => button.setAttribute("aria-label", `Colours: ${name() === "system" ? "as the system" : name()}`);
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(name()) + 1) % THEMES.length];
    if (next === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    try { localStorage.setItem("eventbus-theme", next); } catch { /* forgotten with the page */ }
    tell();
    redraw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  tell();
}

/* --- keyboard --- */

function prepareKeys() {
  const help = document.getElementById("help");
  let goes = 0;
  document.getElementById("keys").addEventListener("click", () => help.showModal());
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.key === "Escape" && isField(document.activeElement)) { document.activeElement.blur(); return; }
    if (isField(event.target) || help.open) return;
    if (goes && Date.now() - goes < 1500 && go(event.key)) { event.preventDefault(); return; }
    goes = 0;
    if (event.key === "?") help.showModal();
    else if (event.key === "/") filter()?.focus();
    else if (event.key === "j") move(1);
    else if (event.key === "k") move(-1);
    else if (event.key === "g") goes = Date.now();
    else if (event.key === "Enter" && event.target.matches?.("[data-row]")) event.target.querySelector("a")?.click();
    else return;
    event.preventDefault();
  });
}

const isField = (element) => element?.matches?.("input:not([type=checkbox]), textarea, select") ?? false;
const filter = () => document.querySelector("main [data-filter], main input[type=search]") ?? document.querySelector("input[type=search]");

function move(step) {
  const rows = [...document.querySelectorAll("[data-row]")];
  const now = rows.findIndex((row) => row.contains(document.activeElement));
  const next = rows[now < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, now + step))];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}

function go(key) {
  const links = [...document.querySelectorAll("header nav a")];
  const now = links.findIndex((each) => each.ariaCurrent === "page");
  const next = [...links.slice(now + 1), ...links.slice(0, now + 1)];
  const link = next.find((each) => each.textContent.trim().toLowerCase().startsWith(key.toLowerCase()));
  link?.click();
  return Boolean(link);
}

/* --- copying, choosing all --- */

function prepareButtons() {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("[data-copy]");
    if (!button) return;
    const text = document.getElementById(button.dataset.copy).textContent;
    try { await navigator.clipboard.writeText(text); say("Copied."); } catch { say("The browser does not let this page copy."); }
  });
  document.addEventListener("change", (event) => {
    const all = event.target.closest?.("[data-all]");
    if (all) for (const box of document.querySelectorAll(`input[type=checkbox][name="${CSS.escape(all.dataset.all)}"]`)) box.checked = all.checked;
    release();
  });
}

localize(document);
prepareTheme();
prepareKeys();
prepareButtons();
prepareCharts();

/** The streams of this page, by address; a button with data-pause="ADDRESS" stops and starts one. */
const streams = new Map();
for (const element of document.querySelectorAll("[data-live]")) streams.set(element.dataset.live, new Live(element.dataset.live));
for (const button of document.querySelectorAll("[data-pause]")) {
  button.addEventListener("click", () => {
    const stream = streams.get(button.dataset.pause);
    stream.paused = !stream.paused;
    button.setAttribute("aria-pressed", String(stream.paused));
    button.textContent = stream.paused ? "Go on" : "Pause";
    stream.follow();
  });
}
