"""Names and labels on terminals and pages: shown as they are, never obeyed, whatever they hold."""

import csv
import io
import json
import re
import sys
import unicodedata
from collections.abc import Callable
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unittest.mock import patch
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from conftest import example_counts
from graphs import Builder
from rillet.cli import main
from rillet.exporters.rlt import to_bytes
from rillet.ir.graph import Graph, ImageSpec
from rillet.ir.ops import Add, Conv, Input, Pool, PoolKind, Softmax, Window
from rillet.ir.types import DType, Shape
from rillet.models.convert import convert
from rillet.models.opening import Model
from rillet.report import shown as shown  # a class of its own makes one of Screen, which is replaced below
from rillet.report.screen import Screen
from rillet.system.printable import json_text, printable

CASES = ["[/nope]", "[red]", ":smile:", "\x1b]0;x\x07", "\x9b31m", "a\u202eb", "\ud800", "</text><script>"]
CASES += ['"onload=', "]]>", '"]; click A', "\x00", "a\rb", "a\nb", "a\u200bb\u3164", "=cmd|' /C calc'!A0", "`*_|~<b>"]
SEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Kinds of characters that nothing which is shown may have."""


def tiny() -> Graph:
    """A network with a residual block and labels, its names `q0q` to `q12q`: words that nothing else has."""
    made = Builder(np.random.default_rng(0), DType.F32)
    at = made.add(Input(), shape=Shape(8, 8, 3))
    at = made.add(Conv(4, Window((3, 3), (1, 1), (1, 1, 1, 1))), at)
    wide = made.add(Conv(4, Window((3, 3), (1, 1), (1, 1, 1, 1)), groups=4), at)
    wide = made.add(Conv(4), wide)
    at = made.add(Add(), at, wide)
    at = made.add(Pool(PoolKind.AVERAGE, Window((8, 8))), at, same=True)
    at = made.add(Conv(3, dense=True), at)
    at = made.add(Softmax(), at)
    blocks = ["q8q"] * 2 + ["q9q"] * 3 + [""] * 3
    nodes = tuple(replace(node, block=block) for node, block in zip(made.nodes, blocks, strict=True))
    image = ImageSpec(8, 8, 3, labels=("q10q", "q11q", "q12q"))
    return renamed(Graph("q13q", nodes, (at,), made.params, image), {f"n{i}": f"q{i}q" for i in range(8)})


def renamed(graph: Graph, names: dict[str, str]) -> Graph:
    """`graph` with other names of itself, its nodes, its blocks and its labels."""

    def of(name: str) -> str:
        return names.get(name, name)

    nodes = tuple(
        replace(node, name=of(node.name), inputs=tuple(map(of, node.inputs)), block=of(node.block))
        for node in graph.nodes
    )
    params = {f"{of(key.partition('.')[0])}.{key.partition('.')[2]}": value for key, value in graph.params.items()}
    image = replace(graph.image, labels=tuple(map(of, graph.image.labels)))
    return Graph(of(graph.name), nodes, tuple(map(of, graph.outputs)), params, image)


PLAIN = tiny()


def named(*hostile: str) -> dict[str, str]:
    """By the plain name, the hostile one; those of nodes and of the network differ, as they must."""
    names = [hostile[i % len(hostile)] for i in range(14)]
    return {f"q{i}q": f"{name}{chr(65 + i)}" if i < 10 or not name else name for i, name in enumerate(names)}


@cache
def plain_output(*words: str) -> str:
    return command(PLAIN, *words)


def command(graph: Graph, *words: str) -> str:
    """What a command prints of `graph`, on a screen that is wide enough for all of it."""
    out, err = io.StringIO(), io.StringIO()
    opened = Model(graph.name, graph)
    with ExitStack() as stack:
        for module in ("networks", "streams", "costs", "pictures", "compression", "chips"):
            stack.enter_context(patch(f"rillet.cli.{module}.open_named", lambda *_, **__: opened))
        stack.enter_context(patch("rillet.report.screen.Screen", lambda **_: Screen(width=20_000)))
        stack.enter_context(patch.object(sys, "argv", ["rillet", words[0], "./given", *words[1:]]))
        stack.enter_context(redirect_stdout(out))
        stack.enter_context(redirect_stderr(err))
        with pytest.raises(SystemExit) as ended:
            main()
    assert not ended.value.code, err.getvalue()
    return out.getvalue()


def squeezed(text: str) -> str:
    """Text without spaces and line ends, whose number depends on the width of names."""
    return "".join(text.split())


def replaced(text: str, names: dict[str, str], form: Callable[[str], str]) -> str:
    return re.sub(r"q\d+q", lambda found: form(names[found[0]]), text)


def check_shown(text: str) -> None:
    """Nothing in `text` is for the terminal itself."""
    text.encode()
    assert not {c for c in text if c != "\n" and unicodedata.category(c) in SEEN}


TERMINAL = [
    "show", "count", "count --by layer", "explain", "plan", "fit", "energy", "compress",
    "plan --multipliers 64", "simulate --multipliers 64", "cost --target nano33ble", "systolic --rows 8",
]  # fmt: skip


def check_terminal(names: dict[str, str]) -> None:
    hostile, showing = renamed(PLAIN, names), 0
    for words in TERMINAL:
        printed = command(hostile, *words.split())
        check_shown(printed)
        plain = plain_output(*words.split())
        showing += "q1q" in plain or "q13q" in plain
        assert squeezed(printed) == squeezed(replaced(plain, names, printable)), words
    assert showing >= len(TERMINAL) - 3  # some show no name at all


def check_json(names: dict[str, str]) -> None:
    hostile = renamed(PLAIN, names)

    def same(value: Any) -> Any:
        match value:
            case str():
                return replaced(value, names, str)
            case dict():
                return {same(key): same(item) for key, item in value.items()}
            case list():
                return [same(item) for item in value]
            case _:
                return value

    for words in ("show", "count --by layer", "plan", "plan --multipliers 64"):
        printed = command(hostile, *words.split(), "--json")
        assert printed.isascii()
        check_shown(printed)
        assert json.loads(printed) == same(json.loads(plain_output(*words.split(), "--json"))), words


def check_tables(names: dict[str, str]) -> None:
    hostile = renamed(PLAIN, names)
    for words in ("systolic --rows 8", "compress", "compare ./other"):
        printed = command(hostile, *words.split(), "--csv")
        check_shown(printed)
        rows = list(csv.reader(io.StringIO(printed)))
        assert not [cell for row in rows for cell in row if re.match(r"\s*[=+@-]\D", cell)]
        plain = csv.reader(io.StringIO(plain_output(*words.split(), "--csv")))
        assert [[re.sub("^'", "", cell) for cell in row] for row in rows] == [
            [re.sub("^'", "", replaced(cell, names, printable)) for cell in row] for row in plain
        ], words
        printed = command(hostile, *words.split(), "--markdown")
        check_shown(printed)
        plain = plain_output(*words.split(), "--markdown")
        assert not re.search(r"(?<!\\)[`*<\[\]~]", printed.replace("\\\\", ""))
        # A backslash before a mark says that it is no mark.
        assert re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", printed) == replaced(
            re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", plain), names, printable
        ), words


class Seen(HTMLParser):
    """Elements and attributes of a page, and the text of it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: set[tuple[str, str]] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {(tag, ""), *((tag, name) for name, _ in attrs)}

    def handle_data(self, data: str) -> None:
        self.text += data


