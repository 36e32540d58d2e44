// What pages are made of: elements, numbers as people read them, pictures.

export const $ = (id) => document.getElementById(id);
export const number = new Intl.NumberFormat("en");

/** An HTML element with these properties; text among its children enters as text. */
export function element(name, said = {}, ...children) {
  const made = Object.assign(document.createElement(name), said);
  made.append(...children);
  return made;
}

/** The bytes that the page brings in itself, in the element of this id; undefined where it brings none. */
export function ownBytes(id) {
  const own = $(id);
  if (!own) return undefined;
  const letters = atob(own.textContent.trim());
  own.remove();
  // Uint8Array.from takes twenty times as long.
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

/** The value that the page brings in itself as JSON. */
export function ownData(id) {
  return JSON.parse($(id).textContent);
}

/** What the page brings in itself compressed, as a Response; undefined where it brings none, or it cannot be opened. */
export function ownPacked(id) {
  const bytes = ownBytes(id);
  if (!bytes || typeof DecompressionStream === "undefined") return undefined;
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")));
}

/** The module that the page brings in itself for this engine: where it `hasDot` and another is there, that. */
export async function ownNetwork(hasDot) {
  const bytes = ownBytes("net-wasm");
  const other = bytes && hasDot() && ownPacked("net-relaxed");
  if (!other) return bytes;
  // It lacks the data, which are those of the first and lie behind the code.
  const rest = new Uint8Array(await other.arrayBuffer());
  const [start, end] = sectionOf(bytes, 11);
  const [, place] = sectionOf(rest, 10);
  return new Uint8Array(await new Blob([rest.subarray(0, place), bytes.subarray(start, end), rest.subarray(place)]).arrayBuffer());
}

/** From where to where a section of a module reaches. */
function sectionOf(bytes, kind) {
  for (let at = 8; at < bytes.length; ) {
    const start = at;
    let size = 0;
    for (let shift = 0; ; shift += 7) {
      const part = bytes[++at];
      size |= (part & 127) << shift;
      if (part < 128) break;
    }
    at += 1 + size;
    if (bytes[start] === kind) return [start, at];
  }
  throw new Error("the page lacks a part of its network");
}

/** A number of so many units, as 3.2 M. */
export function short(value, unit = "") {
  for (const [size, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (Math.abs(value) >= size) return `${Number((value / size).toPrecision(3))} ${letter}${unit}`;
  }
  return `${Number(value.toPrecision(3))} ${unit}`.trim();
}

/** So many things. */
export function counted(count, noun) {
  return `${number.format(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** What a page's clock measured, which counts by 0.1 ms. */
export function measured(milliseconds) {
  return milliseconds < 0.1 ? "under 0.1 ms" : `${milliseconds.toFixed(1)} ms`;
}

/** A time, in the unit that suits it. */
export function time(seconds) {
  const [size, unit] = [[1, "s"], [1e-3, "ms"], [1e-6, "µs"], [0, "ns"]].find(([least]) => seconds >= least);
  return `${Number((seconds / (size || 1e-9)).toPrecision(3))} ${unit}`;
}

// -- arrays -------------------------------------------------------------------------------------------------------------

const ARRAYS = {
  int8: [Int8Array, "|i1"],
  uint8: [Uint8Array, "|u1"],
  int16: [Int16Array, "<i2"],
  int32: [Int32Array, "<i4"],
  float32: [Float32Array, "<f4"],
};

/** An array for an input out of a file: a .npy file, or the values alone, as the network stores them, in row order. */
export function arrayOf(buffer, { name, type, count, height, width, channels }) {
  const [Made, code] = ARRAYS[type];
  const letters = String.fromCharCode(...new Uint8Array(buffer, 0, Math.min(buffer.byteLength, 4096)));
  let start = 0;
  let said = "";
  if (letters.startsWith("\x93NUMPY")) {
    const view = new DataView(buffer);
    start = letters.charCodeAt(6) > 1 ? 12 + view.getUint32(8, true) : 10 + view.getUint16(8, true);
    said = letters.slice(10, start);
  }
  const bytes = count * Made.BYTES_PER_ELEMENT;
  if (buffer.byteLength - start !== bytes || (said && (!said.includes(`'${code}'`) || said.includes("'fortran_order': True")))) {
    const shape = `${height}×${width}×${channels}`;
    throw new Error(`input ${name} must be ${shape} of ${type} in row order, ${number.format(bytes)} bytes or a .npy file of them`);
  }
  return new Made(buffer.slice(start));
}

// -- pictures -----------------------------------------------------------------------------------------------------------

const MOST_PIXELS = 2 ** 26; // as in Python: more of them fill memory

/** The pixels of a file, a camera's frame or an image, as ImageData. */
export async function pixelsOf(source) {
  const known = source instanceof Blob ? await createImageBitmap(source, { colorSpaceConversion: "none" }) : source;
  const width = known.videoWidth || known.width;
  const height = known.videoHeight || known.height;
  if (width * height > MOST_PIXELS) {
    throw new Error(`it must have at most ${number.format(MOST_PIXELS)} pixels, got ${number.format(width)} × ${number.format(height)}`);
  }
  const context = element("canvas", { width, height }).getContext("2d", { willReadFrequently: true });
  context.drawImage(known, 0, 0);
  return context.getImageData(0, 0, width, height);
}

/** Paints a canvas of this size; `value(i, c)` is colour c, 0 to 255, of pixel i. */
export function paint(canvas, width, height, value) {
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) image.data.set([value(i, 0), value(i, 1), value(i, 2), 255], 4 * i);
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** What the network sees: the bytes of the picture at its input's size. */
export function paintSeen(canvas, net, name) {
  const { height, width, channels } = net.facts.input;
  const pixels = net.pixels;
  paint(canvas, width, height, (i, c) => pixels[i * channels + (channels === 3 ? c : 0)]);
  canvas.setAttribute("aria-label", `What the network sees of ${name}: ${width} by ${height} pixels`);
}

/** The first `most` channels of a map as pictures, dark to light. */
export function channelPictures({ height, width, channels }, values, most) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  const figures = Array.from({ length: Math.min(most, channels) }, (_, c) => {
    const canvas = element("canvas", { ariaLabel: `channel ${c}` });
    canvas.setAttribute("role", "img");
    paint(canvas, width, height, (i) => (high > low ? (255 * (values[i * channels + c] - low)) / (high - low) : 0));
    return canvas;
  });
  return { low, high, figures };
}

/** Files that are chosen, dropped on `place` or pasted go to `take`; `refuse` is told of what is none. */
export function takeFiles(input, place, take, refuse) {
  input.addEventListener("change", () => {
    if (input.files[0]) take(input.files[0]);
    input.value = "";
  });
  for (const kind of ["dragenter", "dragover"]) {
    place.addEventListener(kind, (event) => {
      event.preventDefault();
      place.classList.add("over");
    });
  }
  place.addEventListener("dragleave", () => place.classList.remove("over"));
  place.addEventListener("drop", (event) => {
    event.preventDefault();
    place.classList.remove("over");
    const file = event.dataTransfer.files[0];
    if (file) take(file);
    else refuse("What was dropped must be a file: save the picture first, or copy and paste it.");
  });
  for (const kind of ["dragover", "drop"]) window.addEventListener(kind, (event) => event.preventDefault());
  window.addEventListener("paste", (event) => {
    const file = event.clipboardData.files[0];
    if (file) take(file);
  });
}

const RUNS = 30; // at most, of which the fastest is told: the first ones run before the engine has optimised
const MOST_MILLISECONDS = 300;

/** After what was changed is seen. */
export const painted = () => new Promise((next) => requestAnimationFrame(() => setTimeout(next)));

/** What the fastest of some runs took, after one that took so long. */
export function timed(net, milliseconds) {
  const times = [milliseconds];
  const start = performance.now();
  while (times.length < RUNS && performance.now() - start < MOST_MILLISECONDS) {
    const before = performance.now();
    net.compute();
    times.push(performance.now() - before);
  }
  return `${measured(Math.min(...times))} (the fastest of ${times.length})`;
}

// -- answers ------------------------------------------------------------------------------------------------------------

/** A table of names, numbers and bars: rows are [label, text, share of a whole bar]. */
export function barTable(caption, rows) {
  const body = rows.map(([label, text, part]) => {
    const bar = element("div", { className: "share" });
    bar.style.width = `${100 * part}%`;
    const cells = [element("td", { className: "number" }, text), element("td", {}, bar)];
    return element("tr", {}, element("th", { scope: "row" }, label), ...cells);
  });
  return element("table", { className: "top" }, element("caption", {}, caption), element("tbody", {}, ...body));
}

/** The answer of a network: its most probable classes, or of one that is no classifier its maps or largest values. */
export function answer(net, { top, outputs }, most = 12) {
  if (top.length) {
    const rows = top.map(({ label, probability }) => [label, `${(100 * probability).toFixed(1)} %`, probability]);
    return [barTable("The most probable classes", rows)];
  }
  return net.facts.outputs.map((output, i) => {
    const real = net.real(outputs[i], i);
    return output.height * output.width > 1 ? mapsOf(output, real, most) : largestOf(net, output, real);
  });
}

function largestOf(net, output, real) {
  const order = Array.from(real.keys()).sort((a, b) => real[b] - real[a]).slice(0, 5);
  const [low, high] = [real.reduce((a, b) => Math.min(a, b)), real.reduce((a, b) => Math.max(a, b))];
  const rows = order.map((i) => [
    net.labels.length === real.length ? net.labels[i] : `value ${i}`,
    real[i].toPrecision(4),
    high > low ? (real[i] - low) / (high - low) : 1,
  ]);
  return barTable(`The largest values of ${output.name}`, rows);
}

function mapsOf(output, real, most) {
  const { low, high, figures } = channelPictures(output, real, most);
  const titled = figures.map((canvas, c) => element("figure", {}, canvas, element("figcaption", {}, `channel ${c}`)));
  const title =
    `${output.name}: ${output.height} × ${output.width}, ${output.channels} channels, from ${low.toPrecision(3)} ` +
    `(dark) to ${high.toPrecision(3)} (light)`;
  return element("div", {}, element("p", {}, title), element("div", { className: "maps" }, ...titled));
}
