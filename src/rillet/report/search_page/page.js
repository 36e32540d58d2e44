// Draws the search: nothing is loaded, and every name of the data enters as text.
import { $, element, ownData } from "./parts.js";
import { chooser, scatter, sortable } from "./plot.js";

const found = ownData("data");
const figure = new Intl.NumberFormat("en", { maximumSignificantDigits: 6 });
const percent = (part) => `${(100 * part).toFixed(2)} %`;
const trained = found.candidates.filter((one) => one.top1 !== null && !one.failed);
const longest = Math.max(0, ...trained.map((one) => one.epochs));
const best = new Set(found.front);
const order = { column: "held back", up: false };
let picked = found.answer ? found.answer.key : null;

function plot() {
  const cost = $("cost").value;
  const shown = $("last").checked ? trained.filter((one) => one.epochs === longest) : trained;
  if (!shown.length) {
    $("plot").replaceChildren(element("p", {}, "No training has ended yet."));
    return;
  }
  const points = shown.map((one) => ({
    key: one.key,
    x: one.costs[cost],
    y: one.top1,
    label: about(one),
    title: [about(one), ...choices(one).map(([name, value]) => `${name}=${value}`)].join("\n"),
    strong: best.has(one.key),
    opacity: 0.25 + 0.75 * (one.epochs / longest),
  }));
  const marks = found.zoo
    .filter((one) => one.costs[cost] !== undefined)
    .map((one) => [one.costs[cost], `${one.name}: ${figure.format(one.costs[cost])}`]);
  scatter($("plot"), {
    points,
    across: { name: cost, text: (value) => figure.format(value), logarithmic: $("log").checked },
    up: { name: "top-1, held back", text: (value) => `${figure.format(100 * value)} %` },
    line: points.filter((point) => point.strong),
    picked,
    choose: pick,
    limit: found.limits[cost],
    marks,
  });
}

function about(one) {
  return `${one.key}: ${one.top1 === null ? "not trained" : percent(one.top1)} held back after ${one.epochs} epochs`;
}

function choices(one) {
  const every = found.candidates.map((other) => other.choice);
  return Object.entries(one.choice).filter(([name, value]) => every.some((choice) => choice[name] !== value));
}

function pick(key) {
  picked = key;
  draw();
  $("chosen").scrollIntoView({ block: "nearest" });
}

function chosen() {
  const one = found.candidates.find((other) => other.key === picked);
  if (!one) return;
  const title = (found.answer && found.answer.key === one.key ? "The answer: " : "") + about(one);
  const rows = [...Object.entries(one.costs).map(([name, value]) => [name, figure.format(value)]), ...choices(one)];
  const pairs = rows.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, String(value))));
  const how = element("p", {}, "Its network, without weights: ");
  how.append(element("code", {}, `rillet search show RUN --network ${one.key} -o ${one.key}.rlt`), " and its drawing: ");
  how.append(element("code", {}, `rillet draw ${one.key}.rlt -o ${one.key}.svg`));
  $("chosen").replaceChildren(element("h2", {}, title), element("dl", { className: "pairs" }, ...pairs), how);
}

function table() {
  const costs = Object.keys(found.candidates[0].costs);
  const plain = (value) => figure.format(value);
  const columns = [
    { name: "network", value: (one) => one.key, text: (value, one) => chooser(value, () => pick(one.key)), words: true },
    {
      name: "held back",
      value: (one) => (one.failed ? "failed" : one.top1),
      // Those trained longer come first: they are nearer to what they can learn.
      key: (one) => (one.top1 === null || one.failed ? null : one.epochs + one.top1),
      text: (value) => (value === "failed" ? value : percent(value)),
    },
    ...[["epochs", "epochs"], ["blocks", "depth"]].map(([name, key]) => ({ name, value: (one) => one[key], text: plain })),
    ...costs.map((name) => ({ name, value: (one) => one.costs[name], text: plain })),
    { name: "seconds", value: (one) => one.seconds, text: plain },
  ];
  sortable($("table"), "Every candidate; a heading sorts", columns, found.candidates, order, (row, one) => {
    row.classList.toggle("picked", one.key === picked);
  });
}

function draw() {
  plot();
  chosen();
  table();
}

$("lines").append(...found.lines.map((line) => element("li", {}, line)));
const bounded = Object.keys(found.limits);
const names = Object.keys(found.candidates[0].costs);
const first = bounded.filter((one) => names.includes(one));
$("cost").append(...[...first, ...names.filter((one) => !bounded.includes(one))].map((name) => element("option", {}, name)));
for (const id of ["cost", "log", "last"]) $(id).addEventListener("change", plot);
window.addEventListener("resize", plot);
draw();
