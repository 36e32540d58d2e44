// The page around a network: a picture in, its answer out, and the segments as they fire.
import { load } from "./net.js";
import { $, answer, element, number, ownBytes, paintSeen, pixelsOf, takeFiles, timed } from "./parts.js";

const FRAMES = 6; // for which a segment is shown

let net;
let stream;
let busy = false;

function problem(text) {
  $("problem").textContent = text;
  $("problem").hidden = !text;
}

// -- pictures -----------------------------------------------------------------------------------------------------------

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
  paintSeen($("seen"), net, name);
  $("answer").replaceChildren(...answer(net, result));
  const took = once ? `${result.milliseconds.toFixed(1)} ms` : timed(net, result.milliseconds);
  $("time").textContent = `${took}, ${number.format(net.facts.arenaBytes)} bytes of activations`;
  drawMade();
  $("slow").disabled = false;
  // For tests, and for consoles.
  window.rillet = { net, result };
}

// -- segments -----------------------------------------------------------------------------------------------------------

let bars = [];

function drawSegments() {
  bars = [];
  $("segments").replaceChildren(
    ...net.facts.segments.map((segment, i) => {
      const layers = segment.values.map((index) => {
        const bar = element("i", { title: net.facts.values[index].name });
        bars.push([i, index, bar]);
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

/** Fills the bars by what is computed, of the first `segments`; the share of all pixels. */
function drawMade(segments = net.facts.segments.length) {
  const made = net.made;
  let done = 0;
  for (const [segment, index, bar] of bars) {
    const { height, width } = net.facts.values[index];
    const share = segment < segments ? made[index] / (height * width) : 0;
    done += share;
    bar.style.setProperty("--made", share);
  }
  return done / bars.length;
}

const frame = () => new Promise((next) => requestAnimationFrame(next));

/** Pushes the picture row by row, one a frame; then shows, as slowly, the segments that the last row has set off. */
async function slowly() {
  const { input, segments } = net.facts;
  busy = true;
  $("slow").disabled = true;
  net.start();
  for (let row = 0; row < input.height; row++) {
    net.push(row);
    const share = drawMade(1);
    $("progress").textContent = `row ${row + 1} of ${input.height}: ${Math.round(100 * share)} % of all pixels`;
    await frame();
  }
  for (let shown = 2; shown <= segments.length; shown++) {
    for (let wait = 0; wait < FRAMES; wait++) await frame();
    const share = drawMade(shown);
    $("progress").textContent = `segment ${shown} of ${segments.length}: ${Math.round(100 * share)} % of all pixels`;
  }
  const outputs = net.pushed();
  $("answer").replaceChildren(...answer(net, { outputs, top: net.top(outputs) }));
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
  const next = async () => {
    if (!stream) return;
    if (!busy && $("video").videoWidth) show(await pixelsOf($("video")), "the camera", true);
    requestAnimationFrame(next);
  };
  next();
}

async function stopCamera() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = undefined;
  $("camera").setAttribute("aria-pressed", "false");
  $("answer").setAttribute("aria-live", "polite");
}

// -- beginning ----------------------------------------------------------------------------------------------------------

function listen() {
  takeFiles($("file"), $("drop"), take, problem);
  $("camera").addEventListener("click", () => (stream ? stopCamera() : startCamera()));
  $("slow").addEventListener("click", slowly);
}

async function begin() {
  try {
    net = await load(ownBytes("net-wasm"));
  } catch (error) {
    const alone = location.protocol === "file:" ? "; open the folder through a web server, or emit with --single-file" : "";
    problem(`The network cannot be loaded: ${error.message}${alone}`);
    $("facts").textContent = "";
    return;
  }
  const { input, macs, weightBytes, arenaBytes, picture, segments, simd } = net.facts;
  document.title = net.name;
  $("name").textContent = net.name;
  $("facts").textContent =
    `${input.width} × ${input.height} × ${input.channels} in, ${number.format(macs)} multiply-accumulates, ` +
    `${number.format(weightBytes)} bytes of weights, ${number.format(arenaBytes)} of activations in ` +
    `${segments.length} segments` +
    (simd ? "" : ". This browser has no SIMD for WebAssembly: it runs the plain build, which takes several times as long");
  drawSegments();
  if (!picture) {
    problem("This network takes no pictures: its values can be given from programs (net.compute).");
    for (const id of ["file", "camera"]) $(id).disabled = true;
    return;
  }
  listen();
  const example = ownBytes("example-picture");
  if (example) await take(new File([example], "example.png"));
}

begin();
