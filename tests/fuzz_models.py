"""Breaks small model files in many seeded ways, names included, and takes each all the way: import, plan, emission,
compilation, run. Each must give one clean error, or a program that gives the reference's values and holds no text of
the file but in comments and in identifiers.

usage: fuzz_models.py FORM FIRST_SEED COUNT; FORM is tflite, onnx or rlt. Prints how many ran and how many were refused.
"""

import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

import fuzz
from fuzz import MEMORY_BYTES, ODD, break_bytes
from graphs import Builder
from memory import peak_bytes
from rillet.backends import reference
from rillet.backends.c.emit import emit
from rillet.errors import RilletError
from rillet.exporters import tflite
from rillet.exporters.rlt import to_bytes
from rillet.ir.graph import Graph, ImageSpec
from rillet.ir.ops import Activation, Add, ArgMax, Conv, Input, Pool, PoolKind, Requantize, Softmax, Window
from rillet.ir.types import DType, Quant, Shape
from rillet.models.opening import open_model
from rillet.plan.host.planner import plan_host
from rillet.plan.rows.plan import RowPlan
from rillet.plan.rows.planner import plan_rows
from rillet.runtime.run import Built, Program
from rillet.runtime.verify import first_difference, random_inputs
from rillet.system.folders import write_folder
from rillet.targets.host import named_host
from tfl import pack, unpack

SECONDS = 20
MOST_MACS = 10**7
HOST_EVERY = 5
Rng = np.random.Generator

CALL = "rillet_fuzz_canary(1);"
NAMES = (
    f"*/ {CALL} /*",
    f'"; {CALL} "',
    f"\n{CALL}\n",
    f"\\\n{CALL}",
    f"??/\n{CALL}",
    f"x */\r{CALL}//",
    f"\u2028{CALL}",
    f"[/nope] {CALL}",
    f"\x1b]0;{CALL}\x07",
    f"\u202e{CALL}",
    *(
        "../../escape",
        "/etc/escape",
        "a.b",
        "a_b",
        "a/b",
        "for",
        "int",
        "NULL",
        "INT32_MAX",
        "main",
        "net_run",
        "memcpy",
    ),
    *(
        "memcpy",
        "",
        " ",
        "0",
        "a" * 5000,
        "\x00",
        "é",
        "\udc80",
        "arena",
        "made",
        "self",
        "define",
        "_",
        "__attribute__",
    ),
)
"""What names are changed to: those with CALL would run it, could they leave their comment or string."""


# -- the files -------------------------------------------------------------------------------------------------------


def network(dtype: DType = DType.I8) -> Graph:
    """Convolutions, an addition, pools, a dense layer and a softmax."""
    b = Builder(np.random.default_rng(0), dtype)
    at = b.add(Input(), shape=Shape(7, 6, 3))
    left = b.add(b.conv(4, (3, 3), (2, 2), activation=Activation.RELU6), at)
    right = b.add(b.conv(4, (3, 3), groups=4), left)
    joined = b.add(Add(Activation.RELU), left, right)
    shape = b.node(joined).shape
    pooled = b.add(Pool(PoolKind.AVERAGE, Window((shape.height, shape.width))), joined, same=True)
    logits = b.add(Conv(3, Window((1, 1)), weights=dtype), pooled)
    if dtype is not DType.F32:
        logits = b.add(Requantize(), b.add(Softmax(), logits, quant=Quant(1 / 256, -128)), dtype=DType.F32)
    else:
        b.add(ArgMax(), logits)
    image = ImageSpec(7, 6, 3, mean=(127.5,) * 3, deviation=(127.5,) * 3, labels=("cat", "dog", "bird"))
    return b.graph().with_image(image)


@cache
def tflite_file(real: bool) -> bytes:
    return tflite.export(network(DType.F32 if real else DType.I8))


@cache
def rlt_file(real: bool) -> bytes:
    return to_bytes(network(DType.F32 if real else DType.I8))


@cache
def onnx_file(real: bool) -> bytes:
    from fuzz_onnx import integer_network, spelled_network

    return spelled_network() if real else integer_network()


