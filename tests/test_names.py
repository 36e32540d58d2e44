"""Text of a file in emitted C: identifiers and comments, and nothing else, whatever it says."""

import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from conftest import example_counts
from graphs import Builder, graphs, random_image
from rillet.backends import reference
from rillet.backends.c.emit import emit
from rillet.backends.c.flags import build_line, in_folder, machine_flags
from rillet.backends.c.names import MOST_CHARACTERS, identifiers, shown
from rillet.errors import RilletError
from rillet.exporters import rlt
from rillet.exporters.onnx import export
from rillet.importers.onnx import load as load_onnx
from rillet.importers.rlt import parse as parse_rlt
from rillet.ir.graph import Array, Graph, ImageSpec, Node
from rillet.ir.ops import (
    Activate,
    Activation,
    Add,
    Concat,
    Constant,
    Conv,
    Input,
    Op,
    Pool,
    PoolKind,
    Softmax,
    Window,
    resize,
)
from rillet.ir.types import DType, Quant, Shape
from rillet.plan.board.planner import plan_core
from rillet.plan.host.planner import plan_host
from rillet.plan.rows.plan import CoreKernels, RowPlan
from rillet.plan.rows.planner import plan_layerwise, plan_rows
from rillet.runtime.run import Program
from rillet.system.build import build_program, find_compiler
from rillet.targets.host import Host
from test_c import QUIET
from test_cli import rillet

CODE = '*/ __asm__(".globl pwned"); /*'
PARTS = (
    *("*/", "/*", "//", "*", "/", "\\", "\\\n", "\n", "\r", "\r\n", "\0"),
    *("??/", "??/\n", '"', "'", "#error", "\n#error x\n"),
    *("\x1b[2J", "\x9b", "\u2028", "\u202e", "\ud800", "\U0001f600", "é"),
    *("%s", "${x}", "{", "}", ";", CODE, "a", "_", "."),
)
TEXTS = st.lists(st.sampled_from(PARTS) | st.text(st.characters(), max_size=4), max_size=5).map("".join)
WORDS = (
    *("for", "int", "NULL", "INT32_MAX", "made", "taken", "self", "n", "SEEN", "class", "quick_exit", "main"),
    *("a.b", "a_b", "a/b", "a-b", "a_b_2", "a_b_2_2", "net", "run", "input", "output_2", "x_weights", "x", "x_by"),
    *("_", "__", "scratch0", "scratch1", ".0", ".1", "", "1", "0x1p3", "é", "и", "a" * 60, "a" * 61, "B" * 60_000),
)
PREFIXES = ("at_", "fire_", "of_", "wrote_", "read_", "net_")


# -- the law ---------------------------------------------------------------------------------------------------------


def network(dtype: DType = DType.I8) -> Graph:
    """One of every kind of thing that is called by a node's name."""
    b = Builder(np.random.default_rng(3), dtype)
    image = b.add(Input(), shape=Shape(6, 8, 3))
    first = b.add(b.conv(4, (3, 3)), image)
    deep = b.add(b.conv(4, (3, 3), groups=4), first)
    both = b.add(Add(), first, deep)
    constant = b.add(Constant(dtype), shape=Shape(1, 1, 4))
    wide = b.add(Concat(), both, deep) if dtype is not DType.U8 else both
    larger = b.add(resize(b.node(wide).shape, 7, 9), wide, same=True)
    pooled = b.add(Pool(PoolKind.AVERAGE, Window((7, 9))), larger, same=True)
    classes = b.add(b.conv(4), pooled)
    moved = b.add(Add(), classes, constant)
    last = b.add(Softmax(), moved, quant=Quant(1 / 256, -128 if dtype is DType.I8 else 0))
    return b.graph(last, both)


def host(kernels: str, threads: int = 1) -> Callable[[Graph], RowPlan]:
    return lambda graph: plan_host(graph, Host("a host", kernels), threads=threads)


PLANS: dict[str, Callable[[Graph], RowPlan]] = {
    "rows": plan_rows,
    "resident": lambda graph: plan_rows(graph, resident=True),
    "layerwise": plan_layerwise,
    "portable": host("portable"),
    "threads": host("portable", 2),
    "avx512": host("avx512"),
    "amx": host("amx"),
    "neon with threads": host("neon", 2),
}


