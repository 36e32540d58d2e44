// The network in a worker: new Worker("./worker.js", { type: "module" }).
// Messages { id, picture } or { id, values } are answered by { id, outputs, top, milliseconds } or { id, error }.
import { load } from "./net.js";

const loaded = load();

self.onmessage = async ({ data: { id, picture, values } }) => {
  try {
    const net = await loaded;
    if (picture) {
      self.postMessage({ id, ...net.run(picture) });
      return;
    }
    const start = performance.now();
    const outputs = net.compute(values);
    self.postMessage({ id, outputs, top: net.top(outputs), milliseconds: performance.now() - start });
  } catch (error) {
    self.postMessage({ id, error: error.message });
  }
};
