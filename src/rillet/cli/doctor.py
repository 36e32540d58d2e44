"""The command that looks at the machine: doctor."""

from dataclasses import asdict

import typer

from rillet.cli.app import JsonOption, app, make_console, print_json


@app.command()
def doctor(json_output: JsonOption = False) -> None:
    """Shows what Rillet finds on this machine: compiler, kernels, packages, oracles, cache; and what to install.

    The exit code is 1 where networks cannot be built or their builds cannot be kept.
    """
    from rillet.api.doctor import doctor as look
    from rillet.report import doctor as report

    found = look()
    if json_output:
        print_json({**asdict(found), "healthy": found.healthy})
    else:
        report.diagnosis(make_console(), found)
    if not found.healthy:
        raise typer.Exit(1)