@pytest.fixture(autouse=True)
def small_networks_have_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rillet.plan.host.planner.LEAST_GAIN", -1.0)
    monkeypatch.setattr("rillet.plan.host.planner.LEAST_SHARED_NS", 0.0)


def renamed(graph: Graph, names: list[str], title: str = "x", block: str = "", labels: tuple[str, ...] = ()) -> Graph:
    """The graph with other words wherever it has any."""
    new = dict(zip((node.name for node in graph.nodes), names, strict=False))
    nodes = tuple(Node(new[n.name], n.op, tuple(new[name] for name in n.inputs), n.type, block) for n in graph.nodes)
    params: dict[str, Array] = {}
    for key, array in graph.params.items():
        node, _, param = key.rpartition(".")
        params[f"{new[node]}.{param}"] = array
    shape = graph.input_nodes[0].shape
    image = ImageSpec(shape.height, shape.width, shape.channels, labels=labels)
    return Graph(title, nodes, tuple(new[name] for name in graph.outputs), params, image)


def tokens(text: str) -> list[str]:
    """What a compiler sees: no comment, and no content of a string."""
    assert re.fullmatch(r"[ -~\n]*", text), "printable ASCII in lines"
    assert "??" not in text, "no trigraphs"
    text = text.replace("\\\n", "")
    # From left to right, as a compiler reads: what begins first hides the other.
    found = re.sub(
        r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', lambda m: '""' if m[0][0] == '"' else " ", text, flags=re.S
    )
    assert '"' not in found.replace('""', "")
    # Only a directive ends with its line: others are wrapped where names make them long.
    lines = (f"\n{line}\n" if line.lstrip().startswith("#") else f"{line} " for line in found.split("\n"))
    return re.findall(r"\w+|\n|[^\w\s]", re.sub(r"\n\s*\n", "\n", "".join(lines)))


def program(graph: Graph, kind: str) -> dict[str, str]:
    """What is emitted for it, with its clocks."""
    return emit(PLANS[kind](graph), profile=True)


def plain(graph: Graph) -> Graph:
    """The graph by its own names, with the input contract that `renamed` gives."""
    return renamed(graph, [node.name for node in graph.nodes])


def assert_same_program(before: dict[str, str], after: dict[str, str], *, same_nodes: bool = False) -> None:
    """Comments apart, the same text, or the same but for the identifiers that nodes gave."""
    assert before.keys() == after.keys()
    words: dict[str, str] = {}
    for file, text in before.items():
        if not file.startswith("net"):
            assert after[file] == text
            continue
        mine, theirs = tokens(text), tokens(after[file])
        if same_nodes:
            assert mine == theirs
            continue
        assert len(mine) == len(theirs)
        for a, b in zip(mine, theirs, strict=True):
            assert words.setdefault(a, b) == b, "one identifier, one new name"
    assert len(set(words.values())) == len(words), "two identifiers, two new names"
    for a, b in words.items():
        prefix = next((p for p in PREFIXES if a.startswith(p)), None)
        assert a == b or (prefix is not None and b.startswith(prefix) and re.fullmatch(r"[A-Za-z]\w*", b)), (a, b)


BASE = network()
COUNT = len(BASE.nodes)


@cache
def base_program(kind: str) -> dict[str, str]:
    return program(plain(BASE), kind)


@pytest.mark.parametrize("kind", PLANS)
@pytest.mark.parametrize("first", [0, COUNT, -COUNT])
def test_listed_names_change_nothing_but_identifiers(first: int, kind: str) -> None:
    names = [*WORDS[first:], *WORDS][:COUNT]
    other = renamed(BASE, names, CODE, CODE, (CODE,))
    assert_same_program(base_program(kind), program(other, kind))


@example_counts(10, 300)
def test_names_change_nothing_but_identifiers(examples: int) -> None:
    @settings(max_examples=examples, **QUIET)
    @given(
        st.sampled_from(sorted(PLANS)),
        st.lists(st.sampled_from(WORDS) | TEXTS, min_size=COUNT, max_size=COUNT, unique=True),
        TEXTS,
        TEXTS,
        st.lists(TEXTS, max_size=3),
    )
    @example("rows", list(WORDS[:COUNT]), "*/", "/*", ["??/\n"])
    @example("threads", list(WORDS[:COUNT]), "\\", "\ud800", ["\n"])
    def run(kind: str, names: list[str], title: str, block: str, labels: list[str]) -> None:
        assert_same_program(base_program(kind), program(renamed(BASE, names, title, block, tuple(labels)), kind))

    run()


