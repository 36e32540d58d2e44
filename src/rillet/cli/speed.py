"""Commands that measure time on this machine: bench, profile."""

from pathlib import Path
from typing import Annotated

import typer

from rillet.cli.app import (
    CsvOption,
    JsonOption,
    LiveOption,
    MarkdownOption,
    ModelArgument,
    Progress,
    WeightsOption,
    app,
    make_console,
    one_form,
    open_named,
    print_json,
    status,
    warn,
    write,
)
from rillet.cli.streams import RamOption


@app.command()
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
    live: LiveOption = False,
    weights: WeightsOption = None,
    csv: CsvOption = False,
    markdown: MarkdownOption = False,
    json_output: JsonOption = False,
) -> None:
    """Benchmarks Rillet against other runtimes, taking turns, each under its own best settings (docs/bench.md)."""
    from rillet.api import measuring
    from rillet.report import bench as report
    from rillet.report import tables

    one_form(csv, markdown, json_output)
    counts = measuring.thread_counts(threads)
    with Progress("measuring", 1, json_output) as advance:
        found = measuring.bench(
            open_named(model, weights=weights, live=live).graph,
            against,
            threads=counts,
            precisions=precision.split(",") if precision is not None else None,
            rounds=rounds,
            progress=advance,
        )
    if json_output:
        for sentence in report.refusals(found):
            warn(sentence)
        print_json(report.records(found))
    else:
        tables.write(make_console(), report.table(found), csv=csv, markdown=markdown)


@app.command()
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
    csv: CsvOption = False,
    markdown: MarkdownOption = False,
    json_output: JsonOption = False,
) -> None:
    """Measures the time of each layer, beside the measured peak of this machine (docs/bench.md)."""
    from rillet.api import measuring
    from rillet.report import profile as report
    from rillet.report import tables

    one_form(csv, markdown, json_output)
    graph = open_named(model, weights=weights).graph
    with status(f"building and running {graph.name}"):
        found = measuring.profile(graph, precision=precision, ram=ram, threads=threads, runs=runs)
    if out is not None:
        write(out, report.svg(found))
    if json_output:
        print_json(report.record(found))
    else:
        tables.write(make_console(), report.table(found), csv=csv, markdown=markdown)
