// A network in Node, asked by another process: lines of JSON on standard input, each followed by the bytes that it names,
// answered in the same way. Arguments: net.js, net.wasm.
import fs from "node:fs";
import { pathToFileURL } from "node:url";

const [code, file] = process.argv.slice(2);
const { load } = await import(pathToFileURL(code).href);
const net = await load(fs.readFileSync(file));

function taken(count) {
  const bytes = new Uint8Array(count);
  for (let at = 0; at < count; ) {
    const read = receive(bytes.subarray(at));
    if (read === 0) process.exit(0);
    at += read;
  }
  return bytes;
}

function receive(into) {
  for (;;) {
    try {
      return fs.readSync(0, into);
    } catch (error) {
      if (error.code === "EOF") return 0;
      if (error.code !== "EAGAIN") throw error;
    }
  }
}

function line() {
  const letters = [];
  for (let letter = taken(1)[0]; letter !== 10; letter = taken(1)[0]) letters.push(letter);
  return JSON.parse(new TextDecoder().decode(new Uint8Array(letters)));
}

function send(bytes) {
  for (let at = 0; at < bytes.length; ) {
    try {
      at += fs.writeSync(1, bytes, at);
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
    }
  }
}

function answer(said, arrays = []) {
  const parts = arrays.map((array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
  send(new TextEncoder().encode(`${JSON.stringify({ ...said, bytes: parts.map((part) => part.length) })}\n`));
  parts.forEach(send);
}

function given() {
  for (const { buffer, byteOffset, byteLength } of net.inputs) new Uint8Array(buffer, byteOffset, byteLength).set(taken(byteLength));
}

function push() {
  net.start();
  for (let row = 0; row < net.facts.input.height; row++) net.push(row);
  return net.pushed();
}

/** The end of the last byte of the arena that an image writes, whatever was there before. */
function touched() {
  const written = new Uint8Array(net.arena.length);
  for (const poison of [0xa5, 0x5a]) {
    net.arena.fill(poison);
    push();
    net.arena.forEach((byte, i) => (written[i] |= byte !== poison));
  }
  return written.lastIndexOf(1) + 1;
}

function times(count) {
  const out = [];
  for (let i = 0; i <= count; i++) {
    const start = performance.now();
    net.compute();
    out.push(performance.now() - start);
  }
  return out.slice(1);
}

const ACTS = {
  run: () => answer({}, net.compute()),
  push: () => answer({}, push()),
  touched: () => answer({ touched: touched() }),
  times: ({ count }) => answer({ times: times(count) }),
  trace: () => answer({}, [...net.trace().values()]),
};
answer({ facts: net.facts, engine: process.versions.v8 });
for (;;) {
  const asked = line();
  given();
  ACTS[asked.act](asked);
}