@example_counts(6, 100)
def test_names_change_nothing_of_any_network(examples: int) -> None:
    @settings(max_examples=examples, **QUIET)
    @given(graphs(), st.sampled_from(sorted(PLANS)), st.permutations(WORDS), TEXTS)
    def run(graph: Graph, kind: str, names: list[str], title: str) -> None:
        names = [*names, *(f"{name}.{i}" for i, name in enumerate(names))]
        assert_same_program(program(plain(graph), kind), program(renamed(graph, names, title), kind))

    run()


@pytest.fixture(scope="module")
def float_network() -> Graph:
    """What ONNX can say, too."""
    b = Builder(np.random.default_rng(3), DType.F32)
    first = b.add(b.conv(4, (3, 3)), b.add(Input(), shape=Shape(5, 6, 3)))
    both = b.add(Add(), first, b.add(b.conv(4, (3, 3), groups=4), first))
    pooled = b.add(Pool(PoolKind.MEAN, Window((5, 6))), both)
    return b.graph(b.add(b.conv(4), pooled))


@example_counts(6, 100)
def test_every_text_of_a_file_changes_nothing(examples: int, tmp_path: Path, float_network: Graph) -> None:
    """By the files that hold names: Rillet's own, and ONNX with its notes and without."""
    as_rlt, as_onnx, path = float_network, onnx.load_from_string(export(float_network)), tmp_path / "x.onnx"
    expected = program(plain(as_rlt), "rows")
    bare = onnx.load_from_string(as_onnx.SerializeToString())
    del bare.metadata_props[:]
    files: list[tuple[bytes, dict[str, str]]] = []
    for made in (as_onnx, bare):
        path.write_bytes(made.SerializeToString())
        files.append((path.read_bytes(), program(load_onnx(path), "rows")))

    @settings(max_examples=examples, **QUIET)
    @given(TEXTS, TEXTS)
    @example(CODE, CODE)
    def run(title: str, text: str) -> None:
        other = replace(as_rlt, name=title, nodes=tuple(replace(node, block=text) for node in as_rlt.nodes))
        spec = ImageSpec(*as_rlt.input_nodes[0].shape.array, labels=(text, title))
        read = parse_rlt(rlt.to_bytes(other.with_image(spec)), text)
        assert_same_program(expected, program(read, "rows"), same_nodes=True)
        utf8, line = (word.encode("utf-8", "replace").decode() for word in (text, title))
        line = "".join(c for c in line if c.isprintable())
        stem = re.sub(r"[/\0]", "", utf8)[:40] or "x"
        for data, before in files:
            made = onnx.load_from_string(data)
            made.graph.name, made.doc_string, made.graph.doc_string = line, utf8, utf8
            made.producer_name, made.domain = utf8, utf8
            for node in made.graph.node:
                node.name, node.doc_string = utf8, utf8
            for value in (*made.graph.input, *made.graph.output):
                value.doc_string = utf8
            path = tmp_path / f"{stem}.onnx"
            path.write_bytes(made.SerializeToString())
            assert_same_program(before, program(load_onnx(path), "rows"), same_nodes=True)

    run()


def wrong_networks() -> dict[str, Graph]:
    """Networks of two nodes that cannot be emitted, by what their error says."""

    def made(op: Op | None, scale: float = 1.0, bias: int = 0) -> Graph:
        b = Builder(np.random.default_rng(0), DType.I8)
        source = b.add(Input(), shape=Shape(4, 4, 3))
        at = b.add(op or b.conv(4), source, quant=Quant(b.quant(source).scale * scale, 0))
        if op is None:
            b.params[f"{at}.bias"] = np.full(4, bias, np.int32)
        return b.graph()

    conv = Conv(4, Window((1, 1)), activation=Activation.SILU, weights=DType.I8)
    return {
        "accumulator must fit 32 bits": made(None, bias=2**31 - 1),
        "silu must be rounded by shift, got double": made(Activate(Activation.SILU)),
        "hard_swish must not enlarge its scale": made(Activate(Activation.HARD_SWISH), 0.001),
        "fused activation must be a clamp, got silu": made(conv),
    }


