"""Fit on microcontrollers: bytes as emitted, layers that no plan brings in, and the largest change that fits."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from blocks import networks
from conftest import NETWORKS, example_counts, shared_file
from graphs import graphs
from rillet.analyses.memory import stored_as
from rillet.backends.c.data import program_arrays
from rillet.cli import app
from rillet.costs.fit import STACK_BYTES, Open, Remedy, fit, least_layer_bytes, remedies
from rillet.errors import TargetError
from rillet.ir.graph import Graph
from rillet.ir.ops import Activation, Input
from rillet.models.opening import open_model
from rillet.plan.rows.planner import least_row_bytes, plan_layerwise, plan_rows
from rillet.report import fit as report
from rillet.runtime.quantization import with_few_bits
from rillet.targets import boards
from rillet.targets.boards import Board
from rillet.transforms.fold import fold
from rillet.transforms.lowbit import pack
from rillet.zoo.layers import Layers, Resolution


def toml(ram: int, flash: int) -> str:
    def quantity(key: str, value: int) -> str:
        return f'{key} = {{ value = {value}, source = "a test", confidence = "assumed" }}\n'

    text = 'name = "T"\ncore = "none"\n' + quantity("ram_bytes", ram) + quantity("flash_bytes", flash)
    text += quantity("clock_hz", 1_000_000)
    return text + 'cycles_per_mac = { value = 2, low = 1, high = 4, source = "a test", confidence = "assumed" }\n'


def board(ram: int, flash: int) -> Board:
    return boards.parse("test", toml(ram, flash))


def opener(name: str) -> Open:
    return lambda words: open_model(f"{name}:{','.join(f'{k}={v}' for k, v in words.items())}").graph


def by_kind(found: tuple[Remedy, ...]) -> dict[str, Remedy]:
    return {remedy.kind: remedy for remedy in found}


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_arena_and_constants_are_those_of_the_emitted_program(name: str) -> None:
    graph = open_model(shared_file(NETWORKS[name])).graph
    plan = plan_rows(graph)
    found = fit(graph, boards.load("esp32s3"))
    assert found.arena_bytes == plan.arena_bytes
    assert found.weight_bytes == sum(array.nbytes for array in program_arrays(plan, graph).values())
    assert found.layerwise_bytes > found.arena_bytes
    assert found.flash_bytes == found.weight_bytes + found.code_bytes


# Code bytes of these programs without their constants, clang -Os for a Cortex-M4.
@pytest.mark.parametrize(("name", "bytes"), [("mobilenet_v2", 39_685), ("vww", 17_102), ("resnet", 6_494)])
def test_the_estimate_of_code_is_near_and_not_below_what_was_measured(name: str, bytes: int) -> None:
    graph = open_model(shared_file(NETWORKS[name])).graph
    assert bytes < fit(graph, boards.load("esp32s3")).code_bytes < 1.4 * bytes + 4096


def padded_at_the_edges() -> Graph:
    """No window of the depthwise layer sees three rows: two rows of windows on three rows, one padded above."""
    net = Layers("random", Resolution(5, 4), 1, "keras")
    net.block = "stem"
    net.conv_bn("conv", 2, 1, 2)
    net.block = "block1"
    net.conv_bn("expand", 6)
    net.depthwise_bn(3, 2, Activation.NONE)
    net.conv_bn("project", 2)
    return net.graph()


def image_that_stays_with_the_caller() -> Graph:
    """One pointwise layer in the image's own shape: it reads what is pushed where that lies."""
    net = Layers("random", Resolution(4, 4), 2, "keras")
    net.conv_bn("conv", 2, 1, 1)
    return net.graph()


def image_that_stays_with_the_caller_under_windows() -> Graph:
    """The same with windows no wider than a tile."""
    net = Layers("random", Resolution(6, 2), 2, "keras")
    net.conv_bn("conv", 2, 3, 1)
    return net.graph()


