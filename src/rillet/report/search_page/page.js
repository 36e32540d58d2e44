"use strict";
// Draws the search: nothing is loaded, and every name of the data enters as text.
const found = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [960, 460, 64, 24, 20, 70];
const number = new Intl.NumberFormat("en", { maximumSignificantDigits: 6 });
const percent = (share) => (share === null ? "" : (100 * share).toFixed(2) + " %");
const trained = found.candidates.filter((one) => one.top1 !== null && !one.failed);
const longest = Math.max(0, ...trained.map((one) => one.epochs));
const front = new Set(found.front);
let picked = found.answer ? found.answer.key : null;
let order = ["top1", -1];

function make(name, attributes, parent, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

function element(name, text, parent) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

function ticks(low, high, logarithmic) {
  if (logarithmic && high / low > 4) {
    const made = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
      for (const times of [1, 2, 5]) {
        const value = times * 10 ** power;
        if (value >= low && value <= high) made.push(value);
      }
    return made;
  }
  const step = 10 ** Math.floor(Math.log10((high - low) / 4 || 1));
  const wide = [1, 2, 5, 10].map((times) => times * step).find((size) => (high - low) / size <= 7);
  const made = [];
  for (let at = Math.ceil(low / wide) * wide; at <= high + 1e-9 * wide; at += wide) made.push(at);
  return made;
}

function plot() {
  const cost = document.getElementById("cost").value;
  const logarithmic = document.getElementById("log").checked;
  const shown = document.getElementById("last").checked ? trained.filter((one) => one.epochs === longest) : trained;
  const place = document.getElementById("plot");
  place.replaceChildren();
  if (!shown.length) return element("p", "No training has ended yet.", place);
  const limit = found.limits[cost];
  const zoo = found.zoo.filter((one) => one.costs[cost] !== undefined);
  const values = shown.map((one) => one.costs[cost]).concat(limit === undefined ? [] : [limit]);
  let [low, high] = [Math.min(...values), Math.max(...values)];
  if (logarithmic) [low, high] = [Math.max(low, 1e-9) / 1.15, high * 1.15];
  else [low, high] = [low - 0.05 * (high - low || 1), high + 0.05 * (high - low || 1)];
  const share = (value) =>
    logarithmic ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
  const x = (value) => LEFT + share(value) * (WIDTH - LEFT - RIGHT);
  const tops = shown.map((one) => one.top1);
  const [least, most] = [Math.min(...tops) - 0.01, Math.max(...tops) + 0.01];
  const y = (value) => HEIGHT - BOTTOM - ((value - least) / (most - least)) * (HEIGHT - BOTTOM - TOP);

  const svg = make("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "group", "aria-label": `accuracy against ${cost}` }, place);
  if (limit !== undefined)
    make("rect", { class: "region", x: LEFT, y: TOP, width: Math.max(0, x(limit) - LEFT), height: HEIGHT - BOTTOM - TOP }, svg);
  for (const value of ticks(low, high, logarithmic)) {
    make("line", { class: "grid", x1: x(value), x2: x(value), y1: TOP, y2: HEIGHT - BOTTOM }, svg);
    make("text", { class: "faint", x: x(value), y: HEIGHT - BOTTOM + 34, "text-anchor": "middle" }, svg, number.format(value));
  }
  for (const value of ticks(100 * least, 100 * most, false)) {
    make("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value / 100), y2: y(value / 100) }, svg);
    make("text", { class: "faint", x: LEFT - 8, y: y(value / 100) + 4, "text-anchor": "end" }, svg, `${number.format(value)} %`);
  }
  make("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 12, "text-anchor": "middle" }, svg, cost);
  for (const one of zoo) {
    if (one.costs[cost] < low || one.costs[cost] > high) continue;
    const at = x(one.costs[cost]);
    const tick = make("line", { class: "zoo", x1: at, x2: at, y1: HEIGHT - BOTTOM + 4, y2: HEIGHT - BOTTOM + 16 }, svg);
    make("title", {}, tick, `${one.name}: ${number.format(one.costs[cost])}`);
  }
  const line = shown.filter((one) => front.has(one.key)).sort((a, b) => a.costs[cost] - b.costs[cost]);
  make("path", { class: "front", d: line.map((one, at) => `${at ? "L" : "M"}${x(one.costs[cost])} ${y(one.top1)}`).join("") }, svg);
  for (const one of shown) {
    const dot = make("circle", {
      class: one.key === picked ? "dot picked" : "dot",
      cx: x(one.costs[cost]), cy: y(one.top1), r: front.has(one.key) ? 6 : 4.5,
      "fill-opacity": 0.25 + 0.75 * (one.epochs / longest),
      tabindex: 0, role: "button", "aria-label": said(one),
    }, svg);
    make("title", {}, dot, said(one) + "\n" + choices(one).map(([name, value]) => `${name}=${value}`).join("\n"));
    dot.addEventListener("click", () => pick(one.key));
    dot.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); pick(one.key); }
    });
  }
}

