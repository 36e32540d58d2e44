"""The command that trains: train."""

import os
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from rillet.cli.app import (
    ClassesOption,
    JsonOption,
    ModelArgument,
    Progress,
    WeightsOption,
    app,
    names,
    open_named,
    print_json,
    say,
    warn,
    write,
)
from rillet.cli.options import (
    BatchOption,
    DeviceOption,
    DownloadOption,
    EpochsOption,
    FreezeOption,
    HeldBackOption,
    PartLimitOption,
    ProcessesOption,
    RecipeOption,
    ResumeOption,
    RunOption,
    SaveSecondsOption,
    SaveStepsOption,
    SeedOption,
    TeacherOption,
    TrainDataOption,
    TrainTernaryOption,
    TrainThreadsOption,
    UpscaleOption,
)

if TYPE_CHECKING:
    from rillet.api.accuracy import Row, Tick, Trained, Watch


@app.command()
def train(
    model: ModelArgument,
    data: TrainDataOption,
    out: RunOption,
    recipe: RecipeOption = None,
    epochs: EpochsOption = None,
    batch: BatchOption = None,
    upscale: UpscaleOption = None,
    held_back: HeldBackOption = None,
    classes: ClassesOption = None,
    weights: WeightsOption = None,
    freeze: FreezeOption = False,
    ternary: TrainTernaryOption = False,
    teacher: TeacherOption = None,
    seed: SeedOption = 0,
    resume: ResumeOption = False,
    limit: PartLimitOption = None,
    threads: TrainThreadsOption = None,
    processes: ProcessesOption = 1,
    device: DeviceOption = "auto",
    save_seconds: SaveSecondsOption = 60.0,
    save_steps: SaveStepsOption = None,
    download: DownloadOption = False,
    json_output: JsonOption = False,
) -> None:
    """Trains a network by a recipe; a run that was cut off goes on with --resume to exactly the same weights."""
    from rillet.api import accuracy

    how = accuracy.recipe_for(data, recipe, epochs, batch, upscale, held_back, freeze, ternary, teacher)
    accuracy.check_device(device)
    if download:
        _download(data)
    parts = accuracy.parts_for(how, data, names(classes), limit=limit)
    graph, first = open_named(model, weights=weights).graph, os.environ.get("RANK", "0") == "0"
    tutor = accuracy.teacher_for(how, lambda name: open_named(name).graph)
    asked = accuracy.TrainOptions(seed, resume, threads, device, save_seconds, save_steps)
    with _running(out, graph.name, processes, hidden=json_output or not first) as watch:
        trained = accuracy.train_by(graph, parts, how, out, asked, watch if first else None, tutor)
    if first:
        _print(trained, out, data, json_output)


@contextmanager
def _running(out: Path, name: str, processes: int, hidden: bool) -> "Generator[Watch]":
    """Who is told of a run, which other processes on this machine share; Ctrl-C is one line and exit code 130."""
    from rillet.api.accuracy import companions

    alone = processes == 1 or "WORLD_SIZE" in os.environ
    try:
        with nullcontext() if alone else companions(processes, sys.argv[1:]), _Bar(out, name, hidden) as bar:
            yield bar.watch()
    except KeyboardInterrupt:
        warn(f"stopped; the same command with --resume goes on from {out}")
        raise typer.Exit(130) from None


def _download(data: str) -> None:
    from rillet.api.accuracy import download

    with Progress(data, 1, hidden=False) as advance:
        download(data, lambda done, total: advance(done, total))


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
        from rillet.api.accuracy import Watch

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

        before, self._told = self._told, len(rows)
        if not rows:
            return
        write(self._out / "curve.svg", svg(self._name, rows))
        if before >= 0 and not self._hidden:
            row = rows[-1]
            self._note(
                f"epoch {row.epoch}: loss {row.train_loss:.3f}, top-1 {row.train_top1:.2%}; "
                f"{row.judged_by}: loss {row.judged_loss:.3f}, top-1 {row.judged_top1:.2%}; "
                f"{row.images_per_s:,.0f} images/s"
            )

    def _note(self, text: str) -> None:
        if not self._hidden:
            self._bar.console.print(text)


def _hours(seconds: float) -> str:
    minutes = int(seconds) // 60
    return f"{minutes // 60} h {minutes % 60:02} min to go" if minutes else f"{seconds:.0f} s to go"


def _print(trained: "Trained", out: Path, data: str, json_output: bool) -> None:
    from rillet.report.analysis_views import trained_lines

    if json_output:
        print_json(trained.to_dict())
        return
    for line in trained_lines(trained):
        say(line)
    say(f"rillet evaluate {out / 'best.rlt'} --data {data}")
