"""Commands that measure time on this machine: bench, profile."""

from pathlib import Path
from typing import Annotated

import typer

from rillet.cli.app import (
    LiveOption,
    ModelArgument,
    Progress,
    WeightsOption,
    open_named,
    shared,
    status,
    warn,
    write,
)
from rillet.cli.forms import Form, command
from rillet.cli.options import TargetOption
from rillet.cli.streams import RamOption


@command
def bench(
    model: ModelArgument,
    against: Annotated[
        str | None,
        shared(
            "--against",
            here="Several with commas: onnxruntime, openvino, litert, ncnn, torch; by default all that are installed.",
            metavar="NAME,NAME",
        ),
    ] = None,
    threads: Annotated[str, shared("--threads", here="Several counts with commas, as 1,2.", metavar="N,N")] = "1",
    precision: Annotated[str | None, shared("--precision", metavar="f32,int8")] = None,
    rounds: Annotated[int, typer.Option("--rounds", help="Rounds in which the runtimes take turns.")] = 20,
    target: TargetOption = None,
    live: LiveOption = False,
    weights: WeightsOption = None,
    *,
    form: Form,
) -> None:
    """Benchmarks Rillet against other runtimes, taking turns, each under its own best settings (docs/bench.md)."""
    from rillet.api import measuring
    from rillet.report import bench as report
    from rillet.report import tables

    counts = measuring.thread_counts(threads)
    with Progress("measuring", 1, form.json) as advance:
        found = measuring.bench(
            open_named(model, weights=weights, live=live).graph,
            against,
            threads=counts,
            precisions=precision.split(",") if precision is not None else None,
            rounds=rounds,
            target=target,
            progress=advance,
        )
    for sentence in () if form.text else report.refusals(found):
        warn(sentence)
    form.show(lambda: report.records(found), lambda console: tables.write(console, report.table(found)))


@command
def profile(
    model: ModelArgument,
    precision: Annotated[str | None, shared("--precision", metavar="f32|int8")] = None,
    ram: RamOption = None,
    threads: Annotated[int, shared("--threads", here="Clocks are read on thread 0 only.", metavar="N")] = 1,
    runs: Annotated[
        int | None, typer.Option("--runs", help="Inferences to measure; default: for four seconds.")
    ] = None,
    out: Annotated[Path | None, shared("-o", "--out", here="A bar chart.", metavar="FILE.svg")] = None,
    weights: WeightsOption = None,
    *,
    form: Form,
) -> None:
    """Measures the time of each layer, beside the measured peak of this machine (docs/bench.md)."""
    from rillet.api import measuring
    from rillet.report import profile as report
    from rillet.report import tables

    graph = open_named(model, weights=weights).graph
    with status(f"building and running {graph.name}"):
        found = measuring.profile(graph, precision=precision, ram=ram, threads=threads, runs=runs)
    if out is not None:
        write(out, report.svg(found))
    form.show(lambda: report.record(found), lambda console: tables.write(console, report.table(found)))
