"""Search: the network of a space that keeps a budget and learns best, by short and longer trainings."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rillet.api import checks
from rillet.api.accuracy import recipe_for, usual_recipe
from rillet.errors import GraphError, TargetError
from rillet.ir.graph import Graph
from rillet.report.progress import Advance, shown
from rillet.search import budget as budgets
from rillet.search import halving, space
from rillet.search.engine import Workers
from rillet.search.found import Found as Found
from rillet.search.funnel import Costed
from rillet.search.space import Space
from rillet.system.options import at_most_one

if TYPE_CHECKING:
    from rillet.train.recipe import Recipe

OBJECTIVES = ("top1", "macs")
_RECIPE = "cifar"
"""For data that have no recipe of their own: short trainings ask for a usual one."""


def search(
    within: str | Space,
    data: "str | os.PathLike[str]",
    budget: str,
    out: "str | os.PathLike[str]",
    *,
    objectives: Sequence[str] = OBJECTIVES,
    hours: float | None = None,
    candidates: int = 5000,
    rungs: str = halving.DEFAULT,
    recipe: "str | Recipe | None" = None,
    generations: int | None = None,
    supernet: int = 0,
    workers: int | None = None,
    dask: str | None = None,
    ray: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    resume: bool = False,
    progress: Advance | None = None,
) -> Found:
    """Searches a space for the network that keeps a budget and learns best; everything is kept in the folder `out`.

    within: a space by name, a .toml file, or a Space. data: a name such as `cifar10` or a folder, with a training and
    a test part; networks are compared on pictures held back from the first, and the answer is measured on the second,
    once. budget: limits such as `ram<=3KiB, macs<=780k`. objectives: what the front is of, `top1` and names of costs.
    hours: a bound after which there is an answer in any case. candidates: choices that go through the funnel.
    rungs: networks x epochs of successive halving. generations: equal parts of the first rung, each but the first made
    of children of the networks that learned best before; 4 unless there is a supernet. supernet: epochs of a network
    of shared weights by whose scores the first rung is chosen, if an audit of networks trained alone finds that it
    ranks them well enough. workers:
    processes of this machine, one a core by default; or a cluster by the address of its `dask` scheduler or `ray`
    head. limit: at most so many pictures to train on. resume: go on with the search in `out`. progress: takes what
    is done of the present step. Raises TargetError for a wrong space or budget, or one that nothing keeps,
    GraphError for data, folders and options that are wrong, Unsupported where PyTorch or Optuna is not installed.
    """
    from rillet.search.run import GENERATIONS, Asked
    from rillet.search.run import search as run

    _check_kind("space", within, (str, Space), "a name, a .toml file or a Space")
    _check_kind("budget", budget, (str,), "a text such as ram<=32KiB")
    _check_kind("rungs", rungs, (str,), "a text such as 64x1,16x5,4x25")
    _check_kind("hours", hours, (int, float, type(None)), "a number")
    _check_kind("seed", seed, (int,), "a whole number")
    where = space.find(within) if isinstance(within, str) else within
    source = os.fspath(_named(data))
    limits = budgets.parse(budget)
    if hours is not None and not 0 < hours < 10_000:
        raise GraphError(f"--hours must be above 0 and below 10,000, got {hours:g}")
    if supernet and generations is not None and generations > 1:
        raise GraphError(f"--supernet must come with one generation, got --generations {generations}")
    parts = (1 if supernet else GENERATIONS) if generations is None else checks.count(generations, "--generations")
    measures = tuple(_measure(name) for name in objectives if name != "top1")
    asked = Asked(
        where,
        source,
        limits,
        tuple(objectives),
        halving.parse(rungs),
        recipe_for(source, recipe or usual_recipe(source) or _RECIPE),
        checks.count(candidates, "--candidates"),
        hours,
        seed,
        0 if limit is None else checks.count(limit, "--limit"),
        resume,
        (budgets.measure("macs"), budgets.measure("params"), budgets.measure("ram"), *measures),
        checks.count(supernet, "--supernet") if supernet else 0,
        parts,
    )
    who = _workers(workers, dask, ray)
    steps = _Steps(progress)
    try:
        return run(asked, who, checks.path(out, "out"), steps.tell)
    finally:
        steps.close()


def _check_kind(what: str, value: object, kinds: tuple[type, ...], wanted: str) -> None:
    """Raises GraphError for a value of another type."""
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise GraphError(f"{what} must be {wanted}, got {type(value).__name__}")


def _named(data: Any) -> "str | os.PathLike[str]":
    """Data that workers can open too; raises GraphError for others."""
    if not isinstance(data, str | os.PathLike):
        raise GraphError(f"data must be a name or a folder, which workers can read too, got {type(data).__name__}")
    return data  # pyright: ignore[reportUnknownVariableType]


def _measure(name: str) -> budgets.Measure:
    word, _, at = name.partition("@")
    try:
        return budgets.measure(word, at)
    except TargetError as error:
        raise TargetError(str(error).replace("--budget", "--for", 1)) from None


def _workers(workers: int | None, dask: str | None, ray: str | None) -> Workers:
    at_most_one({"--workers": workers is not None, "--dask": dask is not None, "--ray": ray is not None})
    if dask is not None or ray is not None:
        return Workers(dask=dask, ray=ray)
    return Workers(len(os.sched_getaffinity(0)) if workers is None else checks.count(workers, "--workers"))


class _Steps:
    """A bar for each step of a search."""

    def __init__(self, progress: Advance | None) -> None:
        self._progress = progress
        self._word, self._bar = "", None
        self._advance: Advance | None = None

    def tell(self, word: str, done: int, total: int) -> None:
        """Moves the bar of a step, which replaces that of the one before."""
        if word != self._word or self._advance is None:
            self.close()
            self._word, self._bar = word, shown(word, self._progress)
            self._advance = self._bar.__enter__()
        self._advance(done, total)

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
        self._bar = self._advance = None


def read(out: "str | os.PathLike[str]") -> Found:
    """The search in a folder as it stands; raises GraphError where there is none."""
    from rillet.search.run import read as found

    return found(checks.path(out, "run"))


def network(out: "str | os.PathLike[str]", key: str) -> Graph:
    """The network of a candidate of the search in `out`, without weights; raises GraphError for a key that it does not
    have.
    """
    from rillet.search.run import space_of

    found = read(out)
    mine = [one for one in found.candidates if one.key.startswith(key)]
    if len(mine) != 1:
        keys = ", ".join(one.key for one in found.candidates[:3])
        raise GraphError(f"--network must be the key of one candidate, such as {keys}, got {key!r:.40}")
    where = space_of(checks.path(out, "run"))
    made = Costed(where, where.plain(mine[0].choice), found.classes).graph
    return made.with_name(f"{found.space}-{mine[0].key}")


def save_network(out: "str | os.PathLike[str]", key: str, file: "str | os.PathLike[str]") -> int:
    """Writes `network` to an .rlt file; its bytes."""
    from rillet.api.networks import save

    return save(network(out, key), file)


def spaces() -> tuple[Space, ...]:
    """The search spaces that Rillet has."""
    return tuple(map(space.find, space.names()))


def space_text(name: str) -> str:
    """The TOML text of a space, to start another from."""
    return space.text_of(name)


def page(found: Found) -> str:
    """The search as one offline page: accuracy against each cost, the front, the budget, every candidate."""
    from rillet.report.search_page import html

    return html(found)


def save_page(found: Found, out: "str | os.PathLike[str]") -> None:
    """Writes `page`; raises BuildError where it cannot be written."""
    from rillet.api.networks import save_text

    save_text(checks.path(out, "out"), page(found))


def to_dict(one: Space) -> dict[str, Any]:
    """A space as JSON has it."""
    genes = {gene.name: list(gene.values) for gene in one.free}
    return {"name": one.name, "about": one.about, "source": one.source, "size": one.size, "choices": genes}
