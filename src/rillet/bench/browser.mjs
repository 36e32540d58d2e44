// Rillet's module and ONNX Runtime Web in one process of Node, taking turns. One argument: a file that says what to run;
// the answer into the file that it names. One thread each; times are the processor's, which others do not lengthen.
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const job = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
const TYPES = { int8: Int8Array, uint8: Uint8Array, float32: Float32Array };
const images = job.images.map((text) => new TYPES[job.type](Uint8Array.from(Buffer.from(text, "base64")).buffer));

async function ours() {
  const { load } = await import(pathToFileURL(job.code).href);
  const net = await load(fs.readFileSync(job.module));
  return { run: (image) => net.compute(image)[0] };
}

async function theirs() {
  const folder = path.join(job.packages, "onnxruntime-web");
  const file = path.join(folder, "dist", "ort.wasm.min.mjs");
  const ort = await import(pathToFileURL(file).href);
  ort.env.wasm.numThreads = 1;
  const options = { executionProviders: ["wasm"], graphOptimizationLevel: "all", executionMode: "sequential" };
  const session = await ort.InferenceSession.create(new Uint8Array(fs.readFileSync(job.onnx)), options);
  const { version } = JSON.parse(fs.readFileSync(path.join(folder, "package.json"), "utf8"));
  const run = async (image) => {
    const tensor = new ort.Tensor(job.type, image, job.shape);
    return (await session.run({ [session.inputNames[0]]: tensor }))[session.outputNames[0]].data;
  };
  const bytes = ["ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"]
    .map((name) => fs.statSync(path.join(folder, "dist", name)).size)
    .reduce((a, b) => a + b);
  return { run, version, bytes };
}

/** Milliseconds of processor time since `before`, of this process. */
function spent(before) {
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e3;
}

const runners = [];
for (const [name, start] of [["rillet", ours], ...(job.onnx ? [["onnxruntime-web", theirs]] : [])]) {
  try {
    const before = process.cpuUsage();
    const runner = await start();
    await runner.run(images[0]);
    const first = spent(before);
    const answers = [];
    for (const image of images) answers.push(Array.from(await runner.run(image)));
    runners.push({ name, first, answers, times: [], version: runner.version, bytes: runner.bytes, run: runner.run });
  } catch (error) {
    runners.push({ name, error: String(error.message ?? error) });
  }
}
const able = runners.filter((runner) => runner.run);
// Until engines have optimised.
for (const { run } of able) for (let i = 0; i < job.before; i++) await run(images[0]);
for (let round = 0; round < job.rounds; round++) {
  for (let k = 0; k < able.length; k++) {
    const { run, times } = able[(round + k) % able.length];
    const block = [];
    for (let i = 0; i < job.count; i++) {
      const before = process.cpuUsage();
      await run(images[i % images.length]);
      block.push(spent(before));
    }
    times.push(block);
  }
}
fs.writeFileSync(job.answer, JSON.stringify({ engine: process.versions.v8, runners }));
process.exit(0);