const said = (one) => `${one.key}: ${percent(one.top1)} held back after ${one.epochs} epochs`;

function choices(one) {
  const every = found.candidates.map((other) => other.choice);
  return Object.entries(one.choice).filter(([name, value]) => every.some((choice) => choice[name] !== value));
}

function pick(key) {
  picked = key;
  draw();
  document.getElementById("chosen").scrollIntoView({ block: "nearest" });
}

function chosen() {
  const place = document.getElementById("chosen");
  place.replaceChildren();
  const one = found.candidates.find((other) => other.key === picked);
  if (!one) return;
  element("h2", (found.answer && found.answer.key === one.key ? "The answer: " : "") + said(one), place);
  const list = element("dl", undefined, place);
  for (const [name, value] of [...Object.entries(one.costs).map(([n, v]) => [n, number.format(v)]), ...choices(one)]) {
    const row = element("div", undefined, list);
    element("dt", name, row);
    element("dd", String(value), row);
  }
  const how = element("p", "Its network, without weights: ", place);
  element("code", `rillet search show RUN --network ${one.key} -o ${one.key}.rlt`, how);
  how.append(" and its drawing: ");
  element("code", `rillet draw ${one.key}.rlt -o ${one.key}.svg`, how);
}

function table() {
  const costs = Object.keys(found.candidates[0].costs);
  const columns = ["key", "top1", "epochs", "depth", ...costs, "seconds"];
  const value = (one, name) => (costs.includes(name) ? one.costs[name] : one[name]);
  const place = document.getElementById("table");
  place.replaceChildren();
  const head = element("tr", undefined, element("thead", undefined, place));
  for (const name of columns) {
    const cell = element("th", undefined, head);
    const [by, way] = order;
    if (by === name) cell.setAttribute("aria-sort", way > 0 ? "ascending" : "descending");
    element("button", { top1: "held back", key: "network", depth: "blocks" }[name] || name, cell)
      .addEventListener("click", () => { order = [name, by === name ? -way : -1]; table(); });
  }
  const body = element("tbody", undefined, place);
  const [by, way] = order;
  const rank = (one) => { const at = value(one, by); return at === null ? -Infinity : at; };
  const rows = [...found.candidates].sort((a, b) =>
    (by === "top1" && b.epochs - a.epochs) || way * (rank(a) > rank(b) ? 1 : rank(a) < rank(b) ? -1 : 0));
  for (const one of rows) {
    const row = element("tr", undefined, body);
    if (one.key === picked) row.className = "picked";
    for (const name of columns) {
      const raw = value(one, name);
      element("td", name === "key" ? raw : name === "top1" ? (one.failed ? "failed" : percent(raw)) : number.format(raw), row);
    }
    row.addEventListener("click", () => pick(one.key));
  }
}

function draw() { plot(); chosen(); table(); }

for (const line of found.lines) element("li", line, document.getElementById("lines"));
const select = document.getElementById("cost");
const bounded = Object.keys(found.limits);
const names = Object.keys(found.candidates[0].costs);
for (const name of [...bounded.filter((one) => names.includes(one)), ...names.filter((one) => !bounded.includes(one))])
  element("option", name, select);
for (const id of ["cost", "log", "last"]) document.getElementById(id).addEventListener("change", plot);
draw();
