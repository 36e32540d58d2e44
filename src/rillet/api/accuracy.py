"""Accuracy: evaluation on labelled pictures, and training."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from rillet.api import checks, plans
from rillet.api.backends import Plan, backend_of
from rillet.api.networks import opened, with_weights
from rillet.data.datasets import Dataset, limited, subset
from rillet.data.datasets import held_back as held_back_rows
from rillet.data.given import Data, as_dataset
from rillet.errors import GraphError
from rillet.ir.graph import Graph
from rillet.plan.rows.plan import RowPlan
from rillet.report.progress import Advance, shown
from rillet.runtime.changes import one_of
from rillet.runtime.evaluate import BACKENDS, Evaluation, Runner
from rillet.runtime.evaluate import evaluate as evaluate_plan
from rillet.system.extras import extra
from rillet.train import recipe as recipes
from rillet.train.recipe import Recipe
from rillet.train.records import HELD_BACK, TEST, Trained, Watch
from rillet.train.records import Options as TrainOptions
from rillet.train.records import Row as Row
from rillet.train.records import Tick as Tick

DEVICES = ("auto", "cpu", "cuda")
_RECIPES = {"cifar10": "cifar", "cifar100": "cifar", "tiny-imagenet": "tiny_imagenet", "vww": "vww"}
"""The default recipe for each data set."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What is trained on, and what the best epoch is chosen by."""

    learned: Dataset
    judged: Dataset
    judged_by: str = TEST


def evaluate(
    net: Graph | RowPlan,
    data: Data,
    *,
    backend: str = "c",
    limit: int | None = None,
    classes: Sequence[str] = (),
    check: bool = False,
    progress: Advance | None = None,
) -> Evaluation:
    """Top-1 and top-5 accuracy of a network, or of a plan's program, on labelled pictures, on all cores.

    data: the test part of a name, or as `rillet.data.given.as_dataset` takes it. backend: `c`, `reference` or `torch`.
    limit: only the first `limit` pictures. classes: only these, or a group (outdoor, indoor, combined). check: compare
    every output of the C program with the reference's. progress: called with pictures done and their total. Raises
    GraphError where the network's classes are not those of the data, Unsupported where a library is not installed.

    >>> import numpy, rillet
    >>> net = rillet.load("microbotnet:width=0.32,seed=0")
    >>> pictures, labels = numpy.zeros((2, 32, 32, 3), numpy.uint8), [3, 4]
    >>> rillet.evaluate(net, (pictures, labels), backend="reference").images
    2
    """
    one_of("--backend", backend, BACKENDS)
    given = backend_of(net).program if isinstance(net, Plan) else None
    if isinstance(net, Plan) and given is None:
        raise GraphError("net must be a Graph or a RowPlan, whose programs run here, got a PixelPlan (of a chip)")
    graph = given.graph if given is not None else with_weights(checks.graph(net))
    outputs = graph.by_name[graph.outputs[0]].shape.elements
    found = as_dataset(data, classes=classes, outputs=outputs, limit=limit)
    how = plans.options("host" if backend == "c" else None)
    plan = given or plans.row_planned(graph, how)
    runner = _torch_runner() if backend == "torch" else None
    with shown("evaluating", progress) as advance:
        return evaluate_plan(plan, found, backend, limit, advance, runner, check)


def _torch_runner() -> Callable[[Graph], Runner]:
    with extra("torch"):
        from rillet.train.infer import runner
    return runner


def train(
    net: Graph,
    data: Data,
    out: "str | PathLike[str]",
    *,
    test: Data | None = None,
    recipe: str | Recipe | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    upscale: int | None = None,
    held_back: float | None = None,
    classes: Sequence[str] = (),
    freeze: bool = False,
    ternary: bool = False,
    teacher: "str | PathLike[str] | Graph | None" = None,
    seed: int = 0,
    resume: bool = False,
    limit: int | None = None,
    threads: int | None = None,
    device: str = "auto",
    save_seconds: float = 60.0,
    save_steps: int | None = None,
    progress: Advance | None = None,
    watch: Watch | None = None,
) -> Trained:
    """Trains a network by a recipe into the folder `out`; `resume` continues an interrupted run to the same weights.

    data: the training part of a name, or as `rillet.data.given.as_dataset` takes it; then `test` must be given too.
    recipe: a name, a .toml file or a Recipe; by the name of the data by default. epochs, batch (pictures a step),
    upscale (resolution of pictures and network), held_back, freeze (train only the last layer) and ternary override
    it. held_back: so many training pictures, or that share of them, choose the best epoch in place of the test part,
    which is not looked at then. teacher: a trained network of the same classes to learn from, as `rillet.load` takes
    it, or a Graph. limit: at most so many pictures of each part. progress: called with steps done and
    their total; watch: callbacks for more events, instead. Raises GraphError for data and network that do not match,
    Unsupported without PyTorch.

    >>> import numpy, rillet
    >>> rng = numpy.random.default_rng(0)
    >>> data = rng.integers(0, 256, (8, 32, 32, 3)).astype(numpy.uint8), numpy.arange(8)
    >>> net = rillet.load("microbotnet:width=0.32,seed=0")
    >>> made = rillet.train(net, data, "run", test=data, recipe="cifar", epochs=1, batch=4, threads=1)
    >>> len(made.rows), rillet.load("run/last.rlt").macs == net.macs
    (1, True)
    """
    check_device(device)
    net, folder = checks.graph(net), checks.path(out, "out")
    named = teacher.name if isinstance(teacher, Graph) else None if teacher is None else str(teacher)
    how = recipe_for(data, recipe, epochs, batch, upscale, held_back, freeze, ternary, named)
    parts = parts_for(how, data, classes, test, net.by_name[net.outputs[0]].shape.elements, limit)
    asked = TrainOptions(seed, resume, threads, device, save_seconds, save_steps)
    tutor = teacher if isinstance(teacher, Graph) else teacher_for(how)
    if watch is not None:
        return train_by(net, parts, how, folder, asked, watch, tutor)
    with shown("training", progress) as advance:
        told = Watch(lambda now: advance(now.step, now.steps))
        return train_by(net, parts, how, folder, asked, told, tutor)


