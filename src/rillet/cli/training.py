"""The command that trains: train."""

import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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
    warn,
)
from rillet.errors import GraphError

if TYPE_CHECKING:
    from rillet.train.recipe import Recipe
    from rillet.train.records import Row, Tick, Trained, Watch

DEVICES = ("auto", "cpu", "cuda")
_RECIPES = {"cifar10": "cifar", "cifar100": "cifar", "tiny-imagenet": "tiny_imagenet", "vww": "vww"}
"""What is trained by where no recipe is said."""


@app.command()
def train(
    model: ModelArgument,
    data: Annotated[str, typer.Option("--data", metavar=DATA, help="Data set of labelled images, with a test split.")],
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Folder for checkpoints, log and results.")],
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe", metavar="NAME|FILE.toml", help="Training recipe (docs/train.md); default: by the data set."
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Overrides the recipe's epochs.")] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", min=1, help="Batch size over all processes; overrides the recipe's.")
    ] = None,
    upscale: Annotated[
        int | None,
        typer.Option("--upscale", min=1, metavar="SIDE", help="Resize images, and the network's input, to this side."),
    ] = None,
    classes: ClassesOption = None,
    weights: WeightsOption = None,
    freeze: Annotated[bool, typer.Option("--freeze", help="Train only the last layer.")] = False,
    ternary: Annotated[bool, typer.Option("--ternary", help="Trained ternary quantisation (TTQ).")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Random seed of weights, order and augmentation.")] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted run from its last checkpoint.")
    ] = False,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Use at most N images of each split.")] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Threads of each process; default: the fastest, measured.")
    ] = None,
    processes: Annotated[
        int, typer.Option("--processes", min=1, help="Processes on this machine; each batch is split over them.")
    ] = 1,
    device: Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda", help="Device that trains.")] = "auto",
    save_seconds: Annotated[
        float,
        typer.Option("--save-seconds", min=0.0, help="Seconds between checkpoints; one after each epoch in any case."),
    ] = 60.0,
    save_steps: Annotated[
        int | None, typer.Option("--save-steps", min=1, help="Steps between checkpoints, beside --save-seconds.")
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Download the data set if it is missing.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Trains a network by a recipe; an interrupted run continues with --resume to exactly the same weights."""
    one_of("--device", device, DEVICES)
    said = _recipe(data, recipe, epochs, batch, upscale, freeze, ternary)
    if download:
        _download(data)
    from rillet.data.datasets import open_dataset
    from rillet.system.extras import extra

    parts = [open_dataset(data, part, names(classes)) for part in ("train", "test")]
    graph = open_named(model, weights=weights).graph
    with extra("torch"):
        from rillet.train import parallel
        from rillet.train.data import limited
        from rillet.train.loop import train as run
        from rillet.train.records import Options, Watch
    options = Options(seed, resume, threads, device, save_seconds, save_steps)
    first = os.environ.get("RANK", "0") == "0"
    alone = processes == 1 or "WORLD_SIZE" in os.environ
    try:
        with (
            nullcontext() if alone else parallel.companions(processes, sys.argv[1:]),
            _Bar(out, graph.name, hidden=json_output or not first) as bar,
        ):
            pictures, test = (limited(part, limit) for part in parts)
            trained = run(graph, pictures, test, said, out, options, bar.watch() if first else Watch())
    except KeyboardInterrupt:
        warn(f"stopped; the same command with --resume goes on from {out}")
        raise typer.Exit(130) from None
    if first and json_output:
        print_json(asdict(trained))
    elif first:
        _print(trained, out, data)


def _recipe(
    data: str,
    name: str | None,
    epochs: int | None,
    batch: int | None,
    upscale: int | None,
    freeze: bool,
    ternary: bool,
) -> "Recipe":
    from rillet.train import recipe

    found = name or _RECIPES.get(data.partition(":")[0])
    if found is None:
        raise GraphError(f"--recipe must be given for {data}: one of {', '.join(recipe.names())}, or a .toml file")
    return recipe.with_said(
        recipe.find(found), epochs=epochs, batch=batch, upscale=upscale, freeze=freeze, ternary=ternary
    )


def _download(data: str) -> None:
    from rillet.data import archives

    archive = archives.ARCHIVES.get(data)
    if archive is None:
        raise GraphError(f"--download must come with --data {', '.join(archives.ARCHIVES)}, got {data}")
    with Progress(data, archive.size_bytes, hidden=False) as advance:
        archives.fetch(archive, lambda done, total: advance(done, total))


class _Bar:
    """Shows a run: a bar on a terminal, a line an epoch elsewhere; draws the learning curve after each epoch."""

    def __init__(self, out: Path, name: str, hidden: bool) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        from rillet.report.screen import Screen

        self._out, self._name, self._hidden = out, name, hidden
        self._live = sys.stderr.isatty() and not hidden
        self._told = -1
        self._bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[now]}", markup=False),
            TimeRemainingColumn(),
            console=Screen(stderr=True),
            transient=True,
            disable=not self._live,
        )
        self._task = self._bar.add_task("training", total=None, now="")

    def __enter__(self) -> "_Bar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def watch(self) -> "Watch":
        """Who is told."""
        from rillet.train.records import Watch

        return Watch(self._tick, self._rows, self._note)

    def _tick(self, now: "Tick") -> None:
        said = (
            f"loss {now.loss:.3f}  top-1 {now.top1:.1%}  {now.images_per_s:,.0f} images/s  {_hours(now.seconds_left)}"
        )
        self._bar.update(
            self._task,
            description=f"epoch {now.epoch} of {now.epochs}",
            completed=now.step,
            total=now.steps,
            now=said,
        )

    def _rows(self, rows: "Sequence[Row]") -> None:
        from rillet.report.curve import svg
        from rillet.system.files import write_file

        before, self._told = self._told, len(rows)
        if not rows:
            return
        write_file(self._out / "curve.svg", svg(self._name, rows).encode())
        if before >= 0 and not self._hidden:
            row = rows[-1]
            self._note(
                f"epoch {row.epoch}: loss {row.train_loss:.3f}, top-1 {row.train_top1:.2%}; "
                f"test loss {row.test_loss:.3f}, top-1 {row.test_top1:.2%}; {row.images_per_s:,.0f} images/s"
            )

    def _note(self, text: str) -> None:
        if not self._hidden:
            self._bar.console.print(text)


def _hours(seconds: float) -> str:
    minutes = int(seconds) // 60
    return f"{minutes // 60} h {minutes % 60:02} min to go" if minutes else f"{seconds:.0f} s to go"


def _print(trained: "Trained", out: Path, data: str) -> None:
    say(f"{trained.model} on {trained.data}: top-1 {trained.best_top1:.2%} after epoch {trained.best_epoch}")
    if trained.corrupt:
        say(f"{len(trained.corrupt):,} pictures skipped, the first: {trained.corrupt[0]}")
    if trained.ternary is not None:
        counted = trained.ternary
        say(
            f"ternary: {counted.tensors} tensors of {counted.params:,} weights: {counted.plus:,} at +, "
            f"{counted.zero:,} at 0, {counted.minus:,} at -; {counted.other_tensors} tensors of "
            f"{counted.other_params:,} are not"
        )
        say(f"by their signs alone (signs.rlt): top-1 {trained.signs_top1:.2%}")
    if trained.rounding is not None:
        say(f"before training, in integers: top-1 {trained.start_top1:.2%}")
        say(f"best.rlt is of 8-bit integers, rounding {trained.rounding}; float.rlt has the float32 weights behind it")
    say(f"rillet evaluate {out / 'best.rlt'} --data {data}")
