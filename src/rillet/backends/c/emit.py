"""A plan to C99: header, schedule, weights and kernels as {file name: text}; no malloc, no runtime library."""

import re
import sys
from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from rillet.backends.c.binary import Sources, binary_weights
from rillet.backends.c.calls import c_type
from rillet.backends.c.constants import definition, outside_name, outside_value
from rillet.backends.c.data import program_arrays, weight_files
from rillet.backends.c.entry import (
    advance,
    entry_points,
    outputs_of,
    padding_lines,
)
from rillet.backends.c.header import header, provenance
from rillet.backends.c.image import borrowed, borrows_image, input_of, other_inputs, reads_pushed
from rillet.backends.c.names import Named, named, shown
from rillet.backends.c.pairwise import pairwise_constants
from rillet.backends.c.pixels import pixel_table
from rillet.backends.c.prefix import DEFAULT, checked, hidden, renamed_files
from rillet.backends.c.reads import needs_outside
from rillet.backends.c.rows import outside_rows, used_tiles
from rillet.backends.c.schedule import loop
from rillet.backends.c.stages import accessor, constant_accessor, stage_text
from rillet.backends.c.storage import as_stored
from rillet.backends.c.threads import parameter
from rillet.backends.c.tiles import tiles_header
from rillet.errors import RilletError, about
from rillet.ir.facts import is_constant
from rillet.ir.graph import Array, ImageSpec
from rillet.ir.types import DType
from rillet.plan.host.tilings import VECTORS
from rillet.plan.rows.plan import BufferKind, CoreKernels, Kernel, Packing, RowPlan, Segment, Stage
from rillet.targets.host import WASM

_HEADERS = {
    Kernel.DENSE: ("dense.h",),
    Kernel.DEPTHWISE: ("dense.h", "depthwise.h"),
    Kernel.POOL: ("pool.h",),
    Kernel.GLOBAL_POOL: ("pool.h",),
    Kernel.ARITHMETIC: ("arithmetic.h",),
    Kernel.PAIR: ("pairs.h",),
    Kernel.LOOKUP: ("pointwise.h",),
    Kernel.FUNCTION: ("functions.h",),
    Kernel.CURVE: ("functions.h", "curves.h"),
    Kernel.WIDE_FUNCTION: ("wide.h",),
    Kernel.QUANTIZE: ("functions.h",),
    Kernel.DEQUANTIZE: ("functions.h",),
    Kernel.SOFTMAX: ("softmax.h",),
    Kernel.ARGMAX: ("argmax.h",),
    Kernel.COPY: ("pointwise.h",),
    Kernel.INTERPOLATE: ("interpolate.h",),
    Kernel.LISTS: ("rows.h", "tiles.h", "lists_avx512.h"),
    Kernel.LOW_BIT: ("dense.h", "low_bit.h"),
    Kernel.LOW_BIT_DEPTHWISE: ("dense.h", "low_bit.h"),
    Kernel.XNOR: ("dense.h", "low_bit.h", "xnor.h"),
    Kernel.SIGN: ("dense.h", "low_bit.h", "xnor.h"),
    Kernel.TILES: ("rows.h", "tiles.h"),
    Kernel.WINOGRAD: ("rows.h", "tiles.h"),
    Kernel.CORE_DENSE: ("dense.h", "core.h"),
    Kernel.CORE_DEPTHWISE: ("dense.h", "core.h"),
    Kernel.CORE_PLANES: ("dense.h", "core.h"),
    Kernel.CORE_SUM: ("dense.h", "core.h"),
    Kernel.CORE_LISTS: ("dense.h", "core.h"),
    Kernel.DEPTHWISE_TILES: ("rows.h", "tiles.h"),
}
_WIDE_HEADERS = ("arithmetic.h", "dense.h", "functions.h", "pairs.h", "pointwise.h", "pool.h", "wide.h")
_WORDS = re.compile(r'^#include "(words_\w+\.h)"', re.MULTILINE)
"""What kernel sets share."""
_INCLUDED = re.compile(r'^#include "((?:channels|winograd)\.h)"', re.MULTILINE)
"""What tiles are written with."""
_THREAD_INCLUDES = "\n#include <stdlib.h>"
_TRACED = """#ifdef NET_TRACE
uint8_t **net_trace(net_context *net) { return net->trace; }
#endif
"""
_WAYS = {
    "RILLET_BY_INTEGERS": ".by_integers = net_",
    "RILLET_SIGNED": ".is_signed = 1",
    "RILLET_CAREFUL": ".careful = 1",
    "RILLET_AS_BITS": ".as_bits = 1",
    "RILLET_AS_NUMBERS": ".as_bits = 0",
}
"""What a layer's constants say that rounds so."""
_UNSEEN = "#define SEEN(index, at, from, n, bytes) (void)0\n"
_FIRINGS = """#ifdef NET_FIRINGS
/* The caller has this function, which is told of each firing: the value, and how many pixels of it. */
void net_fired(int32_t value, int32_t pixels);
#define SEEN(index, at, from, n, bytes) net_fired(index, n)
#else
{}#endif
"""
_STAGE = re.compile(r"^static int32_t (fire_\w+\([^)]*\))$", re.MULTILINE)
"""The first line of a stage's function."""


