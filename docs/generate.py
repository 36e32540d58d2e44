"""Writes the generated pages: docs/cli.md, docs/api.md and a notebook for each walk (`make docs`).

In cli.md and api.md the text above the marker is written by hand and kept.
"""

import ast
import dataclasses
import functools
import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

import rillet
from rillet.cli.app import MEANINGS, app

DOCS = Path(__file__).resolve().parent
MARKER = "<!-- generated below this line; `make docs` renews it -->\n"
WALKS = ("walk-board.md", "walk-chip.md", "walk-research.md")


def line(text: str | None) -> str:
    """A help text on one line."""
    return " ".join((text or "").split())


def commands() -> dict[str, Any]:
    """Every command of the application by its full name, in alphabetical order."""

    def walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        inner = getattr(command, "commands", None)
        if inner is None:
            yield name, command
            return
        for word in sorted(inner):
            if not inner[word].hidden:
                yield from walk(f"{name} {word}", inner[word])

    return dict(walk("rillet", typer.main.get_command(app)))


def options(command: Any) -> list[Any]:
    """The arguments and options of a command that its help shows."""
    return [p for p in command.params if not getattr(p, "hidden", False)]


def spelled(parameter: Any) -> str:
    """An option with its value, or an argument, as one types it."""
    if parameter.param_type_name == "argument":
        return (parameter.metavar or parameter.name.upper()) + (" ..." if parameter.nargs == -1 else "")
    words = ", ".join(sorted((*parameter.opts, *parameter.secondary_opts), key=lambda o: (not o.startswith("--"), o)))
    if parameter.is_flag or parameter.count:
        return words
    kind = (
        getattr(getattr(parameter, "type_descriptor", None), "annotation", None) or parameter.type
    )  # Typer 0.29, 0.12
    value = "N" if kind is int or "int" in str(getattr(kind, "name", "")) else "VALUE"
    return f"{words} {parameter.metavar or value}"


def remark(parameter: Any) -> str:
    """Whether a parameter is required, or else its default where that is a word or a number."""
    if parameter.required:
        return " Required."
    default = parameter.default
    if isinstance(default, bool) or not isinstance(default, str | int | float):
        return ""
    return f" Default: {default}."


def paragraphs(text: str | None) -> str:
    """A help text or docstring as Markdown paragraphs, its lines joined."""
    parts = inspect.cleandoc(text or "").replace("\b", "").split("\n\n")
    return "\n\n".join(" ".join(part.split()) for part in parts if part.strip())


def shared() -> list[str]:
    """A table of the options that mean the same in several commands."""
    lines = ["| option | meaning | commands |", "|---|---|---|"]
    for option, meaning in MEANINGS.items():
        having = [name for name, command in commands().items() if any(option in p.opts for p in command.params)]
        lines.append(f"| `{option}` | {meaning} | {', '.join(name.removeprefix('rillet ') for name in having)} |")
    return lines


def cli() -> str:
    """The reference of all commands."""
    lines = ["## rillet", "", paragraphs(app.info.help), ""]
    lines += [f"- `{spelled(p)}`: {line(p.help)}" for p in options(typer.main.get_command(app))]
    lines += ["- `--help`: Show the commands, or the options of one.", ""]
    lines += ["## Options of several commands", "", *shared(), ""]
    for name, command in commands().items():
        shown = options(command)
        arguments = [p for p in shown if p.param_type_name == "argument"]
        usage = " ".join(
            [name, *(spelled(p) if p.required or "[" in spelled(p) else f"[{spelled(p)}]" for p in arguments)]
        )
        lines += [f"## {name}", "", f"`{usage} [OPTIONS]`", "", paragraphs(command.help), ""]
        lines += [f"- `{spelled(p)}`: {line(p.help)}{remark(p)}" for p in shown]
        lines += [""]
    return "\n".join(lines)


def names() -> tuple[str, ...]:
    """The public names, in alphabetical order."""
    return tuple(sorted(name for name in getattr(rillet, "__all__", ("from_torch",)) if name[0] != "_"))


def public(name: str) -> Any:
    """What a public name means; where it is a package's name too, the function."""
    value = getattr(rillet, name)
    return rillet._public(name) if inspect.ismodule(value) else value  # pyright: ignore


def source(value: Any) -> Any:
    """The syntax tree of a function or a class: types as its author writes them, whatever NumPy calls them."""
    return ast.parse(textwrap.dedent(inspect.getsource(value))).body[0]


