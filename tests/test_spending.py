"""Pictures of what a network costs: all that is spent is drawn, points lie under roofs, the page stands alone."""

import re
import xml.etree.ElementTree as Xml
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, given, settings

from blocks import networks
from conftest import mostly_slow
from rillet.costs.machines import costs, energy_on, on_array
from rillet.costs.roofline import roofline
from rillet.errors import TargetError
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import Activate, Activation, Input
from rillet.ir.types import Shape, TensorType
from rillet.models.opening import open_model
from rillet.report import cost as report
from rillet.report import roofline as roof
from rillet.report import spending
from rillet.report.picture.blocks import Kind, members
from rillet.targets import catalogue, technology
from rillet.targets.arrays import ArrayMachine

NM45 = technology.load("45nm")
NAMES = ("mobilenet_v2:resolution=96", "mobilenet_v3_small:resolution=96", "mobilenet_v2:resolution=96,fuse=half")
SVG = "{http://www.w3.org/2000/svg}"


def array(name: str) -> ArrayMachine:
    machine = catalogue.load(name)
    assert isinstance(machine, ArrayMachine)
    return machine


def bars(svg: str, colours: set[str]) -> float:
    """How long all bars of some colours are together."""
    rects = Xml.fromstring(svg).iter(f"{SVG}rect")
    return sum(
        float(r.attrib["width"]) for r in rects if r.attrib.get("class", "")[2:] in colours and "rx" not in r.attrib
    )


LAYERS = {kind.name.lower() for kind in Kind}


@pytest.mark.parametrize("name", NAMES)
def test_bars_are_as_long_as_what_is_spent(name: str) -> None:
    graph, machine = open_model(name).graph, array("fuse_64x64")
    made = on_array(graph, machine)
    drawn = spending.cycles(graph, made, machine.name)
    belongs = members(graph)
    rows = {layer.name: layer.cycles + layer.stall_cycles for layer in made.layers}
    depthwise = sum(rows[n] for n in rows if belongs[n][1] in (Kind.DEPTHWISE, Kind.ROW, Kind.COLUMN))
    share = bars(drawn, {"depthwise", "row", "column"}) / bars(drawn, LAYERS)
    assert share == pytest.approx(depthwise / (made.cycles + made.stall_cycles), abs=0.002)
    assert f"{made.cycles + made.stall_cycles:,} cycles an image" in drawn
    found = energy_on(graph, None, NM45)
    drawn = spending.energy(graph, found, NM45)
    conv = sum(layer.uj for layer in found.layers if belongs[layer.name][1] is Kind.POINTWISE)
    assert bars(drawn, {"pointwise"}) / bars(drawn, LAYERS) == pytest.approx(conv / found.total_uj, abs=0.002)
    assert all(f"{part.name} ({part.by})" in drawn for part in found.parts)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(networks())
def test_any_network_is_drawn(graph: Graph) -> None:
    machine = array("gemmini_16x16")
    pictures = [spending.cycles(graph, on_array(graph, machine), machine.name)]
    pictures.append(spending.energy(graph, energy_on(graph, None, NM45), NM45))
    if graph.macs:
        pictures.append(roof.svg(graph, roofline(graph, machine)))
    for picture in pictures:
        root = Xml.fromstring(picture)
        width, height = float(root.attrib["width"]), float(root.attrib["height"])
        for text in root.iter(f"{SVG}text"):
            assert -width <= float(text.attrib["x"]) <= width and float(text.attrib["y"]) <= height
    assert members(graph).keys() == graph.by_name.keys()


@pytest.mark.parametrize(
    "target", mostly_slow(["systolic_64x64", "gemmini_16x16", "zcu102", "nano33ble"], "gemmini_16x16", "nano33ble")
)
def test_no_point_lies_above_the_roof(target: str) -> None:
    graph = open_model("mobilenet_v2:resolution=96").graph
    found = roofline(graph, catalogue.load(target))
    assert found.network.ops == 2 * graph.macs
    for point in (*found.layers, found.network):
        assert point.ops_per_s <= found.peak_ops_per_s * (1 + 1e-9)
        if found.bytes_per_s:
            # Stalls are whole cycles, so a layer can be no more than that above the slope.
            assert point.ops_per_s <= found.bytes_per_s * point.ops_per_byte * (1 + 1e-9)
    if found.least_ops_per_s is None:  # a board's roof is of published kernels, not of its plan
        (row,) = costs(graph, [(target, catalogue.load(target))], NM45, bits=8)
        assert found.network.ops_per_s / found.peak_ops_per_s == pytest.approx(row.utilisation, rel=1e-4)
    circles = list(Xml.fromstring(roof.svg(graph, found)).iter(f"{SVG}circle"))
    assert len(circles) == sum(point.ops > 0 for point in found.layers) + 2


def test_no_roofline_of_nothing() -> None:
    shape = TensorType(Shape(4, 4, 2))
    nodes = (Node("input", Input(), (), shape), Node("act", Activate(Activation.RELU), ("input",), shape))
    with pytest.raises(TargetError, match="none: must have a layer with weights"):
        roofline(Graph("none", nodes, ("act",)), array("gemmini_16x16"))
    with pytest.raises(TargetError, match="memory must be at least"):
        roofline(open_model("mobilenet_v2").graph, catalogue.load("ecp5_85"))


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not {"src", "href"} & {name for name, _ in attrs}
        self.seen.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_stands_alone() -> None:
    graph = open_model("mobilenet_v1:width=0.25,resolution=96,classes=2").graph
    names = ("systolic_64x64", "ice40_up5k", "zcu102", "nano33ble")
    machines = [catalogue.load(name) for name in names]
    rows = costs(graph, list(zip(names, machines, strict=True)), NM45, bits=8)
    text = report.page(graph, rows, machines, NM45)
    tags = _Tags()
    tags.feed(text)
    assert not tags.open and "script" not in tags.seen
    # One chart of cycles, one of energy, and a roofline for each machine that it fits.
    assert tags.seen.count("svg") == 2 + 3
    assert set(re.findall(r"https?://[^\s\"']+", text)) == {"http://www.w3.org/2000/svg"}
    assert "@import" not in text and "url(" not in text
    assert "ice40_up5k: memory must be at least" in text
