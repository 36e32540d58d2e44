"""The text of emitted programs: goldens of each kind, and what strict compilers say to them."""

import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from graphs import Builder, conv
from rillet import __version__
from rillet.backends.c.emit import emit
from rillet.backends.c.flags import machine_flags
from rillet.backends.c.words import WORD_MACROS, declare_numbers, define_numbers, in_words
from rillet.ir.graph import Graph
from rillet.ir.ops import Add, Input, Pool, PoolKind, Window
from rillet.ir.types import DType, Shape
from rillet.plan.host.planner import plan_host
from rillet.plan.rows.plan import RowPlan
from rillet.plan.rows.planner import plan_rows
from rillet.targets.host import Host
from rillet.transforms.dequantize import dequantize

_HOST = Host("an avx2 host", "avx2", l2_bytes=1 << 20)
TEXTS: dict[str, Callable[[], RowPlan]] = {
    "rows": lambda: plan_rows(small(DType.I8)),
    "uint8": lambda: plan_rows(small(DType.U8)),
    "float": lambda: plan_rows(dequantize(small(DType.I8))),
    "ternary": lambda: plan_rows(ternary()),
    "resident": lambda: plan_rows(small(DType.I8), resident=True),
    "host": lambda: plan_host(small(DType.I8), _HOST),
    "host_float": lambda: plan_host(dequantize(small(DType.I8)), _HOST),
    "host_ternary": lambda: plan_host(ternary(), _HOST),
    "threads": lambda: plan_host(small(DType.I8), _HOST, threads=2),
}


def small(dtype: DType) -> Graph:
    """A convolution with padding, a depthwise one, a sum, a mean and classes."""
    b = Builder(np.random.default_rng(3), dtype)
    first = b.add(b.conv(4, (3, 3)), b.add(Input(), shape=Shape(6, 8, 3)))
    both = b.add(Add(), first, b.add(b.conv(4, (3, 3), groups=4), first))
    pooled = b.add(Pool(PoolKind.AVERAGE, Window((6, 8))), both, same=True)
    return b.graph(b.add(b.conv(5), pooled))


def ternary() -> Graph:
    """Layers whose weights take two bits."""
    b = Builder(np.random.default_rng(3), DType.I8)
    first = b.add(conv(8, (3, 3), weights=DType.TERNARY), b.add(Input(), shape=Shape(6, 8, 3)))
    return b.graph(b.add(conv(5), first))


@pytest.mark.parametrize("kind", ["uint8", "float", "ternary", "host", "threads"])
def test_schedule_texts_of_other_kinds(kind: str, golden) -> None:
    """Whole schedules with a depthwise layer and a mean, so that changes of the emitted text are read."""
    files = emit(TEXTS[kind]())
    golden(f"{kind}_net.c", files["net.c"].replace(f"Rillet {__version__}", "Rillet VERSION"))
    if kind == "threads":
        golden("threads_net.h", files["net.h"].replace(f"Rillet {__version__}", "Rillet VERSION"))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("count", [1, 256, 257, 1000])
def test_numbers_of_64_bits_are_the_array(dtype: type, count: int) -> None:
    """In either order of bytes, out of the text alone."""
    array = np.frombuffer(np.random.default_rng(0).bytes(count * np.dtype(dtype).itemsize), dtype)
    text = define_numbers("x", array)
    if not in_words(array):
        assert "{{" not in text
        return
    size = array.itemsize
    assert len(re.findall(rf"^[VW]{size}\(", text, re.M)) == len(text.splitlines()) - 2
    words = [int(digits, 16) for line in re.findall(r"\(([0-9a-f,]+)\)", text) for digits in line.split(",")]
    made = np.array(words, "<u8").tobytes()
    assert made[: array.nbytes] == array.astype(array.dtype.newbyteorder("<")).tobytes()
    assert not any(made[array.nbytes :]) and len(made) - array.nbytes < 8


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.float32])
def test_numbers_are_the_array_where_the_first_byte_is_the_most_significant(dtype: type, tmp_path: Path) -> None:
    """Such a machine keeps a number's bytes in the other order: here they are turned round."""
    array = np.frombuffer(np.random.default_rng(0).bytes(800), dtype)
    (tmp_path / "x.c").write_text(
        "#include <stdint.h>\n#include <stdio.h>\n#undef __BYTE_ORDER__\n#define __BYTE_ORDER__ 0\n"
        f"{WORD_MACROS}{declare_numbers('x', array)}\n{define_numbers('x', array)}\n"
        "int main(void) { return fwrite(&x_data, sizeof x_data, 1, stdout) != 1; }\n"
    )
    subprocess.run([*COMPILERS["gcc"], "-o", "x", "x.c"], cwd=tmp_path, check=True)
    made = subprocess.run(["./x"], cwd=tmp_path, capture_output=True, check=True).stdout
    assert np.frombuffer(made, "<u8").astype(">u8").tobytes() == array.astype(array.dtype.newbyteorder(">")).tobytes()


def test_weights_of_a_board_take_little_text() -> None:
    """Random bytes, which no shorter digits help."""
    array = np.random.default_rng(0).integers(-128, 128, 100_000).astype(np.int8)
    assert len(define_numbers("x", array)) < 2.25 * array.nbytes


STRICT = ("-Wall", "-Wextra", "-Wconversion", "-Wsign-conversion", "-Werror")
_ZIG = (sys.executable, "-m", "ziglang", "cc")
COMPILERS = {
    "gcc": ("gcc", *STRICT, "-Wcast-align=strict"),
    # These know no "=strict": to them, every processor is.
    "clang": ("clang", *STRICT, "-Wcast-align"),
    "zig": (*_ZIG, *STRICT, "-Wcast-align"),
}


_SLOW = {"resident", "host_float", "host_ternary"}


@pytest.mark.parametrize(
    ("compiler", "kind"),
    [
        pytest.param(compiler, kind, marks=[pytest.mark.slow] if kind in _SLOW or compiler != "gcc" else [])
        for compiler in COMPILERS
        for kind in TEXTS
    ],
)
def test_strict_compilers_have_nothing_to_say(compiler: str, kind: str, tmp_path: Path) -> None:
    if shutil.which(COMPILERS[compiler][0]) is None:
        pytest.skip(f"{compiler} is not installed")
    plan = TEXTS[kind]()
    if plan.host is not None and platform.machine() != "x86_64":
        pytest.skip("for x86-64")
    for name, text in emit(plan).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    # Optimised: without it, gcc's own intrinsics are macros that it warns of.
    flags = ("-std=c99", "-O1", "-c", *machine_flags(plan))
    command = [*COMPILERS[compiler], *flags, "net.c", "net_weights.c", "main.c"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    if compiler != "gcc":
        return
    (tmp_path / "user.cc").write_text(
        '#include "net.h"\nNET_ARENA(arena);\nint main() { static net_context net; net_init(&net, arena); }\n'
    )
    command = ["g++", "-Wall", "-Wextra", "-Werror", "-o", "user", "user.cc", "net.o", "net_weights.o"]
    command += ["-lm", "-pthread"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