@example_counts(40, 3000)
def test_no_plan_takes_less_than_its_bounds(examples: int) -> None:
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(networks(12))
    @example(padded_at_the_edges())
    @example(image_that_stays_with_the_caller())
    @example(image_that_stays_with_the_caller_under_windows())
    def run(graph: Graph) -> None:
        stored = stored_as(fold(graph), 8)
        tight, whole = plan_rows(stored), plan_layerwise(stored)
        assert least_row_bytes(stored) <= tight.arena_bytes <= whole.arena_bytes
        for node in stored.nodes:
            if not isinstance(node.op, Input):
                assert least_layer_bytes(stored, node) <= tight.arena_bytes

    run()


def test_a_layers_bound_counts_what_a_window_sees() -> None:
    """The pixels of two rows and the padding's none, one pixel of the result; no sums are kept."""
    stored = stored_as(fold(padded_at_the_edges()), 8)
    bounds = {node.name: least_layer_bytes(stored, node) for node in stored.nodes}
    # Windows of 2 x 2 on 3 x 2 pixels of 6 channels.
    assert bounds["block1.depthwise"] == 4 * 6 + 6


@example_counts(10, 100)
def test_fit_answers_for_the_network_that_plan_plans(examples: int) -> None:
    """At its own precision, whatever its types: the arena is that of the plan, and where it fits, `--ram` is met."""

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(graphs(layers=4), st.integers(2049, 8192))
    def holds(graph: Graph, ram: int) -> None:
        small = board(ram, 1 << 20)
        found = fit(graph, small)
        assert found.own_precision == found.precision
        resident = found.image_resident
        assert found.arena_bytes == plan_rows(graph, resident=resident).arena_bytes
        if found.fits:
            assert plan_rows(graph, ram_bytes=ram, resident=resident).arena_bytes <= ram
        else:
            assert found.ram_spare < 0

    holds()


def test_a_float_network_is_not_taken_for_integers(tmp_path: Path) -> None:
    """`fit` says what `plan --ram` says; 8 bits must be asked for, and are named."""
    graph = open_model("mobilenet_v1:width=0.25,resolution=96,classes=2").graph
    small = board(32 * 1024, 1 << 21)
    real, whole = fit(graph, small), fit(graph, small, 8)
    assert (real.fits, real.precision, whole.fits, whole.precision) == (False, "float32", True, "int8")
    assert whole.own_precision == "float32"
    with pytest.raises(TargetError, match="--ram must be at least"):
        plan_rows(fold(graph), ram_bytes=small.ram_bytes)
    path = tmp_path / "small.toml"
    path.write_text(toml(32 * 1024, 1 << 21))
    for words, code in (([], 1), (["--bits", "8"], 0), (["--json"], 1), (["--bits", "8", "--json"], 0)):
        said = ["fit", "mobilenet_v1:width=0.25,resolution=96,classes=2", "--target", str(path), *words]
        done = CliRunner().invoke(app, said, catch_exceptions=False)
        assert done.exit_code == code, done.output
        assert ("int8" if "8" in words else "float32") in done.output


def test_few_bits_are_counted_as_they_are() -> None:
    graph, nano = open_model("microbotnet:width=0.32,seed=0").graph, boards.load("nano33ble")
    ternary = pack(fold(with_few_bits(graph, "ternary")[0]))
    found, whole = fit(ternary, nano), fit(graph, nano)
    assert found.precision == "float32, ternary weights"
    assert found.flash_bytes < whole.flash_bytes / 2


def test_a_network_that_fits() -> None:
    found = fit(open_model("mobilenet_v1:width=0.25,resolution=96,classes=2").graph, boards.load("nano33ble"), 8)
    assert found.fits
    assert not found.misses
    assert found.ram_spare > 0 < found.flash_spare
    assert found.milliseconds == pytest.approx(found.macs * 3.54 / 64e6 * 1e3)
    assert (
        remedies(open_model("mobilenet_v1:width=0.25,resolution=96,classes=2").graph, boards.load("nano33ble"), bits=8)
        == ()
    )


