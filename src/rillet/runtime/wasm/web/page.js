// The page around a network: a picture in, its answer out, and the segments as they fire.
import { hasDot, load } from "./net.js";
import { $, answer, arrayOf, counted, element, measured, number, ownBytes, ownNetwork, painted, paintSeen, pixelsOf, takeFiles, timed } from "./parts.js";

const FRAMES = 240; // in which what the last row sets off is shown

let net;
let stream;
let busy = false;
let again; // runs the last picture once more

function problem(text) {
  $("problem").textContent = text;
  $("problem").hidden = !text;
}

// -- pictures -----------------------------------------------------------------------------------------------------------

async function take(file) {
  if (!net) return;
  let result;
  try {
    await stopCamera();
    result = show(await pixelsOf(file), file.name ?? "the picture");
    problem("");
  } catch (error) {
    problem(`${file.name || "This"} must be a picture that the browser can show: ${error.message}`);
    return;
  }
  await painted();
  performance.mark("answer");
  if (!busy && !stream && window.rillet.result === result) tellTime(timed(net, result.milliseconds));
}

/** Runs the network on a picture, and shows what it sees and says. */
function show(picture, name) {
  const result = net.run(picture);
  paintSeen($("seen"), net, name);
  $("answer").replaceChildren(...answer(net, result));
  tellTime(measured(result.milliseconds));
  drawMade();
  $("slow").disabled = false;
  again = () => show(picture, name);
  // For tests, and for consoles.
  window.rillet = { net, result };
  return result;
}

function tellTime(took) {
  $("time").textContent = `${took}, ${number.format(net.facts.arenaBytes)} bytes of activations`;
}

// -- other inputs -------------------------------------------------------------------------------------------------------

/** A choice of a file for each input but the picture; until then it has zeros. */
function drawInputs() {
  const others = net.facts.inputs.slice(1);
  $("inputs").replaceChildren(
    ...others.map((input, i) => {
      const chosen = element("span", {}, "zeros");
      const file = element("input", { type: "file" });
      file.addEventListener("change", async () => {
        try {
          net.inputs[i + 1].set(arrayOf(await file.files[0].arrayBuffer(), input));
          chosen.textContent = file.files[0].name;
          problem("");
          if (again && !busy) again();
        } catch (error) {
          problem(`${error.message}.`);
        }
        file.value = "";
      });
      const { name, height, width, channels, type } = input;
      const says = `${name}, ${height} × ${width} × ${channels} of ${type}: `;
      return element("p", {}, says, chosen, " ", element("label", { className: "button" }, "choose a file", file));
    }),
  );
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

/** Fills the bars by what is computed; the share of all pixels. */
function drawMade(made = net.made) {
  let done = 0;
  for (const [, index, bar] of bars) {
    const { height, width } = net.facts.values[index];
    const share = made[index] / (height * width);
    done += share;
    bar.style.setProperty("--made", share);
  }
  return done / bars.length;
}

const frame = () => new Promise((next) => requestAnimationFrame(next));

/** Pushes the picture row by row, one a frame; what the last row sets off is shown after it, firing by firing. */
async function slowly() {
  const { input, segments, values } = net.facts;
  const segmentOf = new Map(bars.map(([segment, index]) => [index, segment]));
  const made = new Int32Array(values.length);
  let shown = 0;
  const tell = (what) => ($("progress").textContent = `${what}: ${Math.round(100 * drawMade(made))} % of all pixels`);
  const advance = (fired, count) => {
    for (const end = Math.min(shown + count, fired.length / 2); shown < end; shown++) {
      made[fired[2 * shown]] += fired[2 * shown + 1];
    }
  };
  busy = true;
  $("slow").disabled = true;
  net.start();
  for (let row = 0; row < input.height - 1; row++) {
    net.push(row);
    advance(net.fired, Infinity);
    tell(`row ${row + 1} of ${input.height}`);
    await frame();
  }
  net.push(input.height - 1);
  const fired = net.fired.slice();
  const atOnce = Math.max(1, Math.ceil((fired.length / 2 - shown) / FRAMES));
  while (shown < fired.length / 2) {
    advance(fired, atOnce);
    const last = fired[2 * shown - 2];
    tell(`segment ${segmentOf.get(last) + 1} of ${segments.length}, ${values[last].name}`);
    await frame();
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
    if (!busy && $("video").videoWidth) show(await pixelsOf($("video")), "the camera");
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
  drawInputs();
}

/** No pictures are taken. */
function closed() {
  for (const id of ["file", "camera"]) $(id).disabled = true;
}

async function begin() {
  try {
    net = await load(await ownNetwork(hasDot));
    performance.mark("network");
  } catch (error) {
    problem(`The network cannot be loaded: ${error.message}.`);
    $("facts").textContent = "";
    closed();
    return;
  }
  const { input, macs, weightBytes, arenaBytes, picture, segments, simd } = net.facts;
  document.title = net.name;
  $("name").textContent = net.name;
  $("facts").textContent =
    `${input.width} × ${input.height} × ${input.channels} in, ${number.format(macs)} multiply-accumulates, ` +
    `${number.format(weightBytes)} bytes of weights, ${number.format(arenaBytes)} of activations in ` +
    counted(segments.length, "segment") +
    (simd ? "" : ". This browser has no SIMD for WebAssembly: it runs the plain build, which takes several times as long");
  drawSegments();
  if (!picture) {
    problem("This network takes no pictures: its values can be given from programs (net.compute).");
    closed();
    return;
  }
  listen();
  const example = ownBytes("example-picture");
  if (example) await take(new File([example], "example.png"));
}

begin();