def parts(picture: str) -> tuple[set[tuple[str, str]], str]:
    """Elements and attributes of a picture, and the text of it."""
    root = ElementTree.fromstring(picture)
    return {(e.tag, name) for e in root.iter() for name in ("", *e.attrib)}, "".join(root.itertext())


PICTURES = ["draw", "draw --front", "draw --pipeline --multipliers 64"]
PICTURES += ["draw --cost energy", "draw --cost systolic", "draw --cost roofline --target zcu102"]


def check_pictures(names: dict[str, str], folder: Path) -> None:
    hostile = renamed(PLAIN, names)
    for words in PICTURES:
        picture = command(hostile, *words.split())
        check_shown(picture)
        found, text = parts(picture)
        plain, plain_text = parts(plain_output(*words.split()))
        assert found <= plain, words
        for name in set(re.findall(r"q\d+q", plain_text)):
            # Long names are shortened where there is no room, and whole in the titles of layers.
            assert printable(names[name]) in text or len(printable(names[name])) > 10, (words, name)
    mermaid = command(hostile, "draw", "--format", "mermaid")
    assert re.fullmatch(r'([A-Za-z0-9 .,:/()+_="\[\]<>|\n-]|#\d+;|\\U[0-9a-f]{8})*', mermaid)
    assert mermaid.count("\n") == plain_output("draw", "--format", "mermaid").count("\n")
    pages = []
    for graph in (hostile, PLAIN):
        command(graph, "cost", "--target", "nano33ble", "-o", str(folder / "page.html"))
        page = (folder / "page.html").read_text(encoding="utf-8")
        check_shown(page)
        pages.append(Seen(page))
    assert pages[0].found <= pages[1].found
    assert printable(hostile.name) in pages[0].text


