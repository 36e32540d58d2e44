"""Commands that measure time on this machine: bench, profile."""

from pathlib import Path
from typing import Annotated

import typer

from rillet.cli.app import (
    ModelArgument,
    Progress,
    WeightsOption,
    open_named,
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
        typer.Option(
            "--against",
            metavar="NAME,NAME",
            help="Runtimes: onnxruntime, openvino, litert, ncnn, torch; default: all that are installed.",
        ),
    ] = None,
    threads: Annotated[str, typer.Option("--threads", metavar="N,N", help="Thread counts, such as 1,2.")] = "1",
    precision: Annotated[
        str | None, typer.Option("--precision", metavar="f32,int8", help="Number types; default: the network's own.")
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", help="Rounds in which the runtimes take turns.")] = 20,
    target: TargetOption = None,
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
            open_named(model, weights=weights).graph,
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
    precision: Annotated[
        str | None, typer.Option("--precision", metavar="f32|int8", help="Number types; default: the network's own.")
    ] = None,
    ram: RamOption = None,
    threads: Annotated[
        int, typer.Option("--threads", metavar="N", help="Threads; clocks are read on thread 0 only.")
    ] = 1,
    runs: Annotated[
        int | None, typer.Option("--runs", help="Inferences to measure; default: for four seconds.")
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="FILE.svg", help="Write a bar chart.")] = None,
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