def test_a_network_that_misses_says_by_how_much_and_where() -> None:
    found = fit(open_model("mobilenet_v2").graph, boards.load("m0plus_36k"), 8)
    assert not found.fits
    assert found.ram_spare == 36 * 1024 - found.ram_bytes < 0
    assert found.misses[0].startswith(f"RAM must be at least {found.ram_bytes:,} bytes, got 36,864: ")
    assert f"fullest in {found.fullest}" in found.misses[0]
    assert f"{-found.flash_spare:,} too few" in found.misses[1]
    assert found.misses[2].startswith("head.logits alone must have 1,280,000 bytes of flash for its weights, got 131,0")


def test_a_board_too_small_for_one_layer_says_which() -> None:
    # The widest window of MobileNetV2: 3 x 3 of 56 x 56 x 144 or of 112 x 112 x 96.
    graph = open_model("mobilenet_v2").graph
    needed = (2 * 112 + 3) * 96 + 96
    assert any(
        "block2.depthwise alone" in miss for miss in fit(graph, board(needed + STACK_BYTES - 1, 1 << 23), 8).misses
    )
    assert not any(" alone " in miss for miss in fit(graph, board(needed + STACK_BYTES, 1 << 23), 8).misses)


@pytest.mark.parametrize("model", ["mobilenet_v1", pytest.param("mobilenet_v2", marks=pytest.mark.slow)])
def test_the_largest_resolution_that_fits(model: str) -> None:
    small = board(48 * 1024, 1 << 23)
    found = by_kind(remedies(open_model(model).graph, small, opener(model), bits=8))
    resolution = found["resolution"]
    assert resolution.fit is not None
    assert resolution.fit.fits
    side = int(resolution.change.removeprefix("resolution="))
    assert side % 16 == 0
    assert fit(opener(model)({"resolution": str(side)}), small, 8) == resolution.fit
    assert not fit(opener(model)({"resolution": str(side + 16)}), small, 8).fits
    width = float(found["width"].change.removeprefix("width="))
    assert fit(opener(model)({"width": f"{width:g}"}), small, 8).fits
    assert not fit(opener(model)({"width": f"{width + 0.05:g}"}), small, 8).fits
    # Weights lie in flash, and RAM is what misses.
    assert found["weights"].fit is None
    assert "even with weights of 2 bits: RAM must be at least" in found["weights"].why


def test_flash_is_mended_by_narrower_weights_or_width_and_not_by_resolution() -> None:
    graph, small = open_model("mobilenet_v1").graph, board(1 << 20, 2_300_000)
    found = by_kind(remedies(graph, small, opener("mobilenet_v1"), bits=8))
    assert found["weights"].change == "weight_bits=4"
    assert found["weights"].fit == fit(graph, small, 8, weight_bits=4)
    assert found["weights"].fit is not None
    assert found["weights"].fit.macs == graph.macs
    assert found["resolution"].fit is None
    assert found["resolution"].why.startswith("even with resolution=32: flash must be at least")
    assert found["width"].fit is not None
    assert found["width"].fit.flash_spare >= 0


def test_changes_together_where_none_is_enough_alone() -> None:
    graph, nano = open_model("mobilenet_v2").graph, boards.load("nano33ble")
    found = by_kind(remedies(graph, nano, opener("mobilenet_v2"), bits=8))
    # The head of 1280 x 1000 stays at widths below 1 and fills the flash by itself.
    assert [kind for kind, remedy in found.items() if remedy.fit is not None] == ["width and weights"]
    words = dict(word.split("=") for word in found["width and weights"].change.split(","))
    assert words["weight_bits"] == "4"
    width = float(words["width"])
    assert fit(opener("mobilenet_v2")({"width": f"{width:g}"}), nano, 8, weight_bits=4).fits
    assert not fit(opener("mobilenet_v2")({"width": f"{width + 0.05:g}"}), nano, 8, weight_bits=4).fits


