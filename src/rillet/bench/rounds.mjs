// Rillet's module and other runtimes in one process, taking turns, one thread each. `engine` is where they run: what an
// address of a file is and what its bytes are, a clock in milliseconds, and what a runtime wants that was made for pages.
const TYPES = { int8: Int8Array, uint8: Uint8Array, float32: Float32Array };

export async function measured(job, engine) {
  const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
  const peers = { "onnxruntime-web": onnxRuntime, "@litertjs/core": liteRt, "@tensorflow/tfjs-tflite": tfliteWeb };
  const starts = [["rillet", ours, job], ...job.peers.map((peer) => [peer.name, peers[peer.name], peer])];
  const runners = [];
  for (const [name, start, told] of starts) {
    try {
      const images = told.images.map((text) => new TYPES[told.type](bytesOf(text)));
      const before = engine.clock();
      const run = await start(told, engine);
      await run(images[0]);
      const first = engine.clock() - before;
      const answers = [];
      for (const image of images) answers.push(Array.from(await run(image)));
      runners.push({ name, first, answers, times: [], run, images });
    } catch (error) {
      runners.push({ name, error: String(error.message ?? error) });
    }
  }
  const able = runners.filter((runner) => runner.run);
  // Until engines have optimised.
  for (const { run, images } of able) for (let i = 0; i < job.before; i++) await run(images[0]);
  for (let round = 0; round < job.rounds; round++) {
    for (let k = 0; k < able.length; k++) {
      const { run, times, images } = able[(round + k) % able.length];
      const block = [];
      for (let i = 0; i < job.count; i++) {
        const before = engine.clock();
        await run(images[i % images.length]);
        block.push(engine.clock() - before);
      }
      times.push(block);
    }
  }
  return runners.map(({ run, images, ...told }) => told);
}

async function ours(job, engine) {
  const { load, hasDot } = await import(engine.address(job.code));
  const net = await load(await engine.bytes(hasDot() ? job.relaxed : job.module));
  return (image) => net.compute(image)[0];
}

async function onnxRuntime(job, engine) {
  const ort = await import(engine.address(job.runtime));
  ort.env.wasm.numThreads = 1;
  const options = { executionProviders: ["wasm"], graphOptimizationLevel: "all", executionMode: "sequential" };
  const session = await ort.InferenceSession.create(new Uint8Array(await engine.bytes(job.network)), options);
  return async (image) => {
    const tensor = new ort.Tensor(job.type, image, job.shape);
    return (await session.run({ [session.inputNames[0]]: tensor }))[session.outputNames[0]].data;
  };
}

/** Its kernels are XNNPACK's; it chooses the build for the engine itself. */
async function liteRt(job, engine) {
  engine.likeAPage?.(job.wasm);
  const { loadLiteRt, loadAndCompile, Tensor } = await import(engine.address(job.runtime));
  await loadLiteRt(engine.folder(job.wasm), { threads: false });
  const options = { accelerator: "wasm", cpuOptions: { numThreads: 1 } };
  const model = await loadAndCompile(new Uint8Array(await engine.bytes(job.network)), options);
  return async (image) => {
    const input = new Tensor(image, job.shape);
    const made = await model.run([input]);
    const values = made[0].toTypedArray().slice();
    for (const tensor of [input, ...made]) tensor.delete();
    return values;
  };
}

/** TensorFlow.js's own layer over this is left out: it copies tensors, and needs TensorFlow.js. */
async function tfliteWeb(job, engine) {
  if (!engine.exported) throw new Error("it must run in a page");
  const { tfweb } = await engine.exported(job.runtime);
  tfweb.tflite_web_api.setWasmPath(engine.folder(job.wasm));
  const model = await tfweb.TFLiteWebModelRunner.create(await engine.bytes(job.network), { numThreads: 1 });
  const [[input], [output]] = [model.getInputs(), model.getOutputs()];
  return (image) => {
    input.data().set(image);
    if (!model.infer()) throw new Error("it must compute an answer, got none");
    return output.data().slice();
  };
}
