"""bench/masked.py: which bytes of a library are overwritten, and what a program is told of its processor then."""

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT

sys.path.insert(0, str(ROOT / "bench"))
import masked

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64" or sys.platform != "linux" or shutil.which("objdump") is None,
    reason="of Linux on x86-64, with objdump",
)
PROGRAM = r"""
#include <stdint.h>
#include <stdio.h>
static void ask(uint32_t leaf, uint32_t part)
{
  uint32_t a = leaf, b, c = part, d;
  __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  printf("%u %u %u %u\n", a, b, c, d);
}
/* The same bytes in data, and within another instruction. */
const uint16_t data = 0xa20f;
int main(void)
{
  uint32_t number;
  __asm__ volatile("movl $0x0fa20fa2, %0" : "=r"(number));
  ask(7, 0);
  ask(7, 1);
  ask(1, 0);
  printf("%u %u\n", number, data);
  return 0;
}
"""


def test_a_patched_program_is_told_of_a_lesser_processor(tmp_path: Path) -> None:
    source, program = tmp_path / "ask.c", tmp_path / "ask"
    source.write_text(PROGRAM)
    subprocess.run([*masked.find_compiler(), "-O0", "-o", program, source], check=True)

    def asked(**more: str) -> list[list[int]]:
        done = subprocess.run([program], check=True, capture_output=True, text=True, env=more)
        return [list(map(int, line.split())) for line in done.stdout.splitlines()]

    plain = asked()
    assert masked.patch(program) == 1  # the function's, and nothing that only looks so
    library = str(masked.mask(tmp_path))
    told, with_vnni = asked(LD_PRELOAD=library), asked(LD_PRELOAD=library, MASK_KEEPS_VNNI="1")
    assert told[3] == plain[3]
    assert told[2][2:] == plain[2][2:]  # AVX, FMA and the like; who asks which core it is is told the one it is on
    assert told[0][1] & 1 << 16 == 0  # AVX512F
    assert told[0][1] & 1 << 5 == plain[0][1] & 1 << 5  # AVX2
    assert told[0][2] & 1 << 11 == 0  # AVX512_VNNI
    assert told[1][0] & (1 << 4 | 1 << 5) == 0  # AVX-VNNI, AVX512_BF16
    assert with_vnni[1][0] & (1 << 4 | 1 << 5) == plain[1][0] & 1 << 4
