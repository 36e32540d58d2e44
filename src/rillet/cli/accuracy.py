"""The command that measures accuracy: evaluate."""

from dataclasses import asdict
from typing import Annotated

import typer

from rillet.api import plans
from rillet.cli.app import (
    DATA,
    ClassesOption,
    JsonOption,
    ModelArgument,
    Progress,
    WeightsOption,
    app,
    names,
    one_of,
    open_named,
    print_json,
    say,
)


@app.command()
def evaluate(
    model: ModelArgument,
    data: Annotated[
        str,
        typer.Option("--data", metavar=DATA, help="Labelled pictures, their test part."),
    ],
    classes: ClassesOption = None,
    weights: WeightsOption = None,
    backend: Annotated[str, typer.Option("--backend", metavar="reference|c|torch", help="What computes.")] = "c",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first so many pictures.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Compare every output of C with the reference's.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Measures top-1 and top-5 accuracy on a data set, on all cores."""
    from rillet.data.datasets import open_dataset
    from rillet.runtime.evaluate import BACKENDS
    from rillet.runtime.evaluate import evaluate as evaluate_plan

    one_of("--backend", backend, BACKENDS)
    dataset = open_dataset(data, classes=names(classes))
    how = plans.options("host" if backend == "c" else None)
    plan = plans.row_planned(open_named(model, weights=weights).graph, how)
    torch_runner = None
    if backend == "torch":
        from rillet.system.extras import extra

        with extra("torch"):
            from rillet.train.infer import runner as torch_runner
    with Progress("evaluating", min(limit or len(dataset), len(dataset)), json_output) as advance:
        result = evaluate_plan(plan, dataset, backend, limit, advance, torch_runner, check)
    if json_output:
        print_json(asdict(result))
    else:
        say(f"{result.model} on {result.data} by {backend}: top-1 {result.top1:.2%}, top-5 {result.top5:.2%}")
        say(f"{result.correct:,} of {result.images:,} pictures right")
        if result.checked:
            say("every output is the reference's")
