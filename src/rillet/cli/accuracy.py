"""The command that measures accuracy: evaluate."""

from typing import Annotated

import typer

from rillet.cli.app import (
    DATA,
    ClassesOption,
    JsonOption,
    ModelArgument,
    WeightsOption,
    app,
    names,
    open_named,
    print_json,
    say,
)
from rillet.cli.options import BackendOption, CheckOption, LimitOption


@app.command()
def evaluate(
    model: ModelArgument,
    data: Annotated[str, typer.Option("--data", metavar=DATA, help="Labelled pictures, their test part.")],
    classes: ClassesOption = None,
    weights: WeightsOption = None,
    backend: BackendOption = "c",
    limit: LimitOption = None,
    check: CheckOption = False,
    json_output: JsonOption = False,
) -> None:
    """Measures top-1 and top-5 accuracy on a data set, on all cores."""
    from rillet.api import accuracy
    from rillet.report.analysis_views import evaluation_lines
    from rillet.report.progress import silent

    result = accuracy.evaluate(
        open_named(model, weights=weights).graph,
        data,
        backend=backend,
        limit=limit,
        classes=names(classes),
        check=check,
        progress=silent if json_output else None,
    )
    if json_output:
        print_json(result.to_dict())
        return
    for line in evaluation_lines(result):
        say(line)
