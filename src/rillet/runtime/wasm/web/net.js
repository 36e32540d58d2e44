// Runs a network that Rillet compiled to WebAssembly: in pages, workers and Node, without other modules.
//
//   import { load } from "./net.js";
//   const net = await load();              // net.wasm beside this file
//   const { top, outputs } = net.run(imageData);

const SECTION = "rillet";
const TYPES = { int8: Int8Array, uint8: Uint8Array, int16: Int16Array, int32: Int32Array, float32: Float32Array };
// A module that has one instruction of SIMD, as net.wasm has.
const SIMD = "AGFzbQEAAAABBQFgAAF7AwIBAAoKAQgAQQD9D/1iCw==";
// One with a relaxed dot product: d(weights, activations, sum).
const DOT = "AGFzbQEAAAABCAFgA39/fwF/AwIBAAcFAQFkAAAKFgEUACAA/REgAf0RIAL9Ef2TAv0bAAs=";
// Engines differ in activations of 8 bits: they may be signed, or pairs of products saturate.
const DOTS = [[0x7f7f7f7f, -1, 1, 129541], [-0x7f7f7f80, -1, -7, -130567], [0x7f80ff01, -0x7f00fe02, 5, -16126]];

const decoded = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

/** Whether this engine has WebAssembly's SIMD, as engines have since 2021 (Safari: 2023). */
export function hasSimd() {
  return WebAssembly.validate(decoded(SIMD));
}

/** Whether its relaxed dot product is one of unsigned activations, added up exactly. */
export function hasDot() {
  const bytes = decoded(DOT);
  if (!WebAssembly.validate(bytes)) return false;
  const { d } = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports;
  return DOTS.every(([weights, values, sum, made]) => d(weights, values, sum) === made);
}

/** The build for this engine. */
function best() {
  if (!hasSimd()) return "./net.plain.wasm";
  return hasDot() ? "./net.relaxed.wasm" : "./net.wasm";
}

/**
 * Loads a network: from a URL, bytes, a Response or a compiled WebAssembly.Module; by default the build for this engine
 * beside this file. Rejects with an Error of one sentence where it is none of Rillet's, or the engine lacks what it needs.
 */
export async function load(source = new URL(best(), import.meta.url)) {
  let module;
  try {
    module = await compiled(source);
  } catch (error) {
    if (hasSimd() || !(error instanceof WebAssembly.CompileError)) throw error;
    throw new Error("this browser has no WebAssembly SIMD, which this file needs; net.plain.wasm of the folder that rillet emit writes does not");
  }
  const sections = WebAssembly.Module.customSections(module, SECTION);
  if (sections.length !== 1) throw new Error("must be a network that Rillet compiled, got another WebAssembly module");
  const facts = JSON.parse(new TextDecoder().decode(sections[0]));
  facts.input = facts.inputs[0];
  if (facts.relaxed && !hasDot()) throw new Error(`${facts.name}: must be loaded as net.wasm by this engine`);
  return new Net(module, await WebAssembly.instantiate(module, {}), facts);
}

async function compiled(source) {
  if (source instanceof WebAssembly.Module) return source;
  if (source instanceof ArrayBuffer || ArrayBuffer.isView(source)) return WebAssembly.compile(source);
  const response = source instanceof Response ? source : await fetch(source);
  if (!response.ok) throw new Error(`${response.url}: must be a network, got HTTP ${response.status}`);
  return WebAssembly.compile(await response.arrayBuffer());
}

/** A loaded network: its own memory, one image at a time. */
export class Net {
  #exports;
  #values;
  #traced;

  constructor(module, instance, facts) {
    this.module = module;
    this.facts = facts;
    this.#exports = instance.exports;
    const bad = this.#exports.rillet_init();
    if (bad) throw new Error(`${facts.name}: the arena must be aligned`);
    this.#values = facts.input.height * facts.input.width * facts.input.channels;
  }

  get name() {
    return this.facts.name;
  }

  get labels() {
    return this.facts.picture?.labels ?? [];
  }

  /** The image as the network stores it; write it, then call `compute` without values. */
  get image() {
    return this.#view(this.facts.input.type, this.#exports.rillet_image(), this.#values);
  }

