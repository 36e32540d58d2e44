// The page about a network: its layers, its memory over time, machines, and the network itself at work.
import { hasDot, load } from "./net.js";
import { $, answer, channelPictures, counted, element, measured, number, ownBytes, ownData, ownNetwork, ownPacked, painted, paintSeen, pixelsOf, short, takeFiles, time, timed } from "./parts.js";
import { said, shape, sortable } from "./plot.js";

const data = ownData("data");
const hasCode = Boolean($("layers-c"));
const code = await ownPacked("layers-c")?.json();
const MAPS = 24;

// -- layers -------------------------------------------------------------------------------------------------------------

let chosen = 0;

function choose(index) {
  chosen = (index + data.layers.length) % data.layers.length;
  const layer = data.layers[chosen];
  $("layer").value = String(chosen);
  for (const rect of document.querySelectorAll(".drawing rect[data-layer]")) {
    rect.classList.toggle("chosen", rect.dataset.layer === String(chosen));
  }
  const rows = [
    ["layer", layer.name],
    ["what", layer.op],
    ["reads", layer.inputs.map((input) => `${input.name} (${input.shape})`).join(", ")],
    ["makes", `${layer.shape}, ${layer.type}`],
    ["window", layer.window],
    ["multiply-accumulates", `${number.format(layer.macs)} (${share(layer.macs, data.macs)} of all)`],
    ["weights", layer.weights && `${number.format(layer.weights.count)} of ${layer.weights.type}`],
    ["quantisation", layer.scale === null ? "none" : `scale ${layer.scale.toPrecision(6)}, zero point ${layer.zeroPoint}`],
    ["kernel", layer.kernel],
    ["buffer", layer.buffer],
    ...Object.entries(layer.costs).map(([machine, seconds]) => [machine, time(seconds)]),
  ].filter(([, value]) => value);
  const body = rows.map(([name, value]) => element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, value)));
  $("detail").replaceChildren(element("table", { className: "facts" }, element("tbody", {}, ...body)));
  $("code").hidden = !hasCode || (code && !code[layer.name]);
  $("code").querySelector("pre").textContent = code?.[layer.name] ?? "It lies here compressed, which this browser cannot open (DecompressionStream).";
  drawHistogram(layer);
  drawMaps();
}

function share(part, whole) {
  return `${(whole ? (100 * part) / whole : 0).toFixed(1)} %`;
}

function drawHistogram({ name, weights }) {
  $("histogram").replaceChildren();
  if (!weights) return;
  const { low, high, bins } = weights;
  const most = Math.max(...bins);
  const label = `Histogram of the weights of ${name}, from ${low} to ${high}`;
  const svg = shape("svg", { viewBox: "0 0 420 130", role: "img", "aria-label": label });
  const wide = 400 / bins.length;
  bins.forEach((count, i) => {
    const high = (100 * count) / most;
    const place = { x: 10 + i * wide, y: 105 - high, width: wide - 1, height: high };
    svg.append(shape("rect", place, `${number.format(count)} weights`));
  });
  svg.append(said(10, 122, String(low)), said(410, 122, String(high), "end"), said(210, 122, "weights as stored", "middle"));
  $("histogram").append(svg);
}

function beginLayers() {
  const places = new Map(data.layers.map((layer, i) => [layer.name, i]));
  $("layer").append(...data.layers.map((layer, i) => element("option", { value: String(i) }, layer.name)));
  for (const rect of document.querySelectorAll(".drawing rect")) {
    // What the drawing says of a slab begins with the layer's name.
    const title = rect.querySelector("title")?.textContent ?? "";
    const name = [...places.keys()].filter((one) => title.startsWith(`${one}: `)).sort((a, b) => b.length - a.length)[0];
    if (name === undefined) continue;
    rect.dataset.layer = String(places.get(name));
    rect.addEventListener("click", () => choose(places.get(name)));
  }
  $("layer").addEventListener("change", (event) => choose(Number(event.target.value)));
  $("before").addEventListener("click", () => choose(chosen - 1));
  $("after").addEventListener("click", () => choose(chosen + 1));
  const heaviest = data.layers.reduce((best, layer, i) => (layer.macs > data.layers[best].macs ? i : best), 0);
  choose(heaviest);
}

// -- memory -------------------------------------------------------------------------------------------------------------

const WIDE = 960;
const HIGH = 420;
const LEFT = 70;
const TOP = 24;
let marks;
let timer;