@pytest.mark.parametrize("says", wrong_networks())
def test_what_fails_while_c_is_written_names_the_graph_and_its_node(says: str) -> None:
    """As the file has them, and not the identifiers that they became."""
    graph = renamed(wrong_networks()[says], ["in: x", "block 1/é"], "a: in_x: b")
    host, core = Host("wide", "avx2"), CoreKernels.DSP
    for plan in (plan_rows, lambda graph: plan_host(graph, host), lambda graph: plan_core(graph, core)):
        with pytest.raises(RilletError, match=f"^a: in_x: b: block 1/é: {says}"):
            emit(plan(graph))


# -- the two functions -----------------------------------------------------------------------------------------------


@given(TEXTS)
def test_shown_text_ends_no_comment_and_no_string(text: str) -> None:
    made = shown(text)
    assert re.fullmatch(r'(?:[^"\\*?\n]|\\[0-7]{3})*', made)
    assert made.isascii()
    assert made.isprintable()
    as_string = re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8)]), made.encode())
    assert as_string == text.encode("utf-8", "surrogatepass")


def test_shown_text_is_no_longer_than_a_reader_wants() -> None:
    assert shown("x" * 10**6) == "x" * 200 + "..."
    assert shown("block3.expand 1/2") == "block3.expand 1/2"


