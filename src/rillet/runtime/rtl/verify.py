"""The proof of a chip's hardware: it gives the reference's bytes, when and with the rings that the plan says."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rillet.backends import reference
from rillet.errors import TargetError
from rillet.plan.pipeline.fifos import schedule_of
from rillet.runtime.rtl.cxxrtl import find_cxxrtl
from rillet.runtime.rtl.harness import Job, Measured, run
from rillet.runtime.rtl.simulator import program_of
from rillet.runtime.rtl.verilator import find_verilator
from rillet.runtime.verify import Difference, random_inputs
from rillet.system.record import Record

if TYPE_CHECKING:
    from rillet.backends.rtl.design import Design
    from rillet.plan.pipeline.plan import PixelPlan

SIMULATORS = {"verilator": find_verilator, "cxxrtl": find_cxxrtl}
"""What simulates Verilog, by name."""
_LATE = 4
"""A machine that takes so many times the planned cycles is stopped."""
_STALLED = 16
"""The same where both ends of the stream stop and go."""


@dataclass(frozen=True, slots=True)
class HardwareStage:
    """One stage as it ran."""

    node: str
    firings: int
    planned_firings: int
    off_schedule: int
    """Firings at another time than planned."""
    first_off: str
    """The first of them in words; empty where there is none."""
    stalled_cycles: int
    """Cycles in which it was ready, and a ring behind it had no room."""


@dataclass(frozen=True, slots=True)
class HardwareRing:
    """One ring as it was filled, in pixels."""

    value: str
    reader: str
    depth: int
    peak: int


@dataclass(frozen=True, repr=False)
class HardwareVerification(Record):
    """What simulated hardware was compared on, and what it took."""

    equal: bool
    """True where all bytes came out, equal to the reference's, and the stream kept its protocol."""
    images: int
    values: int
    """Output values compared."""
    wrong: int
    """Those that are not the reference's."""
    first_difference: Difference | None
    stream_faults: tuple[str, ...]
    """What was wrong with the stream itself, in words."""
    interval_cycles: int | None
    """Between the last beats of the last two images; None for one image, or where they did not come out."""
    planned_interval_cycles: int
    latency_cycles: int | None
    """From the first pixel that went in to the last beat of the first image."""
    planned_latency_cycles: int
    frames: int
    """Images after which the rings have been as full as they will ever be."""
    blocked_cycles: int
    """Cycles in which a pixel of the input was offered and not taken."""
    stages: tuple[HardwareStage, ...]
    rings: tuple[HardwareRing, ...]
    stalls: bool
    """True where both ends of the stream stopped and went at random; then times are not the plan's."""
    ended: str
    """`done`; `quiet` where nothing happened any more, `late` where it took far longer than planned."""
    cycles: int
    simulator: str
    build_seconds: float
    run_seconds: float

    @property
    def firings(self) -> int:
        """Firings of all stages, of which each was compared with the schedule."""
        return sum(stage.firings for stage in self.stages)

    @property
    def off_schedule(self) -> int:
        """Firings at another time than planned."""
        return sum(stage.off_schedule for stage in self.stages)

    @property
    def stalled_cycles(self) -> int:
        """Cycles of back pressure over all stages."""
        return sum(stage.stalled_cycles for stage in self.stages)

    @property
    def other_rings(self) -> tuple[HardwareRing, ...]:
        """Rings that were fuller than they are deep, or never as full: too deep, if enough images came."""
        exact = self.images >= self.frames and not self.stalls
        return tuple(ring for ring in self.rings if ring.peak > ring.depth or (exact and ring.peak < ring.depth))

    @property
    def other_stages(self) -> tuple[HardwareStage, ...]:
        """Stages that did not fire as often as planned, or, without stalls, not when, or that had to wait for room."""
        return tuple(
            stage
            for stage in self.stages
            if stage.firings != stage.planned_firings
            or (not self.stalls and (stage.off_schedule or stage.stalled_cycles))
        )

    @property
    def as_planned(self) -> bool | None:
        """True where interval, latency, every firing and every ring are the plan's; None with stalls."""
        if self.stalls:
            return None
        interval = self.interval_cycles == (self.planned_interval_cycles if self.images > 1 else None)
        latency = self.latency_cycles == self.planned_latency_cycles
        return interval and latency and not self.blocked_cycles and not self.other_stages and not self.other_rings

    @property
    def passed(self) -> bool:
        """True where the bytes are equal, and without stalls the times and rings as well."""
        return self.equal and not self.other_rings and not self.other_stages and self.as_planned is not False

    def __repr__(self) -> str:
        if self.first_difference is not None:
            return f"HardwareVerification(different, {self.first_difference})"
        how = "passed" if self.passed else "failed"
        return (
            f"HardwareVerification({how}, {self.simulator}, {self.images} images, interval {self.interval_cycles}, "
            f"latency {self.latency_cycles})"
        )