def check_device(device: str) -> None:
    """Raises GraphError for what is no device."""
    one_of("--device", device, DEVICES)


def train_by(
    net: Graph,
    parts: Parts,
    recipe: Recipe,
    out: Path,
    asked: TrainOptions,
    watch: Watch | None = None,
    teacher: Graph | None = None,
) -> Trained:
    """`train` with its recipe, options and parts in records; nobody is told where there is no `watch`."""
    with extra("torch"):
        from rillet.train.loop import train as run
    told = Watch() if watch is None else watch
    return run(net, parts.learned, parts.judged, recipe, out, asked, told, parts.judged_by, teacher)


def parts_for(
    recipe: Recipe,
    data: Data,
    classes: Sequence[str] = (),
    test: Data | None = None,
    outputs: int | None = None,
    limit: int | None = None,
) -> Parts:
    """What is trained on, and what the best epoch is chosen by: parts of a name, `data` and `test`, or of `data` alone.

    limit: at most so many pictures of each. Raises GraphError where `test` is missing, or is not wanted.
    """
    share = recipe.run.held_back
    if test is None and not share and not isinstance(data, str | PathLike):
        raise GraphError("test must be given with data that have no name, and so no test part")
    if test is not None and share:
        raise GraphError(f"test must not be given with held_back = {share:g}, which makes its own part")
    learned = as_dataset(data, "train", classes, outputs=outputs)
    if not share:
        judged = as_dataset(data if test is None else test, "test", classes, outputs=outputs)
        return Parts(limited(learned, limit), limited(judged, limit))
    kept, rest = held_back_rows(len(learned), share)
    parts = (subset(learned, np.sort(kept)), subset(learned, rest))
    return Parts(limited(parts[0], limit), limited(parts[1], limit), HELD_BACK)


def recipe_for(
    data: Data,
    name: str | Recipe | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    upscale: int | None = None,
    held_back: float | None = None,
    freeze: bool = False,
    ternary: bool = False,
    teacher: str | None = None,
) -> Recipe:
    """The recipe of that name, or the one for the data, under what overrides it; raises GraphError for neither."""
    if not isinstance(name, Recipe):
        found = name or usual_recipe(data)
        if found is None:
            listed = ", ".join(recipes.names())
            said = f" for {data}" if isinstance(data, str | PathLike) else ""
            raise GraphError(f"--recipe must be given{said}: one of {listed}, or a .toml file")
        name = recipes.find(found)
    return recipes.with_said(
        name,
        epochs=epochs,
        batch=batch,
        upscale=upscale,
        held_back=held_back,
        freeze=freeze,
        ternary=ternary,
        teacher=teacher,
    )


def teacher_for(recipe: Recipe, opening: Callable[[str], Graph] | None = None) -> Graph | None:
    """The network that a recipe learns from, if it does; raises GraphError where it is not said which.

    opening: opens it in another way than `rillet.load` does.
    """
    if recipe.distill is None:
        return None
    name = recipe.distill.teacher
    if not name:
        raise GraphError(f"{recipe.name}: distill must come with a teacher: --teacher MODEL")
    return opened(name).graph if opening is None else opening(name)


def usual_recipe(data: Data) -> str | None:
    """The recipe that a data set of this name is usually trained by, if there is one."""
    return _RECIPES.get(str(data).partition(":")[0]) if isinstance(data, str | PathLike) else None


def companions(processes: int, words: Sequence[str]) -> AbstractContextManager[object]:
    """The other processes of a run on this machine, which the same command line began; raises Unsupported without
    PyTorch.
    """
    with extra("torch"):
        from rillet.train import parallel

    return parallel.companions(processes, words)


def download(data: str, progress: Advance | None = None) -> None:
    """Downloads a data set that has a public address into the cache; raises GraphError for one that has none.

    progress: takes bytes done and bytes in all.
    """
    from rillet.data import archives

    archive = archives.ARCHIVES.get(data)
    if archive is None:
        raise GraphError(f"--download must come with --data {', '.join(archives.ARCHIVES)}, got {data}")
    with shown("downloading", progress) as advance:
        archives.fetch(archive, advance)
