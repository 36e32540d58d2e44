"""The command that looks at the machine: doctor."""

from dataclasses import asdict

import typer

from rillet.cli.forms import Form, command


@command
def doctor(*, form: Form) -> None:
    """Shows what Rillet finds on this machine: compiler, kernels, packages, oracles, cache; and what to install.

    The exit code is 1 where networks cannot be built or their builds cannot be kept.
    """
    from rillet.api.doctor import doctor as look
    from rillet.report import doctor as report

    found = look()
    form.show(lambda: {**asdict(found), "healthy": found.healthy}, lambda console: report.diagnosis(console, found))
    if not found.healthy:
        raise typer.Exit(1)