function beginMemory() {
  const { segments, buffers, arenaBytes, kind } = data.plan;
  const layers = segments.reduce((sum, segment) => sum + segment.layers.length, 0);
  // Up to where a segment has buffers: what one runs over of another counts once.
  const reach = segments.map((_, i) => Math.max(...buffers.map((one) => (one.first <= i && i <= one.last ? one.offset + one.bytes : 0))));
  const fullest = reach.indexOf(Math.max(...reach));
  $("memory-about").textContent =
    `Down: ${number.format(arenaBytes)} bytes of the arena (${kind}); across: ${counted(segments.length, "segment")}, each as wide ` +
    `as it has layers. Every bar is a buffer; segment ${fullest + 1} is the fullest: it takes ` +
    `${number.format(reach[fullest])} bytes.`;
  const edges = [LEFT];
  for (const segment of segments) edges.push(edges.at(-1) + ((WIDE - LEFT - 8) * segment.layers.length) / layers);
  const y = (bytes) => TOP + ((HIGH - TOP - 24) * bytes) / arenaBytes;
  const label = "The arena over time; the list of segments says the same";
  const svg = shape("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": label });
  segments.forEach((segment, i) => {
    if (i % 2) svg.append(shape("rect", { class: "band", x: edges[i], y: TOP, width: edges[i + 1] - edges[i], height: y(arenaBytes) - TOP }));
    if (edges[i + 1] - edges[i] > 14) svg.append(said((edges[i] + edges[i + 1]) / 2, HIGH - 8, String(i + 1), "middle"));
  });
  for (const part of [0, 0.25, 0.5, 0.75, 1]) {
    svg.append(said(LEFT - 6, y(arenaBytes * part) + 4, number.format(Math.round(arenaBytes * part)), "end"));
  }
  const bars = buffers.map((buffer) => {
    const place = { x: edges[buffer.first], width: edges[buffer.last + 1] - edges[buffer.first] };
    const room = { y: y(buffer.offset), height: Math.max(1, y(buffer.offset + buffer.bytes) - y(buffer.offset)) };
    const words = `${buffer.name}: ${buffer.kind}, ${number.format(buffer.bytes)} bytes from ${number.format(buffer.offset)}`;
    const bar = shape("rect", { class: `buffer ${buffer.kind}`, ...place, ...room }, words);
    svg.append(bar);
    return bar;
  });
  const end = y(reach[fullest]);
  svg.append(shape("line", { class: "full", x1: edges[fullest], x2: edges[fullest + 1], y1: end, y2: end }));
  svg.append(said((edges[fullest] + edges[fullest + 1]) / 2, TOP - 8, "fullest", "middle"));
  const now = shape("rect", { class: "now", y: TOP - 2, height: y(arenaBytes) - TOP + 4 });
  svg.append(now);
  $("memory").append(svg);
  marks = { bars, now, edges };
  $("moment").max = String(segments.length);
  $("moment").addEventListener("input", (event) => moment(Number(event.target.value)));
  $("play").addEventListener("click", () => (timer ? pause() : play()));
  moment(fullest + 1);
}

function moment(place) {
  const { segments, buffers } = data.plan;
  const segment = segments[place - 1];
  $("moment").value = String(place);
  marks.now.setAttribute("x", marks.edges[place - 1]);
  marks.now.setAttribute("width", marks.edges[place] - marks.edges[place - 1]);
  const live = buffers.filter((buffer, i) => {
    const is = buffer.first <= place - 1 && place - 1 <= buffer.last;
    marks.bars[i].classList.toggle("live", is);
    return is;
  });
  const largest = [...live].sort((a, b) => b.bytes - a.bytes).slice(0, 3);
  $("moment-text").textContent =
    `Segment ${place} of ${segments.length}: ${segment.layers.join(", ")}. ${number.format(segment.bytes)} bytes in ` +
    `${counted(live.length, "buffer")} (bytes that two share are counted in both), the largest ${largest.map((one) => `${one.name} (${number.format(one.bytes)})`).join(", ")}.`;
}

function play() {
  $("play").setAttribute("aria-pressed", "true");
  $("play").textContent = "pause";
  if (Number($("moment").value) === data.plan.segments.length) moment(1);
  timer = setInterval(() => {
    const next = Number($("moment").value) + 1;
    if (next > data.plan.segments.length) pause();
    else moment(next);
  }, 400);
}

function pause() {
  clearInterval(timer);
  timer = undefined;
  $("play").setAttribute("aria-pressed", "false");
  $("play").textContent = "play";
}

// -- machines -----------------------------------------------------------------------------------------------------------

const COLUMNS = [
  ["machine", (one) => one.machine, (value) => value],
  ["kind", (one) => one.kind, (value) => value],
  ["fits", (one) => (one.fits ? 1 : 0), (value, one) => (value ? "yes" : misfit(one))],
  ["precision", (one) => one.precision, (value) => value],
  ["latency", (one) => one.latency_s, time],
  ["images/s", (one) => one.images_per_s, (value) => short(value)],
  ["energy, at least", (one) => one.low_uj, (value) => short(value, "µJ")],
  ["weights", (one) => one.weight_bytes, (value) => short(value, "B")],
  ["activations", (one) => one.activation_bytes, (value) => short(value, "B")],
  ["busy", (one) => one.utilisation, (value) => `${(100 * value).toFixed(0)} %`],
].map(([name, value, text]) => ({ name, value, text, words: ["machine", "kind"].includes(name) }));

