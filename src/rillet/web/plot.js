// Plots of two measures with a Pareto front, and tables that sort: what pages that compare are made of.
import { element } from "./parts.js";

const SVG = "http://www.w3.org/2000/svg";
const [PLOT_LEFT, PLOT_RIGHT, PLOT_TOP, PLOT_BOTTOM] = [72, 20, 24, 70];

/** An SVG element; `title` is what a browser shows on hover. */
export function shape(name, attributes, title) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (title !== undefined) made.append(shape("title", {}));
  if (title !== undefined) made.firstChild.textContent = title;
  return made;
}

/** Text in an SVG; `attributes` beyond its place. */
export function said(x, y, text, anchor = "start", attributes = {}) {
  const made = shape("text", { x, y, "text-anchor": anchor, ...attributes });
  made.textContent = text;
  return made;
}

/** A click, Enter or a blank on `made`, which is told to be a button. */
export function pressable(made, label, pressed, act) {
  for (const [key, value] of Object.entries({ tabindex: 0, role: "button", "aria-label": label, "aria-pressed": pressed })) {
    made.setAttribute(key, value);
  }
  made.addEventListener("click", act);
  made.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    act();
  });
  return made;
}

/** Places on an axis from `low` to `high` that are round numbers. */
export function ticks(low, high, logarithmic) {
  if (logarithmic && high / low > 4) {
    const each = [[1, 2, 3, 5, 7], [1, 2, 5], [1]][Math.min(2, Math.floor(Math.log10(high / low) / 1.5))];
    const made = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
      for (const times of each) made.push(Number(`${times}e${power}`));
    }
    return made.filter((value) => value >= low && value <= high);
  }
  const step = 10 ** Math.floor(Math.log10((high - low) / 4 || 1));
  const wide = [1, 2, 5, 10].map((times) => times * step).find((size) => (high - low) / size <= 7);
  const made = [];
  for (let at = Math.ceil(low / wide) * wide; at <= high + 1e-9 * wide; at += wide) made.push(Number(at.toPrecision(12)));
  return made;
}

/** Those of `points` that no other beats in both measures; `across` and `up` are 1 where more is better, else -1. */
export function front(points, across, up) {
  const beats = (one, other) => {
    const [x, y] = [across * (one.x - other.x), up * (one.y - other.y)];
    return x >= 0 && y >= 0 && x + y > 0;
  };
  return points.filter((point) => !points.some((other) => beats(other, point)));
}

/** Where values of an axis lie, 0 to 1, with room at its ends. */
function scale(values, logarithmic) {
  const log = logarithmic && Math.min(...values) > 0;
  let [low, high] = [Math.min(...values), Math.max(...values)];
  const room = high - low || Math.abs(high) || 1;
  [low, high] = log ? [low / (high / low) ** 0.07 / 1.05, high * (high / low) ** 0.07 * 1.05] : [low - 0.06 * room, high + 0.06 * room];
  return { low, high, log, at: (value) => (log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low)) };
}

const NAME_PX = 7;

/** Names right or left of their dots, level, above or below, where none covers another; else none. */
function beside(points, x, y, right) {
  const taken = [];
  const names = [];
  for (const point of points) {
    const wide = point.name.length * NAME_PX;
    const places = [4, -8, 16].flatMap((down) => [11, -11 - wide].map((along) => [x(point.x) + along, y(point.y) + down]));
    const free = places.find(([at, base]) => at >= PLOT_LEFT && at + wide <= right + PLOT_RIGHT
      && !taken.some(([other, line, length]) => Math.abs(base - line) < 12 && at < other + length && other < at + wide));
    if (!free) continue;
    taken.push([...free, wide]);
    const left = free[0] < x(point.x);
    names.push(said(left ? free[0] + wide : free[0], free[1], point.name, left ? "end" : "start", { class: "name" }));
  }
  return names;
}

/**
 * Draws points by two measures into `place`: { key, x, y, label, title, strong, opacity, name }, each a button that calls
 * `choose(key)`. across, up: { name, text(value), logarithmic }. line: the points of the front. limit: the most of the
 * measure across; the region within is shaded. marks: [x, title], ticks beneath the axis.
 */
