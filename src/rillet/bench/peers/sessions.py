"""Sessions of each runtime with its own best settings; imported only in the measured process."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rillet.ir.graph import Array

Job = Mapping[str, Any]
"""runtime, file, threads; shape (height, width, channels) and dtype of the input; shape and dtype of each output; form
(`int8` or `uint8`) where there is another one, and of which ends its bytes are those of the network with their sign
flipped.
"""


@dataclass(frozen=True, slots=True)
class Session:
    """A runtime with a network in it."""

    feed: "Callable[[Array], None]"
    """Puts an image (height x width x channels) where `run` takes it from."""
    run: Callable[[], object]
    """One inference: all that is timed."""
    result: "Callable[[], Array]"
    """The first output of the last inference, height x width x channels."""


def start(job: Job) -> Session:
    """The runtime that `job` names, ready to run; whatever the runtime raises passes through."""
    made = _STARTS[job["runtime"]](job)
    return _of_other_sign(made, bool(job.get("input_sign_flipped")), bool(job.get("output_sign_flipped")))


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
    # Without VNNI its products of uint8 and int8 saturate at 16 bits, and answers are others; where there is VNNI this
    # says nothing.
    options.add_session_config_entry("session.x64quantprecision", "1")
    options.log_severity_level = 4
    session = ort.InferenceSession(job["file"], options, providers=["CPUExecutionProvider"])
    image, binding = _channels_first(job), session.io_binding()
    binding.bind_cpu_input(session.get_inputs()[0].name, image)
    for output in session.get_outputs():
        binding.bind_output(output.name)
    return Session(
        lambda given: _fill(image, given),
        lambda: session.run_with_iobinding(binding),
        lambda: _channels_last(job, binding.copy_outputs_to_cpu()[0]),
    )


def _openvino(job: Job) -> Session:
    ov: Any = importlib.import_module("openvino")
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(job["threads"]),
        "INFERENCE_PRECISION_HINT": "f32",
    }
    compiled = ov.Core().compile_model(job["file"], "CPU", settings)
    request, image = compiled.create_infer_request(), _channels_first(job)
    request.set_input_tensor(ov.Tensor(image, shared_memory=True))

    def run() -> None:
        # Cheaper than infer(), which makes a dictionary of the results.
        request.start_async()
        request.wait()

    return Session(
        lambda given: _fill(image, given),
        run,
        lambda: _channels_last(job, request.get_output_tensor(0).data),
    )


def _litert(job: Job) -> Session:
    interpreter: Any = importlib.import_module("ai_edge_litert.interpreter")
    made = interpreter.Interpreter(job["file"], num_threads=job["threads"])
    made.allocate_tensors()
    details, out = made.get_input_details()[0], made.get_output_details()[0]["index"]

    def feed(given: "Array") -> None:
        turned = np.ascontiguousarray(given[None].transpose(job.get("order", (0, 1, 2, 3))))
        made.set_tensor(details["index"], turned.reshape(details["shape"]))

    return Session(feed, made.invoke, lambda: made.get_tensor(out).reshape(job["outputs"][0]["shape"]))


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
    image, last = _channels_first(job)[0], job["names"][1]
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
    image = torch.zeros(1, channels, height, width).contiguous(memory_format=channels_last)
    kept: list[Any] = []

    def run() -> None:
        with torch.inference_mode():
            kept[:] = [module(image)]

    def result() -> "Array":
        first = kept[0][0] if isinstance(kept[0], tuple) else kept[0]
        return _channels_last(job, first.numpy())

    return Session(lambda given: image.copy_(torch.from_numpy(given[None]).permute(0, 3, 1, 2)), run, result)


_STARTS: Mapping[str, Callable[[Job], Session]] = {
    "rillet": _ours,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "litert": _litert,
    "ncnn": _ncnn,
    "torch": _torch,
}


def _channels_first(job: Job) -> "Array":
    """Room for an image, 1 x channels x height x width."""
    height, width, channels = job["shape"]
    return np.zeros((1, channels, height, width), job["dtype"])


def _fill(image: "Array", given: "Array") -> None:
    image[...] = given[None].transpose(0, 3, 1, 2)


def _channels_last(job: Job, made: "Array") -> "Array":
    """An output of channels x height x width (or channels alone), a copy of it."""
    height, width, channels = job["outputs"][0]["shape"]
    return np.array(made).reshape(channels, height, width).transpose(1, 2, 0).copy()
