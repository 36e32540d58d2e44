"""Compares what a search found with networks of the zoo, by Rillet's own commands, and writes down what came of it.

usage: python experiments/search.py winner|front|answer|network|full RUN [--epochs N] [--seeds N,...] [OPTIONS]

winner: trains the network that the search in RUN answered with and its peers anew, on the whole training part, and
prints their top-1 as the emitted C has it in int8, after the last epoch. Rows of peers that the record has already
stay, with the date of their machine.
front: trains networks of the zoo as the search did its own for N epochs, and prints the hypervolume of both fronts, of
as many networks each: the area of top-1 over log2 of MACs that they dominate,
above chance and below twice the most MACs of all.
answer: writes down what the search itself came to.
network: RUN is the record of an answer: writes its network, untrained, to runs/KEY.rlt.
full: RUN is the record of an answer: trains that network anew by the whole recipe.
What was cut off goes on when the same line is said again. The record goes to experiments/records/search_NAME.json.
"""

import argparse
import json
import re
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from run import RECORDS, epochs, rillet

from rillet.api.networks import save
from rillet.bench.machine import machine
from rillet.errors import GraphError
from rillet.ir.text import print_graph
from rillet.models.opening import open_model
from rillet.search import run as searches
from rillet.search.funnel import Costed
from rillet.search.halving import hypervolume
from rillet.search.space import from_genes
from rillet.search.study import Study
from rillet.search.task import Task
from rillet.search.task import run as train
from rillet.system.checksums import read_record, record_text
from rillet.system.files import write_file
from rillet.train.recipe import find

RECIPE = "cifar"
PEER = "microbotnet:width=0.32"
_SMALL = "classes=10,resolution=32"
GRID = (
    *(f"microbotnet:width={width}" for width in (0.25, 0.32, 0.5)),
    *(f"{name}:width=0.35,{_SMALL}" for name in ("mobilenet_v2", "mobilenet_v3_small")),
)


def winner(options: argparse.Namespace, said: list[str]) -> dict[str, Any]:
    """The answer and its peers, trained alike: a row a network and seed."""
    found, place = searches.read(options.run), options.runs
    if found.best is None:
        raise SystemExit(f"{options.run}: must be a search that has ended")
    place.mkdir(parents=True, exist_ok=True)
    mine = place / f"{found.best.key}.rlt"
    rillet(["search", "show", str(options.run), "--network", found.best.key, "-o", str(mine)], said)
    rows = _known(options, said)
    had = {(row["network"], row["seed"]) for row in rows}
    for model in (str(mine), *options.against):
        seeds = [seed for seed in options.seeds if (model, seed) not in had]
        count = json.loads(rillet(["count", model, "--json"], said)) if seeds else {}
        for seed in seeds:
            name = found.best.key if model == str(mine) else model
            rows.append(trained(model, name, found.data, count, seed, options, said))
    return {"rows": rows, "search": found.to_dict()["answer"]}


def trained(
    model: str, name: str, data: str, count: dict[str, Any], seed: int, options: argparse.Namespace, said: list[str]
) -> dict[str, Any]:
    """The row of a network that is trained by the recipe on the whole training part: top-1 after the last epoch."""
    out = options.runs / f"{re.sub('[^a-z0-9.]', '_', Path(model).name.removesuffix('.rlt'))}-{options.epochs}-{seed}"
    how = ["--recipe", RECIPE, "--epochs", str(options.epochs), "--seed", str(seed), "--threads", "1"]
    rillet(["train", model, "--data", data, *how, "--resume", "--out", str(out)], said)
    whole = out / "int8.rlt"
    top1 = json.loads(rillet(["evaluate", str(out / "last.rlt"), "--data", data, "--json"], said))["top1"]
    rillet(["quantize", str(out / "last.rlt"), "--data", data, "-o", str(whole)], said)
    int8 = json.loads(rillet(["evaluate", str(whole), "--data", data, "--json"], said))["top1"]
    plan = json.loads(rillet(["plan", str(whole), "--json"], said))
    counts = {"macs": count["macs"], "params": count["params"], "ram_bytes": plan["arena_bytes"]}
    print(f"{name}, seed {seed}: {int8:.2%} in int8 after {options.epochs} epochs ({top1:.2%} in float)", flush=True)
    row = {"network": name, "seed": seed, "epochs": options.epochs, "top1": int8, "float_top1": top1, **counts}
    return {**row, "training_seconds": round(sum(epoch.seconds for epoch in epochs(out)))}


def full(options: argparse.Namespace, said: list[str]) -> dict[str, Any]:
    """The network of a record's search, trained for all epochs of the recipe where no fewer are given."""
    path = str(network(options))
    count = json.loads(rillet(["count", path, "--json"], said))
    rows = [trained(path, Path(path).stem, options.data, count, seed, options, said) for seed in options.seeds]
    return {"rows": rows}


def record_of(options: argparse.Namespace) -> Path:
    """Where what came of it is written, by the name of the run."""
    name = options.run.name.removesuffix(".json").removeprefix("search_answer_")
    return options.records / f"search_{options.what}_{name}.json"


