"""A plan as one WebAssembly file: its program, its weights and what a page must know, without imports."""

import importlib.util
import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files as package_files
from pathlib import Path

from rillet.backends.c.emit import emit, sources
from rillet.backends.c.entry import outputs_of
from rillet.backends.c.flags import machine_flags
from rillet.backends.c.image import other_inputs
from rillet.backends.c.pixels import is_picture
from rillet.errors import BuildError, TargetError
from rillet.ir.facts import has_weights
from rillet.plan.host.planner import plan_host
from rillet.plan.rows.plan import RowPlan
from rillet.runtime.wasm.facts import section
from rillet.system.build import build, compiler_facts
from rillet.system.cache import keep, kept, key_of, workshop
from rillet.system.reading import MODEL_BYTES, read_bytes
from rillet.targets.host import RELAXED, WASM, Host

_ZIG_TARGET, _CLANG_TARGET = "-target=wasm32-freestanding", "--target=wasm32-unknown-unknown"
_FLAGS = (
    "-O3",
    "-std=c99",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-unknown-warning-option",
    "-Wno-unused-command-line-argument",
    "-fno-sanitize=undefined",
)
_STACK_BYTES = 1 << 16
PLAIN = Host("wasm without SIMD", "portable")
"""Engines from before 2021."""
_LINK = ("-nostdlib", "-Wl,--no-entry", f"-Wl,-z,stack-size={_STACK_BYTES}", "-Wl,--strip-all")
_OWN = ("glue.c", "freestanding/functions.c", "freestanding/memory.c")
_HEADERS = {"math.h": "rillet.runtime.emulator", "string.h": "rillet.backends.c.project"}
"""Of the freestanding functions that others have, too."""


def is_wasm(plan: RowPlan) -> bool:
    """Whether a plan is one for WebAssembly."""
    return plan.host is not None and plan.host.kernels == WASM


def find_compiler() -> tuple[str, ...]:
    """The command of a compiler for WebAssembly, its target said: zig's of the wheel, else clang with its linker.

    Raises BuildError where neither is on this machine.
    """
    if importlib.util.find_spec("ziglang") is not None:
        return (sys.executable, "-m", "ziglang", "cc", *_ZIG_TARGET.split("=", 1))
    clang = shutil.which("clang")
    if clang is not None and shutil.which("wasm-ld") is not None:
        return (clang, _CLANG_TARGET)
    raise BuildError(
        "a compiler for WebAssembly must be on this machine, got none: pip install ziglang, or install clang with lld"
    )


def build_wasm(plan: RowPlan, trace: bool = False) -> Path:
    """net.wasm of a plan for `wasm`, from the cache where it was built before; with `trace`, it shows every value.

    Raises TargetError for a plan for another machine, BuildError without a compiler.
    """
    if not is_wasm(plan):
        raise TargetError(f"{plan.graph.name}: must be planned for wasm here, got {plan.kernels} kernels")
    made = sources(plan)
    return _built(plan, made.files, made.data, section(plan, trace), trace)


def build_relaxed(plan: RowPlan, trace: bool = False) -> Path | None:
    """The same for engines whose relaxed dot product is exact for unsigned bytes; raises as `build_wasm`.

    None for a network that multiplies no bytes.
    """
    if not any(has_weights(node.op) and node.type.quant is not None for node in plan.graph.nodes):
        return None
    assert plan.host is not None
    return build_wasm(plan_host(plan.graph, replace(plan.host, extras=(RELAXED,))), trace)


def build_plain(plan: RowPlan) -> Path:
    """The same for engines without SIMD: portable kernels, which give the same bytes; raises as `build_wasm`."""
    portable = plan_host(plan.graph, PLAIN)
    files = {name: text for name, text in emit(portable).items() if name != "main.c"}
    return _built(portable, files, {}, section(portable, traced=False), trace=False)


def _built(
    plan: RowPlan, texts: Mapping[str, str], data: Mapping[str, list[memoryview]], told: bytes, trace: bool
) -> Path:
    files, command = {**texts, **_own_files(plan)}, find_compiler()
    defines = [
        "-DNET_TRACE" if trace else "-DNET_FIRINGS",
        *(["-DRILLET_PICTURES"] if is_picture(plan.graph.image) else []),
    ]
    flags = (*_FLAGS, *machine_flags(plan), "-I.", "-Ifreestanding", *defines)
    names = [name for name in files if name.endswith((".c", ".s"))]
    program = build(command, files, names, flags, _LINK, "net.wasm", (), data=dict(data))
    key = key_of([*compiler_facts(command), program.parent.name, told.decode("latin-1")])
    known = kept("programs", key, ".wasm")
    if known is not None:
        return known
    with workshop() as work:
        out = work / "net.wasm"
        out.write_bytes(read_bytes(program, MODEL_BYTES) + told)
        return keep(out, "programs", key)


def _most_firings(plan: RowPlan) -> int:
    """No image has more: tiles do not go on from one row of a value to the next, or have whole rows."""
    made = ((plan.graph.by_name[stage.node].shape, stage) for segment in plan.segments for stage in segment.stages)
    return sum(shape.height * -(-shape.width // min(stage.tile_pixels, shape.width)) for shape, stage in made)


def _own_files(plan: RowPlan) -> dict[str, str]:
    """What is linked with the program: what pages call, and functions that a C library would have."""
    own = package_files("rillet.runtime.wasm")
    texts = {name: (own / name).read_text() for name in _OWN}
    for name, package in _HEADERS.items():
        folder = package_files(package) / ("templates/freestanding" if "project" in package else "freestanding")
        texts[f"freestanding/{name}"] = (folder / name).read_text()
    ends, others = [end for end, _ in outputs_of(plan)], [end for end, _ in other_inputs(plan)]
    words = {
        "INPUTS": "\n".join(
            f"static net_input{end}_t input{end}[NET_INPUT{end.upper()}_SIZE] __attribute__((aligned(64)));"
            for end in others
        ),
        "GIVEN": "\n".join(f"  case {i}: return input{end};" for i, end in enumerate(others, 1)),
        "SETS": "\n".join(f"  net_set_input{end}(&context, input{end});" for end in others),
        "OUTPUTS": "\n".join(
            f"static net_output{end}_t output{end}[NET_OUTPUT{end.upper()}_SIZE] __attribute__((aligned(64)));"
            for end in ends
        ),
        "FIRINGS": str(_most_firings(plan)),
        "ARGUMENTS": "".join([*(f", input{end}" for end in others), *(f", output{end}" for end in ends)]),
        "RESULTS": "\n".join(f"  case {i}: return output{end};" for i, end in enumerate(ends)),
        "PUSHED": "\n".join(f"  case {i}: return net_output{end}(&context);" for i, end in enumerate(ends)),
    }
    for word, value in words.items():
        texts["glue.c"] = texts["glue.c"].replace(f"@{word}@", value)
    return texts
