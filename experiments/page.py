"""Writes docs/experiments.md from the records of experiments and the numbers that the sources print.

usage: python experiments/page.py [--check]
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from run import HERE, RECORDS, experiments

from rillet.analyses.count import count
from rillet.analyses.systolic import systolic
from rillet.models.opening import open_model
from rillet.system.checksums import read_record
from rillet.system.files import write_file

PAGE = HERE.parent / "docs" / "experiments.md"
HEAD = """# Experiments

What the sources trained, trained here. Written by `python experiments/page.py` out of `experiments/records/`, which
`python experiments/run.py NAME --data cifar10:DIR` writes by Rillet's own commands; a record has the commands, the
machine, the day, and each epoch. Top-1 is that of the best epoch's network on all 10,000 test images of CIFAR-10, by
the emitted C program. The best epoch is chosen on the test images, as the sources do, which flatters it a little, but
where "chosen on pictures held back" is said: these are of the training part, and the test images are seen once.
Networks that take hours are kept in `experiments/trained/`, and further experiments go on from there: `rillet evaluate
experiments/trained/squeezenet_distilled.rlt --data cifar10:DIR` measures such a one again.
A dash has not been run yet. Where the pictures come from: [train.md](train.md).
"""
Record = dict[str, Any]


def text(records: dict[str, Record], known: dict[str, Record]) -> str:
    parts = [HEAD]
    parts += ["\n## Notes on MicroBotNet\n\n", *printed(records, known)]
    parts += ["\n## FuSeConv\n\n", *fuse(records, known)]
    parts += ["\n## int8 after training and in training\n\n", *int8(records, known)]
    parts += ["\n## Deep compression\n\n", *compressed(records, known)]
    parts += ["\n## Runs\n\n", *runs(records)]
    return "".join(parts)


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(heads)
    lines = [names, ["---", "---", *["---:"] * (len(names) - 2)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


def result(records: dict[str, Record], name: str, key: str = "top1") -> float | None:
    return records[name]["results"].get(key) if name in records else None


def printed(records: dict[str, Record], known: dict[str, Record]) -> list[str]:
    rows: list[list[str]] = []
    notes: list[str] = []
    for name, found in known.items():
        for key, of, what in (("printed", "top1", ""), ("printed_signs", "signs_top1", ", by their signs alone")):
            if key in found:
                value, source = found[key]
                rows.append([found["about"] + what, f"`{name}`", f"{value:g}", share(result(records, name, of))])
                if source:
                    notes.append(f"- {found['about']}: {value:g} is {source}.\n")
    return [table(["network", "experiment", "printed, %", "here, %"], rows), "\n", *notes]


def fuse(records: dict[str, Record], known: dict[str, Record]) -> list[str]:
    rows: list[list[str]] = []
    baseline = 0
    for name, found in known.items():
        if "cycles" not in found:
            continue
        graph = open_model(found["model"]).graph
        cycles = systolic(graph, rows=64, columns=64, convention="fuse", hardware=found["cycles"]).cycles
        baseline = baseline or cycles
        numbers = [f"{value:,}" for value in (graph.macs, count(graph).params, cycles)]
        rows.append([found["about"], f"`{name}`", share(result(records, name)), *numbers, f"{baseline / cycles:.2f}x"])
    heads = ["variant", "experiment", "top-1, %", "MACs", "parameters", "cycles", "speedup"]
    after = (
        "\nMobileNetV2 x0.35 on CIFAR-10 upscaled to 64 pixels, one recipe for all (`experiments/recipes/fuse.toml`),\n"
        "of as many epochs as the table of runs says. "
        "Cycles: one\nimage on a 64x64 array by the source's model, the baseline on a plain array, the variants on one "
        "that broadcasts to its rows.\n"
    )
    return [table(heads, rows), after]


def int8(records: dict[str, Record], known: dict[str, Record]) -> list[str]:
    rows = [
        [
            found["about"],
            f"`{name}`",
            *(share(result(records, name, key)) for key in ("float_top1", "post_training_top1", "top1")),
        ]
        for name, found in known.items()
        if "rounding" in found
    ]
    after = (
        "\nCalibrated on 128 pictures (percentile). Training begins with such integers as epoch 0: they stay the best\n"
        "network where no epoch is better.\n"
    )
    return [table(["network", "experiment", "float, %", "after training, %", "in training, %"], rows), after]


def compressed(records: dict[str, Record], known: dict[str, Record]) -> list[str]:
    rows: list[list[str]] = []
    for name, found in known.items():
        if "bits" not in found:
            continue
        steps = records[name]["results"]["sizes"] if name in records else [{}]
        for step in steps:
            keys = ("dense_bytes", "packed_bytes", "coded_bytes")
            sizes = [f"{step[key]:,}" if key in step else "-" for key in keys]
            what = f"{found['about']}: {step['step']}" if name in records else found["about"]
            if step.get("step", "").startswith("pruned"):
                # Records from before this was written were all of the recipe `prune`.
                what += f", {100 * records[name]['results'].get('sparsity', 0.6):g} % of weights"
            rows.append([what, f"`{name}`", share(step.get("top1")), *sizes])
    after = "\nPruned: that share of each layer of more than 1000 weights. Sizes: [compression.md](compression.md).\n"
    return [table(["network", "experiment", "top-1, %", "dense bytes", "packed", "coded"], rows), after]


def runs(records: dict[str, Record]) -> list[str]:
    if not records:
        return ["None yet.\n"]
    rows = [
        [
            f"`{name}`",
            record["start"],
            f"`{record['recipe']}`",
            f"{record['budget']['epochs']}",
            f"{record['budget']['training_seconds']:,}",
            f"{record['budget']['processes']} x {record['budget']['threads']}",
            f"{record['machine']['cpu']}" if record["device"] == "cpu" else record["device"],
            record["machine"]["date"],
        ]
        for name, record in records.items()
    ]
    heads = ["experiment", "begins with", "recipe", "epochs", "seconds of training", "processes x threads", "on", "day"]
    return [table(heads, rows)]


def written() -> str:
    known = experiments()
    places = {name: RECORDS / f"{name}.json" for name in known}
    return text({name: opened(at) for name, at in places.items() if at.exists()}, known)


def opened(path: Path) -> Record:
    found, checked = read_record(path)
    if not checked:
        print(f"{path}: has no checksum, being older: taken as it is", file=sys.stderr)
    return found


def main() -> None:
    if sys.argv[1:] == ["--check"]:
        raise SystemExit(0 if PAGE.read_text() == written() else f"{PAGE}: must be what experiments/page.py writes")
    write_file(PAGE, written().encode())


if __name__ == "__main__":
    main()
