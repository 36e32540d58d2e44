"""Sessions of each runtime with its own best settings; imported only in the measured process."""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rillet.ir.graph import Array

Job = Mapping[str, Any]
"""runtime, file, threads; shape (height, width, channels) and dtype of each input and output; of which of these its
bytes are those of the network with their sign flipped; `batch`, the images of a call, `at_once`, those
that the file takes, and in how many `sessions` side by side; `exact` is false for sums of bytes that may saturate, and
`as_before` true where answers must be those of the form before, or the form is none.
"""


@dataclass(frozen=True, slots=True)
class Session:
    """A runtime with a network in it."""

    feed: "Callable[[Sequence[Array]], None]"
    """Puts images (images x height x width x channels, an array for each input) where `run` takes them from."""
    run: Callable[[], object]
    """One inference of all of them: all that is timed."""
    result: "Callable[[], Array]"
    """The first output of the last inference, images x height x width x channels."""


def start(job: Job) -> Session:
    """The runtime that `job` names, ready to run; whatever the runtime raises passes through."""
    count = job["sessions"]
    share = {**job, "batch": job["batch"] // count}
    if count == 1 or job["runtime"] == "openvino":  # which has streams of its own
        made = _one(job)
    else:
        made = _side_by_side([_one(share) for _ in range(count)])
    return _of_other_sign(made, job.get("inputs_sign_flipped", ()), bool(job.get("output_sign_flipped")))


def _one(job: Job) -> Session:
    """A session for all images of a call, one by one where its file takes one."""
    made = _STARTS[job["runtime"]](job)
    if job["at_once"] == job["batch"] or job["runtime"] in _MANY:
        return made
    images = [np.zeros((job["batch"], *one["shape"]), one["dtype"]) for one in job["inputs"]]
    results: list[Array] = []

    def run() -> None:
        results.clear()
        for i in range(job["batch"]):
            made.feed([array[i : i + 1] for array in images])
            made.run()
            results.append(made.result())

    def feed(given: "Sequence[Array]") -> None:
        for room, array in zip(images, given, strict=True):
            room[...] = array

    return Session(feed, run, lambda: np.concatenate(results))


def _side_by_side(sessions: list[Session]) -> Session:
    """Each with its share of the images in a thread of its own; runtimes let go of Python's lock while they compute."""
    pool = ThreadPoolExecutor(len(sessions))

    def feed(given: "Sequence[Array]") -> None:
        shares = zip(*(np.split(array, len(sessions)) for array in given), strict=True)
        for session, images in zip(sessions, shares, strict=True):
            session.feed(images)

    def run() -> None:
        for running in [pool.submit(session.run) for session in sessions]:
            running.result()

    return Session(feed, run, lambda: np.concatenate([session.result() for session in sessions]))


def _of_other_sign(made: Session, given: Sequence[bool], result: bool) -> Session:
    """The session, inputs where `given` fed with int8 as uint8, 128 more, and where `result` answering with int8 for
    such.
    """

    def with_sign(values: "Array", to: type[np.number[Any]]) -> "Array":
        return np.bitwise_xor(values.view(np.uint8), np.uint8(0x80)).view(to)

    def feed(images: "Sequence[Array]") -> None:
        made.feed([with_sign(a, np.uint8) if flips else a for a, flips in zip(images, given, strict=True)])

    return Session(
        feed if any(given) else made.feed,
        made.run,
        (lambda: with_sign(made.result(), np.int8)) if result else made.result,
    )


def _ours(job: Job) -> Session:
    from rillet.bench.peers import ours

    return ours.start(job)


def _onnxruntime(job: Job) -> Session:
    ort: Any = importlib.import_module("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = job["threads"]
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    # Without VNNI its products of uint8 and int8 saturate at 16 bits unless it is asked for exact ones; where there is
    # VNNI they are exact by themselves, and asking makes them slow.
    options.add_session_config_entry("session.x64quantprecision", str(int(job.get("exact", True))))
    options.log_severity_level = 4
    session = ort.InferenceSession(job["file"], options, providers=["CPUExecutionProvider"])
    images, bindings = _channels_first(job), [session.io_binding() for _ in range(job["batch"] // job["at_once"])]
    for binding, arrays in zip(bindings, _shares(images, len(bindings)), strict=True):
        for source, array in zip(session.get_inputs(), arrays, strict=True):
            binding.bind_cpu_input(source.name, array)
        for output in session.get_outputs():
            binding.bind_output(output.name)

    def run() -> None:
        for binding in bindings:
            session.run_with_iobinding(binding)

    return Session(
        lambda given: _fill(images, given),
        run,
        lambda: np.concatenate([_channels_last(job, binding.copy_outputs_to_cpu()[0]) for binding in bindings]),
    )


def _openvino(job: Job) -> Session:
    ov: Any = importlib.import_module("openvino")
    streams, calls = job["sessions"], job["batch"] // job["at_once"]
    settings = {
        "PERFORMANCE_HINT": "LATENCY" if calls == 1 else "THROUGHPUT",
        "NUM_STREAMS": str(streams),
        "INFERENCE_NUM_THREADS": str(job["threads"] * streams),
        "INFERENCE_PRECISION_HINT": "bf16" if job["bf16"] else "f32",
    }
    compiled = ov.Core().compile_model(job["file"], "CPU", settings)
    images, requests = _channels_first(job), [compiled.create_infer_request() for _ in range(calls)]
    for request, arrays in zip(requests, _shares(images, calls), strict=True):
        for i, array in enumerate(arrays):
            request.set_input_tensor(i, ov.Tensor(array, shared_memory=True))

    def run() -> None:
        # Cheaper than infer(), which makes a dictionary of the results.
        for request in requests:
            request.start_async()
        for request in requests:
            request.wait()

    return Session(
        lambda given: _fill(images, given),
        run,
        lambda: np.concatenate([_channels_last(job, request.get_output_tensor(0).data) for request in requests]),
    )


def _litert(job: Job) -> Session:
    interpreter: Any = importlib.import_module("ai_edge_litert.interpreter")
    made = interpreter.Interpreter(job["file"], num_threads=job["threads"])
    sources, out = made.get_input_details(), made.get_output_details()[0]["index"]
    shapes = [(job["at_once"], *source["shape"][1:]) for source in sources]
    for source, shape in zip(sources, shapes, strict=True):
        if shape != tuple(source["shape"]):
            made.resize_tensor_input(source["index"], shape)
    made.allocate_tensors()
    orders = job.get("orders", [(0, 1, 2, 3)] * len(sources))

    def feed(given: "Sequence[Array]") -> None:
        for source, shape, order, array in zip(sources, shapes, orders, given, strict=True):
            turned = np.ascontiguousarray(array.transpose(order))
            made.set_tensor(source["index"], turned.reshape(shape))

    return Session(feed, made.invoke, lambda: made.get_tensor(out).reshape(-1, *job["outputs"][0]["shape"]))


def _ncnn(job: Job) -> Session:
    ncnn: Any = importlib.import_module("ncnn")
    net = ncnn.Net()
    options = net.opt
    options.num_threads, options.lightmode = job["threads"], True
    options.use_vulkan_compute = False
    options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
    options.use_bf16_packed = options.use_bf16_storage = False
    path = Path(job["file"])
    if net.load_param(str(path)) or net.load_model(str(path.with_suffix(".bin"))):
        raise RuntimeError("refuses the file")
    images, last = _channels_first(job, 1), job["names"][1]
    kept: list[Any] = []

    def run() -> None:
        extractor = net.create_extractor()
        extractor.input(job["names"][0], ncnn.Mat(images[0][0]))
        code, made = extractor.extract(last)
        if code:
            raise RuntimeError(f"stops with code {code}")
        kept[:] = [made]

    return Session(lambda given: _fill(images, given), run, lambda: _channels_last(job, np.array(kept[0])))


def _torch(job: Job) -> Session:
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(job["threads"])
    if job["file"].endswith(".pt2"):
        module = importlib.import_module("torch._inductor").aoti_load_package(job["file"])
    else:
        module = torch.jit.optimize_for_inference(torch.jit.load(job["file"]))
    channels_last = torch.channels_last
    shapes = [one["shape"] for one in job["inputs"]]
    zeros = (torch.zeros(job["at_once"], channels, height, width) for height, width, channels in shapes)
    images = [image.contiguous(memory_format=channels_last) for image in zeros]
    kept: list[Any] = []

    def run() -> None:
        with torch.inference_mode():
            kept[:] = [module(*images)]

    def result() -> "Array":
        first = kept[0][0] if isinstance(kept[0], tuple | list) else kept[0]
        return _channels_last(job, first.numpy())

    def feed(given: "Sequence[Array]") -> None:
        for room, array in zip(images, given, strict=True):
            room.copy_(torch.from_numpy(array).permute(0, 3, 1, 2))

    return Session(feed, run, result)


_STARTS: Mapping[str, Callable[[Job], Session]] = {
    "rillet": _ours,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "litert": _litert,
    "ncnn": _ncnn,
    "torch": _torch,
}


_MANY = ("onnxruntime", "openvino")
"""Runtimes whose sessions take the images of a call one by one themselves."""


def _channels_first(job: Job, images: int | None = None) -> "list[Array]":
    """Room for the images of a call, images x channels x height x width for each input."""
    sizes = ((one["shape"], one["dtype"]) for one in job["inputs"])
    return [np.zeros((images or job["batch"], c, h, w), dtype) for (h, w, c), dtype in sizes]


def _shares(images: "Sequence[Array]", count: int) -> "Iterator[tuple[Array, ...]]":
    """The arrays of all inputs, cut into those of so many calls."""
    return zip(*(np.split(array, count) for array in images), strict=True)


def _fill(images: "Sequence[Array]", given: "Sequence[Array]") -> None:
    for room, array in zip(images, given, strict=True):
        room[...] = array.transpose(0, 3, 1, 2)


def _channels_last(job: Job, made: "Array") -> "Array":
    """Outputs of channels x height x width (or channels alone), a copy of them."""
    height, width, channels = job["outputs"][0]["shape"]
    return np.array(made).reshape(-1, channels, height, width).transpose(0, 2, 3, 1).copy()