@given(st.lists(st.sampled_from(WORDS) | TEXTS, unique=True))
def test_identifiers_are_words_of_their_own(names: list[str]) -> None:
    made = identifiers(names)
    assert list(made) == names
    assert len(set(made.values())) == len(names)
    assert all(re.fullmatch(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*", word) for word in made.values())
    assert all(len(word) <= MOST_CHARACTERS for word in made.values())


def test_identifiers_are_readable_and_told_apart_quickly() -> None:
    assert list(identifiers(["block3.expand", "block3_expand", "x", "7", "é"]).values()) == [
        *("block3_expand", "block3_expand_2", "x", "v7", "v")
    ]
    many = identifiers([*("." * i for i in range(1, 5_000)), *(f"v_{i}" for i in range(5_000))])
    assert len(set(many.values())) == len(many)


def test_no_header_and_no_kernel_has_such_names() -> None:
    """A word behind its prefix is no name of the program's own, of its kernels, or of the headers that they include."""
    graph = renamed(BASE, [f"zz{i}" for i in range(COUNT)])
    own, other, parts = set[str](), set[str](), set[str]()
    for kind in ("rows", "threads", "avx512"):
        plan = PLANS[kind](graph)
        files = {**emit(plan, profile=True), "net_weights.c": ""}
        whole = "\n".join(files.values())
        found = set(re.findall(r"[A-Za-z_]\w*", " ".join(tokens(whole))))
        own |= {word for word in found if "zz" in word}
        other |= found
        for standard in ("-std=c99", "-std=gnu17"):
            for what in ("-P", "-dM"):
                text = preprocessed(files, (*machine_flags(plan), standard, "-D_GNU_SOURCE", what))
                other |= set(re.findall(r"[A-Za-z_]\w*", text))
    other = {word for word in other if "zz" not in word}
    parts = {found[1] for word in own if (found := re.fullmatch(r"net_zz\d+(_\w+)", word))}
    assert {"_weights", "_value", "_table", "_rows"} <= parts
    assert {"at_quick_exit", "net_run"} <= other
    for word in other:
        prefix = next((p for p in PREFIXES if word.startswith(p)), None)
        if prefix == "net_":
            assert not any(word.endswith(part) for part in parts), word
        elif prefix is not None:
            rest = word.removeprefix(prefix)
            assert identifiers([rest])[rest] != rest, word
    assert {word.split("zz")[0] for word in own} <= {*PREFIXES, ""}


def preprocessed(files: dict[str, str], flags: tuple[str, ...]) -> str:
    """The program as its preprocessor leaves it, with all that it includes."""
    includes = dict.fromkeys(re.findall(r"^#include <(.*)>$", "\n".join(files.values()), re.M))
    text = "\n".join(f"#include <{name}>" for name in (*includes, "stdlib.h", "math.h"))
    done = subprocess.run(
        [*find_compiler(), *flags, "-E", "-x", "c", "-"], input=text, capture_output=True, text=True, check=True
    )
    return done.stdout


# -- hostile names at work -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "first"), [("rows", 0), ("threads", -COUNT)])
def test_hostile_names_compile_and_give_the_references_values(kind: str, first: int) -> None:
    graph = renamed(BASE, [*WORDS[first:], *WORDS][:COUNT], CODE, CODE, (CODE,))
    image = random_image(graph)
    program = Program(PLANS[kind](graph), trace=True)
    for name, values in program.trace(image).items():
        assert np.array_equal(values, reference.run(graph, image)[name]), name


def test_names_of_a_file_that_c_has_for_itself() -> None:
    """Nodes `a.b` and `a_b`, or called as keywords and macros are, by Rillet's own file."""
    names = ["for", "int", "NULL", "INT32_MAX", "a.b", "a_b", "a/b", "scratch0", "made", "quick_exit", "x.sums", "x"]
    graph = parse_rlt(rlt.to_bytes(renamed(BASE, names)), "x.rlt")
    image = random_image(graph)
    expected = reference.outputs(graph, image)
    made = Program(plan_rows(graph)).run(image)
    assert all(np.array_equal(a, b) for a, b in zip(made, expected, strict=True))


def test_a_value_called_as_a_working_space_is_not_taken_for_it() -> None:
    plain = [node.name for node in BASE.nodes]
    pool = next(node.name for node in BASE.nodes if isinstance(node.op, Pool))
    taken = renamed(BASE, [f"{pool}.sums" if name == "n2" else "scratch0" if name == "n3" else name for name in plain])
    for plan in PLANS.values():
        one, other = plan(BASE), plan(taken)
        assert sorted(b.bytes for b in one.buffers.values()) == sorted(b.bytes for b in other.buffers.values())
        assert one.arena_bytes == other.arena_bytes


def test_code_in_the_name_of_rillets_own_file_never_runs(float_network: Graph, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    code = (
        "*/\n#ifndef P\n#define P\n#include <stdlib.h>\n__attribute__((constructor)) static void pwn(void) "
        f'{{ if (system("id > {mark}")) {{}} }}\n#endif\n/*'
    )
    (tmp_path / "x.rlt").write_bytes(rlt.to_bytes(float_network.with_name(code)))
    done = rillet("verify", tmp_path / "x.rlt", "--inputs", 1)
    assert done.returncode == 0, done.stderr
    assert not mark.exists()


def test_code_in_the_name_of_an_onnx_graph_never_runs(float_network: Graph, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    made = onnx.load_from_string(export(float_network))
    code = (
        ".ifndef pwn\\n.text\\npwn: leaq 1f(%rip),%rdi\\n xorl %eax,%eax\\n subq $8,%rsp\\n call system@PLT\\n"
        f' addq $8,%rsp\\n ret\\n1: .asciz \\"id > {mark}\\"\\n'
        '.section .init_array,\\"aw\\"\\n.quad pwn\\n.text\\n.endif'
    )
    made.graph.name = f'*/ __asm__("{code}"); /*'
    (tmp_path / "x.onnx").write_bytes(made.SerializeToString())
    done = rillet("verify", tmp_path / "x.onnx", "--inputs", 1)
    assert done.returncode == 0, done.stderr
    assert not mark.exists()


def test_a_trap_that_is_laid_does_spring(tmp_path: Path) -> None:
    """What the two tests above would see, were the name to reach the compiler."""
    mark = tmp_path / "mark"
    code = (
        "#include <stdlib.h>\n__attribute__((constructor)) static void pwn(void) "
        f'{{ if (system("id > {mark}")) {{}} }}\n'
    )
    files = emit(plan_rows(BASE))
    (tmp_path / "image.raw").write_bytes(random_image(BASE).tobytes())
    program = build_program({**files, "net.c": code + files["net.c"]})
    subprocess.run([program, tmp_path / "image.raw"], capture_output=True, check=True)
    assert mark.exists()


# -- the command that is printed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["plain", "a b", "-x", "$(touch mark)", "a'; touch mark; '", "a\\b", "a\nb\x1b[2J", "é", "\udcff"]
)
def test_the_printed_command_finds_any_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    line = in_folder(Path(name), build_line(plan_rows(BASE)))
    assert all(c.isprintable() for c in line)
    change = line.partition(" && cc ")[0]
    done = subprocess.run(["bash", "-c", f"{change} && pwd -P"], cwd=tmp_path, capture_output=True, check=True)
    assert done.stdout == str((tmp_path / name).resolve()).encode("utf-8", "surrogateescape") + b"\n"
    assert [file.name for file in tmp_path.iterdir()] == [name]
