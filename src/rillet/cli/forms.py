"""The forms in which every command prints its result: tables and sentences, CSV, Markdown, JSON."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rillet.cli.app import JsonOption, app, make_console, print_json
from rillet.system.options import at_most_one

if TYPE_CHECKING:
    from rillet.report.screen import Screen

CsvOption = Annotated[
    bool, typer.Option("--csv", help="Print comma-separated values; an empty line stands between tables.")
]
MarkdownOption = Annotated[bool, typer.Option("--markdown", help="Print Markdown tables.")]
_OPTIONS: Mapping[str, Any] = {"csv": CsvOption, "markdown": MarkdownOption, "json": JsonOption}


@dataclass(frozen=True, slots=True)
class Form:
    """The form that is asked for; text for people where it is none of the three."""

    csv: bool = False
    markdown: bool = False
    json: bool = False

    @property
    def asked(self) -> dict[str, bool]:
        """The three options, and which of them is given."""
        return {"--csv": self.csv, "--markdown": self.markdown, "--json": self.json}

    @property
    def text(self) -> bool:
        """True where people read the result."""
        return not (self.csv or self.markdown or self.json)

    def show(
        self,
        record: Callable[[], Mapping[str, Any] | Sequence[Mapping[str, Any]]],
        text: Callable[["Screen"], object],
    ) -> None:
        """Prints a result: `text` is what people read, whose tables the others take; `record` is its JSON.

        A result that people read as sentences is one row of the plain fields of its record.
        """
        from rillet.report import collected

        if self.json:
            print_json(record())  # pyright: ignore[reportArgumentType]  # records are dictionaries or lists of them
        elif self.text:
            text(make_console())
        else:
            tables = collected.tables(text) or (collected.fields(record()),)
            print(collected.written(tables, csv=self.csv), end="")


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Registers a command under its name; its `form` stands for --csv, --markdown and --json, of which one is given."""
    signature = inspect.signature(function)

    @wraps(function)
    def run(*args: Any, **said: Any) -> None:
        form = Form(*(said.pop(name) for name in _OPTIONS))
        at_most_one(form.asked)
        function(*args, **said, form=form)

    kept = [parameter for name, parameter in signature.parameters.items() if name != "form"]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    forms = [inspect.Parameter(name, kind, default=False, annotation=option) for name, option in _OPTIONS.items()]
    run.__signature__ = signature.replace(parameters=[*kept, *forms])  # pyright: ignore[reportAttributeAccessIssue]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in (*kept, *forms)}
    app.command()(run)
    return function