# -- what breaks them ------------------------------------------------------------------------------------------------


def one(items: Any, rng: Rng) -> Any:
    return items[int(rng.integers(len(items)))]


def break_tflite(data: bytes, rng: Rng) -> bytes:
    model = unpack(data)
    graph = model.subgraphs[0]
    for _ in range(int(rng.integers(0, 4))):
        name = str(one(NAMES, rng)).encode("utf-8", "surrogatepass")
        match rng.integers(5):
            case 0:
                model.description = name
            case 1:
                graph.name = name
            case 2:
                one(model.operatorCodes, rng).customCode = name
            case _:
                one(graph.tensors, rng).name = name
    return fuzz.break_structure(model, rng) if rng.random() < 0.6 else pack(model)


def break_onnx(data: bytes, rng: Rng) -> bytes:
    import onnx

    import fuzz_onnx

    made = onnx.load_from_string(data)
    for _ in range(int(rng.integers(0, 4))):
        name = str(one(NAMES, rng)).encode("utf-8", "replace").decode()
        match rng.integers(7):
            case 0:
                made.graph.name = name
            case 1:
                made.producer_name = made.doc_string = made.graph.doc_string = name
            case 2:
                one(made.graph.node, rng).name = name
            case 3:
                made.graph.input[0].type.tensor_type.shape.dim[0].dim_param = name
            case 4:
                made.metadata_props.add(
                    key="rillet.blocks", value=json.dumps({one(made.graph.node, rng).output[0]: name})
                )
            case _:
                rename(made.graph, one(made.graph.node, rng).output[0], name)
    return fuzz_onnx.break_structure(made, rng) if rng.random() < 0.6 else made.SerializeToString()


def rename(graph: Any, old: str, new: str) -> None:
    """Another name for a value, wherever it stands."""
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = new if value.name == old else value.name


def break_rlt(data: bytes, rng: Rng) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    lines, tensors = members["graph.txt"].decode().splitlines(), load_tensors(members["weights.safetensors"])
    nodes = [line.split()[0] for line in lines if " = " in line]
    for _ in range(int(rng.integers(1, 4))):
        at, name = int(rng.integers(len(lines))), str(one(NAMES, rng))
        match rng.integers(12):
            case 0:
                lines[1] = f"graph {json.dumps(name)}"
            case 1:
                lines[at:at] = [f"block {json.dumps(name)}"]
            case 2:
                lines = [f"label {json.dumps(name)}" if line.startswith("label") else line for line in lines]
            case 3 | 4:
                old = one(nodes, rng)
                lines = [re.sub(rf"(?<![\w.]){re.escape(old)}(?![\w.])", lambda _: name, line) for line in lines]  # noqa: B023
                tensors = {
                    name + key[len(old) :] if key.startswith(f"{old}.") else key: array
                    for key, array in tensors.items()
                }
            case 5:
                lines[at] = re.sub(r"-?\d+", lambda found: str(one((*ODD, found[0]), rng)), lines[at])
            case 6:
                words = lines[at].split(" ")
                words[int(rng.integers(len(words)))] = one(lines, rng).split(" ")[-1]
                lines[at] = " ".join(words)
            case 7:
                del lines[at]
            case 8:
                lines.insert(at, one(lines, rng))
            case 9:
                key = one(sorted(tensors), rng)
                odd = float(one((0.0, -1.0, 1e-38, 1e38, np.nan, np.inf, 127.0, 2.0**31), rng))
                with np.errstate(all="ignore"):
                    tensors[key] = np.full_like(tensors[key], odd)
            case 10:
                key = one(sorted(tensors), rng)
                tensors[key] = tensors[key].reshape(-1)[: int(rng.integers(0, 9))]
            case _:
                tensors[str(one(NAMES, rng)).encode("utf-8", "replace").decode()] = np.ones(3, np.float32)
        if not lines:
            break
    text = "\n".join(lines).encode("utf-8", "surrogatepass")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("version", members["version"])
        archive.writestr("graph.txt", text)
        archive.writestr("weights.safetensors", save_tensors(tensors))
    return out.getvalue()


