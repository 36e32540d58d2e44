"""Prints where the time of a training step goes: pictures, teacher, forward, backward, optimiser and average.

usage: python bench/training.py [MODEL[@SIDE] ...] [--batch N] [--steps N] [--precision f32|bf16]

Milliseconds of a processor (so that other work on the machine counts little) for a batch, each the median over steps,
by one thread; and the pictures a second that a step alone makes. Pictures are noise of 32 pixels; MODEL is brought to
SIDE pixels.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from rillet.data.datasets import Dataset
from rillet.data.images import contract
from rillet.models.opening import open_model
from rillet.train import start
from rillet.train.augment import Draws, augmented
from rillet.train.data import Batch
from rillet.train.inputs import to_input
from rillet.train.losses import batch_loss
from rillet.train.modules import to_module
from rillet.train.optim import Average, make_optimizer, set_rate
from rillet.train.recipe import Augment, Recipe, find
from rillet.train.recipe import Average as Averaged
from rillet.train.teacher import Teacher
from rillet.train.tuning import keep_memory

MODELS = ("microbotnet:width=0.32@32", "mobilenet_v2:classes=10@96")
TEACHER = "hub:mobilenet_v2_cifar10"
SIDE, CLASSES = 32, 10
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
STRONG = Augment(flip=True, pad=4, randaugment=2, magnitude=9, erase=0.25, mixup=0.2, cutmix=1.0)


def noise(count: int) -> Dataset:
    draw = np.random.default_rng(0)
    stored = draw.integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)
    labels = draw.integers(0, CLASSES, count)
    names = tuple(f"class {i}" for i in range(CLASSES))
    return Dataset("noise", names, labels, lambda index, _: stored[index], stored)


def median_ms(parts: list[list[float]]) -> list[float]:
    """Of each part over steps; the first steps make memory and are left out."""
    return [float(np.median(part[2:])) * 1e3 for part in zip(*parts, strict=True)]


def timed(function: Callable[[], object], steps: int) -> float:
    parts: list[list[float]] = []
    for _ in range(steps + 2):
        before = time.process_time()
        function()
        parts.append([time.process_time() - before])
    return median_ms(parts)[0]


def step_parts(model: str, side: int, said: argparse.Namespace, recipe: Recipe) -> list[float]:
    data = noise(said.batch)
    assert data.stored is not None
    upscaled = replace(recipe, run=replace(recipe.run, upscale=side))
    graph = start.started(open_model(model).graph, data, upscaled, 0)
    layout = torch.channels_last
    module = to_module(graph).to(memory_format=layout).train()  # pyright: ignore[reportCallIssue]
    optimizer, average = make_optimizer(module, recipe.optimizer), Average(module, 0.999)
    set_rate(optimizer, 0.01)
    batch, parts = Batch(data.stored, data.labels), list[list[float]]()
    dtype = DTYPES[said.precision]
    for _ in range(said.steps + 2):
        times = [time.process_time()]
        image = to_input(data.stored, contract(graph), torch.device("cpu"), layout)
        with torch.autocast("cpu", dtype, enabled=dtype is not torch.float32):
            made = module(image)
        loss = batch_loss(made.float(), batch, recipe)
        times.append(time.process_time())
        optimizer.zero_grad()
        loss.backward()
        times.append(time.process_time())
        optimizer.step()
        times.append(time.process_time())
        average.update(module)
        times.append(time.process_time())
        parts.append(list(np.diff(times)))
    return median_ms(parts)


def main() -> None:
    parser = argparse.ArgumentParser(usage=(__doc__ or "").partition("usage: ")[2].partition("\n")[0])
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--precision", choices=DTYPES, default="f32")
    said = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    recipe = replace(find("cifar"), average=Averaged(0.999))
    data, draws = noise(said.batch), Draws(0, 0, 0, said.batch, slice(0, said.batch))
    stored = np.array(data.stored, np.uint8)
    print(f"crops and mirror images      {timed(lambda: augmented(stored, recipe.augment, draws), said.steps):8.2f} ms")
    print(f"all of [augment]             {timed(lambda: augmented(stored, STRONG, draws), said.steps):8.2f} ms")
    teacher = Teacher(open_model(TEACHER).graph, data)
    print(f"teacher, {TEACHER[4:]}{timed(lambda: teacher(stored), said.steps):9.2f} ms")
    for name in said.models:
        model, _, side = name.partition("@")
        parts = step_parts(model, int(side or 0), said, recipe)
        words = zip(("forward", "backward", "optimiser", "average"), parts, strict=True)
        listed = ", ".join(f"{word} {ms:.1f}" for word, ms in words)
        print(f"{name}, {said.precision}: {listed} ms; {said.batch / sum(parts) * 1e3:,.0f} pictures a second")


if __name__ == "__main__":
    main()