export function scatter(place, { points, across, up, line, picked, choose, limit, marks = [] }) {
  const held = place.querySelector(":focus")?.getAttribute("data-key");
  const one = scale(points.map((point) => point.x).concat(limit ?? []), across.logarithmic);
  const two = scale(points.map((point) => point.y), up.logarithmic);
  // As wide as its place, so that its text has the size of the page's.
  const width = Math.max(320, place.clientWidth || 960);
  const height = Math.min(480, 180 + width / 2);
  const [bottom, right] = [height - PLOT_BOTTOM, width - PLOT_RIGHT];
  const x = (value) => PLOT_LEFT + one.at(value) * (right - PLOT_LEFT);
  const y = (value) => bottom - two.at(value) * (bottom - PLOT_TOP);
  const svg = shape("svg", { class: "plot", viewBox: `0 0 ${width} ${height}`, role: "group" });
  svg.setAttribute("aria-label", `${up.name} against ${across.name}`);
  if (limit !== undefined) {
    const within = Math.max(0, Math.min(x(limit), right) - PLOT_LEFT);
    svg.append(shape("rect", { class: "region", x: PLOT_LEFT, y: PLOT_TOP, width: within, height: bottom - PLOT_TOP }));
  }
  const places = ticks(one.low, one.high, one.log);
  const every = Math.ceil(places.length / ((right - PLOT_LEFT) / 75));
  for (const value of places.filter((_, i) => i % every === 0)) {
    svg.append(shape("line", { class: "grid", x1: x(value), x2: x(value), y1: PLOT_TOP, y2: bottom }));
    svg.append(said(x(value), bottom + 34, across.text(value), "middle", { class: "faint" }));
  }
  for (const value of ticks(two.low, two.high, two.log)) {
    svg.append(shape("line", { class: "grid", x1: PLOT_LEFT, x2: right, y1: y(value), y2: y(value) }));
    svg.append(said(PLOT_LEFT - 8, y(value) + 4, up.text(value), "end", { class: "faint" }));
  }
  svg.append(said((PLOT_LEFT + right) / 2, height - 12, across.name, "middle"));
  svg.append(said(4, PLOT_TOP - 10, up.name));
  for (const [value, title] of marks) {
    if (value < one.low || value > one.high) continue;
    svg.append(shape("line", { class: "mark", x1: x(value), x2: x(value), y1: bottom + 4, y2: bottom + 16 }, title));
  }
  const path = [...line].sort((a, b) => a.x - b.x).map((point, i) => `${i ? "L" : "M"}${x(point.x)} ${y(point.y)}`);
  if (path.length > 1) svg.append(shape("path", { class: "front", d: path.join("") }));
  const dots = points.map((point) => {
    const looks = { cx: x(point.x), cy: y(point.y), r: point.strong ? 6.5 : 4.5, "fill-opacity": point.opacity ?? 1 };
    const is = point.key === picked;
    const dot = shape("circle", { class: is ? "dot picked" : "dot", "data-key": point.key, ...looks }, point.title);
    return pressable(dot, point.label, is, () => choose(point.key));
  });
  const names = beside(points.filter((point) => point.name), x, y, right);
  svg.append(...names, ...dots);
  place.replaceChildren(svg);
  if (held !== undefined && held !== null) dots.find((dot) => dot.getAttribute("data-key") === held)?.focus();
}

/** A name in a table that is chosen by a click, or by the keyboard. */
export function chooser(name, act) {
  const button = element("button", { type: "button", className: "link" }, name);
  button.addEventListener("click", act);
  return button;
}

/**
 * Fills a table whose headings sort it. columns: { name, value(row), text(value, row), key(row), words }, of which `key`
 * is what sorts where that is not the value; null is last. order: { column, up }, which clicks change. dress(tr, row).
 */
export function sortable(table, caption, columns, rows, order, dress = () => {}) {
  // What has the focus is made anew.
  const held = table.querySelector("tbody button:focus")?.textContent;
  const by = columns.find((column) => column.name === order.column) ?? columns[0];
  const rank = by.key ?? by.value;
  const sorted = [...rows].sort((a, b) => {
    const [one, other] = [rank(a), rank(b)];
    if (one === null || other === null) return (one === null) - (other === null);
    const least = typeof one === "string" ? one.localeCompare(other) : one - other;
    return order.up ? least : -least;
  });
  const head = columns.map((column) => {
    const button = element("button", { type: "button" }, column.name);
    button.addEventListener("click", () => {
      order.up = order.column === column.name ? !order.up : true;
      order.column = column.name;
      sortable(table, caption, columns, rows, order, dress);
      [...table.querySelectorAll("thead button")][columns.indexOf(column)].focus();
    });
    const cell = element("th", { scope: "col", className: column.words ? "words" : "" }, button);
    if (column === by) cell.ariaSort = order.up ? "ascending" : "descending";
    return cell;
  });
  const body = sorted.map((row) => {
    const cells = columns.map((column) => {
      const got = column.value(row);
      return element("td", { className: column.words ? "words" : "" }, got === null ? "-" : column.text(got, row));
    });
    const made = element("tr", {}, ...cells);
    dress(made, row);
    return made;
  });
  const parts = [element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body)];
  table.replaceChildren(element("caption", {}, caption), ...parts);
  if (held) [...table.querySelectorAll("tbody button")].find((button) => button.textContent === held)?.focus();
}
