"""What `run` says of outputs: classes of a classifier alone, else numbers; and what a plan for speed would save."""

import io
import json
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from graphs import Builder
from rillet.analyses.classify import classify, described, is_classifier
from rillet.cli import main
from rillet.data.images import may_be_picture
from rillet.exporters.rlt import to_bytes
from rillet.ir.graph import Graph, ImageSpec
from rillet.ir.ops import Activate, Activation, Conv, Input, Pool, PoolKind, Requantize, Softmax, Window
from rillet.ir.types import DType, Quant, Shape
from rillet.plan.host.planner import HostPlanner, estimated_ns
from rillet.report import text
from rillet.report.screen import Screen
from rillet.runtime.classify import OnHost, RunResult
from rillet.targets.host import Host
from rillet.transforms.fold import fold
from rillet.zoo.registry import build

PHOTO = Path(__file__).parents[1] / "src/rillet/models/shipped/chelsea.png"


def network(
    shape: tuple[int, int, int] = (49, 10, 1), labels: int = 0, last: str = "softmax", outputs: int = 1
) -> Graph:
    """A network such as a keyword spotter: a few layers and `last` over 5 values, its input a map of that shape."""
    made = Builder(np.random.default_rng(0), DType.F32)
    at = made.add(Input(), shape=Shape(*shape))
    at = made.add(Conv(5, Window((3, 3), (2, 2), (1, 1, 1, 1))), at)
    if last != "map":
        node = made.node(at)
        at = made.add(Pool(PoolKind.AVERAGE, Window((node.shape.height, node.shape.width))), at)
        at = made.add(Conv(5, dense=True), at)
    op = {"softmax": Softmax(), "sigmoid": Activate(Activation.SIGMOID), "relu": Activate(Activation.RELU)}.get(last)
    at = made.add(op, at) if op is not None else at
    names = (at,) if outputs == 1 else ("n1", at)
    image = ImageSpec(*shape, deviation=(255.0,), labels=tuple(f"word {i}" for i in range(labels)))
    return Graph("spotter", tuple(made.nodes), names, made.params, image if shape[2] in (1, 3) else None)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"labels": 5}, True),
        ({"labels": 5, "last": "logits"}, True),
        ({"labels": 5, "last": "relu"}, True),
        ({"labels": 0}, False),
        ({"labels": 4}, False),
        ({"labels": 5, "last": "sigmoid"}, False),
        ({"labels": 5, "last": "map"}, False),
        ({"labels": 5, "outputs": 2}, False),
    ],
)
def test_what_a_classifier_is(said: dict[str, object], expected: bool) -> None:
    assert is_classifier(network(**said)) is expected  # type: ignore[arg-type]


def test_probabilities_may_be_rescaled_behind_their_softmax() -> None:
    made = Builder(np.random.default_rng(0), DType.I8)
    at = made.add(Input(), shape=Shape(1, 1, 3), quant=Quant(0.1, 0))
    at = made.add(Softmax(), at, quant=Quant(1 / 256, -128))
    at = made.add(Requantize(), at, quant=Quant(1 / 128, 0))
    graph = Graph("net", tuple(made.nodes), (at,), made.params, None)
    found = described(graph, (np.array([[[64, 0, 32]]], np.int8),))[0]
    assert [(value.index, value.value) for value in found.largest] == [(0, 0.5), (2, 0.25), (1, 0.0)]
    assert (found.shape, found.dtype, found.minimum, found.mean, found.maximum) == ((1, 1, 3), "int8", 0.0, 0.25, 0.5)
    assert not is_classifier(graph)


def test_logits_become_probabilities_and_probabilities_stay() -> None:
    values = np.array([[[0.1, 0.6, 0.3, 0.0, 0.0]]], np.float32)
    top = classify(network(labels=5), values)
    assert [(one.label, one.index) for one in top[:2]] == [("word 1", 1), ("word 2", 2)]
    assert top[0].probability == pytest.approx(0.6)
    assert classify(network(labels=5, last="logits"), values)[0].probability == pytest.approx(0.29, abs=0.01)


