"""Plans of hardware for tests, and what a simulated design must show of each."""

from dataclasses import replace

from rillet.backends.rtl.emit import design
from rillet.ir.graph import Graph
from rillet.plan.pipeline.entry import plan_pixels
from rillet.plan.pipeline.plan import PixelPlan
from rillet.runtime.rtl.verify import HardwareVerification, verify_hardware
from rillet.targets import pipeline

SIMULATORS = ("verilator", "cxxrtl")


def planned(graph: Graph, slower: int) -> PixelPlan:
    least = plan_pixels(graph, multipliers=10**9, pipeline=pipeline.default())
    return plan_pixels(graph, interval=least.interval_cycles * slower, pipeline=pipeline.default())


def shallower(plan: PixelPlan, at: int) -> tuple[PixelPlan, tuple[str, str]] | None:
    """The plan with one slot less in one of its rings that have more than one, and which it is."""
    places = [(i, k) for i, b in enumerate(plan.buffers) for k, depth in enumerate(b.rings) if depth > 1]
    if not places:
        return None
    i, k = places[at % len(places)]
    ring = plan.buffers[i]
    rings = (*ring.rings[:k], ring.rings[k] - 1, *ring.rings[k + 1 :])
    buffers = (*plan.buffers[:i], replace(ring, rings=rings), *plan.buffers[i + 1 :])
    return replace(plan, buffers=buffers), (ring.value, ring.readers[k])


def proved(plan: PixelPlan, simulator: str) -> HardwareVerification:
    """What ran as planned, with enough images for every ring; and no byte changes with stalls at both ends."""
    made = design(plan)
    found = verify_hardware(plan, made, plan.frames, simulator=simulator)
    assert found.passed and found.as_planned, found.table()
    stalled = verify_hardware(plan, made, 3, simulator=simulator, stalls=True)
    assert stalled.passed and stalled.as_planned is None, stalled.table()
    return found
