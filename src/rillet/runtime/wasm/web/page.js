// The page around a network: a picture in, its answer out, and the segments as they fire.
import { load } from "./net.js";

const $ = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");
const CHANNELS = 12; // of a map that are drawn
const RUNS = 10; // at most, of which the fastest is told: the first ones run before the engine has optimised
const MOST_MILLISECONDS = 300;

let net;
let stream;
let busy = false;

function problem(text) {
  $("problem").textContent = text;
  $("problem").hidden = !text;
}

function element(name, said = {}, ...children) {
  const made = Object.assign(document.createElement(name), said);
  made.append(...children);
  return made;
}

// -- pictures -----------------------------------------------------------------------------------------------------------

/** The pixels of a file, a camera's frame or an image, as ImageData. */
async function pixelsOf(source) {
  const known = source instanceof Blob ? await createImageBitmap(source, { colorSpaceConversion: "none" }) : source;
  const width = known.videoWidth || known.width;
  const height = known.videoHeight || known.height;
  const context = element("canvas", { width, height }).getContext("2d", { willReadFrequently: true });
  context.drawImage(known, 0, 0);
  return context.getImageData(0, 0, width, height);
}

async function take(file) {
  if (!net) return;
  try {
    await stopCamera();
    show(await pixelsOf(file), file.name ?? "the picture");
    problem("");
  } catch (error) {
    problem(`${file.name || "This"} must be a picture that the browser can show: ${error.message}`);
  }
}

/** Runs the network on a picture, and shows what it sees and says; `once`: without taking its time. */
function show(picture, name, once = false) {
  const result = net.run(picture);
  const times = [result.milliseconds];
  const start = performance.now();
  while (!once && times.length < RUNS && performance.now() - start < MOST_MILLISECONDS) {
    const before = performance.now();
    net.compute();
    times.push(performance.now() - before);
  }
  drawSeen(name);
  drawAnswer(result);
  const many = times.length > 1 ? ` (the fastest of ${times.length})` : "";
  $("time").textContent =
    `${Math.min(...times).toFixed(1)} ms${many}, ${number.format(net.facts.arenaBytes)} bytes of activations`;
  drawMade();
  $("slow").disabled = false;
  // For tests, and for consoles.
  window.rillet = { net, result };
}

function drawSeen(name) {
  const { height, width, channels } = net.facts.input;
  const pixels = net.pixels;
  const out = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) out.data[4 * i + c] = pixels[i * channels + (channels === 3 ? c : 0)];
    out.data[4 * i + 3] = 255;
  }
  $("seen").width = width;
  $("seen").height = height;
  $("seen").getContext("2d").putImageData(out, 0, 0);
  $("seen").setAttribute("aria-label", `What the network sees of ${name}: ${width} by ${height} pixels`);
}

// -- answers ------------------------------------------------------------------------------------------------------------

function drawAnswer({ top, outputs }) {
  if (top.length) {
    const rows = top.map(({ label, probability }) => [label, `${(100 * probability).toFixed(1)} %`, probability]);
    $("answer").replaceChildren(table("The most probable classes", rows));
    return;
  }
  $("answer").replaceChildren(
    ...net.facts.outputs.map((output, i) => {
      const real = net.real(outputs[i], i);
      return output.height * output.width > 1 ? maps(output, real) : largest(output, real);
    }),
  );
}

function table(caption, rows) {
  const body = rows.map(([label, text, share]) => {
    const bar = element("div", { className: "share" });
    bar.style.width = `${100 * share}%`;
    const cells = [element("td", { className: "number" }, text), element("td", {}, bar)];
    return element("tr", {}, element("th", { scope: "row" }, label), ...cells);
  });
  return element("table", { className: "top" }, element("caption", {}, caption), element("tbody", {}, ...body));
}

function largest(output, real) {
  const order = Array.from(real.keys()).sort((a, b) => real[b] - real[a]).slice(0, 5);
  const [low, high] = [Math.min(...real), Math.max(...real)];
  const rows = order.map((i) => [
    net.labels.length === real.length ? net.labels[i] : `value ${i}`,
    real[i].toPrecision(4),
    high > low ? (real[i] - low) / (high - low) : 1,
  ]);
  return table(`The largest values of ${output.name}`, rows);
}

function maps(output, real) {
  const { height, width, channels } = output;
  const [low, high] = real.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
  const figures = Array.from({ length: Math.min(channels, CHANNELS) }, (_, c) => {
    const image = new ImageData(width, height);
    for (let i = 0; i < width * height; i++) {
      const grey = high > low ? (255 * (real[i * channels + c] - low)) / (high - low) : 0;
      image.data.set([grey, grey, grey, 255], 4 * i);
    }
    const canvas = element("canvas", { width, height });
    canvas.getContext("2d").putImageData(image, 0, 0);
    return element("figure", {}, canvas, element("figcaption", {}, `channel ${c}`));
  });
  const title = `${output.name}: ${height} × ${width}, ${channels} channels, ${low.toPrecision(3)} to ${high.toPrecision(3)}`;
  return element("div", {}, element("p", {}, title), element("div", { className: "maps" }, ...figures));
}

