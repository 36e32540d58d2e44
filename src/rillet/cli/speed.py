"""Commands that measure time on this machine, or count instructions on a board's emulated core: bench, profile."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rillet.cli.app import (
    LiveOption,
    ModelArgument,
    Progress,
    WeightsOption,
    open_named,
    shared,
    warn,
    write,
)
from rillet.cli.forms import Form, command
from rillet.cli.options import TargetOption
from rillet.cli.streams import ObjectiveOption, RamOption

if TYPE_CHECKING:
    from rillet.api.measuring import Bench, BoardBench, PageBench

RuntimesOption = Annotated[
    str | None,
    shared(
        "--against",
        here="Several with commas: onnxruntime, openvino, litert, ncnn, torch; for wasm "
        "onnxruntime-web, @litertjs/core, @tensorflow/tfjs-tflite; by default all that are installed.",
        metavar="NAME,NAME",
    ),
]
CountsOption = Annotated[str | None, shared("--threads", here="Several counts with commas, as 1,2.", metavar="N,N")]
BatchesOption = Annotated[
    str | None,
    shared("--batch", here="Of a call; several with commas, as 1,16; default: 1.", metavar="N,N"),
]
RoundsOption = Annotated[
    int | None, typer.Option("--rounds", help="Rounds in which the runtimes take turns; default: 20.")
]


@command
def bench(
    model: ModelArgument,
    against: RuntimesOption = None,
    threads: CountsOption = None,
    precision: Annotated[str | None, shared("--precision", metavar="f32,bf16,int8")] = None,
    batch: BatchesOption = None,
    rounds: RoundsOption = None,
    target: TargetOption = None,
    live: LiveOption = False,
    weights: WeightsOption = None,
    *,
    form: Form,
) -> None:
    """Benchmarks Rillet against other runtimes, taking turns, each under its own best settings (docs/bench.md).

    For a board: its plans for memory and for time, with and without live channels, on its emulated core. For wasm: in
    Node, and in Chromium where one is installed, beside onnxruntime-web, @litertjs/core and
    @tensorflow/tfjs-tflite where npm has them (docs/browser.md).
    """
    from rillet.api import measuring

    counts = None if threads is None else measuring.counts(threads)
    batches = None if batch is None else measuring.counts(batch, "--batch")
    with Progress("measuring", 1, form.json) as advance:
        found = measuring.bench(
            open_named(model, weights=weights, live=live).graph,
            against,
            threads=counts,
            precisions=precision.split(",") if precision is not None else None,
            batches=batches,
            rounds=rounds,
            target=target,
            progress=advance,
        )
    _show(found, form)


def _show(found: "Bench | BoardBench | PageBench", form: Form) -> None:
    """The table of a benchmark, or its records."""
    from rillet.api import measuring
    from rillet.report import bench as report
    from rillet.report import boards, browser, tables

    match found:
        case measuring.BoardBench():
            form.show(lambda: boards.bench_records(found), lambda c: tables.write(c, boards.bench_table(found)))
        case measuring.PageBench():
            form.show(lambda: browser.records(found), lambda c: tables.write(c, browser.table(found)))
        case measuring.Bench():
            for sentence in () if form.text else report.refusals(found):
                warn(sentence)
            form.show(lambda: report.records(found), lambda c: tables.write(c, report.table(found)))


@command
def profile(
    model: ModelArgument,
    precision: Annotated[str | None, shared("--precision", metavar="f32|bf16|int8")] = None,
    ram: RamOption = None,
    threads: Annotated[int | None, shared("--threads", here="Clocks are read on thread 0 only.", metavar="N")] = None,
    runs: Annotated[
        int | None, typer.Option("--runs", help="Inferences to measure; default: for four seconds.")
    ] = None,
    out: Annotated[Path | None, shared("-o", "--out", here="A bar chart.", metavar="FILE.svg")] = None,
    objective: ObjectiveOption = None,
    target: TargetOption = None,
    live: LiveOption = False,
    weights: WeightsOption = None,
    *,
    form: Form,
) -> None:
    """Measures the time of each layer, beside the measured peak of this machine (docs/bench.md).

    For a board: counts the instructions of each layer on its emulated core (docs/cortex_m.md).
    """
    from rillet.api import measuring
    from rillet.report import boards, tables
    from rillet.report import profile as report

    measuring.no_chart(target, out)
    graph = open_named(model, weights=weights, live=live).graph
    result = measuring.profile(
        graph, precision=precision, ram=ram, threads=threads, runs=runs, target=target, objective=objective
    )
    if isinstance(result, measuring.BoardProfile):
        counted = result
        form.show(
            lambda: boards.profile_record(counted), lambda console: tables.write(console, boards.profile_table(counted))
        )
        return
    found = result
    if out is not None:
        write(out, report.svg(found))
    form.show(lambda: report.record(found), lambda console: tables.write(console, report.table(found)))
