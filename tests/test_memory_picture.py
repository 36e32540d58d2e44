"""The picture of a row plan: it shows every buffer where the plan has it, and all of it lies on the page."""

from xml.etree import ElementTree

import numpy as np
import pytest

from graphs import Builder
from rillet.ir.graph import Graph
from rillet.ir.ops import Add, Input
from rillet.ir.types import Shape
from rillet.plan.rows.plan import RowPlan
from rillet.plan.rows.planner import plan_layerwise, plan_rows
from rillet.report.memory import ARENA, BAR, svg
from rillet.report.picture.words import text_width
from rillet.transforms.fold import fold
from rillet.zoo.registry import build

SVG = "{http://www.w3.org/2000/svg}"


def tiny() -> Graph:
    b = Builder(np.random.default_rng(0))
    at = b.add(b.conv(4), b.add(Input(), shape=Shape(8, 8, 2)))
    b.add(Add(), b.add(b.conv(4, (3, 3)), at), at)
    return b.graph()


def texts(root: ElementTree.Element) -> list[str]:
    return [text.text or "" for text in root.iter(f"{SVG}text")]


def groups(root: ElementTree.Element, plan: RowPlan) -> dict[str, list[ElementTree.Element]]:
    """What is drawn of each buffer: its place in the arena, then its row."""
    found: dict[str, list[ElementTree.Element]] = {name: [] for name in plan.buffers}
    for group in root.findall(f"{SVG}g"):
        name = (group.findtext(f"{SVG}title") or "").split(":")[0]
        if name in found:
            found[name].append(group)
    return found


@pytest.mark.parametrize(
    ("name", "more"),
    [("mobilenet_v2", {}), ("mobilenet_v2", {"resident": True}), ("squeezenet1_1", {}), ("mobilenet_v3_small", {})],
)
def test_networks_of_the_zoo(name: str, more: dict[str, bool]) -> None:
    plan = plan_rows(fold(build(name)), **more)
    root = ElementTree.fromstring(svg(plan))
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    shown = texts(root)
    stages = [stage.node for segment in plan.segments for stage in segment.stages]
    assert {*stages, "input"} <= set(shown)
    assert not any("…" in words for words in shown)
    assert {str(i + 1) for i in range(len(plan.segments))} <= set(shown)
    assert f"{name}: activations in {plan.arena_bytes:,} bytes" in shown
    for text in root.iter(f"{SVG}text"):
        if "x" in text.attrib and text.text:
            x, y = float(text.attrib["x"]), float(text.attrib["y"])
            share = {"middle": 0.5, "end": 1.0}.get(text.get("text-anchor", ""), 0.0)
            wide = text_width(text.text, float(text.attrib["font-size"]), bold="font-weight" in text.attrib)
            assert x - share * wide >= 0 and x + (1 - share) * wide <= width and 0 < y < height, text.text
    for rect in root.iter(f"{SVG}rect"):
        assert float(rect.get("x", 0)) + float(rect.attrib["width"]) <= width


@pytest.mark.parametrize("made", [plan_rows(tiny()), plan_layerwise(tiny()), plan_rows(fold(build("mobilenet_v2")))])
def test_each_buffer_lies_where_the_plan_has_it(made: RowPlan) -> None:
    found = groups(ElementTree.fromstring(svg(made)), made)
    lefts = {name: float(drawn[0].findall(f"{SVG}rect")[0].attrib["x"]) for name, drawn in found.items()}
    zero = next(lefts[name] for name, buffer in made.buffers.items() if buffer.offset == 0)
    largest = max(made.buffers.values(), key=lambda buffer: buffer.bytes)
    scale = float(found[largest.name][0].findall(f"{SVG}rect")[0].attrib["width"]) / largest.bytes
    assert scale * made.arena_bytes > ARENA - 1
    values = [buffer.bytes for name, buffer in made.buffers.items() if name in made.graph.by_name]
    for name, buffer in made.buffers.items():
        kept, there = found[name][0].findall(f"{SVG}rect")
        assert kept.attrib["class"] == f"n-{buffer.kind.value}"
        assert lefts[name] - zero == pytest.approx(scale * buffer.offset, abs=1)
        assert float(kept.attrib["width"]) == pytest.approx(scale * buffer.bytes, abs=0.5)
        top, end = (float(kept.attrib["y"]) + share * float(kept.attrib["height"]) for share in (0, 1))
        begin = float(there.attrib["y"])
        assert top <= begin and begin + float(there.attrib["height"]) <= end
        if name in made.graph.by_name:
            (bar,) = found[name][1].findall(f"{SVG}rect")
            assert float(bar.attrib["width"]) == pytest.approx(BAR * buffer.bytes / max(values), abs=0.5)


def test_rows_that_are_read_where_the_caller_has_them_take_nothing() -> None:
    b = Builder(np.random.default_rng(0))
    plan = plan_rows(b.graph(b.add(b.conv(2), b.add(Input(), shape=Shape(8, 8, 2)))))
    assert "n0" not in plan.buffers
    assert "n0: read where the caller has it" in svg(plan)


def test_hostile_names() -> None:
    b = Builder(np.random.default_rng(0))
    b.add(b.conv(4), b.add(Input(), shape=Shape(8, 8, 2)))
    name = "</svg><script>&\"'" + "n" * 300
    plan = plan_rows(b.graph().with_name(name))
    root = ElementTree.fromstring(svg(plan))
    assert not list(root.iter("script"))
    assert any(words.startswith(name) for words in texts(root))


def test_golden(golden) -> None:
    golden("tiny_memory.svg", svg(plan_rows(tiny(), resident=True)))
