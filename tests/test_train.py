"""Training: it learns, the same seed is the same run, what is cut off goes on exactly, what is wrong is said."""

import csv
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import rillet
from conftest import shared_file
from rillet.data.datasets import Dataset, held_back, open_dataset, subset
from rillet.errors import BuildError, GraphError, Unsupported
from rillet.importers.rlt import load
from rillet.ir.graph import Graph
from rillet.ir.ops import BatchNorm, Softmax
from rillet.plan.rows.planner import plan_rows
from rillet.report.curve import svg
from rillet.runtime.evaluate import evaluate
from rillet.train import checkpoint, loop
from rillet.train import recipe as recipes
from rillet.train.infer import runner
from rillet.train.inputs import to_input
from rillet.train.loop import train
from rillet.train.modules import to_module
from rillet.train.optim import Average, make_optimizer, rate_at, set_rate
from rillet.train.recipe import Recipe
from rillet.train.records import Options, Row, Tick, Trained, Watch
from rillet.train.tuning import Settings, choose, keep_memory
from rillet.transforms.fold import fold
from rillet.zoo.weights import with_seeded_weights
from train_case import network, pictures, recipe

ONE = Options(threads=1)


def run(
    out: Path, said: Recipe | None = None, options: Options = ONE, graph: Graph | None = None, **more: Watch
) -> Trained:
    return train(graph or network(), pictures(), pictures(9, 1), said or recipe(), out, options, **more)


def same_files(one: Path, other: Path) -> bool:
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in (loop.BEST, loop.LAST))


def test_it_learns_and_leaves_a_folder_that_says_how(tmp_path: Path) -> None:
    ticks: list[Tick] = []
    seen: list[int] = []
    watch = Watch(ticks.append, lambda rows: seen.append(len(rows)))
    trained = run(tmp_path, recipe(epochs=12), watch=watch)
    assert trained.best_top1 == 1 and trained.rows[-1].train_loss < 0.7 * trained.rows[0].train_loss
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best.rlt", "checkpoint.pt", "last.rlt", "lock", "log.csv", "recipe.toml", "run.json",
    ]  # fmt: skip
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == list(range(1, 13)) and int(rows[-1]["step"]) == 36
    assert float(rows[-1]["judged_loss"]) == trained.rows[-1].judged_loss
    assert [tick.step for tick in ticks] == list(range(1, 37)) and seen == list(range(13))
    best = load(tmp_path / "best.rlt")
    assert best.image is not None and best.image.labels == ("a", "b", "c")
    found = evaluate(plan_rows(fold(best)), pictures(9, 1), "c")
    assert found.top1 == trained.best_top1


