"""The bench: its statistics, its table and records, who refuses what; never a time."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rillet.bench.rounds as module
from conftest import NETWORKS, shared_file
from graphs import of_seven_bits
from rillet.bench import peers
from rillet.bench.ceiling import Ceiling
from rillet.bench.machine import Machine
from rillet.bench.peers import ours
from rillet.bench.peers.files import AOT_INDUCTOR, TORCH_SCRIPT, Given
from rillet.bench.rounds import Bench, Record, Refusal, Spread, _doubts, agreement, bench, forms, ratios, spread, turns
from rillet.errors import GraphError, Unsupported
from rillet.ir.ops import Conv, Rounding
from rillet.models.opening import open_model
from rillet.plan.host.tilings import no_pairs
from rillet.report import bench as report
from rillet.report.tables import as_csv, as_markdown
from rillet.targets.host import few_cores, this_host
from rillet.transforms.dequantize import dequantize
from test_cli import failed, rillet
from test_plan import residual

MACHINE = Machine(
    "A processor", 2, ("avx2",), {"L1d": 32768, "L2": 2**20}, "Linux x86_64", "cc 12", "3.12", 0.1, "2026-01-02"
)
CEILING = Ceiling(1, 100.0, "AVX2 FMA", None, "", 200.0, 20.0)
OWN = Record("rillet", "1", "f32", 1, 2.0, 2.5, Spread(1, 1, 1), 1.5, 4.0, 9.0, 50.0, 0.5, 0.0, 4, 4, 60)
OTHER = replace(OWN, runtime="onnxruntime", version="7.8", ratio=Spread(1.25, 1.2, 1.3), rss_mb=None, difference=2e-7)


def named(*names: str):
    return tuple(peers.PEERS[name] for name in names)


def test_spread_is_the_median_and_the_outer_tenths() -> None:
    assert spread(range(11)) == Spread(5.0, 1.0, 9.0)
    assert spread([3.0]) == Spread(3.0, 3.0, 3.0)
    with pytest.raises(ValueError, match="must not be empty"):
        spread([])


def test_ratios_are_taken_round_by_round() -> None:
    """A machine that becomes slower for both leaves every ratio as it was; a ratio of medians would not."""
    ours, theirs = [1.0, 2.0, 4.0, 8.0], [3.0, 6.0, 12.0, 24.0]
    assert ratios(ours, theirs) == Spread(3.0, 3.0, 3.0)
    assert ratios([1.0, 1.0, 4.0], [4.0, 2.0, 4.0]).median == 2.0
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])


@given(st.integers(1, 6), st.integers(1, 4))
def test_everyone_has_every_place_equally_often(count: int, times: int) -> None:
    names = [str(i) for i in range(count)]
    orders = list(turns(names, count * times))
    assert all(sorted(order) == names for order in orders)
    for place in range(count):
        assert all([order[place] for order in orders].count(name) == times for name in names)


def test_agreement_in_steps_and_in_shares() -> None:
    ours = np.array([[[[1, 5, 3]]], [[[9, 2, 1]]]], np.int8)
    theirs = np.array([[[[1, 5, 1]]], [[[8, 2, 10]]]], np.int8)
    assert agreement(ours, theirs, "int8") == (9.0, 1)
    real = ours.astype(np.float32)
    assert agreement(real, real * np.float32(1.5), "f32") == (0.5, 2)
    assert agreement(real * 0, real * 0, "f32") == (0.0, 2)


def test_forms_of_a_network() -> None:
    quantised = residual(8, 8, 4)
    assert list(forms(quantised, None)) == ["int8"]
    both = forms(quantised, ("f32", "int8"))
    assert both["int8"] == quantised
    assert both["f32"] == dequantize(quantised)
    assert list(forms(both["f32"], None)) == ["f32"]
    again = forms(both["f32"], ("int8",))["int8"]
    assert {node.op.rounding for node in again.nodes if isinstance(node.op, Conv)} == {Rounding.SHIFT}
    with pytest.raises(GraphError, match="--precision must be of f32, bf16, int8, got 'f16'"):
        forms(quantised, ("f16",))


def installed(*names: str) -> list[str]:
    """Those of the runtimes that are here."""
    found = [name for name in names if importlib.util.find_spec(peers.PEERS[name].module) is not None]
    if not found:
        pytest.skip(f"none of {', '.join(names)} is installed")
    return found


@pytest.mark.slow
def test_float_answers_agree() -> None:
    names, written = installed("onnxruntime", "openvino", "litert", "ncnn", "torch"), {}
    if "torch" in names:
        from rillet.train.infer import aot_inductor, torch_script

        written = {TORCH_SCRIPT: torch_script, AOT_INDUCTOR: aot_inductor}
    found = bench(residual(8, 8, 4), named(*names), precisions=("f32",), rounds=2, torch_files=written)
    assert not found.refusals
    ours, *others = found.records
    assert (ours.runtime, ours.ratio) == ("rillet", Spread(1.0, 1.0, 1.0))
    assert {theirs.runtime for theirs in others} == set(names)
    for theirs in others:
        assert theirs.difference is not None and theirs.difference < 1e-5, theirs
        assert theirs.same_top1 == ours.images == 4, theirs


@pytest.mark.parametrize("own", [False, True])
def test_quantised_answers_agree(own: bool) -> None:
    """Also of a network that Rillet quantises by its own rule: a peer gets the same weights and scales."""
    graph, names = residual(8, 8, 4), installed("onnxruntime", "openvino", "litert")
    found = bench(dequantize(graph) if own else graph, named(*names), precisions=("int8",), rounds=2)
    assert {record.precision for record in found.records} == {"int8"}
    assert {record.runtime for record in found.records} == {"rillet", *names}
    for theirs in found.records[1:]:
        assert theirs.difference is not None
        assert theirs.difference <= 3, theirs  # three layers, each of which may round the other way
        assert theirs.ratio is not None
        assert theirs.ratio.low <= theirs.ratio.median <= theirs.ratio.high


@pytest.mark.parametrize("precision", ["f32", "int8"])
def test_answers_of_a_batch_are_those_of_its_images(precision: str) -> None:
    """Of every runtime, on one thread and on two, in whichever form it runs fastest."""
    names = installed("onnxruntime", "openvino", "litert")
    found = bench(residual(8, 8, 4), named(*names), precisions=(precision,), threads=(1, 2), batches=(1, 6), rounds=1)
    assert not found.refusals
    assert [(r.runtime, r.threads, r.batch) for r in found.records] == [
        (name, threads, batch) for threads in (1, 2) for batch in (1, 6) for name in ("rillet", *names)
    ]
    for record in found.records:
        assert record.images == (4 if record.batch == 1 else 6)
        assert record.difference is not None
        assert record.difference <= (3 if precision == "int8" else 1e-5), record


def test_a_form_that_must_answer_as_the_one_before_it_does_or_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime's sums that may saturate: the last form, made to be the fastest."""
    pytest.importorskip("onnxruntime")
    real, exact = module.Process.ask, dict[module.Process, bool]()

    def ask(self, do: str, **said: object):
        answer = real(self, do, **said)
        if do == "start":
            exact[self] = bool(said.get("exact", True))
        if do == "run" and not exact[self]:
            return {"ms": [1e-6] * len(answer["ms"])}
        if do == "answers" and not exact[self] and differing:
            np.save(str(said["file"]), np.load(str(said["file"])) ^ 1)
        return answer

    monkeypatch.setattr(module.Process, "ask", ask)
    for differing in (False, True):
        found = bench(of_seven_bits(residual(8, 8, 4)), named("onnxruntime"), rounds=1)
        assert (found.records[1].min_ms == 1e-6) is not differing
        assert found.records[1].form in (("int8", "uint8") if differing else ("uint8",))


