"""Runs an experiment of the sources by Rillet's own commands, and writes down what came of it.

usage: python experiments/run.py NAME --data DATA [--epochs N] [--weights FILE] [--runs FOLDER] [TRAIN OPTIONS]

NAME is one of experiments/list.toml. Every command is printed before it runs. A run that was cut off goes on when the
same line is said again. One that goes on from another's network takes that of the runs, else the one that is kept in
experiments/trained. The record goes to experiments/records/NAME.json, the epochs to NAME.csv beside it.
--weights FILE begins with a checkpoint instead of the network of the experiment that this one goes on from; what is not
known here (--threads, --processes, --limit) goes to `rillet train`.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import time
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rillet.bench.machine import machine
from rillet.system.checksums import read_record, record_text
from rillet.system.files import write_file
from rillet.train.checkpoint import load
from rillet.train.recipe import find
from rillet.train.records import Row, row, to_csv

HERE = Path(__file__).parent
RECORDS = HERE / "records"
TRAINED = HERE / "trained"
"""Networks that other experiments go on from where they were not trained again: NAME.rlt."""


def experiments() -> dict[str, dict[str, Any]]:
    return tomllib.loads((HERE / "list.toml").read_text())


def rillet(words: list[str], said: list[str]) -> str:
    """Runs a command, whose errors are seen; its standard output."""
    line = "rillet " + " ".join(words).replace(f"{HERE.parent}/", "")
    said.append(line)
    print(f"$ {line}", flush=True)
    done = subprocess.run([sys.executable, "-m", "rillet", *words], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)
    return done.stdout


def top1(model: Path, data: str, limit: list[str], said: list[str]) -> float:
    """On the test part, by the emitted C program."""
    return json.loads(rillet(["evaluate", str(model), "--data", data, *limit, "--json"], said))["top1"]


def first(name: str, found: dict[str, Any], weights: Path | None, runs: Path, said: list[str]) -> tuple[list[str], str]:
    """The model that a run begins with, as words of a command, and where it comes from."""
    if weights is not None:
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()[:16]
        return [found["model"], "--weights", str(weights)], f"{weights.name} (sha256 {digest})"
    if "dequantized" in found:
        made = runs / f"{name}_start.rlt"
        runs.mkdir(parents=True, exist_ok=True)
        rillet(["convert", found["dequantized"], "--dequantize", "-o", str(made)], said)
        return [str(made)], f"{found['dequantized']}, dequantised"
    if "start" not in found:
        return [found["model"]], "nothing"
    best = runs / found["start"] / "best.rlt"
    kept = TRAINED / f"{found['start']}.rlt"
    if not best.exists() and kept.exists():
        return [str(kept)], found["start"]
    if not best.exists():
        raise SystemExit(f"{name}: must have {best}: run {found['start']} first, or say --weights FILE")
    return [str(best)], found["start"]


def epochs(out: Path) -> list[Row]:
    """The log of a run, from its checkpoint, whose checksum is checked."""
    found = load(out)
    if found is None:
        raise SystemExit(f"{out}: must have a checkpoint")
    return [row(one) for one in found[1]["rows"]]


def measured(found: dict[str, Any], begin: list[str], out: Path, data: str, said: list[str]) -> dict[str, Any]:
    """What is known once the network is trained."""
    best, results = out / "best.rlt", dict[str, Any]()
    results["top1"] = top1(best, data, [], said)
    count = json.loads(rillet(["count", str(best), "--json"], said))
    results |= {key: count[key] for key in ("macs", "params", "weight_bytes")}
    if (out / "signs.rlt").exists():
        results["signs_top1"] = top1(out / "signs.rlt", data, [], said)
    if "rounding" in found:
        words = ["quantize", *begin, "--data", data, "--rounding", found["rounding"], "--evaluate", "--json"]
        after = json.loads(rillet(words, said))
        results |= {"float_top1": after["float_top1"], "post_training_top1": after["top1"]}
    if "bits" in found:
        pruned = find(str(out / "recipe.toml")).prune
        assert pruned is not None
        results["sizes"] = sizes(begin, best, pruned.sparsity, found["bits"], data, said)
        results["sparsity"] = pruned.sparsity
    return results


def sizes(begin: list[str], best: Path, sparsity: float, bits: int, data: str, said: list[str]) -> list[dict[str, Any]]:
    """Top-1 and bytes after each step of deep compression."""
    steps = [
        ("as trained", begin, []),
        ("pruned, not retrained", begin, ["--sparsity", f"{sparsity:g}"]),
        ("pruned and retrained", [str(best)], []),
        (f"shared, {bits} bits", [str(best)], ["--index-bits", str(bits)]),
    ]
    rows: list[dict[str, Any]] = []
    for step, model, more in steps:
        made = json.loads(rillet(["compress", *model, *more, "--data", data, "--json"], said))
        sums = {key: made[key] for key in ("top1", "dense_bytes", "packed_bytes", "coded_bytes")}
        rows.append({"step": step, **sums})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(usage=(__doc__ or "").partition("usage: ")[2].partition("\n")[0])
    known = experiments()
    parser.add_argument("name", choices=list(known))
    parser.add_argument("--data", required=True)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--records", type=Path, default=RECORDS)
    options, more = parser.parse_known_args()
    found, out, said = known[options.name], options.runs / options.name, list[str]()
    begin, origin = first(options.name, found, options.weights, options.runs, said)
    recipe = found["recipe"]
    recipe = str(HERE.parent / recipe) if recipe.endswith(".toml") else recipe
    words = ["train", *begin, "--data", options.data, "--recipe", recipe, "--out", str(out), "--resume", *more]
    started = time.time()
    print(rillet([*words, *(["--epochs", str(options.epochs)] if options.epochs else [])], said), end="", flush=True)
    results = measured(found, begin, out, options.data, said)
    rows, (run, _) = epochs(out), read_record(out / "run.json")
    budget = {
        "epochs": len(rows),
        "steps": rows[-1].step,
        "training_seconds": round(sum(row.seconds for row in rows)),
        "processes": run["processes"],
        "threads": run["threads"],
    }
    record = {
        "name": options.name,
        "model": found["model"],
        "start": origin,
        "recipe": found["recipe"],
        "data": run["data"],
        "budget": budget,
        "results": results,
        "seconds": round(time.time() - started),
        "device": run["device"],
        "torch": run["torch"],
        "machine": asdict(machine()),
        "commands": said,
    }
    options.records.mkdir(parents=True, exist_ok=True)
    write_file(options.records / f"{options.name}.csv", to_csv(rows).encode())
    write_file(options.records / f"{options.name}.json", record_text(record).encode())
    print(f"{options.records / options.name}.json: top-1 {results['top1']:.2%}; python experiments/page.py")


if __name__ == "__main__":
    main()