ROTATED = [[*CASES[i:], *CASES[:i]] for i in (0, 6, 12)]
hostile_text = st.one_of(st.sampled_from(CASES), st.text(st.characters(exclude_categories=()), max_size=6))
hostile_names = st.lists(hostile_text, min_size=1, max_size=14)


@example_counts(1, 15)
@pytest.mark.parametrize("check", [check_terminal, check_json, check_tables])
def test_hostile_names_are_shown_and_never_obeyed(check: Callable[..., None], examples: int) -> None:
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(hostile_names)
    @example(ROTATED[0])
    @example(ROTATED[1])
    @example(ROTATED[2])
    def law(drawn: list[str]) -> None:
        check(named(*drawn))

    law()


@example_counts(1, 15)
def test_hostile_names_add_nothing_to_pictures_and_pages(tmp_path: Path, examples: int) -> None:
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(hostile_names)
    @example(ROTATED[0])
    @example(ROTATED[1])
    @example(ROTATED[2])
    def law(drawn: list[str]) -> None:
        check_pictures(named(*drawn), tmp_path)

    law()


@pytest.mark.parametrize("suffix", ["rlt", "onnx", "tflite", "safetensors"])
def test_hostile_names_go_into_files(suffix: str, tmp_path: Path) -> None:
    if suffix == "onnx":
        pytest.importorskip("onnx")
    hostile = [*CASES[6:], *CASES[:6]]
    blocks = tuple(replace(node, block=hostile[i]) for i, node in enumerate(PLAIN.nodes))
    image = replace(PLAIN.image, labels=tuple(hostile[:3]))
    for name in CASES:
        graph = Graph(name, blocks, PLAIN.outputs, PLAIN.params, image)
        assert convert(graph, tmp_path / f"a.{suffix}") == (tmp_path / f"a.{suffix}").stat().st_size


@given(st.text(st.characters(exclude_categories=()), max_size=40))
def test_printable_text_is_for_people_only(text: str) -> None:
    shown = printable(text)
    check_shown(shown)
    assert printable(shown) == shown
    ElementTree.fromstring("<a/>").text = shown
    assert printable(text, keep="\n").replace("\n", "\\n") == shown
    kept = [c for c in text if c.isascii() and c.isprintable()]
    assert [c for c in kept if c not in shown] == []


def test_printable_text_by_example() -> None:
    assert [printable(case) for case in CASES[3:7]] == ["\\x1b]0;x\\x07", "\\x9b31m", "a\\u202eb", "\\ud800"]
    assert printable("a\u200bb\u3164\ufeff\u2028\U000e0041") == "a\\u200bb\\u3164\\ufeff\\u2028\\U000e0041"
    assert printable("Über 猫 ‰ é") == "Über 猫 ‰ é"


def test_json_has_no_numbers_that_json_lacks() -> None:
    assert json.loads(json_text({"a": [float("nan"), float("-inf"), 1.5], "b": (True, None)})) == (
        {"a": [None, None, 1.5], "b": [True, None]}
    )


def test_labels_and_file_names_of_a_run(tmp_path: Path) -> None:
    labels = "[/nope]", "\x1b[31m\u202e", "=1"
    assert PLAIN.image is not None
    file = tmp_path / "[red]\udcff\x1b\u202e.rlt"
    file.write_bytes(to_bytes(PLAIN.with_image(replace(PLAIN.image, labels=labels))))
    photo = tmp_path / "[b]\u202e\r.png"
    photo.write_bytes((Path(__file__).parents[1] / "src/rillet/models/shipped/chelsea.png").read_bytes())
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", ["rillet", "run", str(file), str(photo)]),
        redirect_stdout(out),
        redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    assert not ended.value.code, err.getvalue()
    check_shown(out.getvalue())
    assert out.getvalue().startswith("[b]\\u202e\\r.png by ")
    shown = [line.split()[1] for line in out.getvalue().splitlines()[1:4]]
    assert sorted(shown) == sorted(map(printable, labels))


@pytest.mark.parametrize("words", [["show", "a", "\x1b[31m[/x]\u202e"], ["show", "--\u202e"], ["\u202e\x1b[/x]"]])
def test_words_that_are_wrong(words: list[str]) -> None:
    err = io.StringIO()
    with patch.object(sys, "argv", ["rillet", *words]), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    check_shown(err.getvalue())
    assert "\\u202e" in err.getvalue()


def test_errors_repeat_names_as_they_may_be_shown() -> None:
    err = io.StringIO()
    words = ["rillet", "show", "\x1b]0;x\x07\udcff[/x]\u202e.rlt"]
    with patch.object(sys, "argv", words), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert err.getvalue().startswith("rillet: \\x1b]0;x\\x07\\udcff[/x]\\u202e.rlt: must be a model")