def test_the_same_seed_is_the_same_run_and_another_is_not(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(tmp_path / name, options=replace(ONE, seed=seed))
    assert same_files(tmp_path / "a", tmp_path / "b")
    assert not same_files(tmp_path / "a", tmp_path / "c")


OPTIMIZERS = {
    "sgd": "momentum = 0.9\nnesterov = true\nweight_decay = 1e-3",
    "rmsprop": "momentum = 0.9\nalpha = 0.9\nepsilon = 1e-3",
    "adamw": "weight_decay = 1e-2\ndecay_vectors = false",
}


class Stop(Exception):
    """Ends a run from within, as a kill does but for the process."""


def stop_at(step: int) -> Watch:
    def tick(now: Tick) -> None:
        if now.step == step:
            raise Stop

    return Watch(tick)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("more", ["", "[ternary]\nmore_than = 50\n", "[average]\ndecay = 0\n"])
def test_a_run_goes_on_exactly_from_any_step(optimizer: str, more: str, tmp_path: Path) -> None:
    said = recipe(optimizer=optimizer, keys=OPTIMIZERS[optimizer])
    if "average" in more:
        said = replace(said, average=replace(said.average, decay=0.0))
    elif more:
        said = replace(said, ternary=recipe(more).ternary)
    whole = run(tmp_path / "whole", said)
    options = replace(ONE, resume=True, save_steps=1)
    for step in (1, 3, 6, 8):  # told before the step is kept: at the start, within an epoch, at the end of one
        with pytest.raises(Stop):
            run(tmp_path / "cut", said, options, watch=stop_at(step))
    notes: list[str] = []
    last = run(tmp_path / "cut", said, options, watch=Watch(note=notes.append))
    assert notes == ["going on from step 7 of 9"]
    assert same_files(tmp_path / "whole", tmp_path / "cut")
    assert [replace(row, images_per_s=0, seconds=0) for row in last.rows] == [
        replace(row, images_per_s=0, seconds=0) for row in whole.rows
    ]
    assert run(tmp_path / "cut", said, options).rows == last.rows  # nothing is left to do


def start_case(out: Path, save_steps: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(Path(__file__).with_name("train_case.py")), str(out), str(save_steps)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_killed_process_goes_on_exactly(tmp_path: Path) -> None:
    run(tmp_path / "whole")
    step = random.randint(1, 8)
    with start_case(tmp_path / "cut", save_steps=2) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= step:
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    assert len(run(tmp_path / "cut", options=replace(ONE, resume=True)).rows) == 3
    assert same_files(tmp_path / "whole", tmp_path / "cut"), f"killed after step {step}"


@pytest.mark.slow
def test_killed_at_five_random_moments_on_real_pictures(tmp_path: Path) -> None:
    data = shared_file("cifar10/test_batch.png").parent
    words = ["train", "microbotnet:width=0.25", "--data", f"cifar10:{data}", "--epochs", "4", "--limit", "2048"]
    words += ["--threads", "1", "--save-seconds", "0.3", "--ternary", "--resume"]

    def begin(out: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "rillet", *words, "--out", str(out)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    began = time.monotonic()
    assert begin(tmp_path / "whole").wait() == 0
    longest = max(3.0, (time.monotonic() - began) / 5)
    kills, cuts = 0, [tmp_path / "cut1"]
    while kills < 5:
        process = begin(cuts[-1])
        # From the start of Python to the middle of an epoch, the writing of files included.
        time.sleep(random.uniform(2, longest))
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        assert process.returncode in (0, -signal.SIGKILL)
        if process.returncode == 0:  # it ended before its fifth: another takes the rest
            cuts.append(tmp_path / f"cut{len(cuts) + 1}")
    for cut in cuts:
        assert begin(cut).wait() == 0
        assert same_files(tmp_path / "whole", cut)
        assert (tmp_path / "whole" / "signs.rlt").read_bytes() == (cut / "signs.rlt").read_bytes()


def test_what_is_no_number_stops_it_and_the_last_good_checkpoint_stays(tmp_path: Path) -> None:
    wild = recipe(optimizer="sgd")
    wild = replace(wild, rate=replace(wild.rate, base=1e30, warmup_epochs=0.0), run=replace(wild.run, epochs=4))
    with pytest.raises(GraphError, match=r"tiny: (loss|weights) must be finite, got .* at step [1-3] \(epoch 1\)"):
        run(tmp_path, wild, replace(ONE, save_steps=1))
    found = checkpoint.load(tmp_path)
    assert found is not None and all(torch.isfinite(value).all() for value in found[1]["module"].values())


@pytest.fixture
def small_files() -> Callable[[int], None]:
    """Lets files grow to so many bytes and no further, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk(tmp_path: Path, small_files: Callable[[int], None]) -> None:
    with pytest.raises(Stop):
        run(tmp_path, options=replace(ONE, save_steps=2), watch=stop_at(4))
    before = (tmp_path / "checkpoint.pt").read_bytes()
    small_files(len(before) // 2)
    with pytest.raises(BuildError, match=r"checkpoint\.pt: cannot be written: .*; the checkpoint before it is whole"):
        run(tmp_path, options=replace(ONE, save_steps=1, resume=True))
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert not list(tmp_path.glob(".*"))


def test_two_runs_in_one_folder(tmp_path: Path) -> None:
    with checkpoint.locked(tmp_path), pytest.raises(GraphError, match="another run is writing it"):
        run(tmp_path)
    run(tmp_path)
    with pytest.raises(GraphError, match="must be a folder without a run, or say --resume"):
        run(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(BuildError, match="cannot be written"):
        run(tmp_path / "file")


def test_a_run_that_is_refused_leaves_nothing(tmp_path: Path) -> None:
    taught = recipe("[distill]\nweight = 0.5\n")
    pruned, quantized = recipe("[prune]\nsparsity = 0.5\n"), recipe("[quantize]\n")
    there = tmp_path / "there"
    there.mkdir()
    for out in (tmp_path / "new" / "run", there):
        for said, classes in ((recipe(), 4), (taught, 3), (pruned, 3), (quantized, 3)):
            with pytest.raises(GraphError):
                train(network(classes), pictures(), pictures(9, 1), said, out, ONE)
            assert [one.name for one in tmp_path.iterdir()] == ["there"], said.name
            assert not list(there.iterdir())
    (there / "notes").write_text("mine")
    with pytest.raises(GraphError):
        train(network(4), pictures(), pictures(9, 1), recipe(), there, ONE)
    assert (there / "notes").read_text() == "mine"


def test_a_checkpoint_of_something_else(tmp_path: Path) -> None:
    options = replace(ONE, resume=True)
    run(tmp_path, options=options)
    with pytest.raises(GraphError, match="must be resumed with the network it was begun with, tiny; got other"):
        run(tmp_path, options=options, graph=network().with_name("other"))
    with pytest.raises(GraphError, match="must be resumed with the seed it was begun with, 0; got 1"):
        run(tmp_path, options=replace(options, seed=1))
    shorter = replace(recipe(), run=replace(recipe().run, batch=4))
    with pytest.raises(GraphError, match=r"with the recipe it was begun with, run\.batch = 8; got run\.batch = 4$"):
        run(tmp_path, shorter, options)
    with pytest.raises(GraphError, match="must be resumed with the weights it was begun with"):
        run(tmp_path, options=options, graph=with_seeded_weights(network(), 5))
    for junk in (b"", b"junk", (tmp_path / "checkpoint.pt").read_bytes()[:-2000]):
        (tmp_path / "checkpoint.pt").write_bytes(junk)
        with pytest.raises(GraphError, match=r"checkpoint\.pt: must be a checkpoint"):
            run(tmp_path, options=options)
    torch.save({"version": 1, "identity": {}}, tmp_path / "checkpoint.pt")
    with pytest.raises(GraphError, match="must be a checkpoint of version 2"):
        run(tmp_path, options=options)
    torch.save(Path("x"), tmp_path / "checkpoint.pt")
    with pytest.raises(GraphError, match="must be a checkpoint: Weights only load failed"):
        run(tmp_path, options=options)


def test_a_run_goes_on_to_more_epochs(tmp_path: Path) -> None:
    options, notes = replace(ONE, resume=True), list[str]()
    first = run(tmp_path)
    with pytest.raises(Stop):  # the longer run is cut off as well
        run(tmp_path, recipe(epochs=5), replace(options, save_steps=1), watch=stop_at(13))
    last = run(tmp_path, recipe(epochs=5), options, watch=Watch(note=notes.append))
    assert notes[0] == "going on from step 12 of 15" and len(notes) == 1
    assert last.rows[:3] == first.rows and [row.step for row in last.rows] == [3, 6, 9, 12, 15]
    assert [row.rate for row in last.rows[3:]] == [rate_at(recipe(epochs=5), step, 3) for step in (11, 14)]
    with pytest.raises(GraphError, match="must be resumed with at least the 5 epochs that it has begun, got 4"):
        run(tmp_path, recipe(epochs=4), options)
    run(tmp_path, recipe(epochs=6), options, watch=Watch(note=notes.append))
    assert notes[-1] == (
        "to 6 epochs, where 5 were given before: from here on the learning rate is the one that the recipe has for 6"
    )


def test_a_damaged_checkpoint_is_refused_or_the_same(tmp_path: Path) -> None:
    state = {"weights": torch.arange(300.0), "step": 7, "name": "x" * 40}
    checkpoint.save(tmp_path, {"network": "tiny"}, state)
    data = (tmp_path / "checkpoint.pt").read_bytes()
    assert same(checkpoint.load(tmp_path), ({"network": "tiny"}, state, True))
    draw, refused = random.Random(0), 0
    ends = range(8 * (len(data) - 100), 8 * len(data), 5)
    for bit in (*(draw.randrange(8 * len(data)) for _ in range(300)), *ends):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        (tmp_path / "checkpoint.pt").write_bytes(broken)
        try:
            found = checkpoint.load(tmp_path)
        except GraphError:
            refused += 1
        else:
            assert found is not None and same(found[1], state), f"bit {bit}"
    assert refused > 300


def same(one: object, other: object) -> bool:
    match one, other:
        case dict(), dict():
            return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
        case tuple(), tuple():
            return len(one) == len(other) and all(map(same, one, other))
        case torch.Tensor(), torch.Tensor():
            return torch.equal(one, other)
        case _:
            return one == other


def test_an_older_checkpoint_is_taken_with_a_word(tmp_path: Path) -> None:
    run(tmp_path)
    found, notes = checkpoint.load(tmp_path), list[str]()
    assert found is not None
    torch.save({"version": 1, "identity": found[0], "state": found[1]}, tmp_path / "checkpoint.pt")
    run(tmp_path, options=replace(ONE, resume=True), watch=Watch(note=notes.append))
    assert notes[0] == f"{tmp_path / 'checkpoint.pt'}: has no checksum, being older: taken as it is"
    torch.save({"version": 2, "identity": found[0], "state": found[1]}, tmp_path / "checkpoint.pt")
    with pytest.raises(GraphError, match="must be a checkpoint with its checksum at the end: it is damaged"):
        checkpoint.load(tmp_path)


def test_networks_and_data_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match=r"tiny: must have 3 classes as bright has, got 4; say tiny:classes=3"):
        run(tmp_path, graph=network(4))
    with pytest.raises(GraphError, match="--device must be one that is there, got cuda"):
        run(tmp_path, options=replace(ONE, device="cuda"))
    graph = network()
    whole = Graph(graph.name, graph.nodes, ("stem.conv",), graph.params, graph.image)
    with pytest.raises(Unsupported, match="must end in a vector of classes"):
        run(tmp_path, graph=whole)
    nothing = pictures(0)
    with pytest.raises(GraphError, match="must have a batch of 8 pictures at least, got 0"):
        train(graph, nothing, nothing, recipe(), tmp_path, ONE)


def test_a_new_head_and_a_frozen_rest(tmp_path: Path) -> None:
    graph = with_seeded_weights(network(5), 2)
    said = replace(recipe(), start=replace(recipe().start, new_head=True, freeze=True))
    trained = run(tmp_path, said, graph=graph)
    last = load(tmp_path / "last.rlt")
    assert trained.rows[-1].train_loss < trained.rows[0].train_loss
    head = [name for name in last.params if name.startswith("head.")]
    assert head and all(last.params[name].shape[0] == 3 for name in head)
    for name, array in last.params.items():
        assert name in head or np.array_equal(array, graph.params[name]), name


def test_a_softmax_at_the_end_stays_there(tmp_path: Path) -> None:
    graph = network()
    (last,) = graph.outputs
    node = replace(graph.by_name[last], name="head.softmax", op=Softmax(), inputs=(last,))
    with_softmax = Graph("tiny", (*graph.nodes, node), (node.name,), {}, graph.image)
    run(tmp_path / "a", graph=with_softmax)
    run(tmp_path / "b")
    made, plain = load(tmp_path / "a" / "last.rlt"), load(tmp_path / "b" / "last.rlt")
    assert made.outputs == ("head.softmax",)
    assert all(np.array_equal(made.params[name], plain.params[name]) for name in plain.params)


def test_batch_norms_as_the_recipe_says(tmp_path: Path) -> None:
    said = replace(recipe(epochs=1), batch_norm=replace(recipe().batch_norm, momentum=0.0, epsilon=0.25))
    run(tmp_path, said)
    last = load(tmp_path / "last.rlt")
    norms = [node for node in last.nodes if isinstance(node.op, BatchNorm)]
    assert norms and {node.op.epsilon for node in norms} == {0.25}
    assert all((last.param(node, "mean") == 0).all() for node in norms)


def test_upscaled_pictures_and_bf16(tmp_path: Path) -> None:
    said = recipe()
    said = replace(said, run=replace(said.run, upscale=16, precision="bf16"))
    trained = run(tmp_path, said)
    last = load(tmp_path / "last.rlt")
    assert last.image is not None and last.image.detail == 8
    assert str(last.input_nodes[0].shape) == "16x16x3" and np.isfinite(trained.rows[-1].train_loss)


def test_inputs_are_those_of_evaluate() -> None:
    graph, data = network(), pictures(4)
    spec = graph.image
    assert spec is not None and data.stored is not None
    seen: list[np.ndarray] = []
    runner_of = runner(with_seeded_weights(graph))
    evaluate(
        plan_rows(fold(with_seeded_weights(graph))), data, "torch",
        torch_runner=lambda _: lambda inputs: seen.extend(inputs) or runner_of(inputs),
    )  # fmt: skip
    made = to_input(data.stored, spec, torch.device("cpu"), torch.channels_last)
    assert np.allclose(made.permute(0, 2, 3, 1).numpy(), np.stack(seen), rtol=0, atol=1e-6)


def test_broken_pictures_are_told(tmp_path: Path) -> None:
    whole = pictures()

    def pixels(index: int, _: object) -> np.ndarray:
        if index == 5:
            raise GraphError("five.png: must be an image file")
        assert whole.stored is not None
        return whole.stored[index]

    data = Dataset("bright", whole.classes, whole.labels, pixels)
    trained = train(network(), data, data, recipe(epochs=1), tmp_path, ONE)
    assert trained.corrupt == ("five.png: must be an image file",) * 2
    assert trained.rows[0].judged_top1 * 23 == pytest.approx(round(trained.rows[0].judged_top1 * 23))


def test_pictures_held_back_choose_the_best_epoch_and_the_test_part_is_not_read(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "data", tmp_path / "data")
    for path in (tmp_path / "data" / "val").rglob("*.png"):
        path.write_bytes(b"no picture")
    data, net = f"imagefolder:{tmp_path / 'data'}", load(folder / "tiny.rlt")
    with pytest.raises(GraphError, match="must have a picture that can be decoded"):
        rillet.train(net, data, tmp_path / "plain", recipe=recipe(), threads=1)
    made = rillet.train(net, data, tmp_path / "a", recipe=recipe(), held_back=0.25, threads=1)
    kept, rest = held_back(24, 0.25)
    whole = open_dataset(data, "train")
    again = train(net, subset(whole, np.sort(kept)), subset(whole, rest), recipe(), tmp_path / "b", ONE)
    assert made.judged_by == "pictures held back" and {row.judged_by for row in made.rows} == {made.judged_by}
    assert [row.judged_loss for row in made.rows] == [row.judged_loss for row in again.rows]
    assert same_files(tmp_path / "a", tmp_path / "b") and made.corrupt == ()
    assert recipes.find(str(tmp_path / "a" / "recipe.toml")).run.held_back == 0.25
    assert "on the pictures held back after" in svg("net", made.rows)
    with pytest.raises(GraphError, match=r"test must not be given with held_back = 6"):
        rillet.train(net, data, tmp_path / "c", test=whole, recipe=recipe(), held_back=6)


def test_a_run_of_an_older_version_goes_on(tmp_path: Path) -> None:
    """Keys that its recipe did not have are as by default, and its rows have older names."""
    with pytest.raises(Stop):
        run(tmp_path / "old", options=replace(ONE, save_steps=1), watch=stop_at(5))
    found = checkpoint.load(tmp_path / "old")
    assert found is not None
    identity, state, _ = found
    lines = identity["recipe"].splitlines()
    identity["recipe"] = "\n".join(line for line in lines if "held_back" not in line)
    for row in state["rows"]:
        row |= {"test_loss": row.pop("judged_loss"), "test_top1": row.pop("judged_top1")}
        del row["judged_by"]
    checkpoint.save(tmp_path / "old", identity, state)
    assert [row.epoch for row in run(tmp_path / "old", options=replace(ONE, resume=True)).rows] == [1, 2, 3]
    run(tmp_path / "whole")
    assert same_files(tmp_path / "whole", tmp_path / "old")


def test_the_learning_curve() -> None:
    rows = [Row(i, 10 * i, 0.1, 2 / i, 0.3 * i, 2.2 / i, 0.25 * i, 100.0, 1.0) for i in (1, 2, 3)]
    for shown in (rows, rows[:1]):
        root = ET.fromstring(svg("net <1>", shown))
        assert len(root.findall(".//{*}path")) == 4
    assert "best: 75.00% on the test part after epoch 3" in svg("net", rows)


def test_the_average_and_the_fused_step_are_those_of_plain_arithmetic() -> None:
    def changed(module: torch.nn.Module, step: int) -> None:
        draw = torch.Generator().manual_seed(step)
        for parameter in module.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=draw)

    fused, plain = (to_module(with_seeded_weights(network(), 1)) for _ in range(2))
    said = recipe(optimizer="sgd", keys=OPTIMIZERS["sgd"]).optimizer
    one = make_optimizer(fused, said)
    other = torch.optim.SGD(plain.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=1e-3, foreach=False)
    average, wanted = Average(fused, 0.9), {name: value.clone() for name, value in fused.state_dict().items()}
    for step in range(5):
        changed(fused, step)
        changed(plain, step)
        set_rate(one, 0.1)
        one.step()
        other.step()
        assert all(
            torch.allclose(a, b, rtol=1e-6, atol=1e-8)
            for a, b in zip(fused.parameters(), plain.parameters(), strict=True)
        )
        average.update(fused)
        decay = min(0.9, (1 + step) / (10 + step))
        for name, value in fused.state_dict().items():
            wanted[name] = wanted[name].lerp(value, 1 - decay) if value.is_floating_point() else value.clone()
        assert same(dict(average.module.state_dict()), wanted)


def test_settings_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    module, batch = torch.nn.Conv2d(3, 4, 1), torch.zeros(1, 3, 2, 2)
    seconds: dict[Settings, float] = {}
    monkeypatch.setattr("rillet.train.tuning._step_seconds", lambda *given: seconds.get(given[2], 1.0))
    monkeypatch.setattr("rillet.train.tuning.cores", lambda: 4)
    assert choose(module, batch) == Settings(1)
    seconds[Settings(4)] = 0.9  # not clearly faster
    assert choose(module, batch) == Settings(1)
    seconds[Settings(4)] = 0.3
    assert choose(module, batch) == Settings(4)
    assert choose(module, batch, processes=2) == Settings(2)
    monkeypatch.undo()
    assert choose(module, batch).threads >= 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the C library must be glibc")
def test_memory_that_is_freed_is_kept() -> None:
    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(10):
            torch.ones(2**22)  # 16 MiB, 4096 pages
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    keep_memory()
    faults()
    assert faults() < 4096


@pytest.mark.slow
def test_what_one_of_two_processes_says_is_said_once(folder: Path, tmp_path: Path) -> None:
    words = (str(folder / "tiny.rlt"), "--data", f"imagefolder:{folder / 'data'}", "--processes", "2")
    for batch, message in (
        ("9", "--batch must be a multiple of 2 processes, got 9"),
        ("64", "must have a batch of 64"),
    ):
        found = processes(tmp_path, *words, "--recipe", str(folder / "test.toml"), "--batch", batch)
        assert found.returncode == 1 and message in found.stderr
        assert len(found.stderr.splitlines()) == 1


def processes(out: Path, *words: str, launcher: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *(launcher or ("-m", "rillet")), "train", *words, "--threads", "1", "--out", str(out)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny network and its pictures as files, and a recipe."""
    from PIL import Image

    from rillet.exporters.rlt import to_bytes
    from rillet.train.recipe import to_toml

    place = tmp_path_factory.mktemp("case")
    for part, data in (("train", pictures()), ("val", pictures(9, 1))):
        assert data.stored is not None
        for i, (pixels, label) in enumerate(zip(data.stored, data.labels, strict=True)):
            (place / "data" / part / data.classes[label]).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(place / "data" / part / data.classes[label] / f"{i:02}.png")
    (place / "tiny.rlt").write_bytes(to_bytes(with_seeded_weights(network(), 1)))
    (place / "test.toml").write_text(to_toml(recipe()))
    return place


def losses(out: Path) -> list[list[float]]:
    with (out / "log.csv").open() as file:
        return [
            [float(row[key]) for key in ("train_loss", "judged_loss", "train_top1")] for row in csv.DictReader(file)
        ]


@pytest.mark.parametrize(
    "way", [pytest.param("processes", marks=pytest.mark.slow), pytest.param("torchrun", marks=pytest.mark.slow)]
)
def test_two_processes_follow_the_curve_of_one(way: str, folder: Path, tmp_path: Path) -> None:
    words = (
        str(folder / "tiny.rlt"), "--data", f"imagefolder:{folder / 'data'}", "--recipe", str(folder / "test.toml"),
    )  # fmt: skip
    data = [open_dataset(f"imagefolder:{folder / 'data'}", part) for part in ("train", "test")]
    train(load(folder / "tiny.rlt"), *data, recipe(), tmp_path / "one", ONE)
    if way == "processes":
        two = processes(tmp_path / "two", *words, "--processes", "2")
    else:
        launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "rillet")
        two = processes(tmp_path / "two", *words, launcher=launcher)
    assert two.returncode == 0, two.stderr
    # The same sums in another order: float32 has 1e-7, and nine steps of a network make the most of it.
    assert np.allclose(losses(tmp_path / "one"), losses(tmp_path / "two"), rtol=1e-5, atol=0)
    assert two.stderr.count("epoch 3: loss") == two.stdout.count("top-1") == 1  # the first process alone speaks
