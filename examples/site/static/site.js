"use strict";

const words = { online: "True", offline: "False", unknown: "unknown" };
const table = document.getElementById("users");
const rows = new Map(Array.from(table.rows, (row) => [row.dataset.user, row]));

function show(update) {
  for (const { user, ago, state } of update.rows) {
    let row = rows.get(user);
    if (!row) {
      row = document.createElement("tr");
      row.dataset.user = user;
      row.append(...[user, "", ""].map((text) => Object.assign(document.createElement("td"), { textContent: text })));
      const next = Array.from(table.rows).find((other) => other.dataset.user > user);
      table.insertBefore(row, next ?? null);
      rows.set(user, row);
    }
    row.className = state;
    row.cells[1].textContent = ago;
    row.cells[2].textContent = words[state];
  }
  document.getElementById("online").textContent = update.online;
  document.getElementById("unknown").hidden = update.known;
  if (update.history?.length > 1) draw(update.history);
}

function draw(history) {
  const most = Math.max(1, ...history);
  const step = 359 / (history.length - 1);
  const point = (count, sample) => `${sample * step},${58 - (count * 56) / most}`;
  const plot = document.getElementById("plot");
  plot.setAttribute("points", history.map(point).join(" "));
  plot.closest("figure").hidden = false;
}

// A poll takes over where events cannot pass, as behind a proxy that holds them back.
let polling = null;

async function poll() {
  try {
    const answer = await fetch("/state", { cache: "no-store" });
    if (answer.ok) show(await answer.json());
  } catch {
    // Asked again in a moment.
  }
}

function pollInstead() {
  polling ??= setInterval(poll, 3000);
}

const source = new EventSource("/events");
const patience = setTimeout(pollInstead, 5000);
source.onmessage = (event) => {
  clearTimeout(patience);
  clearInterval(polling);
  polling = null;
  show(JSON.parse(event.data));
};
source.onerror = pollInstead;