@dataclass(frozen=True, slots=True)
class _Schedule:
    """Parts of net.c."""

    begin: str
    """A comment, where it comes from, and what it includes."""
    trace: str
    public: list[str]
    """What others see, besides the functions at the end."""
    shared: list[str]
    """What the functions of the stages use."""
    stages: list[tuple[str, str]]
    """Comment of the segment where one begins, and function."""
    end: list[str]


def emit(plan: RowPlan, profile: bool = False, prefix: str = DEFAULT) -> dict[str, str]:
    """The program's files: net.h, net.c, net_weights.h, net_weights.c, main.c and the kernels it uses.

    With `profile`, the program also counts the clock's ticks and the calls of each stage, in the plan's order. All that
    others see of it begins with the prefix instead of `net`, files too; raises Unsupported for what is no prefix.
    """
    checked(prefix)
    known = named(plan)
    try:
        return _files(known, plan.graph.image, provenance(plan), profile, prefix)
    except RilletError as error:
        raise known.original(error, plan) from None


def sources(plan: RowPlan, pieces: int = 1, profile: bool = False) -> Sources:
    """The same program without main.c, for a compiler of this machine alone: the stages in so many files, to be
    compiled side by side, and the constants as bytes, which nobody reads as text.
    """
    known = named(plan)
    try:
        return _sources(known, plan.graph.image, provenance(plan), pieces, profile)
    except RilletError as error:
        raise known.original(error, plan) from None


def _files(called: Named, image: ImageSpec | None, made_by: list[str], profile: bool, prefix: str) -> dict[str, str]:
    known, told = hidden(called)
    stored, arrays = _stored(known)
    headers = _included(known.plan, stored, profile)
    schedule = _schedule(known, image, stored, headers, made_by, profile)
    out = {
        "net.h": header(known, image, made_by, profile),
        "net.c": _whole(schedule),
        **weight_files(arrays, known.plan.host),
        "main.c": _main(known.plan),
        **_kernels(known.plan, stored, headers),
    }
    return renamed_files(out, prefix, told)


def _main(plan: RowPlan) -> str:
    """main.c: rows of one file pushed in, or a file for each of several inputs."""
    folder, others = files("rillet.backends.c"), [end for end, _ in other_inputs(plan)]
    if not others:
        return (folder / "main.c").read_text()
    size = "NET_INPUT_HEIGHT * NET_INPUT_WIDTH * NET_INPUT_CHANNELS"
    inputs = ["input", *(f"input{end}" for end in others)]
    outputs = [f"output{end}" for end, _ in outputs_of(plan)]
    arrays = [f"static net_{name}_t {name}[NET_{name.upper()}_SIZE];" for name in (*inputs[1:], *outputs)]
    reads = (f"read_file(argv[{i}], {name}, sizeof {name})" for i, name in enumerate(inputs, 1))
    text = (folder / "main_inputs.c").read_text()
    for word, said in {
        "ARRAYS": "\n".join([f"static net_input_t input[{size}];", *arrays]),
        "COUNT": str(len(inputs)),
        "FILES": " ".join(f"{name.upper()}.raw" for name in inputs),
        "READS": " || ".join(reads),
        "ARGUMENTS": ", ".join([*inputs, *outputs]),
    }.items():
        text = text.replace(f"@{word}@", said)
    return text


