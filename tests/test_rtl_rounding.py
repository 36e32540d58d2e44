"""The modules that round, by themselves, against the arithmetic: at random, at the ends, and at halves."""

import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from rillet.arithmetic import fixed_point as fp
from rillet.arithmetic import shift as by_shift

COUNT = 2_000
BENCH = """
module bench;
  reg clk = 0;
  reg signed [31:0] v;
  reg [30:0] m;
  reg signed [5:0] s;
  reg [68:0] words [0:{count}-1];
  wire [7:0] q [0:2];
  wire signed [7:0] one = q[0], two = q[1], three = q[2];
  rillet_scale #(.LEFT(1), .ZERO(3), .LOW(-120), .HIGH(119)) double
    (.clk(clk), .v(v), .mantissa(m), .shift(s), .q(q[0]));
  rillet_scale #(.SINGLE(1), .LEFT(1), .ZERO(3), .LOW(-120), .HIGH(119)) single
    (.clk(clk), .v(v), .mantissa(m), .shift(s), .q(q[1]));
  rillet_shift #(.ZERO(3), .LOW(-120), .HIGH(119)) half (.clk(clk), .v(v), .s(s[4:0]), .q(q[2]));
  integer i;
  initial begin
    $readmemh("words.hex", words);
    // What is read behind a value has gone through six registers, or two.
    for (i = 0; i < {count} + 6; i = i + 1) begin
      {{v, m, s}} = words[i < {count} ? i : 0];
      #1 clk = 1;
      #1 clk = 0;
      $display("%0d %0d %0d", one, two, three);
    end
  end
endmodule
"""


def test_rounding_is_that_of_the_arithmetic(tmp_path: Path) -> None:
    if shutil.which("iverilog") is None:
        pytest.skip("this needs Icarus Verilog")
    rng = np.random.default_rng(0)
    wide = rng.integers(1, 33, COUNT)
    values = rng.integers(-(1 << 31), 1 << 31, COUNT) >> (32 - wide)
    values[:4] = (1 << 31) - 1, -(1 << 31), 0, -1
    mantissa = rng.integers(1 << 30, 1 << 31, COUNT)
    mantissa[:64:2] = 1 << 30
    shifts = rng.integers(-31, 10, COUNT)
    # Halves, which the rules round in three ways.
    halves = slice(64, 640)
    mantissa[halves] = 1 << 30
    shifts[halves] = -rng.integers(0, 12, 576)
    rows = zip(values.tolist(), mantissa.tolist(), shifts.tolist(), strict=True)
    whole = [(value & 0xFFFFFFFF) << 37 | factor << 6 | by & 63 for value, factor, by in rows]
    (tmp_path / "words.hex").write_text("".join(f"{word:018x}\n" for word in whole))
    (tmp_path / "bench.v").write_text(BENCH.format(count=COUNT))
    folder = files("rillet.backends.rtl").joinpath("modules")
    for name in ("rillet_scale", "rillet_shift"):
        (tmp_path / f"{name}.v").write_text(folder.joinpath(f"{name}.v").read_text("utf-8"))
    sources = ["bench.v", "rillet_scale.v", "rillet_shift.v"]
    for command in (["iverilog", "-g2012", "-o", "bench.vvp", *sources], ["vvp", "-n", "bench.vvp"]):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
    said = [row.replace("x", "999").split() for row in done.stdout.splitlines()]
    found = np.array(said, np.int64)
    expected = (
        fp.multiply_double(values, mantissa, shifts),
        fp.multiply_single(values, mantissa, shifts),
        by_shift.rescale(values, shifts & 31),
    )
    for i, (made, late) in enumerate(zip(expected, (5, 5, 1), strict=True)):
        assert np.array_equal(found[late : late + COUNT, i], np.clip(made + 3, -120, 119)), i