def test_maps_are_told_by_their_range_and_every_output_is_there() -> None:
    graph = network(outputs=2, last="sigmoid", labels=5)
    maps, values = np.arange(25 * 5 * 5, dtype=np.float32).reshape(25, 5, 5), np.full((1, 1, 5), np.nan, np.float32)
    first, second = described(graph, (maps, values))
    assert (first.name, first.shape, first.minimum, first.maximum, first.largest) == ("n1", (25, 5, 5), 0.0, 624.0, ())
    assert second.largest[0].label == "word 0"
    assert np.isnan(second.mean)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((49, 10, 1), False),
        ((96, 64, 1), False),
        ((28, 28, 1), True),
        ((96, 160, 3), True),
        ((128, 9, 3), False),
        ((1, 640, 2), False),
    ],
)
def test_inputs_that_may_be_pictures(shape: tuple[int, int, int], expected: bool) -> None:
    assert may_be_picture(network(shape)) is expected


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two keyword spotters, one with labels, and what they hear."""
    made = tmp_path_factory.mktemp("spotter")
    (made / "plain.rlt").write_bytes(to_bytes(network()))
    (made / "labelled.rlt").write_bytes(to_bytes(network(labels=5)))
    (made / "vector.rlt").write_bytes(to_bytes(network((1, 40, 2))))
    np.save(made / "heard.npy", np.random.default_rng(1).normal(size=(49, 10, 1)).astype(np.float32))
    yield made


def run(*words: object) -> tuple[str, str, object]:
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", ["rillet", "run", *map(str, words)]),
        redirect_stdout(out),
        redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    return out.getvalue(), err.getvalue(), ended.value.code


def test_a_photograph_is_no_class_of_a_keyword_spotter(folder: Path) -> None:
    for name in ("plain", "labelled"):
        out, err, code = run(folder / f"{name}.rlt", PHOTO)
        assert code == 0, err
        assert "%" not in out
        assert "output n4: 1x1x5 float32, min " in out
        assert "input 49x10x1 may be no picture" in err
        record = json.loads(run(folder / f"{name}.rlt", PHOTO, "--json")[0])
        assert record["top"] == []
        assert record["outputs"][0]["name"] == "n4"
        assert len(record["outputs"][0]["largest"]) == 5
        assert (record["outputs"][0]["largest"][0]["label"] is None) is (name == "plain")


def test_a_keyword_spotter_hears_its_own_input(folder: Path) -> None:
    out, err, code = run(folder / "labelled.rlt", folder / "heard.npy", "--raw")
    assert (code, err) == (0, "")
    assert out.count("%") == 5
    assert "word " in out
    out, err, code = run(folder / "plain.rlt", folder / "heard.npy", "--raw")
    assert (code, err, out.count("%")) == (0, "", 0)
    assert "output n4: 1x1x5 float32" in out


def test_a_user_may_say_that_the_input_is_a_picture(folder: Path) -> None:
    out, err, code = run(folder / "labelled.rlt", PHOTO, "--deviation", 255)
    assert (code, err, out.count("%")) == (0, "", 5)


def test_a_vector_takes_no_photograph(folder: Path) -> None:
    out, err, code = run(folder / "vector.rlt", PHOTO)
    assert (code, out) == (1, "")
    assert err.endswith("input must be an image of 1 or 3 channels, got 1x40x2; give it with --raw\n")


# -- what --target host would save -------------------------------------------------------------------------------------


def test_what_a_plan_for_speed_would_take_is_estimated_then_measured(folder: Path) -> None:
    words = (folder / "plain.rlt", folder / "heard.npy", "--raw", "--json")
    found = json.loads(run(*words)[0])["on_host"]
    assert not found["measured"]
    assert found["arena_bytes"] is None
    assert 0 < found["latency_ms"] < 1
    assert json.loads(run(*words, "--ram", "64KiB")[0])["on_host"] is None
    kept = json.loads(run(*words, "--target", "host")[0])
    assert kept["on_host"] is None
    found = json.loads(run(*words)[0])["on_host"]
    assert found["measured"]
    assert found["arena_bytes"] == kept["arena_bytes"]
    assert 0 < found["latency_ms"] < 20


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v1:width=0.25,resolution=96"])
@pytest.mark.parametrize("kernels", ["amx", "avx512", "portable"])
def test_the_quick_estimate_is_near_that_of_the_plan(name: str, kernels: str) -> None:
    base, _, words = name.partition(":")
    graph = fold(build(base, dict(word.split("=") for word in words.split(",")) if words else {}))
    host = Host(kernels, kernels)
    assert estimated_ns(graph, host) == pytest.approx(HostPlanner(graph, host, False).least_ns(), rel=0.15)


def proof(latency_ms: float, beside: OnHost | None) -> str:
    out = io.StringIO()
    with redirect_stdout(out):
        text.proof(Screen(width=160), RunResult([], (), (), (), 1, 1, 1, 1, 1, latency_ms, 1, "bytes", beside))
    return " ".join(out.getvalue().split())


def test_only_what_is_much_slower_is_said_to_be() -> None:
    said = proof(150.0, OnHost(1.24, True, 2048))
    assert "with --target host 1.2 ms 121.0 x as fast, in 2,048 B (2.0 KiB)" in said
    said = proof(150.0, OnHost(1.24, False, None))
    assert "with --target host about 1.2 ms about 100 x as fast, estimated and not measured" in said
    assert "about 0.03 ms about 200 x" in proof(5.0, OnHost(0.031, False, None))
    for latency, beside in ((1.9, OnHost(1.0, True, 1)), (0.9, OnHost(0.05, True, 1)), (150.0, None)):
        assert "--target" not in proof(latency, beside)