def _sources(called: Named, image: ImageSpec | None, made_by: list[str], count: int, profile: bool) -> Sources:
    known, told = hidden(called)
    stored, arrays = _stored(known)
    headers = _included(known.plan, stored, profile)
    schedule = _schedule(known, image, stored, headers, made_by, profile)
    host = known.plan.host
    weights = binary_weights(arrays, WASM if host is not None and host.kernels == WASM else sys.platform)
    out = {
        "net.h": header(known, image, made_by, profile),
        **_pieces(schedule, count),
        **weights.files,
        **_kernels(known.plan, stored, headers),
    }
    return Sources(renamed_files(out, DEFAULT, told), weights.data)


def _stored(known: Named) -> tuple[RowPlan, dict[str, Array]]:
    """The plan over the graph as the program stores it, and its arrays."""
    stored = as_stored(known.plan)
    return stored, program_arrays(stored, known.plan.graph) | _outside_rows(stored)


def _included(plan: RowPlan, stored: RowPlan, profile: bool) -> list[str]:
    """The kernels' headers that net.c includes."""
    used = {header for s in plan.segments for stage in s.stages for header in _headers(stored, stage)}
    if plan.sign_flipped:
        used.add("rows.h")
    more = [*(["threads.h"] if plan.threads > 1 else []), *(["profile.h"] if profile else [])]
    vectors = [f"vector_{plan.host.kernels}.h"] if plan.host is not None and plan.host.kernels in VECTORS else []
    return ["stream.h", "rescale.h", *vectors, *sorted(used), *more]


def _kernels(plan: RowPlan, stored: RowPlan, headers: list[str]) -> dict[str, str]:
    """The files of kernels/."""
    kernels, out = files("rillet.backends.c") / "kernels", dict[str, str]()
    for name in headers:
        if name == "tiles.h":
            assert plan.host is not None
            out["kernels/tiles.h"] = tiles_header(used_tiles(stored), plan.host.kernels)
            for more in _INCLUDED.findall(out["kernels/tiles.h"]):
                out[f"kernels/{more}"] = (kernels / more).read_text()
        else:
            out[f"kernels/{name}"] = (kernels / name).read_text()
            for words in _WORDS.findall(out[f"kernels/{name}"]):
                out[f"kernels/{words}"] = (kernels / words).read_text()
    if plan.core is not None and "core.h" in headers:
        for name in _assembler(plan, plan.core):
            out[f"kernels/{name}"] = (kernels / name).read_text()
    if plan.threads > 1:
        out["kernels/crew.h"] = (kernels / "crew.h").read_text()
    return out


def _whole(schedule: _Schedule) -> str:
    """net.c as one file."""
    stages = [text for pair in schedule.stages for text in pair if text]
    return "\n".join([schedule.begin, schedule.trace, *schedule.public, *schedule.shared, *stages, *schedule.end])


def _pieces(schedule: _Schedule, count: int) -> dict[str, str]:
    """net.c and more files like it, each with some of the stages, of about the same length."""
    if count == 1:
        return {"net.c": _whole(schedule)}
    shares: list[list[str]] = [[] for _ in range(count)]
    for _, text in sorted(schedule.stages, key=lambda pair: -len(pair[1])):
        min(shares, key=lambda share: sum(map(len, share))).append(text)
    names = [found[1] for _, text in schedule.stages if (found := _STAGE.search(text))]
    assert len(names) == len(schedule.stages)
    declared = "\n".join(f'__attribute__((visibility("hidden"))) int32_t {name};' for name in names)
    common = ["#ifndef NET_STAGES_H", "#define NET_STAGES_H", schedule.begin, schedule.trace, *schedule.shared]
    out = {"net_stages.h": "\n".join([*common, declared, "#endif", ""])}
    include = '#include "net_stages.h"\n'
    for index, share in enumerate(shares):
        parts = [_STAGE.sub(r"int32_t \1", text, count=1) for text in share]
        ends = [*schedule.public, *parts, *schedule.end] if index == 0 else parts
        out["net.c" if index == 0 else f"net_{index + 1}.c"] = "\n".join([include, *ends])
    return out


def _assembler(plan: RowPlan, core: CoreKernels) -> list[str]:
    """The assembler files of a core, and what they include."""
    lists = any(stage.kernel is Kernel.CORE_LISTS for segment in plan.segments for stage in segment.stages)
    shared = ["core_thumb.h"] if lists or core is CoreKernels.ARMV6M else []
    return [f"core_{core.value}.S", *(["core_lists.S"] if lists else []), *shared]


