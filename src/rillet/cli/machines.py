"""The command that shows machines: targets."""

from typing import Annotated

import typer

from rillet.cli.app import CsvOption, JsonOption, MarkdownOption, app, make_console, one_form, print_json
from rillet.errors import TargetError
from rillet.system.options import Uses, at_most_one

USES = Uses({"the list of targets": ("--kind",), "NAME": ("--toml",)}, TargetError)


@app.command()
def targets(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME|FILE.toml]", help="One target, with the source of each number.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", metavar="host|board|chip|array", help="Only those of this kind.")
    ] = None,
    toml: Annotated[bool, typer.Option("--toml", help="Print its file, to start one of your own from.")] = False,
    csv: CsvOption = False,
    markdown: MarkdownOption = False,
    json_output: JsonOption = False,
) -> None:
    """Lists the machines that --target knows, or shows one with the source of each number (docs/targets.md)."""
    from rillet.api import machines
    from rillet.report import machines as report
    from rillet.report import tables

    one_form(csv, markdown, json_output)
    USES.check("the list of targets" if name is None else "NAME", {"--kind": kind, "--toml": toml})
    at_most_one({"--toml": toml, "--csv": csv, "--markdown": markdown, "--json": json_output})
    if name is None:
        found = [(one, machines.target(one)) for one in machines.targets(kind)]
        if json_output:
            print_json({"targets": [report.record(*one) for one in found]})
        else:
            tables.write(make_console(), report.listing(found), csv=csv, markdown=markdown)
        return
    target = machines.target(name)
    if toml:
        print(machines.to_toml(target), end="")
    elif json_output:
        print_json(report.record(name, target))
    else:
        console = make_console()
        if not csv and not markdown:
            console.print(report.heading(target))
        tables.write(console, report.numbers(target), csv=csv, markdown=markdown)
