"use strict";

const PAGE = 50;
const WORDS = { online: "Online", offline: "Offline", unknown: "Unknown" };
const RANK = { online: 0, unknown: 1, offline: 2 };
// The site sends something every five seconds. After this much silence it is polled, and then unavailable.
const QUIET = 6_000;
const SILENCE = 12_000;

const $ = (id) => document.getElementById(id);
const say = (element, text) => element.textContent !== text && (element.textContent = text);
const clock = (at) => new Date(at * 1000).toLocaleTimeString([], { hour12: false });
const minute = (at) => clock(at).slice(0, 5);

// --- What is asked for: in the address, so that it survives a reload --------

const asked = { q: "", show: "all", sort: "status", limit: String(PAGE) };
const chosen = { ...asked };
for (const [name, value] of new URLSearchParams(location.search)) if (name in chosen) chosen[name] = value;

function parameters(changes = {}) {
  const all = Object.entries({ ...chosen, ...changes });
  return String(new URLSearchParams(all.filter(([name, value]) => value !== asked[name])));
}

function choose(changes) {
  Object.assign(chosen, changes);
  history.replaceState(null, "", "/" + (parameters() && "?" + parameters()));
  $("q").value = chosen.q;
  $("sort").value = chosen.sort;
  document.querySelector(`[name=show][value=${chosen.show}]`).checked = true;
  resume();
  connect();
}

// --- What is known -----------------------------------------------------------

const rows = new Map();
let numbers = null;
let samples = [];
let at = Number(document.body.dataset.at); // the site's clock, and when this one heard it
let heard = Date.now();
let lost = false;
let paused = null; // { at, changes, by: "pointer" or "button" }
let back = null; // { until, after }

function take(update) {
  const first = numbers === null;
  [at, heard, lost] = [update.at, Date.now(), false];
  if (update.snapshot) rows.clear();
  update.removed?.forEach((user) => rows.delete(user));
  update.rows?.forEach((row) => rows.set(row.user, row));
  if (update.history) {
    samples = samples.filter(([sample]) => sample < update.history[0][0]).concat(update.history);
    samples = samples.filter(([sample]) => sample >= at - 3600);
  }
  if (update.known) {
    if (numbers?.since && !update.since) back = { until: at + 5, after: at - numbers.since };
    numbers = update;
    // What is unknown now is not shown as if it were known.
    if (numbers.known !== "live") paused = null;
  }
  if (paused) paused.changes += (update.rows?.length ?? 0) + (update.removed?.length ?? 0);
  else if (update.snapshot || update.known || update.rows || update.removed) draw(first || update.snapshot);
  if (update.history || first) plot();
  tick();
}

// --- Numbers, and the words above them --------------------------------------

function state() {
  if (lost) return ["reconnecting", "Reconnecting…", `last update ${clock(at)}`, "Retry now"];
  if (paused) return ["paused", "Paused", `at ${clock(paused.at)} · ${paused.changes} change${paused.changes === 1 ? "" : "s"}`, "Resume"];
  const since = numbers.since ? ` ${clock(numbers.since)}` : "";
  if (numbers.known !== "live") return [numbers.known, numbers.says + since, since && "retrying", ""];
  if (back?.until > now()) return ["live", `${numbers.says} · back after ${length(back.after)}`, "", "Pause"];
  return ["live", numbers.says, `updated ${Math.round((Date.now() - heard) / 1000)} s ago`, "Pause"];
}

