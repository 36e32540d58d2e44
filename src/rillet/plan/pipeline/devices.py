"""Partition of a pipeline over several devices in series: which layers each has, and the traffic between them."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from rillet.errors import TargetError
from rillet.plan.pipeline.plan import PixelPlan
from rillet.system.quantities import bits_text

Numbers = npt.NDArray[np.int64]
_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Device:
    """One device of those in series."""

    nodes: tuple[str, ...]
    multipliers: int
    """Products of two values counted too."""
    weights: int
    memory_bits: int
    """Bits of its weights, and of the rings that its layers read."""
    link_bits: int
    """Bits that go to the next device for one image; 0 for the last."""
    link_bits_per_s: float


def cut_over_devices(plan: PixelPlan, devices: int, memory_bits: int | None = None) -> tuple[Device, ...]:
    """Partitions the pipeline: minimises the most multipliers on a device, then the widest link between two.

    Exact, by dynamic programming over all cut points, once for each of the two costs. No part takes more than
    `memory_bits`; a value read on several devices has a ring on each. Raises TargetError for more devices than layers,
    and where no cut fits the memory.
    """
    count = len(plan.stages)
    check_devices(devices, count, plan.graph.name)
    loads = [stage.multipliers + stage.elementwise_multipliers for stage in plan.stages]
    before = np.concatenate([[0], np.cumsum(loads)]).astype(np.int64)
    links = _links(plan)
    parts = before[None, :] - before[:, None]
    parts[np.tril_indices(count + 1)] = _NEVER
    if memory_bits is not None:
        parts[_memory(plan) > memory_bits] = _NEVER
    fullest = _cut(parts, devices)[0]
    if fullest == _NEVER:
        assert memory_bits is not None  # without a bound every cut has room
        raise TargetError(
            f"memory must be more than {bits_text(memory_bits, up=False)} a device for a cut over {devices} devices"
        )
    # What part (start, stop) sends on, where it is not too full.
    sent = np.where(parts <= fullest, links[None, :], _NEVER)
    cuts = _cut(sent, devices)[1]
    return tuple(_device(plan, start, stop, int(links[stop])) for start, stop in pairwise(cuts))


def check_devices(devices: int, layers: int, name: str) -> None:
    """Raises TargetError where there are more devices than layers, or none."""
    if not 1 <= devices <= layers:
        raise TargetError(f"devices must be from 1 to {layers}, the layers of {name}, got {devices}")


def _cut(costs: Numbers, parts: int) -> tuple[int, list[int]]:
    """Cut points that minimise the greatest cost of a part, costs[start, stop] being that of one."""
    count = len(costs) - 1
    best = np.full(count + 1, _NEVER)
    best[0] = 0
    came: list[Numbers] = []
    for _ in range(parts):
        reach = np.maximum(best[:, None], costs)
        came.append(reach.argmin(0))
        best = reach.min(0)
    cuts = [count]
    for previous in reversed(came):
        cuts.append(int(previous[cuts[-1]]))
    return int(best[count]), cuts[::-1]


def _links(plan: PixelPlan) -> Numbers:
    """Bits per image that cross each cut point: values produced before it and read after it."""
    place = {stage.node: i for i, stage in enumerate(plan.stages)}
    across = np.zeros(len(plan.stages) + 1, np.int64)
    for buffer in plan.buffers:
        last = max(place[reader] for reader in buffer.readers)
        across[place.get(buffer.value, -1) + 1 : last + 1] += buffer.image_pixels * buffer.channels * buffer.bits
    across[0] = 0
    return across


def _memory(plan: PixelPlan) -> Numbers:
    """Bits of each part (start, stop): weights of its stages, and rings of all that they read."""
    place = {stage.node: i for i, stage in enumerate(plan.stages)}
    before = np.concatenate([[0], np.cumsum([stage.resident_bits for stage in plan.stages])]).astype(np.int64)
    bits = before[None, :] - before[:, None]
    ends = np.arange(len(plan.stages) + 1)
    for buffer in plan.buffers:
        readers = [place[reader] for reader in buffer.readers]
        within = [(ends[:, None] <= reader) & (reader < ends[None, :]) for reader in readers]
        bits += np.logical_or.reduce(within) * (buffer.values * buffer.bits)
    return bits


def _device(plan: PixelPlan, start: int, stop: int, link_bits: int) -> Device:
    stages = plan.stages[start:stop]
    names = {stage.node for stage in stages}
    rings = sum(b.values * b.bits for b in plan.buffers if names & set(b.readers))
    return Device(
        nodes=tuple(stage.node for stage in stages),
        multipliers=sum(stage.multipliers + stage.elementwise_multipliers for stage in stages),
        weights=sum(stage.weights for stage in stages),
        memory_bits=sum(stage.resident_bits for stage in stages) + rings,
        link_bits=link_bits,
        link_bits_per_s=link_bits * plan.images_per_s,
    )
