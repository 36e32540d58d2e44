"""A pixel plan as Verilog: its files, and what has no hardware."""

import re
from dataclasses import replace

import numpy as np
import pytest

from graphs import Builder
from rillet.backends.rtl.emit import design
from rillet.backends.rtl.memories import words
from rillet.backends.rtl.names import identifiers
from rillet.backends.rtl.project.write import project
from rillet.errors import Unsupported
from rillet.ir.graph import Graph
from rillet.ir.ops import DepthToSpace, Input, Op, Pair, PairKind, Select, SpaceToDepth
from rillet.ir.types import Shape
from rillet.plan.pipeline.entry import plan_pixels
from rillet.targets import pipeline
from rillet.targets.quantity import plain
from rillet.zoo.registry import build


def test_words_are_packed_from_the_lowest_bit() -> None:
    assert words((np.array([[1, -1], [2, 3]]), 8)) == "ff01\n0302\n"
    assert words((np.array([[1], [-1]]), 3), (np.array([[2], [1]]), 2)) == "11\n0f\n"


def test_names_differ_in_more_than_case() -> None:
    assert identifiers(["a.b", "A_b", "", "module"]) == {"a.b": "a_b", "A_b": "A_b_2", "": "v", "module": "module"}


def test_floats_are_to_be_quantised_first() -> None:
    plan = plan_pixels(build("microbotnet", {"width": "0.32"}), interval=4096, pipeline=pipeline.default())
    with pytest.raises(Unsupported, match="quantise first: rillet quantize"):
        design(plan)


@pytest.mark.parametrize(
    ("op", "name"),
    [
        (Pair(PairKind.MAXIMUM), "pair"),
        (Select((1, 0, 3, 2)), "select"),
        (SpaceToDepth(2), "spacetodepth"),
        (DepthToSpace(2, 4, 4), "depthtospace"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_layers_without_hardware_are_named(op: Op, name: str) -> None:
    b = Builder(np.random.default_rng(0))
    at = b.add(b.conv(4), b.add(Input(), shape=Shape(4, 4, 3)))
    inputs = (at, b.add(b.conv(4), at)) if isinstance(op, Pair) else (at,)
    b.add(b.conv(2), b.add(op, *inputs, same=True))
    plan = plan_pixels(b.graph(), interval=4096, pipeline=pipeline.default())
    with pytest.raises(Unsupported, match=f"^random: n{len(inputs) + 1}: {name} has no hardware$"):
        design(plan)


def test_a_chip_whose_registers_are_not_those_of_the_modules() -> None:
    """Its schedule would be another than that of the Verilog."""
    b = Builder(np.random.default_rng(0))
    b.add(b.conv(4), b.add(Input(), shape=Shape(4, 4, 3)))
    other = pipeline.with_own({"multiply": plain(2, "a test", "assumed")})
    assert design(plan_pixels(b.graph(), interval=400, pipeline=pipeline.default())).stages == ("n1",)
    with pytest.raises(Unsupported, match="pipeline.multiply of the chip must be 1 to be emitted, .* got 2"):
        design(plan_pixels(b.graph(), interval=400, pipeline=other))


@pytest.mark.parametrize("name", ["a\n\ninclude /etc/passwd", "*/ endmodule `include", "@MHZ@", "\x1b[2J\u202e", "\\"])
def test_hostile_names_stay_text(name: str) -> None:
    """In every file: printable ASCII, with no line of their own and no word of the templates."""
    b = Builder(np.random.default_rng(0))
    b.add(b.conv(4), b.add(Input(), shape=Shape(4, 4, 3)))
    first, last = b.nodes
    nodes = (replace(first, name=f"{name}1"), replace(last, name=f"{name}2", inputs=(f"{name}1",)))
    params = {key.replace("n1.", f"{name}2."): value for key, value in b.params.items()}
    graph = Graph(name, nodes, (nodes[1].name,), params)
    plan = replace(plan_pixels(graph, interval=400, pipeline=pipeline.default()), chip=name, on_host=(name,))
    written = project(plan, design(plan), np.zeros((4, 4, 3), np.int8))
    plain = project(replace(plan, graph=graph.with_name("n")), design(plan), np.zeros((4, 4, 3), np.int8))
    for path, text in written.items():
        assert re.fullmatch(r"[ -~\n\t]*", text) and re.fullmatch(r"[A-Za-z0-9_./]+", path), path
        assert text.count("\n") == plain[path].count("\n"), path
