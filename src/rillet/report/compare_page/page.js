// Networks by two measures that a reader chooses, and all of them in a table.
import { $, element, number, ownData, short, time } from "./parts.js";
import { chooser, front, scatter, sortable } from "./plot.js";

const { networks, measures, notes } = ownData("data");
const TEXTS = {
  percent: (value) => `${Number(value.toFixed(2))} %`,
  bytes: (value) => short(value, "B"),
  count: (value) => short(value),
  seconds: time,
  microjoules: (value) => short(value / 1e6, "J").replace(/^0\..*|.*e-.*/, `${short(value)} µJ`),
};
const byKey = new Map(measures.map((measure) => [measure.key, measure]));
const text = (measure, value) => TEXTS[measure.unit](value);
const order = { column: "network", up: true };
let picked = null;

/** Measures that two networks or more have are axes. */
function options(select, chosen) {
  const groups = new Map();
  for (const measure of measures) {
    if (networks.filter((one) => one.values[measure.key] !== null).length < 2) continue;
    if (!groups.has(measure.group)) groups.set(measure.group, element("optgroup", { label: measure.group }));
    groups.get(measure.group).append(element("option", { value: measure.key }, measure.name));
  }
  select.append(...groups.values());
  select.value = chosen.find((key) => [...select.options].some((one) => one.value === key)) ?? select.options[0].value;
}

function plot() {
  const [across, up] = [byKey.get($("across").value), byKey.get($("up").value)];
  const has = (one) => one.values[across.key] !== null && one.values[up.key] !== null;
  const points = networks.filter(has).map((one) => {
    const values = [up, across].map((measure) => `${measure.name} ${text(measure, one.values[measure.key])}`);
    const label = `${one.name}: ${values.join(", ")}`;
    return { key: one.key, x: one.values[across.key], y: one.values[up.key], label, title: label, name: one.name };
  });
  const best = front(points, across.more ? 1 : -1, up.more ? 1 : -1);
  for (const point of best) point.strong = true;
  const axis = (measure) => ({
    name: `${title(measure)}, ${measure.more ? "more" : "less"} is better`,
    text: (value) => text(measure, value),
    logarithmic: $("log").checked && measure.unit !== "percent",
  });
  if (points.length) {
    scatter($("plot"), { points, across: axis(across), up: axis(up), line: best, picked, choose: pick });
  } else {
    $("plot").replaceChildren(element("p", {}, "No network has both measures."));
  }
  $("front").textContent = best.length
    ? `No other is better in both: ${best.sort((a, b) => a.x - b.x).map((one) => one.name).join(", ")}.`
    : "";
  const missing = networks.filter((one) => !has(one)).map((one) => {
    const lacks = [up, across].filter((measure) => one.values[measure.key] === null);
    return element("li", {}, `${one.name} is not shown: it has no ${lacks.map(title).join(" and no ")}.`);
  });
  $("lacking").replaceChildren(...missing);
}

/** What a measure is, and on which machine. */
function title(measure) {
  return measure.machine ? `${measure.name} on ${measure.group}` : measure.name;
}

function chosen() {
  const one = networks.find((other) => other.key === picked);
  if (!one) return;
  const rows = measures.filter((measure) => one.values[measure.key] !== null);
  const pairs = rows.map((measure) => {
    const exact = ["bytes", "count"].includes(measure.unit) ? number.format(one.values[measure.key]) : "";
    const shown = exact ? `${exact}${measure.unit === "bytes" ? " B" : ""}` : text(measure, one.values[measure.key]);
    return element("div", {}, element("dt", {}, title(measure)), element("dd", {}, shown));
  });
  const facts = one.notes.map((note) => element("p", { className: "soft" }, note));
  $("chosen").replaceChildren(element("h2", {}, one.name), element("dl", { className: "pairs" }, ...pairs), ...facts);
}

function table() {
  const columns = [
    { name: "network", value: (one) => one.name, text: (value, one) => chooser(value, () => pick(one.key)), words: true },
    ...measures.map((measure) => ({
      name: title(measure),
      value: (one) => one.values[measure.key],
      text: (value) => text(measure, value),
    })),
  ];
  sortable($("table"), "Networks side by side; a heading sorts", columns, networks, order, (row, one) => {
    row.classList.toggle("picked", one.key === picked);
  });
}

function pick(key) {
  picked = key;
  plot();
  chosen();
  table();
}

options($("up"), ["top1", "macs"]);
options($("across"), ["ram", "weights"]);
$("about").textContent = `${networks.length} networks; click a dot or a name to see all of its figures.`;
$("notes").append(...notes.map((note) => element("li", {}, note)));
for (const id of ["up", "across", "log"]) $(id).addEventListener("change", plot);
window.addEventListener("resize", plot);
plot();
table();
