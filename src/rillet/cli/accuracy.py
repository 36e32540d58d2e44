"""The command that measures accuracy: evaluate."""

from typing import Annotated

from rillet.cli.app import (
    DATA,
    ClassesOption,
    ModelArgument,
    WeightsOption,
    names,
    open_named,
    shared,
)
from rillet.cli.forms import Form, command
from rillet.cli.options import BackendOption, CheckOption, LimitOption


@command
def evaluate(
    model: ModelArgument,
    data: Annotated[str, shared("--data", here="The test part is used.", metavar=DATA)],
    classes: ClassesOption = None,
    weights: WeightsOption = None,
    backend: BackendOption = "c",
    limit: LimitOption = None,
    check: CheckOption = False,
    *,
    form: Form,
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
        progress=silent if form.json else None,
    )
    lines = evaluation_lines(result)
    form.show(result.to_dict, lambda console: [console.print(line, soft_wrap=True) for line in lines])
