"""Source 003's energy: arithmetic and memories of MicroBotNet x0.32, and the chip that it is set beside."""

import pytest

from conftest import ROOT
from rillet.analyses.count import count
from rillet.analyses.energy import energy
from rillet.analyses.sources.microjoule import CHIPS, Verdict, source_003, ternary_layers
from rillet.models.opening import open_model
from rillet.targets import technology

MODEL = "microbotnet:width=0.32"


def band(figures: tuple[float, float, float]) -> str:
    low, value, high = figures
    return f"{value:.3g} ({low:.3g} to {high:.3g})"


# 782,368 multiply-accumulates with the numbers of Horowitz, ISSCC 2014: 3.1 + 0.1 pJ in int32, 0.2 + 0.1 pJ in int8.
@pytest.mark.parametrize(("bits", "uj"), [(32, 2.50), (8, 0.235)])
def test_arithmetic(bits: int, uj: float) -> None:
    found = energy(open_model(MODEL).graph, technology.load("45nm"), bits=bits, accumulator=32)
    assert found.of("multiplications", "additions") == pytest.approx(uj, abs=0.005 if bits == 32 else 0.0005)


# One 8-bit read of each of 236,658 parameters, at 10, 20 and 100 pJ for 64 bits; DRAM at 1300 to 2600.
@pytest.mark.parametrize(("memory", "uj"), [("sram_8KB", 0.30), ("sram_32KB", 0.59), ("sram_1MB", 2.96)])
def test_one_read_of_every_weight(memory: str, uj: float) -> None:
    read = technology.load("45nm").access(memory, 8 * count(open_model(MODEL).graph).params)
    assert read.pj / 1e6 == pytest.approx(uj, abs=0.005)


def test_one_read_of_every_weight_from_dram() -> None:
    read = technology.load("45nm").access("dram", 8 * count(open_model(MODEL).graph).params)
    assert (round(read.low / 1e6), round(read.high / 1e6)) == (38, 77)


def test_the_31_tensors_of_153792_weights_that_were_made_ternary() -> None:
    graph = open_model(MODEL).graph
    layers = ternary_layers(graph)
    assert len(layers) == 31
    assert sum(layer.weights for layer in count(graph).layers if layer.name in layers) == 153_792


def test_under_one_microjoule() -> None:
    rows = {(r.weights, r.weight_memory): r for r in source_003(open_model(MODEL).graph, technology.load("45nm"))}
    ternary = "ternary as trained, else int8"
    # With every weight read once, 8-bit weights keep within 1 uJ in 8 KB memories and nowhere else for sure.
    assert rows["int8", "sram_8KB"].once_under is Verdict.YES
    assert rows["int8", "sram_32KB"].once_under is Verdict.OPEN
    assert rows["int8", "sram_1MB"].once_under is rows["int8", "dram"].once_under is Verdict.NO
    assert rows[ternary, "sram_32KB"].once_under is Verdict.YES
    assert {row.once_under for (weights, _), row in rows.items() if weights == "int32"} == {Verdict.NO}
    # The whole image, activations and all, is on the edge: 1.08 uJ, and 0.76 uJ with the ternary weights.
    assert rows["int8", "sram_8KB"].image_uj[1] == pytest.approx(1.083, abs=0.001)
    assert rows[ternary, "sram_8KB"].image_uj[1] == pytest.approx(0.756, abs=0.001)
    assert rows["int8", "sram_8KB"].image_under is rows[ternary, "sram_8KB"].image_under is Verdict.OPEN
    # From DRAM no width of weights keeps within it, nor below the binary chip's 3.8 uJ.
    chip = CHIPS[0]
    assert (chip.uj, chip.top1_percent, chip.node_nm) == (3.8, 86, 28)
    assert all(row.image_uj[0] > chip.uj for (_, memory), row in rows.items() if memory == "dram")
    assert rows["int8", "sram_8KB"].image_uj[2] < chip.uj
    # The page prints these rows.
    names = {"8 KB": "sram_8KB", "32 KB": "sram_32KB", "1 MB": "sram_1MB", "DRAM": "dram"}
    page = (ROOT / "docs" / "energy.md").read_text().partition("under 1 uJ?")[2]
    printed = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if "(" in line[:90]]
    table = [cells for cells in printed if len(cells) == 4]
    assert len(table) == 6
    for weights, memory, once, image in table:
        row = rows[weights, names[memory]]
        assert once == band(row.once_uj)
        assert image.removesuffix(", layer by layer") == band(row.image_uj)


def test_a_smaller_node_brings_the_whole_image_under_it() -> None:
    found = energy(open_model(MODEL).graph, technology.load("7nm"), schedule="stream", weight_memory="sram_8KB")
    assert found.total_uj == pytest.approx(0.680, abs=0.001)
    assert found.high_uj < 1