FORMS: dict[str, tuple[Callable[[bool], bytes], Callable[[bytes, Rng], bytes]]] = {
    "tflite": (tflite_file, break_tflite),
    "onnx": (onnx_file, break_onnx),
    "rlt": (rlt_file, break_rlt),
}


def broken(form: str, seed: int) -> bytes:
    """The file of a seed."""
    make, change = FORMS[form]
    rng = np.random.default_rng(seed)
    data = make(seed % 3 == 0)
    if seed % 7 == 6:
        return break_bytes(data, rng)
    try:
        return change(data, rng)
    except (TypeError, ValueError, OverflowError, AttributeError, IndexError, UnicodeError):
        return break_bytes(data, rng)  # the format's own writer refuses what was drawn


# -- what each must come to ------------------------------------------------------------------------------------------


def without_text(source: str) -> str:
    """C without its comments, and with nothing within its strings: as a compiler sees it, line ends spliced first."""
    spliced = source.replace("??/\n", "").replace("\\\n", "")
    found = r"/\*.*?\*/|//[^\n]*|(\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*')"
    return re.sub(found, lambda m: '""' if m[1] else " ", spliced, flags=re.DOTALL)


def program(plan: RowPlan, files: dict[str, str], folder: Path) -> Built:
    """Seen to be clean, written, and compiled with traps for what C leaves undefined."""
    for name, text in files.items():
        assert re.fullmatch(r"(kernels/)?[a-z0-9_]+\.[ch]", name), name
        assert text.isascii(), name
        assert "rillet_fuzz_canary(" not in without_text(text), name
    write_folder(folder, files)
    library = folder / "net.so"
    sources = [name for name in files if name.endswith(".c") and name != "main.c"]
    done = subprocess.run(
        [
            *("cc", "-O0", "-std=c99", "-w", "-shared", "-fPIC", "-ffp-contract=off"),
            *("-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"),
            *("-o", str(library.name), *sources, "-lm"),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return Built(library, plan.graph, plan.arena_bytes, plan.threads, plan.host is not None)


def attempt(path: Path, folder: Path, host: bool) -> bool:
    """True where the file is a network and runs; raises on anything but a clean error."""
    try:
        graph = open_model(path).graph
        if graph.macs > MOST_MACS:
            return True
        plan = plan_host(graph, named_host("portable")) if host else plan_rows(graph)
        images = list(random_inputs(graph, 1))
        expected = [reference.run(graph, image) for image in images]
        files = emit(plan)
    except RilletError as error:
        assert str(error)
        assert "\n" not in str(error), error
        return False
    made = Program(program(plan, files, folder))
    for image, want in zip(images, expected, strict=True):
        outputs = {name: want[name] for name in dict.fromkeys(graph.outputs)}
        found = first_difference(graph, outputs, dict(zip(outputs, made.run(image), strict=True)), 0, "c")
        # Sums of float32 overflow where those of the reference, in float64, do not.
        assert found is None or not all((np.abs(v) < fuzz.FLOAT32_SUMS).all() for v in want.values()), found
    return True


def main(form: str, first: int, count: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (4 * MEMORY_BYTES, 4 * MEMORY_BYTES))
    np.seterr(all="ignore")
    ran = 0
    for seed in range(first, first + count):
        with tempfile.TemporaryDirectory() as name:
            world = Path(name)
            os.chdir(world)
            path = world / f"model.{form}"
            path.write_bytes(broken(form, seed))
            print(f"seed {seed}", file=sys.stderr)  # whatever ends this process, its last line says of which
            signal.alarm(2 * SECONDS)
            began = time.process_time()
            ran += attempt(path, world / "out", seed % HOST_EVERY == 0)
            assert time.process_time() - began < SECONDS
            assert {entry.name for entry in world.iterdir()} <= {path.name, "out"}
            os.chdir("/")
    signal.alarm(0)
    assert peak_bytes() < MEMORY_BYTES, peak_bytes()
    print(ran, count - ran)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