// -- segments -----------------------------------------------------------------------------------------------------------

let bars = [];

function drawSegments() {
  bars = [];
  $("segments").replaceChildren(
    ...net.facts.segments.map((segment, i) => {
      const layers = segment.values.map((index) => {
        const bar = element("i", { title: net.facts.values[index].name });
        bars.push([index, bar]);
        return bar;
      });
      const label = element("div", { className: "label" }, element("span", {}, `segment ${i + 1}`));
      label.append(element("span", {}, `${number.format(segment.bytes)} B`));
      const row = element("div", { className: "layers" }, ...layers);
      row.setAttribute("aria-hidden", "true");
      return element("li", {}, label, row);
    }),
  );
}

function drawMade() {
  const made = net.made;
  let done = 0;
  for (const [index, bar] of bars) {
    const { height, width } = net.facts.values[index];
    const share = made[index] / (height * width);
    done += share;
    bar.style.setProperty("--made", share);
  }
  return done / bars.length;
}

/** Pushes the picture row by row, one a frame. */
async function slowly() {
  const { height } = net.facts.input;
  busy = true;
  $("slow").disabled = true;
  net.start();
  for (let row = 0; row < height; row++) {
    net.push(row);
    const share = drawMade();
    $("progress").textContent = `row ${row + 1} of ${height}: ${Math.round(100 * share)} % of all pixels`;
    await new Promise((next) => requestAnimationFrame(next));
  }
  const outputs = net.pushed();
  drawAnswer({ outputs, top: net.top(outputs) });
  busy = false;
  $("slow").disabled = false;
}

// -- the camera ---------------------------------------------------------------------------------------------------------

async function startCamera() {
  try {
    if (!navigator.mediaDevices) throw new Error("browsers give it to pages from https: or localhost alone");
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    problem(`The camera cannot be used (${error.message}); pictures can.`);
    return;
  }
  problem("");
  $("camera").setAttribute("aria-pressed", "true");
  $("answer").setAttribute("aria-live", "off");
  $("video").srcObject = stream;
  await $("video").play();
  const frame = async () => {
    if (!stream) return;
    if (!busy && $("video").videoWidth) show(await pixelsOf($("video")), "the camera", true);
    requestAnimationFrame(frame);
  };
  frame();
}

async function stopCamera() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = undefined;
  $("camera").setAttribute("aria-pressed", "false");
  $("answer").setAttribute("aria-live", "polite");
}

// -- beginning ----------------------------------------------------------------------------------------------------------

function listen() {
  const drop = $("drop");
  for (const kind of ["dragenter", "dragover"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    const file = event.dataTransfer.files[0];
    if (file) take(file);
    else problem("What was dropped must be a file: save the picture first, or copy and paste it.");
  });
  window.addEventListener("dragover", (event) => event.preventDefault());
  window.addEventListener("drop", (event) => event.preventDefault());
  window.addEventListener("paste", (event) => {
    const file = event.clipboardData.files[0];
    if (file) take(file);
  });
  $("file").addEventListener("change", (event) => {
    if (event.target.files[0]) take(event.target.files[0]);
    event.target.value = "";
  });
  $("camera").addEventListener("click", () => (stream ? stopCamera() : startCamera()));
  $("slow").addEventListener("click", slowly);
}

/** The bytes that the page brings in itself, where it is one file. */
async function ownBytes(id) {
  const own = $(id);
  if (!own) return undefined;
  const text = own.textContent.trim();
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  own.remove();
  return bytes;
}

async function begin() {
  try {
    const bytes = await ownBytes("net-wasm");
    net = await load(bytes);
  } catch (error) {
    const alone = location.protocol === "file:" ? "; open the folder through a web server, or emit with --single-file" : "";
    problem(`The network cannot be loaded: ${error.message}${alone}`);
    $("facts").textContent = "";
    return;
  }
  const { input, macs, weightBytes, arenaBytes, picture, segments } = net.facts;
  document.title = net.name;
  $("name").textContent = net.name;
  $("facts").textContent =
    `${input.width} × ${input.height} × ${input.channels} in, ${number.format(macs)} multiply-accumulates, ` +
    `${number.format(weightBytes)} bytes of weights, ${number.format(arenaBytes)} of activations in ` +
    `${segments.length} segments`;
  drawSegments();
  if (!picture) {
    problem("This network takes no pictures: its values can be given from programs (net.compute).");
    for (const id of ["file", "camera"]) $(id).disabled = true;
    return;
  }
  listen();
  const example = await ownBytes("example-picture");
  if (example) await take(new File([example], "example.png"));
}

begin();
