"""The command that shows machines: targets."""

from typing import TYPE_CHECKING, Annotated

import typer

from rillet.cli.forms import Form, command
from rillet.errors import TargetError
from rillet.system.options import Uses, at_most_one

if TYPE_CHECKING:
    from rillet.report.screen import Screen

USES = Uses({"the list of targets": ("--kind",), "NAME": ("--toml",)}, TargetError)


@command
def targets(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME|FILE.toml]", help="One target, with the source of each number.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", metavar="host|board|chip|array", help="Only those of this kind.")
    ] = None,
    toml: Annotated[bool, typer.Option("--toml", help="Print its file, to start one of your own from.")] = False,
    *,
    form: Form,
) -> None:
    """Lists the machines that --target knows, or shows one with the source of each number (docs/targets.md)."""
    from rillet.api import machines
    from rillet.report import machines as report
    from rillet.report import tables

    USES.check("the list of targets" if name is None else "NAME", {"--kind": kind, "--toml": toml})
    at_most_one({"--toml": toml, **form.asked})
    if name is None:
        found = [(one, machines.target(one)) for one in machines.targets(kind)]
        form.show(
            lambda: {"targets": [report.record(*one) for one in found]},
            lambda console: tables.write(console, report.listing(found)),
        )
        return
    target = machines.target(name)
    if toml:
        print(machines.to_toml(target), end="")
        return

    def text(console: "Screen") -> None:
        if form.text:
            console.print(report.heading(target))
        tables.write(console, report.numbers(target))

    form.show(lambda: report.record(name, target), text)
