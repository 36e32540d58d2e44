"""Other runtimes: who is known and installed, and the process that each lives in, however it ends."""

import signal
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from conftest import ROOT
from graphs import Builder, of_seven_bits, random_image
from rillet.backends import reference
from rillet.bench import peers
from rillet.bench.peers import PEERS, find, process
from rillet.bench.peers.files import (
    AOT_INDUCTOR,
    TORCH_SCRIPT,
    Request,
    TorchFile,
    Way,
    jobs,
    precision_of,
    prepare,
    ways,
)
from rillet.bench.peers.lite import nearest, unsigned_ends
from rillet.bench.peers.process import Process
from rillet.bench.peers.worker import Worker
from rillet.errors import Unsupported
from rillet.ir.ops import Activate, Activation, Add, Input, Multiply, Requantize, Rounding
from rillet.ir.types import DType, Shape
from rillet.runtime.run import checked_inputs
from rillet.runtime.verify import random_given
from rillet.transforms.dequantize import dequantize
from test_plan import residual

EMPTY = "const int net_context_bytes = 1, net_arena_bytes = 1; void net_init(void) {} "
"""What a caller of net_run needs beside it."""


def test_a_list_is_read_and_none_means_all_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda name: name != "ncnn" or None)
    assert [peer.name for peer in find("litert, torch,litert")] == ["litert", "torch"]
    assert [peer.name for peer in find("rillet,litert")] == ["litert"]
    assert "ncnn" not in {peer.name for peer in find(None)}
    assert len(find(None)) == len(PEERS) - 1
    with pytest.raises(Unsupported, match=r"--against ncnn must have ncnn installed: pip install 'rillet\[bench\]'"):
        find("ncnn")


def test_torch_comes_with_its_own_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(Unsupported, match=r"pip install 'rillet\[torch\]'"):
        find("torch")
    assert find(None) == ()


def test_names_that_are_none() -> None:
    with pytest.raises(Unsupported, match=r"got 'onnx' \(did you mean onnxruntime\?\)"):
        find("onnx")
    with pytest.raises(Unsupported, match=r"got 'zzz'$"):
        find("zzz")


def test_the_page_tells_every_peers_settings() -> None:
    page = " ".join((ROOT / "docs" / "bench.md").read_text().split())
    for peer in PEERS.values():
        assert f"| {peer.name} | {peer.settings} |" in page


def test_precision_is_that_of_the_values() -> None:
    assert precision_of(residual(8, 8, 4)) == "int8"
    assert precision_of(dequantize(residual(8, 8, 4))) == "f32"


def test_networks_that_a_runtime_has_no_file_for(tmp_path: Path) -> None:
    request = Request(residual(8, 8, 4), 1, tmp_path)
    with pytest.raises(Unsupported, match="precision must be f32"):
        prepare("ncnn", request)
    with pytest.raises(Unsupported, match="must be given what makes its file"):
        prepare("torch", Request(dequantize(residual(8, 8, 4)), 1, tmp_path))


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_quantised_network_has_a_form_of_either_sign(runtime: str, tmp_path: Path) -> None:
    """The same answers, fed and read as the network's own int8."""
    if not PEERS[runtime].installed:
        pytest.skip(f"{runtime} is not installed")
    graph = of_seven_bits(residual(8, 8, 4))
    images = tmp_path / "images.npz"
    np.savez(images, np.stack([random_image(graph, seed) for seed in range(3)]))
    found: dict[str, np.ndarray] = {}
    for job in jobs(runtime, Request(graph, 1, tmp_path)):
        made, answers = Process(1), tmp_path / "answers.npy"
        try:
            made.ask("start", images=str(images), **job)
            made.ask("answers", file=str(answers))
        finally:
            made.end()
        found[job["form"]] = np.load(answers)
    assert found.keys() == {"int8", "uint8"}
    assert {answers.dtype for answers in found.values()} == {np.dtype(np.int8)}
    assert np.array_equal(found["int8"], found["uint8"])


def test_litert_has_hard_sigmoids_as_a_sum_and_a_product(tmp_path: Path) -> None:
    """Within a few steps: for speed, where TFLite has no operator with the same bytes."""
    b = Builder(np.random.default_rng(3))
    at = b.add(b.conv(5), b.add(Input(), shape=Shape(6, 5, 4)))
    graph = b.graph(b.add(b.conv(3), b.add(Activate(Activation.HARD_SIGMOID, rounding=Rounding.SHIFT), at)))
    image, found = random_image(graph), reference.outputs(nearest(graph), random_image(graph))[0]
    assert len(nearest(graph).nodes) == len(graph.nodes) + 3
    assert np.abs(found.astype(int) - reference.outputs(graph, image)[0]).max() <= 4
    assert prepare("litert", Request(graph, 1, tmp_path))["file"]


