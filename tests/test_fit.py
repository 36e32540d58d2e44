"""Fit on microcontrollers: the numbers of plans, layers that no plan brings in, and the largest change that fits."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import rillet
from blocks import networks
from conftest import NETWORKS, example_counts, shared_file
from graphs import graphs
from rillet.analyses.memory import stored_as
from rillet.cli import app
from rillet.costs.fit import fit, fit_all, least_layer_bytes
from rillet.costs.remedies import Remedy, Source, Words, remedies
from rillet.errors import TargetError
from rillet.ir.graph import Graph
from rillet.ir.ops import Activation, Input
from rillet.models.opening import open_model
from rillet.plan.rows.arena import ALIGNMENT
from rillet.plan.rows.planner import RowPlanner, plan_layerwise, plan_rows
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


def opener(name: str, width: float = 1.0) -> Source:
    def said(words: Words) -> str:
        return f"{name}:{','.join(f'{k}={v}' for k, v in words.items())}" if words else name

    return Source(lambda words: open_model(said(words)).graph, lambda words: (said(words),), width)


def on_zoo(name: str, **words: str) -> Graph:
    return opener(name).opened(words)


def by_kind(found: tuple[Remedy, ...]) -> dict[str, Remedy]:
    return {remedy.kind: remedy for remedy in found}


PLANNED = ("nano33ble", "rp2040", "esp32s3")
"""A board for each set of kernels that boards have."""


@pytest.mark.parametrize("objective", ["memory", "time"])
@pytest.mark.parametrize(
    "model",
    [
        NETWORKS["resnet"],
        "mobilenet_v1:width=0.25,resolution=64,classes=10",
        pytest.param("microbotnet:width=0.32,seed=0", marks=pytest.mark.slow),
        pytest.param(NETWORKS["vww"], marks=pytest.mark.slow),
        pytest.param(NETWORKS["mobilenet_v2"], marks=pytest.mark.slow),
    ],
)
def test_numbers_are_those_of_plan(model: str, objective: str) -> None:
    """RAM, flash, instructions and milliseconds with their band, of each kind of board."""
    net = rillet.load(shared_file(model) if model in NETWORKS.values() else model)
    found = rillet.fit(net, PLANNED, objective=objective)
    for name, row in zip(PLANNED, found.rows, strict=True):
        made = rillet.plan(net, target=name, objective=objective)
        planned = rillet.footprint(made)
        assert row.footprint == planned and row.image_resident is made.resident
        assert (row.ram_bytes, row.flash_bytes) == (
            planned.ram_bytes + (planned.stack_bytes or 0),
            planned.flash_bytes,
        )
        times = (planned.low_milliseconds, planned.milliseconds, planned.high_milliseconds)
        assert (row.low_milliseconds, row.milliseconds, row.high_milliseconds) == times
        assert (row.milliseconds is None) is bool(row.untimed)


def test_why_there_is_no_time_is_said() -> None:
    real, whole = on_zoo("mobilenet_v1", width="0.25", resolution="32"), 8
    nano, esp = boards.load("nano33ble"), boards.load("esp32s3")
    assert (
        fit(real, nano).untimed == "instructions of float32 are not counted: --bits 8 tells the time in 8-bit integers"
    )
    assert fit(real, nano, whole).untimed == ""
    assert fit(real, esp, whole).untimed.startswith("Xtensa LX7 has no kernels of its own here")
    unmeasured = boards.parse("mine", toml(1 << 20, 1 << 23).replace('core = "none"', 'core = "cortex-m4"'))
    assert fit(real, unmeasured, whole).untimed == "mine has no cycles_per_instruction"
    notes = report.boards(fit_all(real, (nano, esp))).notes
    assert f"{nano.name}: {fit(real, nano).untimed}" in notes


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
        least = RowPlanner(stored, False).least_bytes
        assert least - (ALIGNMENT - 1) <= tight.arena_bytes <= whole.arena_bytes
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
    """At its own precision, whatever its types: its arena and state fit, or some RAM is missing."""

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(graphs(layers=4), st.integers(1024, 8192))
    def holds(graph: Graph, ram: int) -> None:
        small = board(ram, 1 << 20)
        found = fit(graph, small)
        assert found.own_precision == found.precision
        least = plan_rows(graph, resident=found.image_resident)
        assert found.footprint.arena_bytes == least.arena_bytes
        assert (
            found.ram_bytes - found.footprint.context_bytes - (found.footprint.stack_bytes or 0) < least.arena_bytes + 4
        )
        assert found.fits is (found.ram_bytes <= ram)

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
    assert found.footprint.instructions is not None
    assert found.milliseconds == pytest.approx(found.footprint.instructions * 1.54 / 64e6 * 1e3)
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
    assert any("block2.depthwise alone" in miss for miss in fit(graph, board(needed - 1, 1 << 23), 8).misses)
    assert not any(" alone " in miss for miss in fit(graph, board(needed, 1 << 23), 8).misses)


@pytest.mark.parametrize("model", ["mobilenet_v1:width=0.5", pytest.param("mobilenet_v2", marks=pytest.mark.slow)])
def test_the_largest_resolution_that_fits(model: str) -> None:
    small, own = board(24 * 1024, 1 << 23), 0.5 if "width" in model else 1.0
    name = model.partition(":")[0]
    source = opener(name, own)
    found = by_kind(remedies(open_model(model).graph, small, source, bits=8))
    resolution, width = found["resolution"], found["width"]
    assert resolution.fit is not None and resolution.fit.fits and resolution.command
    side = int(resolution.change.split()[0].removeprefix("resolution="))
    assert side % 16 == 0
    assert fit(on_zoo(name, resolution=str(side)), small, 8) == resolution.fit
    assert not fit(on_zoo(name, resolution=str(side + 16)), small, 8).fits
    if width.fit is None:
        assert width.why.startswith("even with width=0.05 --bits 8: RAM must be at least")
    else:
        number = float(width.change.split()[0].removeprefix("width="))
        assert fit(on_zoo(name, width=f"{number:g}"), small, 8) == width.fit
        assert number + 0.05 > own - 1e-9 or not fit(on_zoo(name, width=f"{number + 0.05:g}"), small, 8).fits


def test_flash_is_mended_by_width_and_not_by_resolution() -> None:
    graph, small = on_zoo("mobilenet_v1", width="0.5"), board(1 << 20, 1_100_000)
    found = by_kind(remedies(graph, small, opener("mobilenet_v1", 0.5), bits=8))
    assert found["resolution"].fit is None
    assert found["resolution"].why.startswith("even with resolution=32 --bits 8: flash must be at least")
    assert found["width"].fit is not None
    assert found["width"].fit.flash_spare >= 0


def test_floats_first_take_8_bits() -> None:
    graph = open_model("mobilenet_v1:width=0.25").graph
    nano = boards.load("nano33ble")
    real = fit(graph, nano)
    assert real == fit(graph, nano, 32)
    assert (real.precision, real.own_precision, real.bits) == ("float32", "float32", 32)
    assert not real.fits
    assert real.milliseconds is real.low_milliseconds is None
    found = by_kind(remedies(graph, nano, opener("mobilenet_v1", 0.25)))
    assert found["8 bits"].change == "--bits 8"
    assert found["8 bits"].command == "rillet fit mobilenet_v1 --target nano33ble --bits 8"
    assert found["width"].change.split("=")[0] in ("", "width")


def test_the_other_plan_is_a_remedy() -> None:
    """The plan for time takes more RAM and less code."""
    graph = on_zoo("mobilenet_v1", width="0.25", resolution="32", classes="10")
    least, fast = (fit(graph, boards.load("nano33ble"), 8, word) for word in ("memory", "time"))
    assert least.ram_bytes < fast.ram_bytes and least.flash_bytes > fast.flash_bytes
    text = toml(1 << 18, fast.flash_bytes).replace('core = "none"', 'core = "cortex-m4"')
    found = by_kind(remedies(graph, boards.parse("small.toml", text), opener("net.tflite"), bits=8))["other plan"]
    assert found.fit is not None and found.fit.flash_spare == 0
    assert found.change == "--bits 8 --objective time"
    assert found.command == "rillet fit net.tflite --target small.toml --bits 8 --objective time"


def test_a_file_is_resized_without_its_weights() -> None:
    graph = open_model(shared_file(NETWORKS["vww"])).graph
    found = by_kind(remedies(graph, board(8 * 1024, 1 << 20)))
    assert found["resolution"].fit is not None
    assert found["width"].fit is not None
    assert found["width"].fit.macs < graph.macs


def test_remedies_of_a_picture_that_is_not_square() -> None:
    graph = open_model("mobilenet_v1:width=0.25,resolution=96x192").graph
    found = by_kind(remedies(graph, board(8 * 1024, 1 << 20), bits=8))
    high, wide = map(int, found["resolution"].change.split()[0].removeprefix("resolution=").split("x"))
    assert wide == 2 * high < 192


def test_bits_and_objectives_that_there_are_not() -> None:
    graph, nano = open_model("binarynet_cifar10").graph, boards.load("nano33ble")
    with pytest.raises(TargetError, match="--bits must be 8 or 32, got 16"):
        fit(graph, nano, 16)
    with pytest.raises(TargetError, match="--objective must be memory or time, got 'speed'"):
        fit(graph, nano, objective="speed")


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
    rows = fit_all(graph, [boards.load(name) for name in boards.names()], 8)
    table = report.boards(rows)
    assert [row[1] for row in table.rows] == ["yes" if found.fits else "no" for found in rows]
    assert {row[1] for row in table.rows} == {"yes", "no"}
    assert table.notes[0] == f"{graph.name}: as if it were int8; the network is float32 and must be brought to it first"
    assert sum("must be at least" in note or " alone must" in note for note in table.notes) == sum(
        len(found.misses) for found in rows
    )
    found = remedies(graph, boards.load("m0plus_36k"), opener("mobilenet_v1", 0.25), bits=8)
    assert [row[0] for row in report.remedies(found).rows] == [remedy.kind for remedy in found]
    assert all(row[5] for row in report.remedies(found).rows if row[1] == "-")
    assert not any("rillet search" in note for note in report.remedies(found, boards.load("m0plus_36k")).notes)
    none = [one for one in found if one.fit is None]
    budget = "ram@m0plus_36k<=36864B, flash@m0plus_36k<=131072B"
    assert f'--budget "{budget}"' in report.remedies(none, boards.load("m0plus_36k")).notes[-1]


def test_a_function_of_one_value_needs_no_calibration_to_be_counted() -> None:
    """Hard-sigmoids and their kin have tables of 256 bytes, whatever they will hold."""
    found = fit(on_zoo("microbotnet", width="0.32"), boards.load("nano33ble"), 8)
    assert found.precision == "int8" and found.flash_bytes > 100_000 and found.milliseconds is not None


def test_progress_of_boards_and_of_remedies_ends_where_it_must() -> None:
    graph = on_zoo("mobilenet_v1", width="0.25", resolution="32", classes="10")
    told: list[tuple[int, int]] = []
    found = rillet.fit(graph, board(1 << 18, 50_000), bits=8, progress=lambda *done: told.append(done))
    assert not found.fits and told[0] == (1, 1) and told[-1] == (4, 4)
    assert [done for done, _ in told[1:]] == [1, 2, 3, 4]


def test_live_channels_are_a_remedy_that_keeps_every_byte() -> None:
    graph = open_model(str(shared_file(NETWORKS["vww"]))).graph
    whole, small = fit(graph, board(1 << 18, 1 << 20)), board(1 << 18, 128 * 1024)
    assert whole.flash_bytes > small.flash_bytes
    (remedy,) = (found for found in remedies(graph, small) if found.kind == "live channels")
    assert remedy.change == "--live" and remedy.fit is not None and remedy.fit.fits
    assert remedy.fit.flash_bytes < whole.flash_bytes - 150_000 and remedy.fit.macs < whole.macs
    (not_enough,) = (found for found in remedies(graph, board(1 << 18, 40_000)) if found.kind == "live channels")
    assert not_enough.fit is None and not_enough.why.startswith("even with --live: flash must be at least")


def test_a_network_without_dead_channels_has_no_such_remedy() -> None:
    graph = open_model(str(shared_file(NETWORKS["resnet"]))).graph
    assert "live channels" not in by_kind(remedies(graph, board(1 << 18, 20_000)))
