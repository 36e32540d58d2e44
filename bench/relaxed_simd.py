"""Prints whether WebAssembly's relaxed SIMD pays: register tiles of bytes and of float32 in Node.

usage: python bench/relaxed_simd.py

Relaxed dot products are the same in all engines for one operand of 7 bits alone: an activation is split into its lower
seven bits and its highest one, so a tile takes two of them, and its own sums of both. V8 runs without its baseline
compiler here: that of 11.3 (Node 20) forgets the sums that such a product is added to.
"""

import json
import subprocess
import tempfile
from pathlib import Path

from rillet.runtime.wasm.building import find_compiler
from rillet.runtime.wasm.program import find_node

DEPTH, TILES = 480, 2000
SOURCE = r"""
#include <stdint.h>
#include <wasm_simd128.h>
#define EXPORT(name) __attribute__((export_name(#name)))
#define DEPTH @DEPTH@
static uint8_t values[2 * DEPTH + 16];
static int8_t weights[16 * DEPTH];
static float reals[2 * DEPTH], real_weights[16 * DEPTH];
static int32_t sums[32];
static float real_sums[32];

EXPORT(fill) void fill(void)
{
  uint32_t state = 1;
  for (int32_t i = 0; i < 16 * DEPTH; i++) {
    state = state * 1664525 + 1013904223;
    weights[i] = (int8_t)(state >> 24);
    real_weights[i] = (float)weights[i] / 3.0f;
    if (i < 2 * DEPTH) values[i] = (uint8_t)(state >> 16), reals[i] = (float)values[i];
  }
}
EXPORT(sum) int32_t sum(int32_t i) { return sums[i]; }
EXPORT(real_sum) float real_sum(int32_t i) { return real_sums[i]; }

EXPORT(plainly) void plainly(void)
{
  for (int32_t p = 0; p < 2; p++)
    for (int32_t c = 0; c < 16; c++) {
      int32_t made = 0;
      for (int32_t i = 0; i < DEPTH; i++) made += values[p * DEPTH + i] * weights[(i / 4 * 16 + c) * 4 + i % 4];
      sums[p * 16 + c] = made;
    }
}

/* 2 pixels x 4 vectors, as kernels/vector_wasm128.h has them. */
EXPORT(widened) void widened(int32_t count)
{
  const v128_t mask = wasm_i16x8_splat(0xff);
  while (count--) {
    v128_t s[8] = {0};
    for (int32_t i = 0; i < DEPTH; i += 4) {
      v128_t even[4], odd[4];
      for (int32_t v = 0; v < 4; v++) {
        const v128_t w = wasm_v128_load(weights + 16 * (i + v));
        even[v] = wasm_i16x8_shr(wasm_i16x8_shl(w, 8), 8), odd[v] = wasm_i16x8_shr(w, 8);
      }
      for (int32_t p = 0; p < 2; p++) {
        const v128_t a = wasm_v128_load32_splat(values + p * DEPTH + i);
        const v128_t low = wasm_v128_and(a, mask), high = wasm_u16x8_shr(a, 8);
        for (int32_t v = 0; v < 4; v++)
          s[p * 4 + v] = wasm_i32x4_add(s[p * 4 + v], wasm_i32x4_add(wasm_i32x4_dot_i16x8(low, even[v]),
                                                                     wasm_i32x4_dot_i16x8(high, odd[v])));
      }
    }
    for (int32_t k = 0; k < 8; k++) wasm_v128_store(sums + 4 * k, s[k]);
  }
}

EXPORT(relaxed) void relaxed(int32_t count)
{
  const v128_t seven = wasm_i8x16_splat(0x7f);
  while (count--) {
    v128_t s[8] = {0}, t[8] = {0};
    for (int32_t i = 0; i < DEPTH; i += 4) {
      v128_t w[4];
      for (int32_t v = 0; v < 4; v++) w[v] = wasm_v128_load(weights + 16 * (i + v));
      for (int32_t p = 0; p < 2; p++) {
        const v128_t a = wasm_v128_load32_splat(values + p * DEPTH + i);
        const v128_t low = wasm_v128_and(a, seven), top = wasm_u8x16_shr(a, 7);
        for (int32_t v = 0; v < 4; v++) {
          s[p * 4 + v] = wasm_i32x4_relaxed_dot_i8x16_i7x16_add(w[v], low, s[p * 4 + v]);
          t[p * 4 + v] = wasm_i32x4_relaxed_dot_i8x16_i7x16_add(w[v], top, t[p * 4 + v]);
        }
      }
    }
    for (int32_t k = 0; k < 8; k++) wasm_v128_store(sums + 4 * k, wasm_i32x4_add(s[k], wasm_i32x4_shl(t[k], 7)));
  }
}

EXPORT(multiplied) void multiplied(int32_t count)
{
  while (count--) {
    v128_t s[8] = {0};
    for (int32_t i = 0; i < DEPTH; i++)
      for (int32_t p = 0; p < 2; p++) {
        const v128_t a = wasm_v128_load32_splat(reals + p * DEPTH + i);
        for (int32_t v = 0; v < 4; v++)
          s[p * 4 + v] = wasm_f32x4_add(s[p * 4 + v], wasm_f32x4_mul(a, wasm_v128_load(real_weights + 16 * i + 4 * v)));
      }
    for (int32_t k = 0; k < 8; k++) wasm_v128_store(real_sums + 4 * k, s[k]);
  }
}

EXPORT(fused) void fused(int32_t count)
{
  while (count--) {
    v128_t s[8] = {0};
    for (int32_t i = 0; i < DEPTH; i++)
      for (int32_t p = 0; p < 2; p++) {
        const v128_t a = wasm_v128_load32_splat(reals + p * DEPTH + i);
        for (int32_t v = 0; v < 4; v++)
          s[p * 4 + v] = wasm_f32x4_relaxed_madd(a, wasm_v128_load(real_weights + 16 * i + 4 * v), s[p * 4 + v]);
      }
    for (int32_t k = 0; k < 8; k++) wasm_v128_store(real_sums + 4 * k, s[k]);
  }
}
""".replace("@DEPTH@", str(DEPTH))
SCRIPT = """
import fs from "node:fs";
const { instance } = await WebAssembly.instantiate(fs.readFileSync(process.argv[2]), {});
const net = instance.exports;
net.fill();
const sums = (act, of) => (act(), Array.from({ length: 32 }, (_, i) => of(i)));
const wanted = sums(() => net.plainly(), net.sum);
const same = ["widened", "relaxed"].map((name) => String(sums(() => net[name](1), net.sum)) === String(wanted));
const [one, other] = ["multiplied", "fused"].map((name) => sums(() => net[name](1), net.real_sum));
const unlike = one.filter((value, i) => value !== other[i]).length;
const times = { widened: [], relaxed: [], multiplied: [], fused: [] };
for (let round = 0; round < 60; round++) {
  for (const [name, kept] of Object.entries(times)) {
    const before = process.cpuUsage();
    net[name](@TILES@);
    const { user, system } = process.cpuUsage(before);
    kept.push((user + system) / @TILES@);
  }
}
const least = Object.fromEntries(Object.entries(times).map(([name, kept]) => [name, Math.min(...kept.slice(20))]));
console.log(JSON.stringify({ same, unlike, least, engine: process.versions.v8 }));
""".replace("@TILES@", str(TILES))


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tiles.c").write_text(SOURCE)
        (folder / "run.mjs").write_text(SCRIPT)
        flags = ("-O3", "-msimd128", "-mrelaxed-simd", "-nostdlib", "-Wl,--no-entry", "-fno-sanitize=undefined")
        build = [*find_compiler(), *flags, "tiles.c", "-o", "tiles.wasm"]
        subprocess.run(build, cwd=folder, check=True)
        node = [find_node(), "--experimental-wasm-relaxed-simd", "--no-liftoff", "run.mjs", "tiles.wasm"]
        said = json.loads(subprocess.run(node, cwd=folder, check=True, capture_output=True, text=True).stdout)
    assert all(said["same"]), "both must give the sums of plain C"
    least = said["least"]
    print(f"V8 {said['engine']}, microseconds for 2 pixels x 16 channels, {DEPTH} deep:")
    for one, other in (("widened", "relaxed"), ("multiplied", "fused")):
        print(f"{one} {least[one]:.2f}, {other} {least[other]:.2f}: {least[one] / least[other]:.2f} x")
    print(f"{said['unlike']} of 32 fused sums have other bits than those of products that are rounded")


if __name__ == "__main__":
    main()
