"""The picture of what takes a chip: its bars are the plan's estimates, and all of it lies on the page."""

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from typer.testing import CliRunner

import rillet
from graphs import Builder
from rillet.cli import app
from rillet.errors import TargetError
from rillet.ir.graph import Graph
from rillet.ir.ops import Add, Input, Rounding
from rillet.ir.types import DType, Shape
from rillet.plan.pipeline.estimates import estimates
from rillet.plan.pipeline.plan import PixelPlan
from rillet.report.floor import HEAD, ROW, WIDE
from rillet.report.picture.words import text_width
from rillet.targets.chips import load

SVG = "{http://www.w3.org/2000/svg}"
ROOT = Path(__file__).parents[1]


def graph(rounding: Rounding) -> Graph:
    b = Builder(np.random.default_rng(0), DType.I8)
    at = b.add(replace(b.conv(24), rounding=rounding), b.add(Input(), shape=Shape(8, 8, 6)))
    b.add(Add(), b.add(replace(b.conv(24, (3, 3)), rounding=rounding), at), at)
    return b.graph()


def planned(rounding: Rounding, name: str = "a<b") -> PixelPlan:
    return replace(rillet.plan(graph(rounding), "ecp5_85", interval=4096), graph=replace(graph(rounding), name=name))


@pytest.mark.parametrize("rounding", [Rounding.SHIFT, Rounding.DOUBLE])
def test_bars_are_as_long_as_the_plan_says(rounding: Rounding) -> None:
    plan = planned(rounding)
    chip = load("ecp5_85")
    assert chip.family is not None
    root = ElementTree.fromstring(rillet.draw(plan, floor=True))
    found = estimates(plan, chip.family)
    counts = [
        [one.taken.multipliers for one in found],
        [one.taken.block_rams for one in found],
        [one.taken.luts for one in found],
    ]
    assert all(sum(own) for own in counts)
    rows = [g for g in root.findall(f"{SVG}g") if g.get("class") != "n-legend"]
    assert [(g.findtext(f"{SVG}title") or "").split(":")[0] for g in rows] == [stage.node for stage in plan.stages]
    for i, row in enumerate(rows):
        texts = [text.text for text in row.findall(f"{SVG}text")]
        assert texts == [plan.stages[i].node, *(f"{own[i]:,}" if own[i] else None for own in counts)]
        long = sum(float(rect.attrib["width"]) for rect in row.findall(f"{SVG}rect"))
        wanted = sum(WIDE * own[i] / max(own) for own in counts)
        assert abs(long - wanted) < 4, plan.stages[i].node
    said = " ".join(root.itertext())
    for own, room in zip(counts, (chip.multipliers, chip.block_rams, chip.luts), strict=True):
        assert f"{sum(own):,} of {room:,}" in said
    kinds = {rect.get("class") for row in rows[:2] for rect in row.findall(f"{SVG}rect")}
    assert ("n-odd" in kinds) is (rounding is not Rounding.SHIFT) and {"n-even", "n-line", "n-hold"} <= kinds


def test_all_lies_on_the_page() -> None:
    root = ElementTree.fromstring(rillet.draw(planned(Rounding.SHIFT), floor=True))
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    assert height > HEAD + 3 * ROW
    for text in root.iter(f"{SVG}text"):
        wide = text_width(text.text or "", float(text.attrib["font-size"]))
        place, anchor = float(text.attrib["x"]), text.get("text-anchor")
        if not re.search(r"translate", str(text.attrib)):
            assert place - (wide if anchor == "end" else wide / 2 if anchor else 0) >= 0, text.text
            assert place + (0 if anchor == "end" else wide / 2 if anchor else wide) <= width, text.text
    for rect in root.iter(f"{SVG}rect"):
        assert float(rect.get("x", 0)) + float(rect.attrib["width"]) <= width


def test_what_has_no_floor(tmp_path: Path) -> None:
    net = graph(Rounding.SHIFT)
    with pytest.raises(TargetError, match="plan must be of hardware to say what takes its chip, got the ideal"):
        rillet.draw(rillet.plan(net, "ecp5_85", interval=4096, ideal=True), floor=True)
    with pytest.raises(TargetError, match="target must be a chip whose DSP blocks are known"):
        rillet.draw(rillet.plan(net, interval=4096), floor=True)
    with pytest.raises(TargetError, match="chip's file must give its family"):
        rillet.draw(replace(planned(Rounding.SHIFT), machine=replace(load("ecp5_85"), family=None)), floor=True)
    with pytest.raises(TargetError, match=r"plan must be a PixelPlan \(of a chip\), got "):
        rillet.draw(net, floor=True)
    rillet.save(net, tmp_path / "net.rlt")
    for words, said in (
        (["--target", "stm32h743"], "must be planned for a chip"),
        ([], "--floor must come with --target"),
    ):
        done = CliRunner().invoke(app, ["draw", str(tmp_path / "net.rlt"), "--floor", *words])
        assert isinstance(done.exception, TargetError) and said in str(done.exception)


def test_the_picture_of_the_documentation() -> None:
    said = "mobilenet_v2:top=false --target zcu102 --interval 125440 --floor"
    done = CliRunner().invoke(app, ["draw", *said.split()])
    assert (ROOT / "docs" / "floor.svg").read_text("utf-8") == done.stdout, f"rillet draw {said} -o docs/floor.svg"