def test_float_ends_of_a_quantised_network_stay_as_they_are(tmp_path: Path) -> None:
    b = Builder(np.random.default_rng(3))
    at = b.add(b.conv(5), b.add(Input(), shape=Shape(6, 5, 4)))
    graph = b.graph(b.add(Requantize(), at, dtype=DType.F32))
    int8, uint8, saturating = jobs("onnxruntime", Request(graph, 1, tmp_path))
    assert saturating == uint8 | {"exact": False, "as_before": True}
    assert (int8["form"], uint8["form"]) == ("int8", "uint8")
    assert uint8["inputs_sign_flipped"] == [True] and not uint8["output_sign_flipped"]


def test_other_networks_have_one_form(tmp_path: Path) -> None:
    assert len(jobs("onnxruntime", Request(dequantize(residual(8, 8, 4)), 1, tmp_path))) == 1
    assert len(jobs("litert", Request(residual(8, 8, 4), 1, tmp_path))) == 1


def started(graph, folder: Path, runtime: str = "rillet") -> tuple[Process, dict[str, object]]:
    images = folder / "images.npz"
    source = graph.input_nodes[0]
    np.savez(images, np.zeros((2, *source.shape.array), source.type.dtype.numpy))
    return Process(1), {"images": str(images), **prepare(runtime, Request(graph, 1, folder))}


def test_ways_to_take_a_batch() -> None:
    assert ways("onnxruntime", 1, 2) == (Way(1),)
    assert ways("rillet", 16, 1) == (Way(16),)
    assert ways("rillet", 16, 2) == (Way(16), Way(8, 2))
    assert ways("ncnn", 16, 2) == (Way(1), Way(1, 2))
    assert ways("litert", 16, 2) == (Way(16), Way(1), Way(8, 2), Way(1, 2))
    assert ways("litert", 2, 2) == (Way(2), Way(1), Way(1, 2))
    assert ways("litert", 15, 2) == (Way(15), Way(1))


@pytest.mark.parametrize("precision", ["f32", "int8"])
@pytest.mark.parametrize("runtime", ["rillet", "onnxruntime", "openvino", "litert"])
def test_every_form_of_a_batch_gives_every_image_its_answer(runtime: str, precision: str, tmp_path: Path) -> None:
    if runtime != "rillet" and not PEERS[runtime].installed:
        pytest.skip(f"{runtime} is not installed")
    graph = of_seven_bits(residual(8, 8, 4))
    graph = dequantize(graph) if precision == "f32" else graph
    inputs, images, answers = (
        [random_image(graph, seed) for seed in range(8)],
        tmp_path / "in.npz",
        tmp_path / "out.npy",
    )
    wanted = np.stack([reference.outputs(graph, image)[0] for image in inputs]).astype(np.float64)
    np.savez(images, np.stack(inputs))
    for job in jobs(runtime, Request(graph, 2, tmp_path, batch=4)):
        made = Process(2)
        try:
            made.ask("start", images=str(images), **job)
            made.ask("answers", file=str(answers))
        finally:
            made.end()
        assert job["form"]
        apart = np.abs(np.load(answers) - wanted).max()
        assert apart <= (1e-5 * np.abs(wanted).max() if precision == "f32" else 3), job


def torch_files(runtime: str) -> Mapping[str, TorchFile]:
    """What writes PyTorch's file, where that is the runtime."""
    if runtime != "torch":
        return {}
    from rillet.train.infer import torch_script

    return {TORCH_SCRIPT: torch_script}


def test_pytorch_has_two_forms_and_one_that_does_not_compile_is_left_out(tmp_path: Path) -> None:
    asked: list[tuple[int, int]] = []

    def compiled(_: object, batch: int, threads: int) -> bytes:
        asked.append((batch, threads))
        if batch == 3:
            raise Unsupported("AOTInductor must compile the network, got: no")
        return b"package"

    graph = dequantize(residual(8, 8, 4))
    files = {TORCH_SCRIPT: lambda *_: b"script", AOT_INDUCTOR: compiled}
    made = jobs("torch", Request(graph, 2, tmp_path, torch_files=files))
    assert [(job["form"], Path(job["file"]).read_bytes()) for job in made] == [
        ("TorchScript", b"script"),
        ("AOTInductor", b"package"),
    ]
    assert asked == [(1, 2)]
    forms = [job["form"] for job in jobs("torch", Request(graph, 1, tmp_path, torch_files=files, batch=3))]
    assert forms == ["TorchScript, 3 images at once", "TorchScript, image by image", "AOTInductor, image by image"]