def _headers(plan: RowPlan, stage: Stage) -> tuple[str, ...]:
    if stage.kernel is Kernel.XNOR and stage.packing is Packing.BLOCKS:
        return (*_HEADERS[Kernel.XNOR], "xnor_avx512.h")
    node = plan.graph.by_name[stage.node]
    if stage.kernel is Kernel.ARGMAX:
        return _HEADERS[Kernel.ARGMAX]
    if DType.I16 in {node.type.dtype, *(value.dtype for value in plan.graph.input_types(node))}:
        return _WIDE_HEADERS
    binary = node.type.dtype is DType.BINARY
    if stage.kernel in (Kernel.GLOBAL_POOL, Kernel.POOL) and plan.host is not None and not binary:
        return ("pool.h", "pool_rows.h")
    if stage.kernel is Kernel.SOFTMAX and plan.graph.by_name[stage.node].type.quant is None:
        return ("softmax_f32.h",)
    if stage.kernel is Kernel.TILES and stage.tiling is not None and stage.tiling.halves:
        real = plan.graph.by_name[stage.node].type.quant is None
        return (*_HEADERS[Kernel.TILES], "bf16.h" if real else "halves.h")
    if pairwise_constants(plan, stage) is not None:
        return ("channels.h", "pairwise.h")
    return _HEADERS[Kernel.SIGN] if stage.kernel is Kernel.POOL and binary else _HEADERS[stage.kernel]


def _schedule(
    known: Named, image: ImageSpec | None, stored: RowPlan, headers: list[str], made_by: list[str], profile: bool
) -> _Schedule:
    """net.c; `stored` is the plan over the graph as the program stores it."""
    plan, graph = known.plan, stored.graph
    made = "whole rows" if plan.by_rows else "a few pixels"
    zero_copy = input_of(plan).name if borrows_image(plan) else None
    include = [f'#include "kernels/{h}"' for h in headers]
    stages: list[tuple[str, str]] = []
    for index, segment in enumerate(plan.segments):
        title = f"/* -- segment {index + 1}: {len(segment.stages)} stages, {segment.peak_bytes} bytes -- */\n"
        for stage in segment.stages:
            with about(graph.name, stage.node):
                stages.append((title, stage_text(known, stored, segment, stage)))
            title = ""
    include[:0] = [*(["#define RILLET_THREADS NET_THREADS"] if plan.threads > 1 else []), *_rounds(stages)]
    begin = (
        f"/* {known.graph}, planned as {shown(plan.kind)}: {len(plan.segments)} segments.\n\n"
        f"   Each stage computes {made} as soon as the pixels under their windows have arrived, "
        "then its readers are tried.\n"
        "   Segments run one after another; full tensors pass between them. */\n"
        + "\n".join([*made_by, '#include "net.h"', '#include "net_weights.h"', *include])
        + f"{_THREAD_INCLUDES if plan.threads > 1 else ''}\n#include <string.h>\n"
    )
    shared = [
        *(f"static {definition(name, array)}\n" for name, array in outside_pixels(stored).items()),
        *(constant_accessor(known, node) for node in graph.nodes if is_constant(node.op)),
        *(
            accessor(known, graph, buffer, borrowed(plan) if buffer.name == zero_copy else "")
            for buffer in plan.buffers.values()
            if buffer.kind in (BufferKind.MAP, BufferKind.RING)
        ),
        *([_pushed(known)] if reads_pushed(plan) else []),
    ]
    end = [loop(plan, profile), *(_segment(stored, index, segment) for index, segment in enumerate(plan.segments))]
    public = [_TRACED, *([_profile()] if profile else []), *pixel_table(plan, image)]
    return _Schedule(begin, _trace(plan), public, shared, stages, [*end, entry_points(plan, profile)])


def _rounds(stages: list[tuple[str, str]]) -> list[str]:
    """The line that says how layers round: a tile has the code of these ways alone."""
    made = [text for _, text in stages if "rillet_channels_byte_tiles" in text]
    ways = [way for way, said in _WAYS.items() if any(said in text for text in made)]
    return [f"#define RILLET_ROUNDS ({' | '.join(ways)})"] if made else []


