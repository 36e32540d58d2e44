"""Commands that measure time on this machine: bench, profile."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rillet.api.networks import with_weights
from rillet.cli.app import (
    CsvOption,
    JsonOption,
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
from rillet.errors import GraphError
from rillet.system.quantities import parse_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rillet.bench.peers import Peer
    from rillet.bench.peers.files import TorchScript


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
    weights: WeightsOption = None,
    csv: CsvOption = False,
    markdown: MarkdownOption = False,
    json_output: JsonOption = False,
) -> None:
    """Benchmarks Rillet against other runtimes, taking turns, each under its own best settings (docs/bench.md)."""
    from rillet.bench.peers import find
    from rillet.bench.peers.files import Given
    from rillet.bench.rounds import bench as measure
    from rillet.report import bench as report
    from rillet.report import tables

    one_form(csv, markdown, json_output)
    peers, counts = find(against), _counts(threads)
    opened = open_named(model, weights=weights)
    given = Given(opened.path, opened.imported.input_order) if opened.path and opened.imported else None
    with Progress("measuring", 1, json_output) as advance:
        found = measure(
            with_weights(opened.graph),
            peers,
            threads=counts,
            precisions=precision.split(",") if precision is not None else None,
            rounds=rounds,
            given=given,
            torch_script=_torch_script(peers),
            progress=advance,
        )
    if json_output:
        for sentence in report.refusals(found):
            warn(sentence)
        print_json(report.records(found))
    else:
        tables.write(make_console(), report.table(found), csv=csv, markdown=markdown)


def _counts(text: str) -> tuple[int, ...]:
    """Numbers of threads from `1,2`; raises GraphError for anything else."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and len(word) < 10 for word in words):
        raise GraphError(f"--threads must be whole numbers with commas between, as 1,2, got {text!r}")
    return tuple(dict.fromkeys(int(word) for word in words))


def _torch_script(peers: "Sequence[Peer]") -> "TorchScript | None":
    """What writes PyTorch's file, imported only where PyTorch runs."""
    if all(peer.name != "torch" for peer in peers):
        return None
    from rillet.train.infer import torch_script

    return torch_script


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
    from rillet.bench.peers import ours
    from rillet.bench.profile import profile as measure
    from rillet.bench.rounds import forms
    from rillet.report import profile as report
    from rillet.report import tables

    one_form(csv, markdown, json_output)
    graph = with_weights(open_named(model, weights=weights).graph)
    (form,) = forms(graph, None if precision is None else (precision,)).values()
    made = ours.plan(form, None if ram is None else parse_size(ram, "--ram"), threads)
    with status(f"building and running {graph.name}"):
        found = measure(made, runs)
    if out is not None:
        write(out, report.svg(found))
    if json_output:
        print_json(report.record(found))
    else:
        tables.write(make_console(), report.table(found), csv=csv, markdown=markdown)
