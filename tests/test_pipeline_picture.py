"""The picture of a pipeline over time: what it shows is what was simulated, and all of it lies on the page."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from graphs import Builder
from rillet.ir.graph import Graph
from rillet.ir.ops import Add, Input
from rillet.ir.types import DType, Shape
from rillet.plan.pipeline.entry import PixelPlan, plan_pixels
from rillet.report.picture.words import text_width
from rillet.report.pipeline import BINS, INK, LEAST, LEVELS, STRIP, svg
from rillet.simulation.pipeline import Simulation, simulate
from rillet.zoo.registry import build

SVG = "{http://www.w3.org/2000/svg}"


def simulated(plan: PixelPlan, images: int = 2, **more: object) -> Simulation:
    return simulate(plan, images, bins=BINS, **more)  # type: ignore[arg-type]


def tiny() -> Graph:
    b = Builder(np.random.default_rng(0), DType.I8)
    at = b.add(b.conv(4), b.add(Input(), shape=Shape(8, 8, 2)))
    b.add(Add(), b.add(b.conv(4, (3, 3)), at), at)
    return b.graph()


def rows(root: ElementTree.Element) -> dict[str, ElementTree.Element]:
    """The group of each layer, by what its title says first."""
    groups = [g for g in root.findall(f"{SVG}g") if g.get("class") != "n-legend"]
    return {(g.findtext(f"{SVG}title") or "").split(":")[0]: g for g in groups}


def area(path: str) -> float:
    """Of the stretches of a strip: M x base, then v up or down and h along, until it is down again."""
    total = high = base = 0.0
    pieces = re.findall(r"M[\d.]+ ([\d.]+)|v(-?[\d.]+)|h([\d.]+)|V([\d.]+)", path)
    assert re.sub(r"M[\d.]+ [\d.]+|v-?[\d.]+|h[\d.]+|V[\d.]+", "", path) == ""
    for begins, up, along, to in pieces:
        if begins:
            assert high == pytest.approx(0, abs=1e-9)
            base = float(begins)
        elif to:
            assert float(to) == base
            high = 0.0
        elif up:
            high -= float(up)
        else:
            assert high > 0
            total += float(along) * high
    assert high == pytest.approx(0, abs=1e-9)
    return total


@pytest.mark.parametrize(
    ("name", "interval"),
    [
        ("mobilenet_v2", 50_176), ("mobilenet_v2", 49), ("mobilenet_v2", 10**13), ("squeezenet1_1", 200_704),
        ("mobilenet_v3_small", 50_176), ("microbotnet", 20_000), ("vgg16", 10**6), ("binarynet_cifar10", 1_024),
    ],
)  # fmt: skip
def test_networks_of_the_zoo(name: str, interval: int) -> None:
    plan = plan_pixels(build(name), interval=interval)
    found = simulated(plan)
    root = ElementTree.fromstring(svg(plan, found))
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    shown = rows(root)
    assert list(shown) == ["input", *(stage.node for stage in plan.stages)]
    assert len({child.text for child in root.iter(f"{SVG}text")} & set(shown)) > 0.8 * len(shown)
    for text in root.iter(f"{SVG}text"):
        if "x" in text.attrib and text.text:
            x, y = float(text.attrib["x"]), float(text.attrib["y"])
            share = {"middle": 0.5, "end": 1.0}.get(text.get("text-anchor", ""), 0.0)
            wide = text_width(text.text, float(text.attrib["font-size"]), bold="font-weight" in text.attrib)
            assert x - share * wide >= 0 and x + (1 - share) * wide <= width and 0 < y < height, text.text
    for rect in root.iter(f"{SVG}rect"):
        assert float(rect.get("x", 0)) + float(rect.attrib["width"]) <= width
    said = " ".join(filter(None, (text.text for text in root.iter(f"{SVG}text"))))
    assert f"{name}: 2 images through the pipeline" in said
    assert f"an image every {interval:,} cycles" in said
    assert "blocked: waits for room (none does)" in said
    assert ("full tensor, until its gate is known" in said) == bool(plan.barriers)


def test_areas_are_the_cycles_of_the_simulation() -> None:
    plan = plan_pixels(build("mobilenet_v2"), interval=50_176)
    found = simulated(plan)
    shown = rows(ElementTree.fromstring(svg(plan, found)))
    for stage, seen in zip(plan.stages, found.stages, strict=True):
        # Drawn over each other, the largest first: each shows what stands over the next.
        areas = {p.attrib["class"]: area(p.attrib["d"]) for p in shown[stage.node].findall(f"{SVG}path")}
        scale = STRIP * 720 / found.cycles
        busy = areas["n-even"]
        least = STRIP * LEAST / LEVELS * 720
        assert busy == pytest.approx(seen.busy_cycles * scale, abs=least, rel=1 / LEVELS)
        assert areas["n-odd"] == pytest.approx(busy / 2, abs=least, rel=0.1)
        whole = (seen.busy_cycles + seen.starved_cycles) * scale
        assert areas["n-starved"] == pytest.approx(whole, rel=1 / LEVELS)
        assert "n-blocked" not in areas


def test_memory_of_each_layer() -> None:
    plan = plan_pixels(build("mobilenet_v3_small"), interval=50_176)
    shown = rows(ElementTree.fromstring(svg(plan, simulated(plan))))
    largest = max(ring.values for ring in plan.buffers)
    heaviest = max(stage.resident_bits for stage in plan.stages)

    def bar(row: str, kind: str) -> float:
        return sum(float(r.attrib["width"]) for r in shown[row].findall(f"{SVG}rect") if r.get("class") == f"n-{kind}")

    for ring in plan.buffers:
        made = sum(bar(ring.value, kind) for kind in ("line", "skip", "hold", "rates"))
        assert made == pytest.approx(110 * ring.values / largest, abs=1.0), ring.value
        if ring.hold_pixels:
            assert bar(ring.value, "hold") == pytest.approx(110 * ring.hold_pixels * ring.channels / largest, abs=0.5)
    for stage in plan.stages:
        assert bar(stage.node, "weights") == pytest.approx(110 * stage.resident_bits / heaviest, abs=0.5)


def test_a_machine_that_stalls_shows_it() -> None:
    plan = plan_pixels(tiny(), interval=640)
    deep = max(plan.buffers, key=lambda ring: ring.depth_pixels)
    found = simulated(plan, depths={deep.value: 9})
    assert found.deadlock
    picture = svg(plan, found)
    assert "none does" not in picture
    shown = rows(ElementTree.fromstring(picture))
    stalled = [seen for seen in found.stages if seen.blocked_cycles]
    assert stalled
    planned = found.profile.shape[1] * found.bin_cycles
    for seen in stalled:
        areas = {p.attrib["class"]: area(p.attrib["d"]) for p in shown[seen.node].findall(f"{SVG}path")}
        wanted = (seen.busy_cycles + seen.blocked_cycles) * STRIP * 720 / planned
        assert areas["n-blocked"] == pytest.approx(wanted, rel=0.1)


def test_golden(golden) -> None:
    plan = plan_pixels(tiny(), interval=640)
    golden("tiny_pipeline.svg", svg(plan, simulated(plan)))


@pytest.mark.parametrize("images", [1, 3])
def test_other_counts_of_images(images: int) -> None:
    plan = plan_pixels(tiny(), interval=640)
    picture = svg(plan, simulated(plan, images))
    said = "one image" if images == 1 else "3 images"
    assert f"{said} through the pipeline" in picture
    assert ("in turn" in picture) == (images == 3)


def test_hostile_names() -> None:
    plan = plan_pixels(tiny(), interval=640)
    plan = replace(plan, graph=plan.graph.with_name("<script>&\x00" * 50))
    picture = svg(plan, simulated(plan))
    assert "<script>" not in picture
    ElementTree.fromstring(picture)


def test_light_is_plain_and_dark_is_by_variables() -> None:
    plan = plan_pixels(tiny(), interval=640)
    root = ElementTree.fromstring(svg(plan, simulated(plan)))
    sheet = root.findtext(f"{SVG}style") or ""
    for element in root.iter():
        name = element.get("class", "").removeprefix("n-")
        if name in INK.colours:
            assert element.get("fill") == INK.colours[name][0]
            assert f".n-{name}{{fill:var(--n-{name})}}" in sheet
    assert f"--n-even:{INK.colours['even'][1]};" in sheet
