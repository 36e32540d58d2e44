"""The words of the command line: an option means the same in every command, and a command stays short."""

import ast
from pathlib import Path
from typing import Any

import typer.main

from rillet.cli import app
from rillet.cli.app import MEANINGS

CLI = Path(__file__).parents[1] / "src" / "rillet" / "cli"
LONGEST = 40
"""Lines of a function of the command line: it parses words, calls one function and prints."""
OTHER_TYPES = {
    ("bench", "--batch"): "several sizes, measured one after the other",
    ("bench", "--threads"): "several counts, measured one after the other",
    ("cost", "--target"): "several machines, side by side",
    ("page", "--target"): "several machines, side by side",
    ("serve", "--target"): "several machines, side by side",
    ("compare", "--target"): "several machines, side by side",
    ("quantize", "--weight-bits"): "ternary and binary are words",
}
"""Options whose type differs from that in other commands, and why; their help begins as it does there."""


def kind(parameter: Any) -> str:
    """The type of an option's value, in Typer 0.29 as in 0.12."""
    found = getattr(getattr(parameter, "type_descriptor", None), "annotation", None) or parameter.type
    return str(getattr(found, "name", found))


def test_an_option_means_the_same_in_every_command() -> None:
    """One type and one first sentence of its help; what a command adds stands behind it (MEANINGS in cli/app.py)."""
    met: dict[str, set[tuple[str, str]]] = {}
    group: Any = typer.main.get_command(app)
    differing: set[tuple[str, str]] = set()
    for name, command in group.commands.items():
        for parameter in command.params:
            if parameter.param_type_name != "option":
                continue
            option, text = max(parameter.opts, key=len), " ".join((parameter.help or "").split())
            meaning = MEANINGS.get(option, text)
            assert text.startswith(meaning), (name, option, text)
            if (name, option) in OTHER_TYPES:
                differing.add((name, option))
            else:
                met.setdefault(option, set()).add((kind(parameter), meaning))
    assert not {option: found for option, found in met.items() if len(found) > 1}
    assert differing == OTHER_TYPES.keys()
    assert MEANINGS.keys() <= met.keys()


def test_no_function_of_the_command_line_is_long() -> None:
    long = {
        f"{path.name}: {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in sorted(CLI.glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= LONGEST
    }
    assert not long
