"""The ceiling: what is measured is there and adds up; nothing is said of how fast it is."""

import ctypes
import platform
from importlib.resources import files

import numpy as np
import pytest

from rillet.bench import ceiling
from rillet.bench.ceiling import Meter
from rillet.bench.machine import machine
from rillet.system.build import build_library
from rillet.targets.host import Host, lacking


@pytest.mark.parametrize("threads", [1, 2])
def test_a_measured_ceiling(threads: int) -> None:
    meter = Meter(machine(), threads)
    meter.measure()
    meter.measure_reads()
    found = meter.ceiling()
    assert found.threads == threads
    assert found.cache_gbytes > 0
    assert found.memory_gbytes > 0
    for precision, by in (("f32", found.f32_by), ("bf16", found.bf16_by), ("int8", found.int8_by)):
        assert (found.gmacs(precision) is None) == (not by)


def test_the_best_is_kept() -> None:
    meter = Meter(machine(), 1)
    meter.measure()
    first = meter.ceiling()
    meter.measure()
    assert (meter.ceiling().f32_gmacs or 0) >= (first.f32_gmacs or 0)


def library(*flags: str) -> ctypes.CDLL:
    source = {"ceiling.c": (files("rillet.bench") / "ceiling.c").read_text()}
    made = ctypes.CDLL(str(build_library(source, flags)))
    for kind in ("f32", "bf16", "i8"):
        getattr(made, f"ceiling_{kind}_name").restype = ctypes.c_char_p
    return made


SETS = {
    "": (b"", b""),
    "-mavx2 -mfma": (b"AVX2 FMA", b"AVX2 VPMADDUBSW"),
    "-mavx2 -mfma -mavxvnni": (b"AVX2 FMA", b"AVX-VNNI"),
    "-mavx512f -mavx512vnni": (b"AVX-512 FMA", b"AVX-512 VNNI"),
    "-mavx512f -mavx512bf16": (b"AVX-512 FMA", b"AVX2 VPMADDUBSW"),
}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="instruction sets of x86")
@pytest.mark.parametrize("flags", SETS)
def test_every_set_builds_and_says_what_it_measures(flags: str) -> None:
    made = library(*flags.split())
    assert (made.ceiling_f32_name(), made.ceiling_i8_name()) == SETS[flags]
    assert (made.ceiling_f32_macs() > 0) == bool(SETS[flags][0])
    assert made.ceiling_bf16_name() == (b"AVX-512 BF16" if "bf16" in flags else b"")


@pytest.mark.skipif(bool(lacking(Host("amx", "amx"))), reason="this processor has no AMX")
def test_a_matrix_unit_is_measured_where_there_is_one() -> None:
    made = library("-mavx512f", "-mavx512vnni", "-mavx512bf16", "-mamx-tile", "-mamx-int8", "-mamx-bf16")
    assert (made.ceiling_i8_name(), made.ceiling_bf16_name()) == (b"AMX INT8", b"AMX BF16")
    meter = Meter(machine(), 1)
    meter.measure()
    found = meter.ceiling()
    assert found.int8_by == "AMX INT8"
    assert found.int8_gmacs and found.bf16_gmacs and found.int8_gmacs > found.bf16_gmacs


def test_a_read_sees_every_byte() -> None:
    made = library()
    made.ceiling_read.argtypes = (ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    made.ceiling_read.restype = ctypes.c_uint64
    buffer = np.zeros(1024 + 64, np.uint8)
    start = -buffer.ctypes.data % 64
    for at in (0, 63, 300, 1023):
        buffer[:] = 0
        assert made.ceiling_read(buffer.ctypes.data + start, 1024, 2) == 0
        buffer[start + at] = 1
        assert made.ceiling_read(buffer.ctypes.data + start, 1024, 2) == 1 << (8 * (at % 8))


def test_a_compiler_that_does_not_know_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceiling, "NATIVE", "-march=nonsense")
    meter = Meter(machine(), 1)
    meter.measure()
    assert meter.ceiling().threads == 1