function beginMachines() {
  const { machines } = data;
  if (!machines.length) {
    $("machines").hidden = true;
    return;
  }
  const same = COLUMNS.filter(({ value }) => new Set(machines.map(value)).size === 1 && machines.length > 1);
  const columns = COLUMNS.filter((column) => !same.includes(column));
  const constant = same.map(({ name, value, text }) => {
    const got = value(machines[0]);
    return `${name}: ${got === null ? "-" : name === "fits" && !got ? "no" : text(got, machines[0])}`;
  });
  $("machines-about").textContent =
    `${counted(machines.length, "machine")}; ${number.format(data.macs)} multiply-accumulates an image. A heading sorts.` +
    (constant.length ? ` The same for all: ${constant.join(", ")}.` : "");
  const order = { column: "latency", up: true };
  sortable($("table"), "What the network takes on machines", columns, machines, order, (row, one) => {
    row.title = one.misses.join(" ");
  });
}

function misfit(one) {
  const why = element("details", {}, element("summary", {}, "no"), one.misses.join(" "));
  return element("span", { className: "no" }, why);
}

// -- the network at work ------------------------------------------------------------------------------------------------

let net;
let values;

async function beginRun() {
  if (!$("net-wasm")) {
    $("can-run").hidden = true;
    $("no-run").textContent = data.noRun;
    return;
  }
  $("no-run").hidden = true;
  try {
    net = await load(await ownNetwork(hasDot));
    performance.mark("network");
  } catch (error) {
    problem(`The network cannot run here: ${error.message}.`);
    $("can-run").hidden = true;
    return;
  }
  takeFiles($("file"), $("drop"), take, problem);
  const example = ownBytes("example-picture");
  if (example) await take(new File([example], "example"));
}

function problem(text) {
  $("problem").textContent = text;
  $("problem").hidden = !text;
}

async function take(file) {
  let picture;
  try {
    picture = await pixelsOf(file);
  } catch (error) {
    problem(`${file.name} must be a picture that the browser can show: ${error.message}`);
    return;
  }
  problem("");
  const result = net.run(picture);
  values = net.trace();
  $("time").textContent = measured(result.milliseconds);
  paintSeen($("seen"), net, file.name);
  $("answer").replaceChildren(...answer(net, result));
  drawMaps();
  window.rillet = { net, result, values };
  await painted();
  performance.mark("answer");
  if (window.rillet.result === result) $("time").textContent = timed(net, result.milliseconds);
}

/** The channels of the chosen layer as pictures, dark to light. */
function drawMaps() {
  const layer = data.layers[chosen];
  const facts = net?.facts.values.find((value) => value.name === layer.name);
  const made = values?.get(layer.name);
  if (!made || facts.bits) return;
  const { low, high, figures } = channelPictures(facts, made, MAPS);
  $("map-title").textContent =
    `${layer.name}: ${facts.height} × ${facts.width}, ${figures.length} of ${facts.channels} channels, from ` +
    `${Number(low.toPrecision(4))} (dark) to ${Number(high.toPrecision(4))} (light)`;
  $("maps").replaceChildren(...figures);
}

// -- pictures of machines -----------------------------------------------------------------------------------------------

/** A picture that is too wide for a page: its width is chosen, and the rest scrolled to, from its middle. */
function beginZoom(place) {
  const svg = place.querySelector("svg");
  const slider = element("input", { type: "range", min: "1", max: "16", step: "0.5", value: "1" });
  const label = element("label", {}, "zoom ", slider);
  const show = () => {
    const middle = (place.scrollLeft + place.clientWidth / 2) / place.scrollWidth;
    svg.style.width = `${100 * slider.value}%`;
    place.scrollLeft = middle * place.scrollWidth - place.clientWidth / 2;
  };
  slider.addEventListener("input", show);
  const step = (name, by) => {
    const button = element("button", { type: "button", ariaLabel: name }, by > 1 ? "+" : "−");
    button.addEventListener("click", () => {
      slider.value = String(Number(slider.value) * by);
      show();
    });
    return button;
  };
  place.before(element("p", { className: "controls" }, step("zoom out", 0.5), label, step("zoom in", 2)));
}

$("name").textContent = data.name;
$("facts").textContent =
  `${counted(data.layers.length, "layer")}, ${number.format(data.macs)} multiply-accumulates, ${number.format(data.weightBytes)} bytes of ` +
  `weights (${data.precision}), ${number.format(data.plan.arenaBytes)} bytes of activations`;
if (!document.querySelector("#pictures svg")) $("pictures").hidden = true;
beginLayers();
beginMemory();
beginMachines();
document.querySelectorAll(".zoom").forEach(beginZoom);
await beginRun();
