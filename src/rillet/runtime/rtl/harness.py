"""Runs the program of a design on images, and reads what it found."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rillet.errors import BuildError
from rillet.runtime.rtl.simulator import write_into
from rillet.system.build import first_error
from rillet.system.cache import workshop
from rillet.system.files import written_by_program

if TYPE_CHECKING:
    from rillet.backends.rtl.design import Design

Times = npt.NDArray[np.int64]
_KEPT_LINES = 50
"""Of what the program says beside its results."""
_ENDS = ("done", "quiet", "late")


@dataclass(frozen=True)
class Job:
    """What a design is to do."""

    images: int
    interval: int
    done: Sequence[Times]
    """Of each stage: images x firings, the times at which they are done; the last image repeats at the interval."""
    quiet_cycles: int
    """Without an event for so many cycles, there will be none."""
    most_cycles: int
    stalls: bool = False
    """True where both ends of the stream stop and go at random; then no time is compared."""
    seed: int = 1


@dataclass(frozen=True)
class StageRun:
    """One stage as it ran."""

    fired: int
    off: int
    """Firings at another time than planned."""
    first_off: tuple[int, int, int] | None
    """The first of them: its number, its time and the time it was due."""
    stalled_cycles: int


@dataclass(frozen=True)
class Wrong:
    """The first byte of the output that is not the one expected."""

    image: int
    pixel: int
    channel: int
    expected: int
    got: int


@dataclass(frozen=True)
class Measured:
    """What a program found."""

    ended: str
    """`done`; `quiet` where nothing happened any more, `late` where it took more cycles than it may."""
    cycles: int
    ends: tuple[int, ...]
    """Time of the last beat of each image that came out."""
    first: int | None
    """Time of the first pixel that went in."""
    sent: int
    """Pixels that went in."""
    blocked_cycles: int
    """Cycles in which a pixel was offered and not taken."""
    wrong: int
    first_wrong: Wrong | None
    beats: int
    bad_last: int
    """Beats with a wrong `tlast`."""
    unstable: int
    """Beats that changed, or went, before they were taken."""
    extra: int
    """Beats after the last that was expected."""
    stages: tuple[StageRun, ...]
    peaks: tuple[int, ...]


def run(
    program: Path,
    design: "Design",
    job: Job,
    images: Iterable[tuple[bytes, bytes]],
    *,
    waves: Path | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Measured:
    """Streams images through a design.

    images: the bytes of each at both ends of the stream. waves: a file for them, of a program that can show them.
    progress: called with the cycles simulated. Raises BuildError where the program does not come to its end.
    """
    with workshop() as work:
        write_into(work, {name: text for name, text in design.files.items() if name not in design.sources})
        _write_job(work / "job.bin", design, job)
        with open(work / "images.bin", "wb") as given, open(work / "expected.bin", "wb") as wanted:
            for image, expected in images:
                given.write(image)
                wanted.write(expected)
        if waves is None:
            said = _run(program, work, None, progress)
        else:
            with written_by_program(waves) as place:
                said = _run(program, work, place, progress)
    return _parsed(said, len(design.stages), len(design.rings))


def _write_job(file: Path, design: "Design", job: Job) -> None:
    """The numbers that harness.cpp reads, in its order."""
    into, out = design.input, design.output
    head = (
        *(job.images, job.interval, into.pixels, into.bytes),
        *(out.pixels, out.bytes, out.beat_bytes, out.beats_per_pixel),
        *(len(design.stages), len(design.rings), int(job.stalls), job.seed, job.quiet_cycles, job.most_cycles),
    )
    with open(file, "wb") as made:
        made.write(np.array(head, np.int64).tobytes())
        for times in job.done:
            rows, firings = times.shape
            made.write(np.array((firings, rows), np.int64).tobytes())
            made.write(np.ascontiguousarray(times, np.int64).tobytes())


def _run(program: Path, work: Path, waves: Path | None, progress: Callable[[int], None]) -> list[str]:
    """The lines that a program says."""
    command = [str(program), *([] if waves is None else [str(waves.absolute())])]
    said: list[str] = []
    try:
        process = subprocess.Popen(
            command,
            cwd=work,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise BuildError(f"{program.name}: must run, got: {error.strerror}") from None
    assert process.stdout is not None
    try:
        for raw in process.stdout:
            word, _, rest = raw.decode("utf-8", "replace").partition(" ")
            if word == "at" and rest.strip().isdecimal():
                progress(int(rest))
            else:
                said.append(f"{word} {rest}".strip())
        code = process.wait()
    finally:
        if process.poll() is None:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        process.stdout.close()
    if code or not said or said[-1].partition(" ")[0] not in _ENDS:
        raise BuildError(f"simulation must come to its end, got exit code {code}: {first_error(_few(said))}")
    return said


def _few(said: list[str]) -> str:
    return "\n".join(said[-_KEPT_LINES:])


def _parsed(said: list[str], stages: int, rings: int) -> Measured:
    """The facts in a program's lines."""
    found: dict[str, list[list[int]]] = {}
    for line in said:
        word, *numbers = line.split()
        with contextlib.suppress(ValueError):
            found.setdefault(word, []).append([int(number) for number in numbers])
    ended = said[-1].partition(" ")[0]
    wrong, *place = found["wrong"][0]
    sent, first, blocked = found["input"][0]
    beats, bad_last, unstable, extra = found["stream"][0]
    ran = found.get("stage", [])
    peaks = [row[0] for row in found.get("ring", [])]
    if len(ran) != stages or len(peaks) != rings:
        raise BuildError(f"simulation must tell of {stages} stages and {rings} rings, got {len(ran)} and {len(peaks)}")
    return Measured(
        ended=ended,
        cycles=found[ended][0][0],
        ends=tuple(found["ends"][0]),
        first=first if first >= 0 else None,
        sent=sent,
        blocked_cycles=blocked,
        wrong=wrong,
        first_wrong=Wrong(*place) if wrong else None,
        beats=beats,
        bad_last=bad_last,
        unstable=unstable,
        extra=extra,
        stages=tuple(StageRun(row[0], row[1], _off(row), row[5]) for row in ran),
        peaks=tuple(peaks),
    )


def _off(row: list[int]) -> tuple[int, int, int] | None:
    return None if row[2] < 0 else (row[2], row[3], row[4])