def test_floats_first_take_8_bits() -> None:
    graph = open_model("mobilenet_v1:width=0.25").graph
    nano = boards.load("nano33ble")
    real = fit(graph, nano)
    assert real == fit(graph, nano, 32)
    assert (real.precision, real.own_precision, real.bits, real.weight_bits) == ("float32", "float32", 32, 32)
    assert not real.fits
    assert real.milliseconds is real.low_milliseconds is None
    found = by_kind(remedies(graph, nano, opener("mobilenet_v1"), width=0.25))
    assert found["weights"].change == "bits=8"
    assert found["width"].change in ("", "width=0.2", "width=0.15", "width=0.1", "width=0.05")


def test_a_file_is_resized_without_its_weights() -> None:
    graph = open_model(shared_file(NETWORKS["vww"])).graph
    found = by_kind(remedies(graph, board(8 * 1024, 1 << 20)))
    assert found["resolution"].fit is not None
    assert found["width"].fit is not None
    assert found["width"].fit.macs < graph.macs


def test_remedies_of_a_picture_that_is_not_square() -> None:
    graph = open_model("mobilenet_v1:width=0.25,resolution=96x192").graph
    found = by_kind(remedies(graph, board(16 * 1024, 1 << 20), bits=8))
    high, wide = map(int, found["resolution"].change.removeprefix("resolution=").split("x"))
    assert wide == 2 * high < 192


@pytest.mark.parametrize(("bits", "weight_bits"), [(16, None), (8, 9), (8, 0)])
def test_bits_that_there_are_not(bits: int, weight_bits: int | None) -> None:
    with pytest.raises(TargetError, match="must be"):
        fit(open_model("binarynet_cifar10").graph, boards.load("nano33ble"), bits, weight_bits)


def test_boards_come_from_files_too(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    text = 'name = "Mine"\ncore = "C"\n'
    for key, value in (("flash_bytes", 100_000), ("ram_bytes", 1_000_000), ("clock_hz", 1000)):
        text += f'[{key}]\nvalue = {value}\nsource = "s"\nconfidence = "assumed"\n'
    text += '[cycles_per_mac]\nvalue = 1\nlow = 1\nhigh = 1\nsource = "s"\nconfidence = "assumed"\n'
    path.write_text(text)
    assert fit(open_model("binarynet_cifar10").graph, boards.load(str(path))).board == "Mine"


def test_tables() -> None:
    graph = open_model("mobilenet_v1:width=0.25").graph
    rows = [(fit(graph, boards.load(name), 8), boards.load(name)) for name in boards.names()]
    table = report.boards(rows)
    assert [row[1] for row in table.rows] == ["yes" if found.fits else "no" for found, _ in rows]
    assert {row[1] for row in table.rows} == {"yes", "no"}
    assert table.notes[0] == f"{graph.name}: as if it were int8; the network is float32 and must be brought to it first"
    assert sum("must be at least" in note or " alone must" in note for note in table.notes) == sum(
        len(found.misses) for found, _ in rows
    )
    found = remedies(graph, boards.load("m0plus_36k"), opener("mobilenet_v1"), bits=8, width=0.25)
    assert [row[0] for row in report.remedies(found).rows] == [remedy.kind for remedy in found]
    assert all(row[5] for row in report.remedies(found).rows if row[1] == "-")


def test_live_channels_are_a_remedy_that_keeps_every_byte() -> None:
    graph = open_model(str(shared_file(NETWORKS["vww"]))).graph
    whole, small = fit(graph, board(1 << 18, 1 << 20)), board(1 << 18, 128 * 1024)
    assert whole.flash_bytes > small.flash_bytes
    (remedy,) = (found for found in remedies(graph, small) if found.kind == "live channels")
    assert remedy.change == "live" and remedy.fit is not None and remedy.fit.fits
    assert remedy.fit.flash_bytes < whole.flash_bytes - 150_000 and remedy.fit.macs < whole.macs
    (not_enough,) = (found for found in remedies(graph, board(1 << 18, 40_000)) if found.kind == "live channels")
    assert not_enough.fit is None and not_enough.why.startswith("even with --live: flash must be at least")


def test_a_network_without_dead_channels_has_no_such_remedy() -> None:
    graph = open_model(str(shared_file(NETWORKS["resnet"]))).graph
    assert "live channels" not in by_kind(remedies(graph, board(1 << 18, 20_000)))
