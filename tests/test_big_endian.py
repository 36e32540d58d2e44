"""Portable programs give the reference's values where the most significant byte comes first; others refuse to build."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings

from conftest import mostly_slow
from cross import run_big_endian
from graphs import graphs, random_image
from rillet.backends import reference
from rillet.backends.c.emit import emit
from rillet.ir.graph import Graph
from rillet.ir.types import DType
from rillet.plan.host.planner import plan_host
from rillet.plan.rows.plan import RowPlan
from rillet.plan.rows.planner import plan_rows
from rillet.runtime.verify import first_difference
from rillet.targets.host import Host
from test_c import QUIET
from test_low_bit_kernels import ANY
from test_lowbit import binary_values, low_bit
from test_names import network

PLANS: dict[str, Callable[[Graph], RowPlan]] = {
    "rows": plan_rows,
    "portable": lambda graph: plan_host(graph, Host("a host", "portable")),
    "threads": lambda graph: plan_host(graph, Host("a host", "portable"), threads=2),
}
CASES = {
    "int8": network(),
    "uint8": network(DType.U8),
    "float": network(DType.F32),
    "ternary": low_bit(DType.TERNARY, DType.I8),
    "binary": low_bit(DType.BINARY, None),
    "real levels": low_bit(DType.TERNARY, DType.F32),
    "binary values": binary_values(),
}


@pytest.fixture(autouse=True)
def small_networks_have_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rillet.plan.host.planner.LEAST_GAIN", -1.0)
    monkeypatch.setattr("rillet.plan.host.planner.LEAST_SHARED_NS", 0.0)


def check(graph: Graph, plan: RowPlan, folder: Path) -> None:
    image = random_image(graph)
    expected, out = reference.outputs(graph, image)[0], graph.by_name[graph.outputs[0]]
    made = run_big_endian(plan, image, folder).reshape(expected.shape)
    assert first_difference(graph, {out.name: expected}, {out.name: made}, 0, "c") is None


@pytest.mark.parametrize("kind", PLANS)
@pytest.mark.parametrize("case", mostly_slow(CASES, "int8", "real levels", "binary values"))
def test_values_are_the_references(case: str, kind: str, tmp_path: Path) -> None:
    check(CASES[case], PLANS[kind](CASES[case]), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", PLANS)
def test_values_of_many_networks_are_the_references(kind: str, tmp_path: Path) -> None:
    @settings(max_examples=40, **QUIET)
    @given(graphs() | ANY)
    def run(graph: Graph) -> None:
        if graph.by_name[graph.outputs[0]].type.dtype is not DType.BINARY:
            check(graph, PLANS[kind](graph), tmp_path)

    run()


@pytest.mark.parametrize("kernels", ["avx2", "avx512", "amx", "neon"])
def test_constants_that_lie_as_bytes_refuse_the_other_order(kernels: str) -> None:
    files = emit(plan_host(CASES["int8"], Host("a host", kernels)))
    order = files["net_weights.h"].index("#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__")
    assert order < files["net_weights.h"].index("#error") < files["net_weights.h"].index("union")


def test_constants_of_several_bytes_lie_as_numbers_in_portable_programs() -> None:
    """Large ones as strings besides, for the common order."""
    files = emit(PLANS["portable"](CASES["float"]))
    text, data = files["net_weights.h"], files["net_weights.c"]
    assert "#error" not in text
    strings = [line for line in text.splitlines() if "char bytes[" in line and "int8_t" not in line]
    assert strings
    for line in strings:
        name = line.split("_bytes")[0].removeprefix("union ")
        assert f"{name}_data = {{.words = {{" in data
    assert "extern const float net_n1_bias[4];" in text
