"""The tables and the picture of the impossible goal: what they say, and that the page shows them."""

import io
import json
import re
from dataclasses import asdict
from xml.etree import ElementTree

import pytest

from conftest import ROOT
from rillet.analyses.sources.impossible import impossible
from rillet.analyses.sources.narrow import narrow
from rillet.analyses.sources.recompute import granularities
from rillet.ir.graph import Graph
from rillet.models.opening import open_model
from rillet.plan.pipeline.entry import plan_pixels
from rillet.report import pipeline
from rillet.report.screen import Screen
from rillet.report.sources.front import svg
from rillet.report.sources.impossible import impossible_table, narrow_table, recompute_table
from rillet.report.tables import Table, as_csv, write
from rillet.simulation.pipeline import simulate

PAGE = (ROOT / "docs" / "impossible.md").read_text()
SVG = "{http://www.w3.org/2000/svg}"


def table(name: str, graph: Graph) -> Table:
    match name:
        case "impossible":
            return impossible_table(impossible(graph))
        case "recompute":
            return recompute_table(granularities(graph))
        case _:
            return narrow_table(narrow(graph))


@pytest.mark.parametrize("name", ["impossible", "recompute", "narrow"])
def test_the_page_shows_the_tables(name: str) -> None:
    out = io.StringIO()
    console = Screen(width=160, whole=True)
    console.file = out
    write(console, table(name, open_model("mobilenet_v2:top=false").graph))
    shown = re.search(rf"```\w+\n\$ rillet table {name}\n(.*?)```", PAGE, re.S)
    assert shown is not None
    assert [line.rstrip() for line in out.getvalue().splitlines()] == shown[1].splitlines()
    assert max(map(len, shown[1].splitlines())) < 160


def test_the_page_shows_the_picture() -> None:
    assert "(front.svg)" in PAGE
    shown = (ROOT / "docs" / "front.svg").read_text()
    assert shown == svg(narrow(open_model("mobilenet_v2:top=false").graph)), (
        "rillet draw mobilenet_v2:top=false --front -o docs/front.svg"
    )


def test_the_page_shows_the_pipeline() -> None:
    assert "(pipeline.svg)" in PAGE
    plan = plan_pixels(open_model("mobilenet_v2:top=false").graph, interval=50_176)
    drawn = pipeline.svg(plan, simulate(plan, 2, bins=pipeline.BINS))
    wanted = "rillet draw mobilenet_v2:top=false --pipeline --interval 50176 --ideal -o docs/pipeline.svg"
    assert (ROOT / "docs" / "pipeline.svg").read_text() == drawn, wanted


def test_numbers_of_the_page_stand_in_its_tables() -> None:
    """Or in those of docs/rtl.md, which has what was synthesised."""
    tables = "".join(re.findall(r"```.*?```", PAGE, re.S))
    tables += "".join(re.findall(r"^\|.*\|$", (ROOT / "docs" / "rtl.md").read_text(), re.M))
    prose = re.sub(r"```.*?```", "", PAGE, flags=re.S)
    numbers = set(re.findall(r"\d{1,3}(?:,\d{3})+|\d+\.\d{2,}", prose))
    assert {number for number in numbers if number not in tables} == set()


@pytest.mark.parametrize(
    "model",
    [
        "mobilenet_v1",
        pytest.param("mobilenet_v2:fuse=half", marks=pytest.mark.slow),
        "mobilenet_v3_small",
        "resnet18",
        "vgg16",
    ],
)
@pytest.mark.parametrize("name", ["impossible", "recompute", "narrow"])
def test_tables_of_other_networks(name: str, model: str) -> None:
    made = table(name, open_model(model).graph)
    assert all(len(row) == len(made.columns) for row in made.rows)
    assert len(as_csv(made).splitlines()) == len(made.rows) + 1


def test_records_are_ready_for_json() -> None:
    graph = open_model("mobilenet_v2:top=false").graph
    assert json.loads(json.dumps(asdict(impossible(graph))))["buffers"][0]["kind"] == "line"
    assert json.loads(json.dumps(asdict(narrow(graph))))["front"][0]["factor"] == 1.0
    assert json.loads(json.dumps(asdict(granularities(graph)[0])))["tile"] == [1, 1]


def test_the_lines_of_the_narrow_table_are_on_the_front() -> None:
    found = narrow(open_model("mobilenet_v2:top=false").graph)
    points = {f"{point.values:,}": f"{point.factor:.4f}x" for point in found.front}
    rows = narrow_table(found).rows
    assert len(rows) == 1 + len(found.options)
    for *_, values, macs in rows:
        assert points[values] == macs


@pytest.mark.parametrize("model", ["mobilenet_v2:top=false", "microbotnet", "vgg16"])
def test_the_picture_lies_within_its_frame(model: str) -> None:
    found = narrow(open_model(model).graph)
    root = ElementTree.fromstring(svg(found))
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    dots = root.findall(f"{SVG}circle")
    assert len(dots) == sum(point.corner for point in found.front)
    for dot in dots:
        assert 0 < float(dot.attrib["cx"]) < width
        assert 0 < float(dot.attrib["cy"]) < height
        assert "values" in (dot.findtext(f"{SVG}title") or "")
    said = [text.text for text in root.findall(f"{SVG}text")]
    assert "values held on chip" in said
    assert f"{found.wide_values:,} values" in said
    path = next(iter(root.findall(f"{SVG}path"))).attrib["d"]
    assert path.count("H") == len(found.front) - 1


def test_names_are_escaped_in_the_picture() -> None:
    graph = open_model("microbotnet").graph.with_name("<script>&")
    assert "<script>" not in svg(narrow(graph))
    ElementTree.fromstring(svg(narrow(graph)))
