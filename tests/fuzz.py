"""Breaks a .tflite file in many seeded ways; each must give one clean error, or a network that runs and verifies.

usage: fuzz.py FILE FIRST_SEED COUNT; prints how many ran and how many were refused.
"""

import os
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from memory import peak_bytes
from rillet.backends import reference
from rillet.errors import RilletError
from rillet.importers.tflite import parse
from rillet.plan.rows.planner import plan_rows
from rillet.runtime.verify import Verification, random_inputs, verify
from tfl import pack, unpack

MEMORY_BYTES = 10**9
VERIFY_EVERY = 25
FLOAT32_SUMS = 1e30
ODD = (0, 1, -1, 2, 3, 5, 7, 127, 128, 255, 65535, 2**31 - 1, -(2**31))


def break_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """Flips bits, sets bytes, cuts the end off."""
    broken = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        at = int(rng.integers(len(broken)))
        if rng.random() < 0.6:  # tables lie at the beginning and at the end, constants between
            at = at % min(4096, len(broken)) if rng.random() < 0.5 else len(broken) - 1 - at % min(8192, len(broken))
        match rng.integers(3):
            case 0:
                broken[at] ^= 1 << int(rng.integers(8))
            case 1:
                broken[at] = int(rng.choice([0, 1, 127, 128, 255]))
            case _:
                broken = broken[: max(at, 8)]
    return bytes(broken)


def break_structure(model: Any, rng: np.random.Generator) -> bytes:
    """Changes shapes, types, scales, zero points, buffers, wiring and options, and writes the file anew."""
    graph = model.subgraphs[0]
    for _ in range(int(rng.integers(1, 4))):
        tensor = graph.tensors[int(rng.integers(len(graph.tensors)))]
        op = graph.operators[int(rng.integers(len(graph.operators)))]
        odd = int(rng.choice(ODD))
        match rng.integers(10):
            case 0 if tensor.shape is not None and len(tensor.shape):
                tensor.shape = [int(n) for n in tensor.shape]
                tensor.shape[int(rng.integers(len(tensor.shape)))] = odd
            case 1:
                tensor.shape = [int(n) for n in rng.integers(1, 9, int(rng.integers(0, 6)))]
            case 2:
                tensor.type = int(rng.integers(0, 12))
            case 3 if tensor.quantization is not None:
                tensor.quantization.scale = [float(rng.choice([0.0, -1.0, 1e-38, 1e38, np.nan, np.inf, 0.1]))]
            case 4 if tensor.quantization is not None:
                tensor.quantization.zeroPoint = [odd] * int(rng.integers(0, 3))
            case 5:
                tensor.buffer = int(rng.integers(0, len(model.buffers) + 3))
            case 6:
                op.inputs = [int(i) for i in op.inputs]
                op.inputs[int(rng.integers(len(op.inputs)))] = int(rng.integers(-2, len(graph.tensors) + 2))
            case 7:
                op.outputs = [int(rng.integers(-1, len(graph.tensors)))] * int(rng.integers(0, 3))
            case 8 if op.builtinOptions is not None:
                names = list(vars(op.builtinOptions))
                name = names[int(rng.integers(len(names)))]
                if isinstance(getattr(op.builtinOptions, name), int):
                    small = -128 <= odd <= 127
                    setattr(
                        op.builtinOptions, name, odd if small or name.startswith(("stride", "dil", "filter")) else 1
                    )
            case _:
                op.opcodeIndex = int(rng.integers(0, len(model.operatorCodes) + 1))
    return pack(model)


def overflows(result: Verification) -> bool:
    """True where broken weights are so large that sums of float32 overflow, which float64 in the reference does not."""
    found = result.first_difference
    return found is not None and not abs(found.expected) < FLOAT32_SUMS


def attempt(data: bytes, seed: int) -> bool:
    """True where the file is a network and runs; raises on anything but a clean error."""
    try:
        made = parse(data, "fuzz")
        plan = plan_rows(made.graph)
        if made.graph.macs < 10**8:
            for image in random_inputs(made.graph, 1):
                reference.run(made.graph, image)
            if seed % VERIFY_EVERY == 0:
                result = verify(plan, 1)
                assert result.equal or overflows(result), result
    except RilletError as error:
        assert str(error)
        assert "\n" not in str(error), error
        return False
    return True


def main(path: Path, first: int, count: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (4 * MEMORY_BYTES, 4 * MEMORY_BYTES))
    np.seterr(all="ignore")
    data = path.read_bytes()
    ran = 0
    for seed in range(first, first + count):
        rng = np.random.default_rng(seed)
        try:
            broken = break_structure(unpack(data), rng) if seed % 2 else break_bytes(data, rng)
        except (TypeError, ValueError, OverflowError, AttributeError, IndexError):
            broken = break_bytes(data, rng)  # the writer itself refuses what was drawn
        try:
            ran += attempt(broken, seed)
        except BaseException:
            print(f"seed {seed}", file=sys.stderr)
            raise
    assert peak_bytes() < MEMORY_BYTES, peak_bytes()
    print(ran, count - ran)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["RILLET_CACHE"] = folder
        main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