def typed(node: ast.expr | None) -> str:
    """A type as the source has it, without the quotes of one that is imported for checks alone."""
    return "" if node is None else str(node.value) if isinstance(node, ast.Constant) else ast.unparse(node)


def signature(name: str, function: Any, wide: int = 100) -> str:
    """`name(parameters) -> result`, one line a parameter where they are many."""
    made = source(inspect.unwrap(function))
    every = made.args
    for argument in (*every.posonlyargs, *every.args, *every.kwonlyargs):
        if isinstance(argument.annotation, ast.Constant):
            argument.annotation = ast.Name(str(argument.annotation.value))
    plain = [*every.posonlyargs, *every.args]
    defaults = [None] * (len(plain) - len(every.defaults)) + every.defaults
    pairs = list(zip(plain, defaults, strict=True))
    parts = [_parameter(a, d) for a, d in pairs if a.arg not in ("self", "cls")]
    if every.vararg or every.kwonlyargs:
        parts.append(f"*{ast.unparse(every.vararg)}" if every.vararg else "*")
    parts += [_parameter(a, d) for a, d in zip(every.kwonlyargs, every.kw_defaults, strict=True)]
    parts += [f"**{ast.unparse(every.kwarg)}"] if every.kwarg else []
    end = f" -> {typed(made.returns)}" if made.returns else ""
    line = f"{name}({', '.join(parts)}){end}"
    return line if len(line) <= wide else f"{name}(\n    " + ",\n    ".join(parts) + f",\n){end}"


def _parameter(argument: ast.arg, default: ast.expr | None) -> str:
    """A parameter with its type and default."""
    text = ast.unparse(argument)
    return text if default is None else f"{text} = {ast.unparse(default)}"


def documented(text: str | None) -> str:
    """A docstring as Markdown; its examples (`>>>`) as blocks of code."""
    parts = []
    for part in inspect.cleandoc(text or "").split("\n\n"):
        code = part.lstrip().startswith(">>>")
        parts.append(f"```pycon\n{inspect.cleandoc(part)}\n```" if code else part.strip())
    return "\n\n".join(parts)


def entry(name: str, value: Any) -> list[str]:
    """A public name: signature and docstring; of a class, its fields, properties and methods too."""
    lines = [f"## {name}", ""]
    if inspect.isfunction(value):
        return [*lines, "```python", signature(f"rillet.{name}", value), "```", "", documented(value.__doc__), ""]
    if not inspect.isclass(value):
        return [*lines, f"`rillet.{name}` is `{value!r}`.", ""]
    lines += [documented(value.__doc__), ""]
    if dataclasses.is_dataclass(value):
        fields = [node for node in source(value).body if isinstance(node, ast.AnnAssign)]
        lines += [f"- `{ast.unparse(f.target)}: {typed(f.annotation)}`" for f in fields]
    for key in sorted(key for key in dir(value) if key[0] != "_" or (key == "__call__" and key in vars(value))):
        member = inspect.getattr_static(value, key)
        member = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        about = paragraphs(member.__doc__).partition("\n")[0]
        if isinstance(member, property | functools.cached_property):
            lines.append(f"- `{key}`: {about}")
        elif inspect.isfunction(member) and about:
            lines.append(f"- `{signature(key, member, 10_000)}`: {about}")
    return [*lines, ""]


def api() -> str:
    """The reference of all public names."""
    return "\n".join(line for name in names() for line in entry(name, public(name)))


def notebook(page: str) -> str:
    """A walk as a notebook: its Python blocks as cells of code, all else as text; no outputs."""
    cells: list[dict[str, Any]] = []
    for i, part in enumerate(re.split(r"^```python\n(.*?)^```\n", page, flags=re.M | re.S)):
        lines = part.strip("\n").splitlines(keepends=True)
        if not lines:
            continue
        cells.append(
            {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": lines}
            if i % 2
            else {"cell_type": "markdown", "metadata": {}, "source": lines}
        )
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    document = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 4}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def pages() -> dict[str, str]:
    """Every generated file of this folder, by its name, as it must be."""
    made = {name: (DOCS / name).read_text().split(MARKER)[0] for name in ("cli.md", "api.md")}
    made = {name: f"{head}{MARKER}\n{body}" for (name, head), body in zip(made.items(), (cli(), api()), strict=True)}
    made = {name: text.rstrip("\n") + "\n" for name, text in made.items()}
    notebooks = {name.replace(".md", ".ipynb"): notebook((DOCS / name).read_text()) for name in WALKS}
    return made | notebooks


if __name__ == "__main__":
    for name, text in pages().items():
        (DOCS / name).write_text(text)