  /** All inputs as the network stores them, the image first; write them, then call `compute` without values. */
  get inputs() {
    const others = this.facts.inputs.slice(1);
    return [this.image, ...others.map(({ type, count }, i) => this.#view(type, this.#exports.rillet_given(i + 1), count))];
  }

  /** After `show`: the bytes of the picture at the input's size and channels. */
  get pixels() {
    return this.#view("uint8", this.#exports.rillet_pixels(), this.#values);
  }

  /** The bytes of the arena, in which all activations lie. */
  get arena() {
    return this.#view("uint8", this.#exports.rillet_arena(), this.facts.arenaBytes);
  }

  /**
   * The network's answer for a picture: an ImageData, or { data, width, height } with four bytes a pixel.
   * Returns { outputs, top, milliseconds }: `top` has the most probable classes of a classifier, else nothing.
   */
  run(picture, count = 5) {
    this.show(picture);
    const start = performance.now();
    const outputs = this.compute();
    return { outputs, top: this.top(outputs, count), milliseconds: performance.now() - start };
  }

  /** Makes a picture the image: resized, scaled and quantised as the network was trained, as Pillow would do it. */
  show(picture) {
    if (!this.#exports.rillet_picture) throw new Error(`${this.name}: the input must be no picture, but values (compute)`);
    const { height, width, channels } = this.facts.input;
    const made = fitted(picture, { height, width, channels, ...this.facts.picture });
    this.pixels.set(made);
    this.#exports.rillet_picture();
  }

  /**
   * The outputs for an image as the network stores it: typed arrays, copied. A network of several inputs takes an array of
   * arrays, one for each of `facts.inputs`.
   */
  compute(values) {
    if (values !== undefined) this.#take(values);
    this.#exports.rillet_run();
    return this.facts.outputs.map((output, i) => this.#output(output, this.#exports.rillet_output(i)));
  }

  /** Begins an image whose rows are pushed: `push(0)` to `push(height - 1)` of what `show` or `image` holds. */
  start() {
    this.#exports.rillet_start();
  }

  /** Takes the next row; `values`, where given, is written into the image first. */
  push(row, values) {
    const { height, width, channels } = this.facts.input;
    if (!(Number.isInteger(row) && row >= 0 && row < height)) {
      throw new RangeError(`row must be from 0 to ${height - 1}, got ${row}`);
    }
    if (values !== undefined) this.image.set(values, row * width * channels);
    this.#exports.rillet_push(row);
  }

  /** After the last row: the outputs, as of `compute`. */
  pushed() {
    return this.facts.outputs.map((output, i) => this.#output(output, this.#exports.rillet_pushed(i)));
  }

  /** Pixels of each value that are computed by now, in the order of `facts.values`. */
  get made() {
    return this.#view("int32", this.#exports.rillet_made(), this.facts.values.length);
  }

  /** What has fired since the image began, in its order: of each firing the value's place in `made`, and its pixels. */
  get fired() {
    return this.#view("int32", this.#exports.rillet_fired(), 2 * this.#exports.rillet_firings());
  }

  /** An output in real numbers: stored values less the zero point, times the scale. */
  real(output, index = 0) {
    const { scale, zeroPoint } = this.facts.outputs[index];
    return scale === null ? Float64Array.from(output) : Float64Array.from(output, (value) => (value - zeroPoint) * scale);
  }

  /** The most probable classes: { label, index, probability }; none where the network is no classifier. */
  top(outputs, count = 5) {
    const kind = this.facts.classifier;
    if (!kind) return [];
    let real = this.real(outputs[0]);
    if (kind === "logits") {
      const most = real.reduce((a, b) => Math.max(a, b));
      const powers = real.map((value) => Math.exp(value - most));
      const sum = powers.reduce((a, b) => a + b);
      real = powers.map((value) => value / sum);
    }
    const order = Array.from(real.keys()).sort((a, b) => real[b] - real[a] || a - b);
    return order.slice(0, count).map((index) => ({ label: this.labels[index], index, probability: real[index] }));
  }

  /**
   * Every value that the network makes for the image, by name; of a module that was built to show them
   * (`facts.traced`), else an Error.
   */
  trace() {
    if (!this.#exports.rillet_trace) throw new Error(`${this.name}: must be built to show its values`);
    const { memory } = this.#exports;
    const made = this.facts.values.map((value) => (value.given ? 0 : value.bytes));
    if (this.#traced === undefined) {
      let end = memory.buffer.byteLength;
      this.#traced = made.map((bytes) => (end += Math.ceil(bytes / 64) * 64) - Math.ceil(bytes / 64) * 64);
      memory.grow(Math.ceil((end - memory.buffer.byteLength) / 65536));
    }
    const places = this.#view("uint32", this.#exports.rillet_trace(), made.length);
    made.forEach((bytes, i) => (places[i] = bytes ? this.#traced[i] : 0));
    this.#exports.rillet_run();
    this.#view("uint32", this.#exports.rillet_trace(), made.length).fill(0);
    const values = this.facts.values.map((value, i) => [value, this.#traced[i]]);
    return new Map(
      values.filter(([value]) => !value.given).map(([value, at]) => [value.name, this.#output(value, at)]),
    );
  }

  #take(values) {
    const { inputs } = this.facts;
    const given = inputs.length === 1 ? [values] : values;
    if (given.length !== inputs.length) {
      throw new RangeError(`${this.name}: must have ${inputs.length} arrays, one an input, got ${given.length}`);
    }
    inputs.forEach(({ name, count }, i) => {
      const { length } = given[i];
      if (length !== count) {
        const what = i ? `input ${name}` : "the image";
        throw new RangeError(`${this.name}: ${what} must have ${count} values, got ${length}`);
      }
    });
    this.inputs.forEach((input, i) => input.set(given[i]));
  }

  #output(output, at) {
    return this.#view(output.type, at, output.count).slice();
  }

  #view(type, at, count) {
    // Memory that has grown is another buffer.
    return new (type === "uint32" ? Uint32Array : TYPES[type])(this.#exports.memory.buffer, at, count);
  }
}

// -- pictures -----------------------------------------------------------------------------------------------------------

/** Bytes of a picture at the size and channels of `spec`, as Pillow makes them. */
export function fitted(picture, spec) {
  const { data, width, height } = picture ?? {};
  if (!data || !(width > 0 && height > 0) || data.length !== 4 * width * height) {
    throw new TypeError("the picture must be an ImageData, or { data, width, height } with four bytes a pixel");
  }
  let place = [0, 0];
  let size = [width, height];
  if (spec.resize === "crop") {
    const side = Math.min(width, height);
    place = [Math.floor((width - side) / 2), Math.floor((height - side) / 2)];
    size = [side, side];
  }
  let channels = plain(data, width, place, size, spec.channels);
  if (spec.detail && Math.min(...size) > spec.detail) {
    channels = resized(channels, size, [spec.detail, spec.detail], spec.channels);
    size = [spec.detail, spec.detail];
  }
  return resized(channels, size, [spec.width, spec.height], spec.channels);
}

/** Red, green and blue, or their brightness, of pixels laid on white: of the part of this size from a place on. */
function plain(data, width, [left, top], [wide, high], channels) {
  const out = new Uint8Array(wide * high * channels);
  let place = 0;
  for (let y = top; y < top + high; y++) {
    const start = 4 * (y * width + left);
    for (let at = start; at < start + 4 * wide; at += 4) {
      const alpha = data[at + 3];
      const red = onWhite(data[at], alpha);
      const green = onWhite(data[at + 1], alpha);
      const blue = onWhite(data[at + 2], alpha);
      if (channels === 1) {
        out[place++] = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16;
      } else {
        out[place++] = red;
        out[place++] = green;
        out[place++] = blue;
      }
    }
  }
  return out;
}

function onWhite(value, alpha) {
  if (alpha === 255) return value;
  const sum = value * alpha * 128 + 255 * (255 - alpha) * 128 + 16384;
  return alpha === 0 ? 255 : ((sum >> 8) + sum) >> 15;
}

const BITS = 22;

/** For each place of a line: where it begins to read, and its weights in fixed point (a triangle as wide as it must be). */
function weights(from, to) {
  const scale = from / to;
  const support = Math.max(scale, 1);
  return Array.from({ length: to }, (_, place) => {
    const middle = (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(middle - support + 0.5));
    const end = Math.min(from, Math.trunc(middle + support + 0.5));
    const real = [];
    for (let x = first; x < end; x++) real.push(Math.max(0, 1 - Math.abs((x - middle + 0.5) * (1 / support))));
    const sum = real.reduce((a, b) => a + b, 0);
    return { first, fixed: Int32Array.from(real, (w) => Math.trunc(0.5 + (sum ? w / sum : w) * 2 ** BITS)) };
  });
}

function resized(pixels, [width, height], [toWidth, toHeight], channels) {
  let made = pixels;
  if (toWidth !== width) {
    const lines = weights(width, toWidth);
    made = new Uint8Array(height * toWidth * channels);
    for (let y = 0; y < height; y++) {
      weighted(pixels, y * width * channels, channels, channels, lines, made, y * toWidth * channels, channels);
    }
  }
  if (toHeight === height) return made;
  const lines = weights(height, toHeight);
  const row = toWidth * channels;
  const out = new Uint8Array(toHeight * row);
  for (let x = 0; x < row; x++) weighted(made, x, row, 1, lines, out, x, row);
  return out;
}

/** One line of `count` values abreast: read `step` apart, written `pitch` apart. */
function weighted(from, start, step, count, lines, out, place, pitch) {
  for (let i = 0; i < lines.length; i++) {
    const { first, fixed } = lines[i];
    for (let c = 0; c < count; c++) {
      let sum = 1 << (BITS - 1);
      for (let k = 0; k < fixed.length; k++) sum += from[start + (first + k) * step + c] * fixed[k];
      out[place + i * pitch + c] = Math.min(255, Math.max(0, sum >> BITS));
    }
  }
}
