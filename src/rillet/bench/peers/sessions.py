"""Sessions of each runtime with its own best settings; imported only in the measured process."""

import importlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rillet.ir.graph import Array

Job = Mapping[str, Any]
"""runtime, file, threads; shape (height, width, channels) and dtype of the input; shape and dtype of each output; of
which ends its bytes are those of the network with their sign flipped; `batch`, the images of a call, `at_once`, those
that the file takes, and in how many `sessions` side by side; `exact` is false for sums of bytes that may saturate, and
`as_before` true where answers must be those of the form before, or the form is none.
"""


@dataclass(frozen=True, slots=True)
class Session:
    """A runtime with a network in it."""

    feed: "Callable[[Array], None]"
    """Puts images (images x height x width x channels) where `run` takes them from."""
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
    return _of_other_sign(made, bool(job.get("input_sign_flipped")), bool(job.get("output_sign_flipped")))


def _one(job: Job) -> Session:
    """A session for all images of a call, one by one where its file takes one."""
    made = _STARTS[job["runtime"]](job)
    if job["at_once"] == job["batch"] or job["runtime"] in _MANY:
        return made
    images = np.zeros((job["batch"], *job["shape"]), job["dtype"])
    results: list[Array] = []

    def run() -> None:
        results.clear()
        for i in range(len(images)):
            made.feed(images[i : i + 1])
            made.run()
            results.append(made.result())

    def feed(given: "Array") -> None:
        images[...] = given

    return Session(feed, run, lambda: np.concatenate(results))


def _side_by_side(sessions: list[Session]) -> Session:
    """Each with its share of the images in a thread of its own; runtimes let go of Python's lock while they compute."""
    pool = ThreadPoolExecutor(len(sessions))

    def feed(given: "Array") -> None:
        for session, images in zip(sessions, np.split(given, len(sessions)), strict=True):
            session.feed(images)

    def run() -> None:
        for running in [pool.submit(session.run) for session in sessions]:
            running.result()

    return Session(feed, run, lambda: np.concatenate([session.result() for session in sessions]))


def _of_other_sign(made: Session, given: bool, result: bool) -> Session:
    """The session, where `given` fed with int8 as uint8, 128 more, and where `result` answering with int8 for such."""

    def with_sign(values: "Array", to: type[np.number[Any]]) -> "Array":
        return np.bitwise_xor(values.view(np.uint8), np.uint8(0x80)).view(to)

    return Session(
        (lambda image: made.feed(with_sign(image, np.uint8))) if given else made.feed,
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
    for binding, image in zip(bindings, np.split(images, len(bindings)), strict=True):
        binding.bind_cpu_input(session.get_inputs()[0].name, image)
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
    for request, image in zip(requests, np.split(images, calls), strict=True):
        request.set_input_tensor(ov.Tensor(image, shared_memory=True))

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
    details, out = made.get_input_details()[0], made.get_output_details()[0]["index"]
    shape = (job["at_once"], *details["shape"][1:])
    if shape != tuple(details["shape"]):
        made.resize_tensor_input(details["index"], shape)
    made.allocate_tensors()

    def feed(given: "Array") -> None:
        turned = np.ascontiguousarray(given.transpose(job.get("order", (0, 1, 2, 3))))
        made.set_tensor(details["index"], turned.reshape(shape))

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
    image, last = _channels_first(job, 1)[0], job["names"][1]
    kept: list[Any] = []

    def run() -> None:
        extractor = net.create_extractor()
        extractor.input(job["names"][0], ncnn.Mat(image))
        code, made = extractor.extract(last)
        if code:
            raise RuntimeError(f"stops with code {code}")
        kept[:] = [made]

    return Session(lambda given: _fill(image[None], given), run, lambda: _channels_last(job, np.array(kept[0])))


def _torch(job: Job) -> Session:
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(job["threads"])
    module = torch.jit.optimize_for_inference(torch.jit.load(job["file"]))
    channels_last = torch.channels_last
    height, width, channels = job["shape"]
    images = torch.zeros(job["at_once"], channels, height, width).contiguous(memory_format=channels_last)
    kept: list[Any] = []

    def run() -> None:
        with torch.inference_mode():
            kept[:] = [module(images)]

    def result() -> "Array":
        first = kept[0][0] if isinstance(kept[0], tuple) else kept[0]
        return _channels_last(job, first.numpy())

    return Session(lambda given: images.copy_(torch.from_numpy(given).permute(0, 3, 1, 2)), run, result)


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


def _channels_first(job: Job, images: int | None = None) -> "Array":
    """Room for the images of a call, images x channels x height x width."""
    height, width, channels = job["shape"]
    return np.zeros((images or job["batch"], channels, height, width), job["dtype"])


def _fill(images: "Array", given: "Array") -> None:
    images[...] = given.transpose(0, 3, 1, 2)


def _channels_last(job: Job, made: "Array") -> "Array":
    """Outputs of channels x height x width (or channels alone), a copy of them."""
    height, width, channels = job["outputs"][0]["shape"]
    return np.array(made).reshape(-1, channels, height, width).transpose(0, 2, 3, 1).copy()