def _known(options: argparse.Namespace, said: list[str]) -> list[dict[str, Any]]:
    """What the record has of the peers, trained for as many epochs; its commands are added to what was said."""
    path = record_of(options)
    if not path.exists():
        return []
    before, _ = read_record(path)
    rows = [
        {"machine": before["machine"]["date"], **row}
        for row in before["rows"]
        if row["network"] in options.against and row["epochs"] == options.epochs and row["seed"] in options.seeds
    ]
    if rows:
        said += [f"# {before['machine']['date']}", *before["commands"]]
    return rows


def front(options: argparse.Namespace) -> dict[str, Any]:
    """Both fronts after as many epochs, and as many networks of either."""
    found = searches.read(options.run)
    about, _ = read_record(options.run / searches.ABOUT)
    mine = [one for one in Study(options.run).entries if one.epochs == options.epochs]
    if len(mine) < len(options.against):
        raise SystemExit(f"{options.run}: must have {len(options.against)} networks of {options.epochs} epochs")
    like = next((options.run / searches.TRAINED).glob(f"*-{options.epochs}/recipe.toml")).read_text()
    macs = {one.key: one.costs["macs"] for one in found.candidates}
    place = options.runs
    place.mkdir(parents=True, exist_ok=True)
    theirs: dict[str, tuple[float, float]] = {}
    for number, model in enumerate(options.against):
        net = open_model(model).graph
        names = (f"grid{number}", options.epochs, print_graph(net), like, found.data)
        task = Task(*names, about["limit"], found.seed, str(place))
        made = train(task)
        theirs[model] = (made.top1, net.macs)
        print(f"{model}: {made.top1:.2%} held back, {net.macs:,} MACs", flush=True)
    # The first, not the best: of a rung of more networks, the best have had more trainings.
    ours = {one.key: (one.top1, macs[one.key]) for one in mine[: len(options.against)]}
    most = 2 * max(cost for _, cost in (*ours.values(), *theirs.values()))
    sums = [hypervolume(list(some.values()), 1 / found.classes, most) for some in (ours, theirs)]
    print(f"hypervolume: {sums[0]:.4f} of the search, {sums[1]:.4f} of the zoo")
    return {
        "epochs": options.epochs,
        "limit": about["limit"],
        "search": ours,
        "zoo": theirs,
        "hypervolume": {"search": sums[0], "zoo": sums[1]},
    }


def answer(options: argparse.Namespace, commands: list[str]) -> dict[str, Any]:
    """The search's own record, of its candidates those that were trained longest."""
    said = searches.read(options.run).to_dict()
    print(said["answer"])
    last = max(one["epochs"] for one in said["candidates"])
    said["candidates"] = [one for one in said["candidates"] if one["epochs"] == last]
    said["data"] = said["data"].partition(":")[0]
    said["space"] = Path(said["space"]).name
    about, _ = read_record(options.run / searches.ABOUT)
    given = [name for name in ("candidates", "limit", "seed", "generations", "supernet") if name in about]
    numbers = " ".join(f"--{name} {about[name]}" for name in given)
    how = f'--budget "{said["budget"]}" --rungs {said["rungs"]} {numbers}'
    commands.insert(0, f"rillet search {said['space']} --data {said['data']} {how} --out {options.run}")
    return {**said, "limit": about["limit"]}


def network(options: argparse.Namespace) -> Path:
    """The file of the network that a record's search answered with, rebuilt of its choice."""
    said, _ = read_record(options.run)
    if "candidates" not in said or "answer" not in said:
        raise SystemExit(f"{options.run}: must be the record of an answer")
    one = next(one for one in said["candidates"] if one["key"] == said["answer"]["key"])
    stages = sum(name.endswith(".depth") for name in one["choice"])
    only = from_genes(said["space"], {name: [value] for name, value in one["choice"].items()}, stages)
    made = Costed(only, only.plain(one["choice"]), options.classes)
    if made.key != one["key"]:
        raise SystemExit(f"{options.run}: must be of a network of {options.classes} classes that Rillet still makes so")
    options.runs.mkdir(parents=True, exist_ok=True)
    path = options.runs / f"{made.key}.rlt"
    save(made.graph, path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(usage=(__doc__ or "").partition("usage: ")[2].partition("\n")[0])
    parser.add_argument("what", choices=("winner", "front", "answer", "network", "full"))
    parser.add_argument("run", type=Path)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seeds", type=lambda text: [int(one) for one in text.split(",")])
    parser.add_argument("--data", default="cifar10", help="full: what to train on")
    parser.add_argument("--against", nargs="+")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--records", type=Path, default=RECORDS)
    options = parser.parse_args()
    if options.what == "network":
        return print(network(options))
    options.epochs = options.epochs or (find(RECIPE).run.epochs if options.what == "full" else 30)
    options.seeds = options.seeds or ([1] if options.what == "full" else [1, 2])
    options.against = options.against or ([PEER] if options.what == "winner" else list(GRID))
    said, began = [f"python experiments/search.py {' '.join(sys.argv[1:])}"], time.time()
    match options.what:
        case "winner":
            made = winner(options, said)
        case "full":
            made = full(options, said)
        case "front":
            made = front(options)
        case _:
            made = answer(options, said)
    record = {"seconds": round(time.time() - began), **made, "machine": asdict(machine()), "commands": said}
    options.records.mkdir(parents=True, exist_ok=True)
    path = record_of(options)
    write_file(path, record_text(record).encode())
    print(path)


if __name__ == "__main__":
    try:
        main()
    except GraphError as error:
        raise SystemExit(str(error)) from None