const now = () => at + (lost ? 0 : (Date.now() - heard) / 1000);
const length = (seconds) => (seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`);

function ago(seen) {
  const seconds = Math.max(0, Math.floor(now() - seen));
  if (seconds < 60) return "just now";
  const [count, unit] =
    seconds < 3600 ? [seconds / 60, "minute"] : seconds < 86400 ? [seconds / 3600, "hour"] : [seconds / 86400, "day"];
  return `${Math.floor(count)} ${unit}${Math.floor(count) === 1 ? "" : "s"} ago`;
}

// Once a second: the words that the clock changes.
function tick() {
  if (Date.now() - heard > SILENCE) lose();
  if (!numbers && !lost) return;
  const [name, words, note, act] = state();
  document.body.dataset.known = name;
  say($("indicator"), words);
  say($("note"), note);
  say($("act"), act);
  $("act").hidden = !act;
  document.title = `(${lost ? "?" : (numbers.online ?? "?")}) Who is online`;
  $("icon").href = `/favicon${lost || !numbers.complete ? "-unknown" : ""}.svg`;
  say($("as-of"), clock(paused?.at ?? at));
  if (paused) return;
  say($("online-note"), lost ? `as of ${clock(at)}` : remark());
  if (!lost) for (const row of $("users").rows) say(row.cells[2], seen(rows.get(row.dataset.user)));
}

function remark() {
  if (numbers.known === "loading") return "";
  const { online, online_last_known: was } = numbers;
  if (online === null) return was ? `${was.count} at ${clock(was.at)}` : "no complete count yet";
  if (!numbers.complete) return `${numbers.counts.unknown} unknown`;
  const before = samples.findLast(([sample]) => sample <= at - 300);
  if (!before?.[2] || before[0] < at - 330) return "";
  return `${online < before[1] ? "−" : "+"}${Math.abs(online - before[1])} in 5 min`;
}

const headline = () =>
  numbers.online === null ? (numbers.known === "loading" ? "–" : "unknown") : numbers.about + numbers.online;

let said = { at: 0, text: "" };

function draw(sorted) {
  say($("online"), headline());
  const down = numbers.servers.filter((server) => !server.up);
  const up = `${numbers.total - down.length} of ${numbers.total} up`;
  say($("servers"), numbers.known === "loading" ? "–" : numbers.in_memory ? "this process" : up);
  say($("servers-note"), !down[0] ? "" : numbers.total > 1 ? `${down[0].name}: ${down[0].error}` : down[0].error);
  for (const [name, count] of Object.entries(numbers.counts)) {
    const sure = name === "all" || name === "unknown";
    say($(`count-${name}`), sure ? String(count) : numbers.online === null ? "?" : numbers.about + count);
  }
  const counted = [...samples, [at, numbers.online]].filter(([, count]) => count !== null);
  const peak = counted.reduce((peak, sample) => (sample[1] > peak[1] ? sample : peak), counted[0]);
  const first = samples[0]?.[0] ?? at;
  say($("peak-title"), first > at - 59 * 60 ? `Peak since ${minute(first)}` : "Peak, last hour");
  say($("peak"), String(peak?.[1] ?? "–"));
  say($("peak-note"), peak ? `at ${minute(peak[0])}` : "");
  // Read out at most every ten seconds.
  const text = `${headline()} online`;
  if (said.text !== text && said.at < Date.now() - 10_000) {
    said = { at: Date.now(), text };
    $("said").textContent = text;
  }
  for (const row of $("users").rows) fill(row, rows.get(row.dataset.user));
  sort(sorted);
}

// --- Rows --------------------------------------------------------------------

const ORDERS = {
  status: (a, b) => RANK[a.status] - RANK[b.status] || ORDERS["-seen"](a, b),
  "-status": (a, b) => ORDERS.status(b, a),
  seen: (a, b) => (a.last_seen ?? 0) - (b.last_seen ?? 0),
  "-seen": (a, b) => ORDERS.seen(b, a),
  user: () => 0,
  "-user": (a, b) => (a.user < b.user ? 1 : -1),
};

let order = 0; // when the rows were put in order, and the timer that does it again

// Rows do not jump about: at most every two seconds.
function sort(atOnce) {
  clearTimeout(sort.timer);
  const wait = atOnce ? 0 : order + 2000 - Date.now();
  if (wait > 0) return void (sort.timer = setTimeout(sort, wait, true));
  if (paused || numbers.known === "loading") return;
  order = Date.now();
  const table = $("users");
  table.querySelectorAll(".bar").forEach((bar) => bar.remove());
  const drawn = new Map(Array.from(table.rows, (row) => [row.dataset.user, row]));
  const names = (a, b) => (a.user < b.user ? -1 : a.user > b.user ? 1 : 0);
  const sorted = [...rows.values()].sort((a, b) => ORDERS[chosen.sort](a, b) || names(a, b));
  sorted.forEach((shown, place) => {
    const row = drawn.get(shown.user) ?? make(shown);
    drawn.delete(shown.user);
    if (table.rows[place] !== row) table.insertBefore(row, table.rows[place] ?? null);
  });
  drawn.forEach((row) => row.remove());
  table.closest("table").removeAttribute("aria-busy");
  for (const head of document.querySelectorAll("th[data-column]")) {
    const by = chosen.sort.replace("-", "") === head.dataset.column;
    head.ariaSort = !by ? "none" : chosen.sort.startsWith("-") ? "descending" : "ascending";
    head.firstElementChild.search = parameters({ sort: next(head.dataset.column) });
  }
  $("empty").hidden = !numbers.empty;
  say($("empty"), numbers.empty ?? "");
  $("clear").hidden = !numbers.empty || !numbers.counts.all;
  say($("shown"), sorted.length ? `Showing 1 to ${sorted.length} of ${numbers.found}` : "");
  $("older").hidden = !numbers.older;
  say($("older"), `${numbers.older} more offline`);
  $("older").search = parameters({ show: "offline" });
  $("more").hidden = numbers.found <= sorted.length;
  $("more").search = parameters({ limit: Number(chosen.limit) + PAGE });
}

function next(column) {
  const first = column === "seen" ? "-seen" : column;
  if (chosen.sort !== first) return first;
  return first.startsWith("-") ? column : `-${column}`;
}

function make(shown) {
  const row = document.createElement("tr");
  row.dataset.user = shown.user;
  const name = document.createElement("bdi");
  name.title = shown.user;
  // Cut in the middle: ends tell names apart.
  const letters = [...shown.user];
  const cut = letters.length > 24 ? -12 : letters.length;
  const parts = [letters.slice(0, cut), letters.length > 24 ? letters.slice(cut) : []];
  for (const part of parts) name.append(Object.assign(document.createElement("span"), { textContent: part.join("") }));
  const head = Object.assign(document.createElement("th"), { scope: "row" });
  head.append(name);
  row.append(head, document.createElement("td"), document.createElement("td"));
  fill(row, shown);
  return row;
}

// Who has left is taken away when the rows are put in order.
function fill(row, shown) {
  if (!shown) return;
  row.className = shown.status;
  say(row.cells[1], WORDS[shown.status]);
  say(row.cells[2], seen(shown));
  row.cells[2].title = shown.last_seen === null ? "" : new Date(shown.last_seen * 1000).toLocaleString();
}

function seen(shown) {
  if (!shown) return "";
  if (shown.was) return `was ${shown.was[0]} at ${clock(shown.was[1])}`;
  return shown.last_seen === null ? "the record cannot be read" : ago(shown.last_seen);
}

// --- The plot: as src/plot.rs draws it ---------------------------------------

let from = 0;
let picked = null;

function plot() {
  $("plot").hidden = samples.length < 2;
  if (samples.length < 2) return;
  const span = Math.min(3600, Math.max(300, at - samples[0][0]));
  from = at - span;
  const most = Math.max(...samples.map(([, count]) => count ?? 0));
  const steps = Array.from({ length: 45 }, (_, place) => [1, 2, 5][place % 3] * 10 ** Math.floor(place / 3));
  const step = steps.find((step) => Math.floor(most / step) < 4);
  const lines = Math.max(3, Math.floor(most / step) + 1);
  const levels = Array.from({ length: lines }, (_, line) => `M0 ${((line * 100) / lines).toFixed(1)}H${span}`);
  const paths = { lines: levels.join(""), line: "", thin: "", band: "", hatch: "" };
  const fill = (from, to) => {
    paths.band += `M${from} 0H${to}V100H${from}Z`;
    for (let x = from; x < to; x += Math.floor(span / 120)) paths.hatch += `M${x} 0V100`;
  };
  let known = Math.max(0, samples[0][0] - from);
  let [last, wasComplete] = [null, true];
  for (const [sample, count, complete] of samples) {
    const x = sample - from;
    if (x < 0) continue;
    if (count === null || x - known > 20) last = null;
    if (count === null) continue;
    const point = `${x} ${(100 - (count * 100) / (step * lines)).toFixed(1)}`;
    if ((!complete && last) || (!last && x > known)) fill(known, x);
    paths[complete && wasComplete ? "line" : "thin"] += last ? `M${last}L${point}` : `M${point}h0`;
    [last, wasComplete, known] = [point, complete, x];
  }
  if (!last || span - known > 20) fill(known, span);
  for (const [name, path] of Object.entries(paths)) $(name).setAttribute("d", path);
  $("grid").firstElementChild.setAttribute("viewBox", `0 0 ${span} 100`);
  const item = (text) => Object.assign(document.createElement("li"), { textContent: text });
  $("marks").replaceChildren(...Array.from({ length: lines + 1 }, (_, line) => item((lines - line) * step)));
  $("times").replaceChildren(...[0, 1, 2, 3, 4].map((quarter) => item(minute(from + (span * quarter) / 4))));
  say($("span"), span < 59 * 60 ? `${Math.floor(span / 60)} minutes` : "hour");
  $("legend").hidden = !paths.band;
  read();
}

// The value under the pointer, or the one that the arrow keys have come to; else the newest.
function read() {
  const sample = samples.find(([sample]) => sample === picked) ?? samples.at(-1);
  const text = `${sample[1] === null ? "unknown" : (sample[2] ? "" : "≥ ") + sample[1]} at ${minute(sample[0])}`;
  say($("readout"), text);
  $("cursor").setAttribute("d", picked === null ? "" : `M${sample[0] - from} 0V100`);
  const grid = $("grid");
  grid.ariaValueMin = Math.floor(from);
  grid.ariaValueMax = at;
  grid.ariaValueNow = sample[0];
  grid.ariaValueText = text;
}

function pick(wanted) {
  const shown = samples.filter(([sample]) => sample >= from);
  const nearer = (a, b) => (Math.abs(a[0] - wanted) <= Math.abs(b[0] - wanted) ? a : b);
  picked = wanted === null ? null : shown.reduce(nearer)[0];
  read();
}

const grid = $("grid");
Object.assign(grid, { tabIndex: 0, role: "slider" });
grid.onpointermove = (event) => {
  const box = grid.getBoundingClientRect();
  pick(from + ((event.clientX - box.left) / box.width) * (at - from));
};
grid.onpointerleave = grid.onblur = () => pick(null);
grid.onkeydown = (event) => {
  const steps = { ArrowLeft: -10, ArrowRight: 10, ArrowDown: -10, ArrowUp: 10, PageDown: -300, PageUp: 300 };
  const to = { Home: from, End: at, Escape: null }[event.key];
  if (event.key in steps) pick((picked ?? samples.at(-1)[0]) + steps[event.key]);
  else if (to !== undefined) pick(to);
  else return;
  event.preventDefault();
};

// --- Pointer and keys --------------------------------------------------------

function pause(by) {
  if (numbers?.known !== "live" || lost || paused) return;
  paused = { at: Math.floor(now()), changes: 0, by };
  tick();
}

function resume(by) {
  if (!paused || (by && paused.by !== by)) return;
  paused = null;
  draw(true);
  tick();
}

// Rows that move away from under the mouse have not been left.
document.onpointermove = (event) => {
  if (event.pointerType !== "mouse") return;
  if (event.target.closest("#users")) pause("pointer");
  else resume("pointer");
};
document.documentElement.onpointerleave = () => resume("pointer");
$("act").onclick = () => (lost ? connect() : paused ? resume() : pause("button"));
$("filter").onsubmit = (event) => event.preventDefault();
$("q").oninput = () => {
  clearTimeout(choose.timer);
  choose.timer = setTimeout(() => choose({ q: $("q").value, limit: String(PAGE) }), 150);
};
$("sort").onchange = () => choose({ sort: $("sort").value });
for (const radio of document.getElementsByName("show")) {
  radio.onchange = () => choose({ show: radio.value, limit: String(PAGE) });
}
// Links that only change what is asked for load nothing.
document.querySelector("main").onclick = (event) => {
  const link = event.target.closest("a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  choose({ ...asked, ...Object.fromEntries(new URLSearchParams(link.search)) });
};
document.onkeydown = (event) => {
  if (event.key === "/" && !event.target.closest("input, select")) {
    event.preventDefault();
    $("q").select();
  } else if (event.key === "Escape" && event.target === $("q")) {
    choose({ q: "" });
  }
};

const THEMES = ["system", "light", "dark"];
function wear(theme) {
  document.documentElement.dataset.theme = localStorage.theme = theme;
  say($("theme"), `Theme: ${theme}`);
}
$("theme").onclick = () => wear(THEMES[(THEMES.indexOf(localStorage.theme) + 1) % 3]);
$("theme").hidden = false;
wear(THEMES.includes(localStorage.theme) ? localStorage.theme : "system");

// --- The site ----------------------------------------------------------------

let source = null;
let quiet = 0; // since when the stream has brought nothing
// A poll takes over where events cannot pass, as behind a proxy that holds them back.
let polling = null;

function connect() {
  source?.close();
  quiet = Date.now();
  source = new EventSource(`/events?${parameters()}`);
  source.onmessage = (event) => {
    quiet = Date.now();
    polling = null;
    take(JSON.parse(event.data));
  };
  source.onerror = poll;
}

async function poll() {
  if (polling) return;
  const mine = (polling = {});
  while (polling === mine) {
    const query = parameters();
    const asking = fetch(`/state?${query}`, { cache: "no-store", signal: AbortSignal.timeout(5000) });
    const update = await asking.then((answer) => (answer.ok ? answer.json() : null)).catch(() => null);
    // An event has come since, which is newer.
    if (polling !== mine) return;
    if (!update) lose();
    else if (query === parameters()) take(update);
    await new Promise((done) => setTimeout(done, 3000));
  }
}

// The site does not answer: what is shown is as old as its last word.
function lose() {
  if (lost) return;
  lost = true;
  resume(); // With the time of its last word goes what it said then.
  tick();
}

connect();
setInterval(() => {
  if (Date.now() - quiet > QUIET) poll();
  // A stream that was refused is closed for good, and one whose connection has died stays silent.
  if (Date.now() - quiet > SILENCE) connect();
  tick();
}, 1000);
