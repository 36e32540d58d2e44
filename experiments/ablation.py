"""What each part of a recipe gives at a small budget: the same network, pictures and seed, one thing more at a time.

usage: python experiments/ablation.py --data DATA [--epochs N] [--limit N] [--seed N] [--runs FOLDER] [--only NAME,...]

Trains MicroBotNet x0.32 by the recipe `cifar` and by that with one change, by Rillet's own commands, each on the same
training pictures, 5,000 others choosing the best epoch; asks the best network of each on the test part, by the emitted
C, and prints a table. What was cut off goes on when the same line is said again. The records stay in FOLDER.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rillet.system.files import write_file
from rillet.train import recipe as recipes
from rillet.train.recipe import Average, Distill, Loss, Recipe

MODEL, RECIPE, HELD_BACK = "microbotnet:width=0.32", "cifar", "5000"
TEACHER = "hub:mobilenet_v2_cifar10"


def augmented(**more: float) -> Callable[[Recipe], Recipe]:
    """With more augmentation."""
    return lambda said: replace(said, augment=replace(said.augment, **more))


def distilled(weight: float, temperature: float) -> Callable[[Recipe], Recipe]:
    """With a teacher."""
    return lambda said: replace(said, distill=Distill(TEACHER, weight, temperature))


CHANGES: dict[str, tuple[str, Callable[[Recipe], Recipe]]] = {
    "plain": ("the recipe `cifar`", lambda said: said),
    "average": ("`[average] decay = 0.999`", lambda said: replace(said, average=Average(0.999))),
    "smoothing": ("`[loss] label_smoothing = 0.1`", lambda said: replace(said, loss=Loss(0.1))),
    "decay": (
        "`weight_decay = 1e-4`, of weights alone",
        lambda said: replace(said, optimizer=replace(said.optimizer, weight_decay=1e-4, decay_vectors=False)),
    ),
    "mixup": ("`[augment] mixup = 0.2`", augmented(mixup=0.2)),
    "cutmix": ("`[augment] cutmix = 1.0`", augmented(cutmix=1.0)),
    "randaugment": ("`[augment] randaugment = 1, magnitude = 5`", augmented(randaugment=1, magnitude=5)),
    "erase": ("`[augment] erase = 0.25`", augmented(erase=0.25)),
    "distill": ("`--teacher hub:mobilenet_v2_cifar10`, temperature 4", distilled(0.9, 4.0)),
    "distill2": ("the same teacher, temperature 2", distilled(0.9, 2.0)),
}


def rillet(*words: str) -> str:
    print(f"$ rillet {' '.join(words)}", file=sys.stderr, flush=True)
    done = subprocess.run([sys.executable, "-m", "rillet", *words], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(usage=(__doc__ or "").partition("usage: ")[2].partition("\n")[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--epochs", default="10")
    parser.add_argument("--limit")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--runs", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--only", default=",".join(CHANGES))
    said = parser.parse_args()
    rows: list[tuple[str, float, float]] = []
    for name in said.only.split(","):
        about, change = CHANGES[name]
        out: Path = said.runs / name
        out.parent.mkdir(parents=True, exist_ok=True)
        path = said.runs / f"{name}.toml"
        write_file(path, recipes.to_toml(change(recipes.find(RECIPE))).encode())
        part = ["--limit", said.limit] if said.limit else []
        words = ["train", MODEL, "--data", said.data, "--recipe", str(path), "--epochs", said.epochs, *part]
        words += ["--held-back", HELD_BACK, "--seed", said.seed, "--threads", "1", "--out", str(out), "--resume"]
        trained = json.loads(rillet(*words, "--json"))
        found = json.loads(rillet("evaluate", str(out / "best.rlt"), "--data", said.data, "--json"))
        rows.append((about, trained["best_top1"], found["top1"]))
        print(f"{name}: {found['top1']:.2%}", file=sys.stderr, flush=True)
    print("| one change | held back, % | test part by C, % | gain |\n|---|---:|---:|---:|")
    for about, held, test in rows:
        print(f"| {about} | {100 * held:.2f} | {100 * test:.2f} | {100 * (test - rows[0][2]):+.2f} |")


if __name__ == "__main__":
    main()