def _trace(plan: RowPlan) -> str:
    alone, together, after, maps = "", "", "", "self->trace"
    if plan.threads > 1:
        after = "; \\\n  rillet_did(&self->place), rillet_together(&self->place)"
        together = "  rillet_did(&self->place), rillet_together(&self->place); \\\n"
        alone, maps = "self->place.part == 0 && ", "self->net->trace"
    sign_flipped = ""
    if plan.sign_flipped:
        sign_flipped = (
            "/* The same for values stored with the sign bit flipped. */\n"
            "#define SEEN_FLIPPED(index, at, from, n, bytes) \\\n"
            f"{together}  if ({alone}{maps}[index]) \\\n"
            f"    rillet_flip(at(self, from), {maps}[index] + (from) * (bytes), n * (bytes))"
            f"{after}\n"
        )
    planes = ""
    if any(buffer.planes for buffer in plan.buffers.values()):
        planes = (
            "/* The same for rows that are kept channel by channel. */\n"
            "#define SEEN_PLANES(index, at, from, n, bytes, pitch, flip) \\\n"
            f"  if ({maps}[index]) for (int32_t seen = 0; seen < (n) * (bytes); seen++) \\\n"
            f"    {maps}[index][(from) * (bytes) + seen] = \\\n"
            "      (uint8_t)(at(self, (from) + seen / (bytes))[seen % (bytes) * (pitch)] ^ (flip))\n"
        )
    return (
        "#ifdef NET_TRACE\n"
        "/* Fills the full tensor of a value as its pixels are computed. */\n"
        "#define SEEN(index, at, from, n, bytes) \\\n"
        f"{together}  if ({alone}{maps}[index]) \\\n"
        "    for (int32_t seen = 0; seen < n; seen++) \\\n"
        f"      memcpy({maps}[index] + ((from) + seen) * (bytes), at(self, (from) + seen), (bytes))"
        f"{after}\n"
        f"{sign_flipped}"
        f"{planes}"
        f"#else\n{_FIRINGS.format(_UNSEEN) if plan.host is not None and plan.threads == 1 else _UNSEEN}"
        f"{'#define SEEN_FLIPPED SEEN' + chr(10) if sign_flipped else ''}"
        f"{'#define SEEN_PLANES(index, at, from, n, bytes, pitch, flip) (void)0' + chr(10) if planes else ''}"
        "#endif\n"
    )


def _outside_rows(plan: RowPlan) -> dict[str, Array]:
    """Rows of padding, of zeros or of a zero point, one for each value that padding has."""
    found = outside_rows(plan) if plan.host is not None else {}
    return {name: np.full(count, value, dtype.numpy) for name, (dtype, value, count) in found.items()}


def _profile() -> str:
    return (
        "uint64_t *net_profile_ticks(net_context *net) { return net->profile.ticks; }\n"
        "uint64_t *net_profile_calls(net_context *net) { return net->profile.calls; }\n"
        "uint64_t net_profile_clock(void) { return rillet_ticks(); }\n"
    )


def outside_pixels(plan: RowPlan) -> dict[str, Array]:
    """Constant pixels that stand for padding by name, one for each value that padding has."""
    widest: dict[tuple[int, DType], int] = {}
    for segment in plan.segments:
        for stage in segment.stages:
            node = plan.graph.by_name[stage.node]
            if not needs_outside(node, stage):
                continue
            source = plan.graph.by_name[node.inputs[0]]
            key = (outside_value(plan.graph, node), source.type.dtype)
            planes = plan.buffers[source.name].planes if stage.kernel is Kernel.CORE_PLANES else None
            widest[key] = max(widest.get(key, 0), planes.pitch if planes else source.shape.channels)
    return {outside_name(v, dtype): np.full(channels, v, dtype.numpy) for (v, dtype), channels in widest.items()}


def _pushed(known: Named) -> str:
    source = input_of(known.plan)
    name, kind = source.name, c_type(source.type)
    return (
        f"/* {known.nodes[source.name]}: the row being pushed, in the caller's memory */\n"
        f"static inline const {kind} *at_{name}(const net_context *self, int32_t i)\n"
        f"{{ return self->pushed + i % {source.shape.width} * {source.shape.channels}; }}\n"
    )


def _segment(plan: RowPlan, index: int, segment: Segment) -> str:
    """The loop over a segment's driver; the caller's rows are one."""
    driver = plan.graph.by_name[segment.driver]
    if index == plan.pushed:
        return ""
    name = driver.name
    together = "  rillet_together(&self->place);\n" if plan.threads > 1 else ""
    return (
        f"static void segment_{index + 1}({parameter(plan)})\n{{\n{together}"
        + "".join(f"{line}\n" for line in padding_lines(plan, index))
        + f"  self->made.of_{name} = 0;\n"
        f"  while (self->made.of_{name} < {driver.shape.pixels}) {{\n"
        + "\n".join(advance(plan, segment, driver, "    "))
        + "\n  }\n}\n"
    )