def verify_hardware(
    plan: "PixelPlan",
    design: "Design",
    images: int = 3,
    *,
    stalls: bool = False,
    waves: Path | None = None,
    simulator: str = "verilator",
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> HardwareVerification:
    """Simulates the design of a plan on seeded images, back to back, and compares it with reference and plan.

    stalls: both ends of the stream stop and go at random. waves: a file for them (VCD). progress: called with cycles
    simulated and planned. Raises TargetError for a plan that is no hardware, Unsupported without a simulator,
    BuildError where a tool fails.
    """
    if simulator not in SIMULATORS:
        raise TargetError(f"simulator must be one of {', '.join(SIMULATORS)}, got {simulator!r}")
    if plan.pipeline is None:
        raise TargetError(f"{plan.graph.name}: must be planned as hardware here, got the ideal plan")
    tool = SIMULATORS[simulator]()
    began = time.perf_counter()
    program = program_of(design, tool, waves=waves is not None)
    built = time.perf_counter()
    planned, job = _job(plan, design, images, stalls)
    measured = run(
        program,
        design,
        job,
        _streams(plan, images),
        waves=waves,
        progress=lambda cycles: progress(min(cycles, planned), planned),
    )
    progress(planned, planned)
    names = f"{tool.name} {tool.version}"
    return _verification(plan, design, job, measured, names, (built - began, time.perf_counter() - built))


def _streams(plan: "PixelPlan", images: int) -> Iterator[tuple[bytes, bytes]]:
    """The bytes at both ends of the stream for each image."""
    for image in random_inputs(plan.graph, images):
        yield image.tobytes(), reference.outputs(plan.graph, image)[0].tobytes()


def _job(plan: "PixelPlan", design: "Design", images: int, stalls: bool) -> tuple[int, Job]:
    """What the design is to do, and the cycles that the plan takes for it."""
    times = schedule_of(plan)
    pace = -(-plan.interval_cycles // design.input.pixels)
    planned = plan.latency_cycles + (images - 1) * plan.interval_cycles + pace
    longest = max(stage.folding.cycles + stage.latency_cycles for stage in plan.stages)
    # Between two events there is a firing, or the wait for a pixel; with stalls that of harness.cpp.
    quiet = 4 * (longest + 8 * pace + 256)
    return planned, Job(
        images=images,
        interval=plan.interval_cycles,
        done=[times.done[name].rows for name in design.stages],
        quiet_cycles=quiet,
        most_cycles=planned * (_STALLED if stalls else _LATE) + quiet,
        stalls=stalls,
    )


def _verification(
    plan: "PixelPlan", design: "Design", job: Job, found: Measured, simulator: str, seconds: tuple[float, float]
) -> HardwareVerification:
    wrong = found.first_wrong
    out = plan.graph.by_name[plan.graph.outputs[0]]
    difference = None
    if wrong is not None:
        row, column = divmod(wrong.pixel, out.shape.width)
        want, got = (int(np.uint8(byte).astype(out.type.dtype.numpy)) for byte in (wrong.expected, wrong.got))
        # Of sums of 32 bits it is one of their bytes.
        place = (row, column, wrong.channel // out.type.dtype.numpy.itemsize)
        difference = Difference(wrong.image, out.name, *place, want, got, simulator.partition(" ")[0])
    beats = job.images * design.output.pixels * design.output.beats_per_pixel
    faults = _faults(found, beats, job.images * design.input.pixels)
    depths = {
        (ring.value, reader): depth
        for ring in plan.buffers
        for reader, depth in zip(ring.readers, ring.rings, strict=True)
    }
    ends = found.ends
    return HardwareVerification(
        equal=found.wrong == 0 and not faults,
        images=job.images,
        values=len(ends) * out.shape.elements,
        wrong=found.wrong,
        first_difference=difference,
        stream_faults=faults,
        interval_cycles=ends[-1] - ends[-2] if len(ends) == job.images > 1 else None,
        planned_interval_cycles=plan.interval_cycles,
        latency_cycles=ends[0] - found.first if ends and found.first is not None else None,
        planned_latency_cycles=plan.latency_cycles,
        frames=plan.frames,
        blocked_cycles=found.blocked_cycles,
        stages=tuple(
            HardwareStage(
                node=name,
                firings=ran.fired,
                planned_firings=job.images * due.shape[1],
                off_schedule=ran.off,
                first_off=_off(due.shape[1], ran.first_off),
                stalled_cycles=ran.stalled_cycles,
            )
            for name, ran, due in zip(design.stages, found.stages, job.done, strict=True)
        ),
        rings=tuple(
            HardwareRing(value, reader, depths[value, reader], peak)
            for (value, reader), peak in zip(design.rings, found.peaks, strict=True)
        ),
        stalls=job.stalls,
        ended=found.ended,
        cycles=found.cycles,
        simulator=simulator,
        build_seconds=seconds[0],
        run_seconds=seconds[1],
    )


def _faults(found: Measured, beats: int, pixels: int) -> tuple[str, ...]:
    """What is wrong with a stream beside its bytes."""
    ended = {"quiet": "nothing happened any more", "late": "it took too long"}.get(found.ended, "it ended")
    counted = {
        f"beats must be {beats:,}, got {found.beats:,}: {ended}": found.beats != beats,
        f"pixels taken must be {pixels:,}, got {found.sent:,}: {ended}": found.sent != pixels,
        f"{found.bad_last:,} beats with a wrong tlast": found.bad_last,
        f"{found.unstable:,} beats changed before they were taken": found.unstable,
        f"{found.extra:,} beats too many": found.extra,
    }
    return tuple(said for said, wrong in counted.items() if wrong)


def _off(firings: int, first: tuple[int, int, int] | None) -> str:
    if first is None:
        return ""
    number, at, due = first
    image, firing = divmod(number, firings)
    return f"firing {firing} of image {image} done at {at:,} and not {due:,}"
