"""Private words for which the field has terms do not come back: in names, docstrings, comments, messages and pages."""

import ast
import io
import re
import tokenize
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

TERMS = {
    r"narrow sides?": "bottleneck, bottleneck buffering",
    r"narrow maps?": "bottleneck map",
    r"wide maps?": "expanded map",
    r"held (wide|narrow)": "buffered expanded, buffered as a bottleneck",
    r"whole maps?": "full tensor",
    r"real numbers": "float32, float values",
    r"few bits": "low bit width, binary or ternary",
    r"for ever\b": "indefinitely, deadlock, permanently",
    r"the price of (none|speed)": "cost of no buffering",
    r"working spaces?": "scratch memory",
    r"worth a look": "candidate",
    r"(must be|are|were) said\b": "given, specified, by default",
    r"what (may be|is|was) said (of|over|beside)": "parameters, overrides, options",
    r"endless": "unbounded",
    r"multipliers side by side": "parallel multipliers",
    r"pixels abreast": "pixels at once",
    r"the clocks are": "clocks are read",
    r"of the weights\.$": "say which value or memory is meant",
    r"more than they are|less than they are": "offset by 128, sign bit flipped",
    r"runs? a way of its own": "say what differs",
    r"lent\b": "borrowed, zero-copy",
}
"""Patterns of phrases, each with the standard term in its place."""

NAMES = {
    r"(?<!sign_)flipped": "sign_flipped",
    r"owned_\w+": "unshared_multipliers",
    r"narrow_sides?": "bottleneck",
    r"wide_maps?": "expanded map",
    r"whole_maps?": "full tensor",
    r"worth_a_look": "candidates",
    r"price_of_\w+": "cost",
    r"lent|lends_\w+": "borrowed, borrows",
}
"""Patterns of identifiers, whole ones, each with the standard name."""


@cache
def texts() -> tuple[tuple[str, int, str], ...]:
    """All prose: file, line, text; that of Python is its comments and strings, paragraphs in one line."""
    found: list[tuple[str, int, str]] = []
    for path in sorted((ROOT / "src").rglob("*.py")):
        for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
            if token.type in (tokenize.COMMENT, tokenize.STRING):
                found.append((str(path.relative_to(ROOT)), token.start[0], " ".join(token.string.split())))
    for pattern in ("src/**/*.c", "src/**/*.h", "docs/*.md", "*.md"):
        for path in sorted(ROOT.glob(pattern)):
            for number, paragraph in paragraphs(path.read_text()):
                found.append((str(path.relative_to(ROOT)), number, paragraph))
    return tuple(found)


def paragraphs(text: str) -> list[tuple[int, str]]:
    """Paragraphs in one line each, with the number of their first line."""
    found: list[tuple[int, str]] = []
    line = 1
    for part in re.split(r"(\n\s*\n)", text):
        if part.strip():
            found.append((line, " ".join(part.split())))
        line += part.count("\n")
    return found


@cache
def names() -> tuple[tuple[str, int, str], ...]:
    """Every identifier of the source: file, line, name."""
    found: list[tuple[str, int, str]] = []
    for path in sorted((ROOT / "src").rglob("*.py")):
        where = str(path.relative_to(ROOT))
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.FunctionDef() | ast.ClassDef() | ast.AsyncFunctionDef():
                    found.append((where, node.lineno, node.name))
                case ast.arg():
                    found.append((where, node.lineno, node.arg))
                case ast.Name():
                    found.append((where, node.lineno, node.id))
                case ast.Attribute():
                    found.append((where, node.lineno, node.attr))
                case _:
                    pass
    return tuple(found)


@pytest.mark.parametrize("pattern", TERMS)
def test_prose_uses_the_fields_terms(pattern: str) -> None:
    wrong = [f"{file}:{line}" for file, line, text in texts() if re.search(rf"\b{pattern}", text, re.I)]
    assert not wrong, f"write: {TERMS[pattern]}"


@pytest.mark.parametrize("pattern", NAMES)
def test_names_are_the_fields(pattern: str) -> None:
    wrong = [f"{file}:{line}: {name}" for file, line, name in names() if re.fullmatch(pattern, name.lstrip("_"))]
    assert not wrong, f"call it: {NAMES[pattern]}"


def test_the_law_sees_prose_and_names() -> None:
    """Each kind of text is among what is read, and a word that is there is found."""
    kinds = {Path(file).suffix for file, _, _ in texts()}
    assert kinds == {".py", ".c", ".h", ".md"}
    assert any("bottleneck buffering" in text.lower() for _, _, text in texts())
    assert any(name == "sign_flipped" for _, _, name in names())
    for pattern in TERMS:
        re.compile(pattern)
    assert re.search(r"\bnarrow sides?", "a narrow side of")
    assert paragraphs("a\nb\n\nc\n") == [(1, "a b"), (4, "c")]