@pytest.mark.parametrize("precision", ["f32", "int8"])
@pytest.mark.parametrize("runtime", ["rillet", "onnxruntime", "openvino", "litert", "torch"])
def test_several_inputs_are_given_in_every_form_of_a_batch(runtime: str, precision: str, tmp_path: Path) -> None:
    """A picture, a vector and another map, joined. Of int8 values runtimes round each layer in their own way."""
    if runtime != "rillet" and not PEERS[runtime].installed:
        pytest.skip(f"{runtime} is not installed")
    if precision not in (("f32", "int8") if runtime == "rillet" else PEERS[runtime].precisions):
        pytest.skip(f"{runtime} knows no {precision}")
    b = Builder(np.random.default_rng(5))
    image, vector, map_ = (b.add(Input(), shape=shape) for shape in (Shape(8, 7, 3), Shape(1, 1, 5), Shape(8, 7, 3)))
    both = b.add(Add(), b.add(b.conv(5, (3, 3)), image), b.add(b.conv(5), map_))
    graph = of_seven_bits(b.graph(b.add(b.conv(4), b.add(Multiply(), both, b.add(b.conv(5), vector)))))
    graph = dequantize(graph) if precision == "f32" else graph
    given = [checked_inputs(graph, one) for one in random_given(graph, 8)]
    wanted = np.stack([reference.outputs(graph, one)[0] for one in given]).astype(np.float64)
    images, answers = tmp_path / "in.npz", tmp_path / "out.npy"
    np.savez(images, *map(np.stack, zip(*given, strict=True)))
    for batch in (1, 4):
        for job in jobs(runtime, Request(graph, 1, tmp_path, None, torch_files(runtime), batch=batch)):
            made = Process(1)
            try:
                made.ask("start", images=str(images), **job)
                made.ask("answers", file=str(answers))
            finally:
                made.end()
            apart = np.abs(np.load(answers) - wanted)
            if precision == "f32":
                assert apart.max() <= 1e-5 * np.abs(wanted).max(), job
            else:
                assert apart.mean() < 0.5 < 10 < np.abs(wanted - wanted[::-1]).mean(), job


def test_a_process_answers(tmp_path: Path) -> None:
    graph = residual(8, 8, 4)
    made, job = started(graph, tmp_path)
    try:
        assert made.ask("start", **job)["first_ms"] > 0
        assert len(made.ask("run", before=1, count=5)["ms"]) == 5
        assert len(made.ask("cold", bytes=2**16, count=2)["ms"]) == 2
        made.ask("answers", file=str(tmp_path / "out.npy"))
        assert np.load(tmp_path / "out.npy").shape == (2, *graph.by_name[graph.outputs[0]].shape.array)
        with pytest.raises(Unsupported, match="KeyError"):
            made.ask("nonsense")
        assert len(made.ask("run", before=0, count=1)["ms"]) == 1  # and goes on
    finally:
        made.end()


def test_a_file_that_the_runtime_refuses(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    made, job = started(residual(8, 8, 4), tmp_path, "onnxruntime")
    Path(str(job["file"])).write_bytes(b"no network")
    try:
        with pytest.raises(Unsupported, match="InvalidProtobuf"):
            made.ask("start", **job)
    finally:
        made.end()


def test_a_process_that_dies_is_told_with_its_signal(tmp_path: Path) -> None:
    made, job = started(residual(8, 8, 4), tmp_path)
    broken = tmp_path / "broken.so"
    source = tmp_path / "broken.c"
    source.write_text(f"#include <stdlib.h>\n{EMPTY}void net_run(void) {{ abort(); }}\n")
    from rillet.system.build import build_library

    broken = build_library({"broken.c": source.read_text()})
    try:
        with pytest.raises(Unsupported, match="its process ended with signal SIGABRT"):
            made.ask("start", **{**job, "file": str(broken)})
    finally:
        made.end()


def test_a_process_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rillet.system.build import build_library

    made, job = started(residual(8, 8, 4), tmp_path)
    source = f"#include <unistd.h>\nunsigned sleep(unsigned);\n{EMPTY}void net_run(void) {{ for (;;) sleep(1); }}\n"
    monkeypatch.setattr(process, "START_SECONDS", 2)
    with pytest.raises(Unsupported, match="must answer within 2 s"):
        made.ask("start", **{**job, "file": str(build_library({"hang.c": source}))})
    assert made._process.poll() == -signal.SIGKILL


def test_memory_is_what_the_runtime_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rillet.bench.peers import worker

    figures = iter((10_000_000, 12_500_000))
    monkeypatch.setattr(worker, "resident_bytes", lambda: next(figures))
    made = Worker()
    process_, job = started(residual(8, 8, 4), tmp_path)
    process_.end()
    made.answer({"do": "start", **job})
    assert made.answer({"do": "memory"}) == {"bytes": 2_500_000}


def test_ends_of_uint8_are_those_of_int8_and_128() -> None:
    b = Builder(np.random.default_rng(3))
    graph = b.graph(b.add(b.conv(3), b.add(Input(), shape=Shape(6, 5, 4))))
    made, image = unsigned_ends(graph), random_image(graph)
    assert {made.by_name[name].type.dtype for name in (made.input_nodes[0].name, *made.outputs)} == {DType.U8}
    found = reference.outputs(made, image.view(np.uint8) ^ 0x80)
    for one, other in zip(found, reference.outputs(graph, image), strict=True):
        assert np.array_equal(one, other.view(np.uint8) ^ 0x80)
