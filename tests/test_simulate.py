"""The simulated pipeline: it measures what the plan says, values included, and one pixel less shows at once."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from blocks import networks
from conftest import NETWORKS, mostly_slow, shared_file
from draws import REFUSED, mostly
from graphs import Builder, graphs, inverted, random_image
from rillet.backends import reference
from rillet.errors import GraphError, TargetError, Unsupported
from rillet.importers.tflite import load
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.ops import Add, Input, Pool, PoolKind, Resize, Window, op_window, resize
from rillet.ir.types import DType, Shape
from rillet.plan.pipeline.bottleneck import NarrowBlock
from rillet.plan.pipeline.entry import PixelPlan, plan_pixels
from rillet.simulation.orders import wide_orders
from rillet.simulation.pipeline import MOST_IMAGES, Simulation, simulate
from rillet.simulation.replay import simulate_values
from rillet.targets import pipeline
from rillet.transforms.fold import fold
from rillet.zoo import registry
from rillet.zoo.registry import build
from rillet.zoo.weights import with_seeded_weights

INTERVALS = (1_001, 50_176, 300_000)
HARDWARE = pipeline.default()
FAST = ("mobilenet_v3_small", "binarynet_cifar10")


def as_hardware(graph: Graph, slower: int) -> PixelPlan:
    """The plan with latencies so many cycles above its least interval."""
    least = plan_pixels(graph, multipliers=10**9, pipeline=HARDWARE)
    return plan_pixels(graph, interval=least.interval_cycles + slower - 1, pipeline=HARDWARE)


def check(plan: PixelPlan) -> Simulation:
    """Runs until every ring has been full, and compares all that was planned with what is measured."""
    run = simulate(plan, max(3, plan.frames))
    assert run.passed, (run.wrong, run.deadlock)
    assert run.interval_cycles == plan.interval_cycles
    assert run.latency_cycles == plan.latency_cycles
    assert plan.depths == {name: max(1, n) for name, n in run.peaks.items()}
    assert run.stalled_cycles == run.input_blocked == 0
    for stage, seen in zip(plan.stages, run.stages, strict=True):
        assert seen.busy_cycles == stage.busy_cycles * run.images
        assert seen.utilisation == pytest.approx(stage.busy_cycles / plan.interval_cycles)
        assert seen.weight_reads == (1 if stage.weights else 0)
        assert sum(seen.starved_on.values()) == seen.starved_cycles
    return run


@pytest.mark.parametrize("interval", INTERVALS)
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in FAST else pytest.mark.slow) for n in registry.NETWORKS]
)
def test_every_network_measures_what_was_planned(name: str, interval: int) -> None:
    check(plan_pixels(build(name), interval=interval))
    if interval == max(INTERVALS):
        check(plan_pixels(build(name), interval=interval, pipeline=HARDWARE))


@pytest.mark.parametrize("interval", [49, 12_544, 50_176, 802_816])
def test_the_impossible_goal(interval: int) -> None:
    graph = build("mobilenet_v2", {"top": "false"})
    for ceil in (False, True):
        check(plan_pixels(graph, interval=interval, ceil=ceil))
    if interval >= graph.input_nodes[0].shape.pixels:
        check(plan_pixels(graph, interval=interval, pipeline=HARDWARE))


@mostly(0.9)
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(networks(14) | graphs(), st.integers(1, 2000), st.sampled_from(["divisors", "ceil", "hardware"]))
def test_random_networks_never_stall_nor_miss_a_pixel(graph: Graph, interval: int, how: str) -> object:
    try:
        plan = (
            as_hardware(graph, interval)
            if how == "hardware"
            else plan_pixels(graph, interval=interval, ceil=how == "ceil")
        )
    except Unsupported:
        return REFUSED
    check(plan)
    return None


@pytest.mark.parametrize("interval", INTERVALS)
@pytest.mark.parametrize(
    "name", mostly_slow(["mobilenet_v2", "mobilenet_v3_small", "mnasnet_b1"], "mobilenet_v3_small")
)
def test_narrow_sides_measure_what_was_planned(name: str, interval: int) -> None:
    plan = plan_pixels(build(name), interval=interval, narrow=("all",))
    assert len(plan.narrow) >= 10
    check(plan)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(inverted() | networks(12), st.integers(1, 2000), st.booleans(), st.integers(0, 7))
def test_narrow_sides_of_random_networks_never_stall(graph: Graph, interval: int, ceil: bool, chosen: int) -> None:
    names = [block.expansion for block in plan_pixels(graph, interval=interval, narrow=("all",)).narrow]
    names = [name for i, name in enumerate(names) if chosen >> i & 1]
    check(plan_pixels(graph, interval=interval, ceil=ceil, narrow=names))


def reads_first(reader: Node) -> bool:
    """False where every window of `reader` misses the first pixel, as one that sees padding alone, or its copies do."""
    if isinstance(reader.op, Resize):
        return reader.op.rows[0] == reader.op.columns[0] == 0
    window = op_window(reader.op)
    if window is None:
        return True
    (top, _, left, _), out = window.padding, reader.shape
    return all(
        any(
            at * window.stride[i] - before + tap * window.dilation[i] == 0
            for at in range(count)
            for tap in range(window.kernel[i])
        )
        for i, count, before in ((0, out.height, top), (1, out.width, left))
    )


def first_is_made(plan: PixelPlan, block: NarrowBlock) -> bool:
    _, row, _ = wide_orders(plan)[block.expansion].places[0]
    return row >= 0


def shorter(plan: PixelPlan) -> list[dict[str, int]]:
    """One ring at a time with a pixel less.

    Without those whose first pixel some reader waits for but never reads: it tells that the image has begun.
    """
    nodes = plan.graph.by_name
    # Of a wide map that comes column by column, the first place may be of the padding, which nobody reads.
    late = {block.reader for block in plan.narrow if not first_is_made(plan, block)}
    found: list[dict[str, int]] = []
    for buffer in plan.buffers:
        shares = [buffer.readers] if not buffer.rings else [(reader,) for reader in buffer.readers]
        for (name, depth), readers in zip(buffer.depths.items(), shares, strict=True):
            if depth > 1 and all(reads_first(nodes[r]) and r not in late for r in readers):
                found.append({name: depth - 1})
    return found


def padding_alone() -> Graph:
    """Two layers, the second of which sees nothing but padding."""
    b = Builder(np.random.default_rng(0), DType.F32)
    at = b.add(b.conv(1), b.add(Input(), shape=Shape(1, 2, 1)))
    b.add(replace(b.conv(1), window=Window((1, 1), (2, 1), (1, 0, 0, 0))), at)
    return b.graph()


def check_shorter(plan: PixelPlan, rings: list[dict[str, int]] | None = None) -> None:
    images = max(2, plan.frames)
    for less in rings or shorter(plan):
        lost = simulate(plan, images, depths=less, back_pressure=False)
        (name,) = less
        value, _, reader = name.partition(">")
        assert not lost.passed and lost.wrong.startswith(reader) and f"of {value} in image" in lost.wrong
        held = simulate(plan, images, depths=less)
        assert held.stalled_cycles or held.input_blocked or held.deadlock
        assert not held.wrong


@pytest.mark.parametrize(
    ("name", "interval"),
    [
        *(pytest.param("mobilenet_v2:top=false", i, marks=pytest.mark.slow) for i in (12_544, 50_176, 802_816)),
        ("microbotnet", 20_000),
        *(pytest.param(n, 50_176, marks=pytest.mark.slow) for n in registry.NETWORKS),
    ],
)
def test_one_pixel_less_loses_a_pixel(name: str, interval: int) -> None:
    base, _, words = name.partition(":")
    graph = build(base, dict([words.split("=")]) if words else None)
    check_shorter(plan_pixels(graph, interval=interval))
    if name == "microbotnet":
        check_shorter(plan_pixels(graph, interval=interval, pipeline=HARDWARE))


@mostly(0.9)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@example(padding_alone(), 1, False)
@example(padding_alone(), 1, True)
@given(networks(10) | graphs(), st.integers(1, 500), st.booleans())
def test_one_pixel_less_loses_a_pixel_in_random_networks(graph: Graph, interval: int, hardware: bool) -> object:
    try:
        plan = as_hardware(graph, interval) if hardware else plan_pixels(graph, interval=interval)
    except Unsupported:
        return REFUSED
    check_shorter(plan)
    return None


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(inverted(), st.integers(1, 500))
def test_one_pixel_less_loses_a_pixel_where_sides_are_narrow(graph: Graph, interval: int) -> None:
    check_shorter(plan_pixels(graph, interval=interval, narrow=("all",)))


@pytest.mark.slow
def test_one_pixel_less_than_the_narrow_sides_of_mobilenet_v2() -> None:
    plan = plan_pixels(build("mobilenet_v2", {"top": "false"}), interval=50_176, narrow=("all",))
    check_shorter(plan, [{b.value: b.depth_pixels - 1} for b in plan.buffers if b.depth_pixels > 1])


def test_a_deadlock_says_who_waits_for_what() -> None:
    """A skip shorter than the lag of what it skips: the fork waits for room, the layer for its window."""
    b = Builder(np.random.default_rng(0), DType.F32)
    at = b.add(b.conv(2), b.add(Input(), shape=Shape(8, 8, 2)))
    b.add(Add(), b.add(b.conv(2, (3, 3)), at), at)
    plan = plan_pixels(b.graph(), interval=640)
    run = simulate(plan, depths={at: 9})
    assert run.interval_cycles is None and run.latency_cycles is None and run.ends == ()
    assert any(line.startswith(f"{at}: waits for room in its ring") for line in run.deadlock)
    assert any(f"waits for pixels of {at}, after 0 of 192 firings" in line for line in run.deadlock)
    assert next(a for a in run.stages if a.node == at).blocked_on


def test_weights_that_do_not_stay_are_read_again() -> None:
    plan = plan_pixels(build("microbotnet"), interval=20_000)
    run = simulate(replace(plan, weights_per_multiplier=4), 2)
    stages = {stage.node: stage for stage in plan.stages}
    for seen in run.stages:
        folding = stages[seen.node].folding
        again = max(0, folding.cycles - 4) / folding.cycles * (2 * folding.firings - 1)
        assert seen.weight_reads == pytest.approx(1 + again if stages[seen.node].weights else 0)
    assert max(seen.weight_reads for seen in run.stages) > 100


def test_a_trace_tiles_the_time_of_every_stage() -> None:
    plan = plan_pixels(build("microbotnet"), interval=20_000)
    run = simulate(plan, 2, trace=True)
    assert run.trace
    for seen in run.stages:
        spans = [span for span in run.trace if span.node == seen.node]
        assert spans[0].begin_cycle == 0
        assert all(a.end_cycle == b.begin_cycle and a.state != b.state for a, b in pairwise(spans))
        for state in ("busy", "starved", "blocked"):
            spent = sum(span.end_cycle - span.begin_cycle for span in spans if span.state == state)
            assert spent == getattr(seen, f"{state}_cycles")


@pytest.mark.parametrize(("interval", "bins"), [(20_000, 300), (20_000, 7), (400, 10_000)])
def test_a_profile_holds_every_cycle_of_every_stage(interval: int, bins: int) -> None:
    plan = plan_pixels(build("microbotnet"), interval=interval)
    run = simulate(plan, 3, bins=bins)
    assert run.profile.shape[1] <= bins and run.profile.shape[1] * run.bin_cycles >= run.cycles
    assert run.profile.sum(2).max() <= run.bin_cycles
    for seen, stage in zip(run.stages, run.profile.sum(1).tolist(), strict=True):
        assert stage == [seen.starved_cycles, seen.blocked_cycles, *[seen.busy_cycles // 3] * 3]
    spans = simulate(plan, 3, trace=True).trace
    for at, seen in enumerate(run.stages[:3]):
        own = np.array([(s.begin_cycle, s.end_cycle) for s in spans if s.node == seen.node and s.state == "busy"])
        for number, found in enumerate(run.profile[at, :, 2:].sum(1)):
            begin = number * run.bin_cycles
            inside = np.clip(own, begin, begin + run.bin_cycles)
            assert found == (inside[:, 1] - inside[:, 0]).sum()


def test_cycles_beyond_the_plan_are_in_the_last_part() -> None:
    plan = plan_pixels(build("microbotnet"), interval=20_000)
    less = {"input": 1}
    run = simulate(plan, 2, depths=less, bins=50)
    assert run.deadlock or run.input_blocked
    assert run.profile.sum() == sum(s.busy_cycles + s.starved_cycles + s.blocked_cycles for s in run.stages)


def test_demands_that_make_no_sense() -> None:
    plan = plan_pixels(build("microbotnet"), interval=20_000)
    for images in (0, MOST_IMAGES + 1):
        with pytest.raises(TargetError, match=f"images must be from 1 to {MOST_IMAGES}, got {images}"):
            simulate(plan, images)
    with pytest.raises(TargetError, match="input: depth must be at least 1 pixel, got 0"):
        simulate(plan, depths={"input": 0})
    with pytest.raises(TargetError, match="nothing: must be a value that has a ring"):
        simulate(plan, depths={"nothing": 3})


# -- values ----------------------------------------------------------------------------------------------------------


def images_for(plan: PixelPlan, count: int) -> list[Array]:
    return [random_image(plan.graph, seed) for seed in range(count)]


def check_values(plan: PixelPlan, images: list[Array], depths: dict[str, int] | None = None) -> None:
    orders = wide_orders(plan)
    for image, made in zip(images, simulate_values(plan, *images, depths=depths), strict=True):
        expected = reference.run(plan.graph, image)
        assert made.keys() == {stage.node for stage in plan.stages}
        for name, value in made.items():
            if name in orders:
                # What no window sees is not made.
                seen = np.zeros(value.shape[:2], np.bool_)
                for _, row, column in orders[name].places:
                    if 0 <= row < len(seen):
                        seen[row, column] = True
                value = np.where(seen[..., None], value, expected[name])
            if plan.graph.by_name[name].type.quant is not None:
                assert np.array_equal(value, expected[name]), name
            else:
                # Sums of float64 in another order.
                scale = max(float(np.abs(expected[name]).max()), 1e-30)
                assert float(np.abs(value - expected[name]).max()) <= 1e-5 * scale, name


def test_values_of_real_networks_are_those_of_the_reference(network) -> None:
    if network.name.endswith("224_ptq.tflite"):
        pytest.skip("the slow tests run it")
    plan = plan_pixels(load(network), interval=20_000)
    check_values(plan, images_for(plan, 1))


@pytest.mark.slow
def test_values_of_mobilenet_v2() -> None:
    """Rings of the planned size at 50,176 cycles: bit-exact; one pixel less in some of them: not."""
    plan = plan_pixels(load(shared_file(NETWORKS["mobilenet_v2"])), interval=50_176)
    images = images_for(plan, 1)
    check_values(plan, images)
    wide = max(plan.buffers, key=lambda b: b.values)
    with pytest.raises(AssertionError):
        check_values(plan, images, {wide.value: wide.depth_pixels - 1})


SIZED = (
    ("mobilenet_v2", "32"),
    ("mobilenet_v1", "32"),
    ("mobilenet_v3_small", "32"),
    ("mnasnet_b1", "32"),
    ("squeezenet1_1", "48"),
    ("resnet18", "32"),
    ("efficientnet_lite0", "32"),
)


def sized(name: str, resolution: str) -> PixelPlan:
    return plan_pixels(with_seeded_weights(build(name, {"resolution": resolution})), interval=1024)


@pytest.mark.parametrize(
    ("name", "resolution"),
    [pytest.param(*sized, marks=() if sized[0] in FAST else pytest.mark.slow) for sized in SIZED],
)
def test_values_of_the_zoo_and_one_pixel_less(name: str, resolution: str) -> None:
    plan = sized(name, resolution)
    images = images_for(plan, max(2, plan.frames))
    check_values(plan, images)
    # Every ring in the slow test; here the longest and the shortest.
    rings = sorted(shorter(plan), key=lambda less: -max(less.values()))
    for less in (rings[0], rings[-1]):
        with pytest.raises(AssertionError):
            check_values(plan, images, less)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "resolution"), SIZED)
def test_every_ring_with_one_pixel_less_gives_wrong_values(name: str, resolution: str) -> None:
    plan = sized(name, resolution)
    images = images_for(plan, max(2, plan.frames))
    for less in shorter(plan):
        with pytest.raises(AssertionError):
            check_values(plan, images, less)


EXACT = ("mobilenet_v2", "mobilenet_v1", "mnasnet_b1", "squeezenet1_1", "resnet18", "efficientnet_lite0")


def in_whole_numbers(graph: Graph) -> Graph:
    """With two weights of one or minus one an output: small integers, which sum up alike in any order."""
    rng = np.random.default_rng(7)
    params: dict[str, Array] = {}
    for name, array in graph.params.items():
        made = np.zeros(array.shape, array.dtype)
        if array.ndim > 1:
            flat = made.reshape(len(made), -1)
            for row in flat:
                row[rng.choice(len(row), min(2, len(row)), replace=False)] = rng.choice((-1, 1), min(2, len(row)))
        else:
            made[:] = rng.integers(-1, 3, len(made))
        params[name] = made
    return replace(graph, params=params)


@pytest.mark.parametrize(
    ("name", "narrow"),
    [
        *(pytest.param(name, (), marks=() if name == "squeezenet1_1" else pytest.mark.slow) for name in EXACT),
        *(pytest.param(name, ("all",), marks=pytest.mark.slow) for name in ("mobilenet_v2", "mnasnet_b1")),
    ],
)
def test_values_in_whole_numbers_are_bit_exact(name: str, narrow: tuple[str, ...]) -> None:
    """The zoo's own layers at the planned depths: every value of every layer as the reference has it, to the bit."""
    resolution = dict(SIZED)[name]
    graph = fold(with_seeded_weights(build(name, {"resolution": resolution})))
    plan = plan_pixels(in_whole_numbers(graph), interval=1024, narrow=narrow)
    assert bool(plan.narrow) == bool(narrow)
    rng = np.random.default_rng(1)
    shape = plan.graph.input_nodes[0].shape.array
    images = [rng.integers(0, 4, shape).astype(np.float32) for _ in range(max(2, plan.frames))]
    expected = [reference.run(plan.graph, image) for image in images]
    assert all(np.ptp(values[node]) > 0 for values in expected for node in plan.graph.outputs)

    def equal(depths: dict[str, int] | None = None) -> bool:
        made = simulate_values(plan, *images, depths=depths)
        pairs = [(a[node], b[node]) for a, b in zip(made, expected, strict=True) for node in a]
        return all(np.array_equal(a, b) and np.abs(b).max() < 2**40 for a, b in pairs)

    assert equal()
    rings = sorted(shorter(plan), key=lambda less: -max(less.values()))
    for less in (rings[0], rings[len(rings) // 2], rings[-1]):
        assert not equal(less), less


def small(op: object, shape: Shape, dtype: DType = DType.I8) -> Graph:
    b = Builder(np.random.default_rng(1), dtype)
    b.add(op, b.add(Input(), shape=shape), same=True)  # type: ignore[arg-type]
    return b.graph()


@mostly(0.9)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@example(small(resize(Shape(3, 4, 2), 5, 7), Shape(3, 4, 2)), 11, False)
@example(small(resize(Shape(7, 9, 2), 2, 3), Shape(7, 9, 2)), 400, True)
@example(small(Pool(PoolKind.MAX, Window((4, 5))), Shape(4, 5, 3)), 9, True)
@given(graphs(), st.integers(1, 400), st.booleans())
def test_values_of_random_networks(graph: Graph, interval: int, hardware: bool) -> object:
    """Bit-exact wherever the reference has an answer."""
    try:
        plan = as_hardware(graph, interval) if hardware else plan_pixels(graph, interval=interval)
        images = images_for(plan, 2)
        for image in images:
            reference.run(plan.graph, image)
    except Unsupported:
        return REFUSED
    check_values(plan, images)
    return None


def dilated() -> Graph:
    """A block whose windows leave out the row between their taps."""
    b = Builder(np.random.default_rng(0))
    at = b.add(b.conv(2), b.add(Input(), shape=Shape(5, 3, 1)))
    b.add(b.conv(1), b.add(b.conv(2, (2, 2), groups=2, dilation=(2, 2), padding=(0, 0, 0, 0)), at))
    return b.graph()


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@example(dilated(), 1)
@given(inverted(), st.integers(1, 400))
def test_values_of_random_networks_with_narrow_sides(graph: Graph, interval: int) -> None:
    """What is made again is made alike, and every window finds what it wants."""
    plan = plan_pixels(graph, interval=interval, narrow=("all",))
    check_values(plan, images_for(plan, 2))


def test_values_need_an_image_of_the_right_kind() -> None:
    plan = sized("mobilenet_v1", "32")
    with pytest.raises(GraphError, match="input must be f32 of 32x32x3, got float64"):
        simulate_values(plan, np.zeros((32, 32, 3)))
    with pytest.raises(TargetError, match="images must be at least 1"):
        simulate_values(plan)
    bare = plan_pixels(build("mobilenet_v1", {"resolution": "32"}), interval=1024)
    with pytest.raises(GraphError, match="must have weights"):
        simulate_values(bare, np.zeros((32, 32, 3), np.float32))
