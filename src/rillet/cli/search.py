"""The command that searches for a network within a budget: search."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rillet.cli.app import DATA, say, shared
from rillet.cli.forms import Form, command
from rillet.cli.options import RecipeOption, ResumeOption, SeedOption
from rillet.errors import GraphError

if TYPE_CHECKING:
    from rillet.api.search import Found

SHOW = "show"
SpaceArgument = Annotated[
    str | None, typer.Argument(metavar="SPACE|show", help="A search space (--spaces), a .toml file, or the word show.")
]
RunArgument = Annotated[Path | None, typer.Argument(metavar="RUN", help="Behind show: the folder of a search.")]
DataOption = Annotated[
    str | None,
    shared("--data", here="Networks are compared on pictures held back from training.", metavar=DATA),
]
BudgetOption = Annotated[
    str | None, typer.Option("--budget", metavar="'ram<=3KiB, macs<=780k'", help="What the network may cost.")
]
ForOption = Annotated[str, typer.Option("--for", metavar="NAME,...", help="What the front is of.")]
HoursOption = Annotated[float | None, typer.Option("--hours", help="When there is to be an answer in any case.")]
CandidatesOption = Annotated[int, typer.Option("--candidates", min=1, help="Choices that go through the funnel.")]
RungsOption = Annotated[
    str, typer.Option("--rungs", metavar="NxE,...", help="Networks x epochs of successive halving, rung by rung.")
]
GenerationsOption = Annotated[
    int | None,
    typer.Option(
        "--generations", min=1, help="Parts of the first rung, all but one of children of the best; 4 by default."
    ),
]
SupernetOption = Annotated[
    int | None,
    typer.Option(
        "--supernet", metavar="EPOCHS", min=1, help="Choose by a network of shared weights, if it passes an audit."
    ),
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Trainings side by side on this machine; one a core by default.")
]
DaskOption = Annotated[str | None, typer.Option("--dask", metavar="ADDRESS", help="Train on this Dask cluster.")]
RayOption = Annotated[str | None, typer.Option("--ray", metavar="ADDRESS", help="Train on this Ray cluster.")]
LimitOption = Annotated[int | None, shared("--limit", here="Of those to train on.", min=1)]
OutOption = Annotated[
    Path | None, shared("-o", "--out", here="The folder of the search; behind show a page (.html) or network (.rlt).")
]
NetworkOption = Annotated[
    str | None,
    typer.Option("--network", metavar="KEY", help="Behind show: write this candidate, untrained, to -o."),
]
SpacesOption = Annotated[bool, typer.Option("--spaces", help="List the search spaces.")]
TomlOption = Annotated[bool, typer.Option("--toml", help="Print its file, to start one of your own from.")]


@command
def search(
    space: SpaceArgument = None,
    run: RunArgument = None,
    data: DataOption = None,
    budget: BudgetOption = None,
    objectives: ForOption = "top1,macs",
    hours: HoursOption = None,
    candidates: CandidatesOption = 5000,
    rungs: RungsOption = "64x1,16x5,4x25",
    recipe: RecipeOption = None,
    generations: GenerationsOption = None,
    supernet: SupernetOption = None,
    workers: WorkersOption = None,
    dask: DaskOption = None,
    ray: RayOption = None,
    limit: LimitOption = None,
    seed: SeedOption = 0,
    resume: ResumeOption = False,
    out: OutOption = None,
    network: NetworkOption = None,
    spaces: SpacesOption = False,
    toml: TomlOption = False,
    *,
    form: Form,
) -> None:
    """Searches a space for the network that keeps a budget and learns best."""
    from rillet.api import search as api

    if spaces or toml:
        return _spaces(space, toml, form)
    if space == SHOW:
        given = {"--data": data, "--budget": budget, "--hours": hours, "--supernet": supernet, "--workers": workers}
        more = {"--generations": generations, "--dask": dask, "--ray": ray, "--resume": resume or None}
        return _show(run, out, network, given | more, form)
    _check_none("show", {"RUN": run, "--network": network})
    if space is None or data is None or budget is None or out is None:
        raise _missing({"SPACE": space, "--data": data, "--budget": budget, "--out": out})
    ask = partial(api.search, space, data, budget, out, objectives=tuple(map(str.strip, objectives.split(","))))
    ask = partial(ask, hours=hours, candidates=candidates, rungs=rungs, generations=generations, supernet=supernet or 0)
    _print(ask(recipe=recipe, workers=workers, dask=dask, ray=ray, limit=limit, seed=seed, resume=resume), form)


def _missing(wanted: Mapping[str, object]) -> GraphError:
    """What the first that is not given is refused with."""
    option = next(name for name, value in wanted.items() if value is None)
    return GraphError(f"{option} must be given; rillet search --spaces lists spaces, --help the options")


def _check_none(what: str, given: Mapping[str, object]) -> None:
    """Raises GraphError for an option that is given and does nothing without `what`."""
    for option, value in given.items():
        if value is not None:
            raise GraphError(f"{option} must come with {what}")


def _spaces(name: str | None, toml: bool, form: Form) -> None:
    from rillet.api import search as api
    from rillet.report import search as report

    if toml:
        if name is None or not form.text:
            raise GraphError("--toml must come with a space, and without --json, --csv and --markdown")
        return print(api.space_text(name).rstrip())
    found = api.spaces()
    form.show(lambda: [api.to_dict(one) for one in found], lambda console: report.spaces(console, found))


def _show(run: Path | None, out: Path | None, network: str | None, others: Mapping[str, object], form: Form) -> None:
    from rillet.api import search as api

    _check_none("a space", others)
    if run is None:
        raise GraphError("RUN must be given behind show: the folder of a search")
    found = api.read(run)
    if network is not None:
        if out is None:
            raise GraphError("--network must come with -o: the file to write it to")
        return say(f"{out}: {api.save_network(run, network, out):,} bytes")
    if out is not None:
        api.save_page(found, out)
    _print(found, form)


def _print(found: "Found", form: Form) -> None:
    from rillet.report import search as report

    form.show(found.to_dict, lambda console: report.search(console, found))