def test_what_every_record_says() -> None:
    pytest.importorskip("onnxruntime")
    graph = residual(8, 8, 4)
    seen: list[tuple[int, int]] = []
    found = bench(graph, named("onnxruntime"), rounds=3, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    for record in found.records:
        assert 0 < record.min_ms <= record.median_ms
        assert record.runs % 3 == 0
        assert record.gmacs == pytest.approx(graph.macs / record.min_ms / 1e6)
        peak = found.ceilings[0].int8_gmacs
        assert record.peak_share == (None if peak is None else pytest.approx(record.gmacs / peak))
        assert record.rss_mb is None or record.rss_mb > 0
    ours, theirs = found.records
    if ours.rss_mb is not None and theirs.rss_mb is not None:
        assert ours.rss_mb < theirs.rss_mb  # 1 kB of network beside a runtime


def test_litert_takes_the_file_as_it_is() -> None:
    pytest.importorskip("ai_edge_litert")
    model = open_model(shared_file(NETWORKS["vww"]))
    assert model.path is not None
    assert model.imported is not None
    given = Given(model.path, (model.imported.input_order,))
    found = bench(model.graph, named("litert"), rounds=1, given=given)
    assert [record.runtime for record in found.records] == ["rillet", "litert"]
    assert found.records[1].same_top1 == 4


def test_who_cannot_is_said_with_the_reason() -> None:
    pytest.importorskip("onnxruntime")
    found = bench(residual(8, 8, 4), named("ncnn", "onnxruntime"), threads=(2,), rounds=1)
    assert [(r.runtime, r.threads) for r in found.records] == [("rillet", 2), ("onnxruntime", 2)]
    assert [r.runtime for r in found.refusals] == ["ncnn"]
    assert "precision must be f32" in found.refusals[0].why


def test_more_threads_than_a_program_can_have_are_refused() -> None:
    with pytest.raises(Unsupported, match="threads must be at most 64, got 65"):
        ours.prepare(residual(8, 8, 4), 65)


def test_without_rillet_there_is_no_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")

    def refuse(*_: object, **_more: object) -> Path:
        raise Unsupported("not today")

    monkeypatch.setattr(ours, "prepare", refuse)
    found = bench(residual(8, 8, 4), named("onnxruntime"), rounds=1)
    assert [r.runtime for r in found.records] == ["onnxruntime"]
    assert found.records[0].ratio is None
    assert found.records[0].difference is None
    assert [r.why for r in found.refusals] == ["not today"]


def test_a_runtime_that_fails_midway_leaves_the_race(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    real = module.Process.ask

    def ask(self, do: str, **said: object):
        if do == "cold":
            raise Unsupported("its process ended with signal SIGSEGV")
        return real(self, do, **said)

    monkeypatch.setattr(module.Process, "ask", ask)
    found = bench(residual(8, 8, 4), named("onnxruntime"), rounds=1)
    assert not found.records
    assert {r.why for r in found.refusals} == {"its process ended with signal SIGSEGV"}


def test_numbers_that_make_no_sense() -> None:
    graph = residual(8, 8, 4)
    with pytest.raises(GraphError, match="--batch must be from 1 to 256, got 0"):
        bench(graph, (), batches=(0,))
    with pytest.raises(GraphError, match="--threads must be from 1 to 256, got 0"):
        bench(graph, (), threads=(0,))
    with pytest.raises(GraphError, match="--rounds must be from 1 to 10000, got 0"):
        bench(graph, (), rounds=0)


def test_the_table() -> None:
    refusal = Refusal("ncnn", "int8", 1, "precision must be f32 here, got int8")
    found = Bench("net", 100_000_000, 20, "portable C99", MACHINE, (CEILING,), (OWN, OTHER), (refusal,))
    lines = as_csv(report.table(found)).splitlines()
    assert lines[1] == "rillet,f32,1,1,2.000,2.500,,,50.0,50.0%,1.5,4.000,9.0,,4 of 4"
    assert lines[2] == "onnxruntime 7.8,f32,1,1,2.000,2.500,1.25 x,1.20-1.30,50.0,50.0%,-,4.000,9.0,2.0e-07,4 of 4"
    text = as_markdown(report.table(found))
    assert "ncnn, int8, 1 thread: not measured: precision must be f32 here, got int8" in text
    assert "--threads 9: two has 2 cores" in as_markdown(report.table(replace(found, doubts=(few_cores("two", 2, 9),))))
    assert "peak of 1 thread: f32 100 GMAC/s (AVX2 FMA), reads 200 GB/s of level 2, 20 GB/s of memory" in text
    assert "A processor; 2 cores; L1d 32 KiB, L2 1,024 KiB; avx2; Linux x86_64; cc 12; Python 3.12; load 0.10" in text


def test_what_the_machine_lacks_is_said_once() -> None:
    known = replace(this_host(), name="two", cores=2, kernels="avx2", extras=())
    assert _doubts(known, (1, 4), ("f32", "bf16")) == (few_cores("two", 2, 4), no_pairs(known))
    assert _doubts(known, (1, 2), ("f32",)) == ()


def test_the_records() -> None:
    found = Bench("net", 100_000_000, 20, "portable C99", MACHINE, (CEILING,), (OWN, replace(OTHER, ratio=None)), ())
    own, other = json.loads(json.dumps(report.records(found)))
    assert own["runtime"] == "rillet"
    assert (own["ratio"], own["ratio_low"], own["ratio_high"]) == (1, 1, 1)
    assert other["ratio"] is None
    wanted = {"runtime", "precision", "threads", "min_ms", "median_ms", "ratio", "rss_mb", "machine", "ceiling"}
    assert wanted <= own.keys() == other.keys()
    assert own["machine"]["cpu"] == "A processor"


def test_the_command_prints_a_list_of_records(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = tmp_path / "net.rlt"
    from rillet.models.convert import convert

    convert(residual(8, 8, 4), path)
    done = rillet("bench", path, "--against", "onnxruntime", "--rounds", 1, "--precision", "int8,f32", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [(r["runtime"], r["precision"]) for r in found] == [
        *(("rillet", "int8"), ("onnxruntime", "int8"), ("rillet", "f32"), ("onnxruntime", "f32"))
    ]


def test_words_that_are_wrong(tmp_path: Path) -> None:
    from rillet.models.convert import convert

    path = tmp_path / "net.rlt"
    convert(dequantize(residual(8, 8, 4)), path)
    assert "(did you mean openvino?)" in failed("bench", path, "--against", "openvin")
    assert "--threads must be from 1 to 256, got 0" in failed("bench", path, "--threads", "0")
    assert "--threads must be whole numbers" in failed("bench", path, "--threads", "two")
    assert "--batch must be whole numbers" in failed("bench", path, "--batch", "1;2")
    assert "must have weights to run" in failed("bench", "mobilenet_v2")
