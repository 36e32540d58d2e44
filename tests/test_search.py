"""Search: spaces, budgets, the funnel, evolution, successive halving, and the coordinator that may be killed."""

import json
import re
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from typer.testing import CliRunner

from rillet.analyses.count import count
from rillet.analyses.memory import stored_at
from rillet.api import search as api
from rillet.cli.app import app
from rillet.data.datasets import Dataset
from rillet.errors import GraphError, RilletError, TargetError, Unsupported
from rillet.importers.rlt import load
from rillet.ir.facts import has_weights
from rillet.ir.types import DType
from rillet.plan.rows.plan import RowPlan
from rillet.plan.rows.planner import plan_rows
from rillet.runtime.evaluate import Evaluation, evaluate
from rillet.search import answer, budget, engine, evolve, funnel, halving, network, run, space
from rillet.search.found import Found
from rillet.search.task import Task
from rillet.system.checksums import record_text
from rillet.train import recipe
from searching import SPACE, Here, asked, pictures, results


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("colours"))


# -- spaces ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*space.names(), "small"])
def test_closed_forms_count_as_the_graph_does(name: str) -> None:
    found = SPACE if name == "small" else space.find(name)
    rng = Random(5)
    for _ in range(12 if name == "small" else 3):
        choice = found.drawn(rng)
        made, tally = count(network.graph(found, choice, 10), bits=8), network.tally(found, choice, 10)
        assert (made.macs, made.params, made.weights) == (tally.macs, tally.params, tally.weights)
        assert made.weight_bytes == funnel.Costed(found, choice, 10).value(budget.measure("flash"))


@pytest.mark.parametrize("name", space.names())
def test_every_space_reaches_down(name: str) -> None:
    """To 2 KB of RAM and 300 k multiply-accumulates at 32 pixels, by the same choice."""
    found = space.find(name)
    _, small = funnel.least(found, budget.measure("macs"), 10)
    choice = found.plain({**small, "input.resolution": 32})
    made = network.graph(found, choice, 10)
    assert plan_rows(stored_at(made, 8)).arena_bytes <= 2048
    assert made.macs <= 300_000


def test_a_choice_says_only_what_matters() -> None:
    rng = Random(0)
    for _ in range(50):
        choice = SPACE.drawn(rng)
        blocks = {name.split(".")[1] for name in choice if name.startswith("stage1.block")}
        assert blocks == {f"block{number + 1}" for number in range(int(choice["stage1.depth"]))}
        assert SPACE.plain(choice) == choice
        child = SPACE.crossed(choice, SPACE.drawn(rng), rng, 0.2)
        assert SPACE.plain(child) == child


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("[4, 8]\ndepth", "[]\ndepth"), "stage 1: channels: must have a value to choose, got an empty list"),
        (("[4, 8]\ndepth", "[4, 4]\ndepth"), "stage 1: channels: must name a value once, got [4, 4]"),
        (("kernel = [3, 5]", "kernel = [3, 4]"), "stage 1: kernel: must be odd, got 4"),
        (("kernel = [3, 5]", "kernels = 3"), "stage 1: key must be a known one, got 'kernels'; did you mean kernel?"),
        (("stride = 2", "stride = 2\nexpand = 2"), 'stage 2: expand must come with kind = "inverted"'),
        (("depth = [0, 1, 2]", 'depth = "deep"'), "stage 1: depth: must be a whole number from 0 to 32, got 'deep'"),
        (("[[stage]]", "[[stages]]"), "key must be a known one, got 'stages'; did you mean stage?"),
        (('"depthwise", "fuse"', '"dense"'), "spatial: must be one of depthwise, fuse; got 'dense'"),
        (("[input]\nresolution = [16, 24]", "[input]"), "input: must say resolution"),
    ],
)
def test_a_wrong_space_is_named(change: tuple[str, str], says: str) -> None:
    text = space.text_of("resnet") if change[0] not in _TEXT else _TEXT
    with pytest.raises(TargetError, match=re.escape(says)):
        space.parse("mine", text.replace(*change))


_TEXT = """
about = "narrow networks for tests"
[input]
resolution = [16, 24]
[stem]
channels = 4
[[stage]]
channels = [4, 8]
depth = [0, 1, 2]
kernel = [3, 5]
spatial = ["depthwise", "fuse"]
[[stage]]
kind = "residual"
stride = 2
channels = 8
"""


STARTS = """
[[start]]
stage1 = { channels = 8, depth = 2, kernel = [5, 3] }
[[start]]
stem = { channels = 4 }
"""


def test_a_space_says_with_what_to_begin() -> None:
    """Networks in every width and resolution: the largest of each that keeps the budget is the first to be trained."""
    found = space.parse("mine", _TEXT.replace("[stem]", "[network]\nwidth = [0.5, 1.0, 2.0]\n[stem]") + STARTS)
    first, other = found.starts
    blocks = {name: first[name] for name in first if name.startswith("stage1.block") and name.endswith("kernel")}
    assert blocks == {"stage1.block1.kernel": 5, "stage1.block2.kernel": 3}
    assert first["stage1.channels"] == 8 and first["stage1.block1.spatial"] == "depthwise"
    assert other["stage1.depth"] == 0 and "network.width" not in other and "input.resolution" not in other
    limits = budget.parse("macs<=600k")
    made = evolve.evolve(found, limits, 10, 60, 3)
    chosen = evolve.to_train(made.fitting, 6, 0, found.starts)
    least: list[int] = []
    for start, one in zip(found.starts, chosen, strict=False):
        forms = [
            funnel.judge(found, {**start, "input.resolution": side, "network.width": width}, limits, 10)
            for side in (16, 24)
            for width in (0.5, 1.0, 2.0)
        ]
        assert one.macs == max(form.macs for form in forms if form.fits)
        least.append(min(form.macs for form in forms))
        assert start.items() <= one.choice.items()
    assert len({tuple(one.choice.items()) for one in chosen}) == 6
    tight = evolve.evolve(found, budget.parse(f"macs<={least[0] - 1}"), 10, 60, 3)
    assert least[1] < least[0]
    assert found.starts[1].items() <= evolve.to_train(tight.fitting, 2, 0, found.starts)[0].choice.items()


@pytest.mark.parametrize(
    ("start", "says"),
    [
        ("stage3 = {}", "start 1: key must be a known one, got 'stage3'; did you mean stage"),
        ("stage1 = { kernels = 3 }", "start 1: stage1: key must be a known one, got 'kernels'; did you mean kernel?"),
        ("network = { width = 1.0 }", "start 1: network: key must be a known one, got 'width'"),
        ("stage1 = { depth = 2, kernel = [3, 7] }", "start 1: stage1.block2.kernel must be one of 3, 5, got 7"),
        ("stage1 = { depth = 2, kernel = [] }", "start 1: stage1.block1.kernel must be one of 3, 5, got []"),
        ("stage1 = 3", "start 1: stage1: must be a table, got 3"),
    ],
)
def test_a_wrong_start_is_named(start: str, says: str) -> None:
    with pytest.raises(TargetError, match=re.escape(f"mine: {says}")):
        space.parse("mine", f"{_TEXT}[[start]]\n{start}\n")
    with pytest.raises(TargetError, match=r"start must be given as \[\[start\]\]"):
        space.parse("mine", f"start = 3\n{_TEXT}")


def test_a_file_is_a_space(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(_TEXT)
    assert space.find(str(tmp_path / "mine.toml")).stages == 2
    printed = CliRunner().invoke(app, ["search", "resnet", "--toml"])
    (tmp_path / "other.toml").write_text(printed.stdout)
    assert space.find(str(tmp_path / "other.toml")).genes == space.find("resnet").genes
    with pytest.raises(TargetError, match="must be a search space; did you mean mobilenet_v2"):
        space.find("mobilenet_v22")


# -- budgets -----------------------------------------------------------------------------------------------------------


def test_a_budget_is_read_and_written() -> None:
    text = "ram<=3KiB, flash@nano33ble<=240KiB, macs<=780k, cycles@systolic_64x64<=40k, ms@stm32f746<=20.5"
    made = budget.parse(text)
    assert [limit.most for limit in made.limits] == [3072, 245760, 780_000, 40_000, 20.5]
    assert budget.parse(str(made)) == made


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rom<=3KiB", "cost must be a known one, got 'rom'; did you mean ram?"),
        ("ram<=3", "ram must have a unit (B, KiB, kB, MiB), as 3B, got '3'"),
        ("macs<=3KiB", "macs must be a number such as 780k or 1.5M, got '3KiB'"),
        ("macs<=0", "macs must be a number"),
        ("macs", "must be such as ram<=32KiB, macs<=1.5M, got 'macs'"),
        ("macs<=1k, macs<=2k", "must bound macs once"),
        ("cycles<=4k", "cycles must name a machine, as cycles@systolic_64x64"),
        ("cycles@zcu102<=4k", "must be a systolic array for cycles@zcu102"),
        ("macs@zcu102<=4k", "macs must come without a machine"),
        ("uj<=3", "uj must name a technology"),
        ("multipliers@zcu102<=3", "must come with interval@zcu102"),
        (" ,", "must have a limit"),
    ],
)
def test_a_wrong_budget_is_named(text: str, says: str) -> None:
    with pytest.raises(TargetError, match=re.escape(says)):
        budget.parse(text)


def test_what_nothing_keeps_is_refused_with_the_least() -> None:
    with pytest.raises(TargetError, match=r"ram must be at least \d+ in the space small, got 64; the least is that"):
        funnel.check_possible(SPACE, budget.parse("ram<=64B"), 10)
    least, choice = funnel.least(SPACE, budget.measure("ram"), 10)
    assert least == plan_rows(stored_at(network.graph(SPACE, choice, 10), 8)).arena_bytes
    funnel.check_possible(SPACE, budget.parse(f"ram<={int(least)}B"), 10)


# -- the funnel --------------------------------------------------------------------------------------------------------


def test_the_funnel_says_what_the_plan_says() -> None:
    rng = Random(3)
    for _ in range(10):
        choice = SPACE.drawn(rng)
        made = funnel.Costed(SPACE, choice, 10)
        arena = plan_rows(made.stored).arena_bytes
        for most in (arena - 1, arena, arena + 1):
            judged = funnel.judge(SPACE, choice, budget.parse(f"ram<={most}B"), 10)
            assert judged.fits == (arena <= most)
        assert not funnel.judge(SPACE, choice, budget.parse(f"macs<={made.tally.macs - 1}"), 10).fits


def test_costs_on_machines() -> None:
    text = "cycles@systolic_64x64<=1M, ms@stm32f746<=1000, ram@stm32f746<=300KiB, flash@stm32f746<=1MiB, uj@45nm<=1M"
    limits = budget.parse(text + ", interval@zcu102<=100k, multipliers@zcu102<=2k")
    made = funnel.Costed(SPACE, funnel.least(SPACE, budget.measure("macs"), 10)[1], 10)
    for limit in limits.limits:
        value = made.value(limit.measure, funnel.interval_for(limit.measure, limits))
        assert 0 < value <= limit.most, limit
        assert not made.excess(limit, limits)
        assert made.excess(replace(limit, most=value / 4), limits) >= 1.0


def test_equal_networks_have_one_key() -> None:
    one = {**funnel.least(SPACE, budget.measure("macs"), 10)[1], "stage1.depth": 0}
    key = funnel.Costed(SPACE, SPACE.plain(one), 10).key
    assert key == funnel.Costed(SPACE, SPACE.plain({**one, "stage1.channels": 8}), 10).key
    assert key != funnel.Costed(SPACE, SPACE.plain({**one, "stem.channels": 8}), 10).key


BITS = """
about = "weights of eight bits or of three values, where a layer has more than a thousand"
[input]
resolution = 16
[network]
bits = ["int8", "ternary"]
[stem]
channels = 8
[[stage]]
kind = "residual"
channels = [8, 16]
"""


def test_bits_are_a_choice() -> None:
    """It changes what is stored, and nothing where no layer is large enough."""
    bits = space.parse("bits", BITS)
    assert bits.has_ternary and not SPACE.has_ternary
    narrow, wide = [
        [
            funnel.Costed(bits, {**bits.drawn(Random(0)), "stage1.channels": channels, "network.bits": word}, 10)
            for word in ("int8", "ternary")
        ]
        for channels in (8, 16)
    ]
    assert narrow[0].key == narrow[1].key and not narrow[1].ternary
    assert wide[0].key != wide[1].key and wide[1].ternary == ("block1.conv1", "block1.conv2")
    flash = [one.value(budget.measure("flash")) for one in wide]
    assert flash[0] == count(wide[0].stored).weight_bytes
    assert flash[0] - flash[1] == (9 * 8 * 16 + 9 * 16 * 16) * (8 - 2) / 8
    with pytest.raises(TargetError, match="bits: must be one of int8, ternary; got '4'"):
        space.parse("bits", BITS.replace('"int8"', '"4"'))


# -- evolution and halving ---------------------------------------------------------------------------------------------


def test_evolution_is_the_same_for_a_seed_and_asks_nothing_twice() -> None:
    limits = budget.parse("macs<=300k")
    one, other = (evolve.evolve(SPACE, limits, 10, 300, 7) for _ in range(2))
    assert one == other and one.asked == 300
    assert len({tuple(judged.choice.items()) for judged in one.fitting}) == len(one.fitting) > 0
    assert all(judged.fits and judged.macs <= 300_000 for judged in one.fitting)
    chosen = evolve.to_train(one.fitting, 8, 0)
    assert len({judged.depth for judged in chosen}) == len({judged.depth for judged in one.fitting})
    depths = [judged.depth for judged in one.fitting]
    assert [judged.depth for judged in chosen[:2]] == sorted(set(depths), key=lambda depth: -depths.count(depth))[:2]


def test_every_resolution_evolves() -> None:
    """The least one leaves the most for parameters, and does not displace the others."""
    found = evolve.evolve(space.find("resnet"), budget.parse("macs<=500k"), 10, 320, 3)
    chosen = evolve.to_train(found.fitting, 12, 0)
    assert {one.choice["input.resolution"] for one in found.fitting} == {16, 24, 32, 48}
    assert len({one.choice["input.resolution"] for one in chosen}) > 2


def test_evolution_ends_with_the_space() -> None:
    text = _TEXT.replace("[16, 24]", "16").replace("[4, 8]\n", "4\n").replace("[0, 1, 2]", "[0, 1]")
    tiny = space.parse("tiny", text)
    found = evolve.evolve(tiny, budget.parse("macs<=10M"), 10, 10_000, 0)
    assert found.asked < 100 and len(found.fitting) == found.asked


def test_children_keep_the_budget_and_are_new() -> None:
    limits, rng = budget.parse("macs<=300k"), Random(2)
    able = [one for _ in range(400) if funnel.judge(SPACE, one := SPACE.drawn(rng), limits, 10).fits]
    parents = [one for one in able if one["input.resolution"] == 16][:4] + able[:12]
    made, again = (list(evolve.children(SPACE, limits, 10, parents, 12, "1 2")) for _ in range(2))
    assert made == again and len(made) == 12 and all(one.fits for one in made)
    assert made != list(evolve.children(SPACE, limits, 10, parents, 12, "1 3"))
    keys = {tuple(one.choice.items()) for one in made}
    assert len(keys) == 12 and not keys & {tuple(one.items()) for one in parents}
    # Of the best: what all of them have is drawn anew in few.
    assert sum(one.choice["input.resolution"] == 16 for one in made) > 6
    # The largest of a litter: nearer to the budget than what is drawn.
    of_parents = sorted(funnel.Costed(SPACE, one, 10).tally.macs for one in parents[:4])
    assert sum(one.macs for one in made) / len(made) > sum(of_parents) / len(of_parents)


def test_children_end_with_the_space() -> None:
    text = _TEXT.replace("[16, 24]", "16").replace("[4, 8]\n", "4\n").replace("[0, 1, 2]", "[0, 1]")
    tiny = space.parse("tiny", text)
    every = evolve.evolve(tiny, budget.parse("macs<=10M"), 10, 10_000, 0).fitting
    made = evolve.children(tiny, budget.parse("macs<=10M"), 10, [one.choice for one in every[1:]], 9, "0 2")
    assert [one.choice for one in made] == [every[0].choice]
    assert not list(evolve.children(tiny, budget.parse("macs<=10M"), 10, [one.choice for one in every], 9, "0 2"))


def test_survivors_of_evolution_are_fronts() -> None:
    rng = Random(1)
    sizes = [(rng.randrange(1, 99), rng.randrange(1, 99)) for _ in range(60)]
    made = [funnel.Judged({"n": i}, 1, *size, i * (i % 3 == 0), "x" * (i % 3 == 0)) for i, size in enumerate(sizes)]
    kept = evolve.survivors(made, 20)
    assert len(kept) == 20
    assert not any(evolve.dominates(left, one) for one in kept for left in made if left not in kept)


def test_a_share_of_each_rung_is_for_each_depth() -> None:
    scored = [halving.Scored(f"{i:02}", 1 if i < 20 else i % 5, 0.9 - i / 100) for i in range(40)]
    kept = halving.survivors(scored, 10)
    assert [one.key for one in kept[:8]] == [f"{i:02}" for i in range(8)]
    assert [one.depth for one in kept[8:]] == [1, 0]
    assert len(halving.survivors(scored, 50)) == 40


@pytest.mark.parametrize("text", ["", "8", "8x", "0x1", "8x0", "8x1,9x2", "8x2,4x2", "8x1;4x2"])
def test_wrong_rungs_are_named(text: str) -> None:
    with pytest.raises(GraphError, match="--rungs must"):
        halving.parse(text)


def test_the_front_is_what_nothing_beats() -> None:
    costs = {"a": (1.0, 5.0), "b": (2.0, 2.0), "c": (2.0, 3.0), "d": (5.0, 1.0), "e": (2.0, 2.0)}
    assert halving.front(costs) == ["a", "b", "d", "e"]


def test_the_hypervolume_is_an_area() -> None:
    points = [(0.5, 1024.0), (0.75, 4096.0), (0.5, 2048.0), (0.2, 64.0), (0.9, 8192.0)]
    assert halving.hypervolume(points, 0.25, 8192.0) == 0.25 * 3 + 0.25 * 1
    assert halving.hypervolume(points[::-1], 0.25, 8192.0) == 1.0
    assert halving.hypervolume([], 0.25, 8192.0) == 0.0


# -- the coordinator ---------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """What ends a coordinator here, as a signal would."""


def searched(data: Path, out: Path, *, kill_at: int = -1, **more: object) -> tuple[Found, Here]:
    """A search that is killed before its training number `kill_at`."""
    here = Here()

    def before(_: Task) -> None:
        if len(here.trained) == kill_at:
            raise Killed

    here.before = before
    return run.search(asked(data, **more), here, out, lambda *_: None), here


def test_a_search_has_an_answer_and_goes_on_where_it_was_killed(data: Path, tmp_path: Path) -> None:
    whole, trained = searched(data, tmp_path / "whole")
    assert len(trained.trained) == len(set(trained.trained)) == 6 and trained.closed
    assert whole.answer is not None and whole.best is not None and whole.ended == "whole"
    assert whole.answer.images == 15 and whole.answer.touched_bytes == whole.answer.arena_bytes <= 2048
    best = load(tmp_path / "whole" / whole.answer.file)
    assert best.input_nodes[0].type.dtype.value == "i8"
    assert plan_rows(best).arena_bytes == whole.answer.arena_bytes == whole.best.costs["ram"]
    assert run.read(tmp_path / "whole") == whole
    rows = (tmp_path / "whole" / "candidates.csv").read_text().splitlines()
    assert len(rows) == 5 and rows[1].startswith(whole.best.key)

    with pytest.raises(Killed):
        searched(data, tmp_path / "cut", kill_at=3)
    assert run.read(tmp_path / "cut").answer is None
    with pytest.raises(GraphError, match="must be a folder without a search, or say --resume"):
        searched(data, tmp_path / "cut")
    with pytest.raises(GraphError, match="must be resumed with the same candidates, got another"):
        searched(data, tmp_path / "cut", resume=True, candidates=41)
    again, rest = searched(data, tmp_path / "cut", resume=True)
    assert results(again) == results(whole)
    assert rest.trained == trained.trained[3:]
    nothing, none = searched(data, tmp_path / "cut", resume=True)
    assert results(nothing) == results(whole) and not none.trained

    page = api.page(whole)
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")
    shown = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])  # type: ignore[index]
    assert shown["answer"]["key"] == whole.best.key and shown["limits"] == {"ram": 2048, "macs": 300_000}
    made = api.network(tmp_path / "whole", whole.best.key)
    assert made.macs == whole.best.costs["macs"]
    with pytest.raises(GraphError, match="must be the key of one candidate"):
        api.network(tmp_path / "whole", "zz")
    assert json.loads(json.dumps(whole.to_dict()))["front"] == [one.key for one in whole.front]
    assert "int8, top-1" in str(whole.table())


@pytest.fixture(scope="module")
def generations(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Found, Here]:
    """A search whose first rung has three generations of two."""
    return searched(data, tmp_path_factory.mktemp("generations") / "out", rungs="6x1,2x2", generations=3)


@pytest.mark.parametrize("kill_at", range(1, 7))
def test_generations_go_on_where_they_were_killed(
    kill_at: int, data: Path, generations: tuple[Found, Here], tmp_path: Path
) -> None:
    whole, trained = generations
    with pytest.raises(Killed):
        searched(data, tmp_path, kill_at=kill_at, rungs="6x1,2x2", generations=3)
    again, rest = searched(data, tmp_path, rungs="6x1,2x2", generations=3, resume=True)
    assert results(again) == results(whole) == results(run.read(tmp_path))
    assert rest.trained == trained.trained[kill_at:]
    if kill_at == 6:
        with pytest.raises(GraphError, match="must be resumed with the same generations, got another"):
            searched(data, tmp_path, rungs="6x1,2x2", resume=True)


def test_later_generations_are_children_of_the_best(
    data: Path, generations: tuple[Found, Here], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = generations
    assert [one.generation for one in whole.candidates] == [1, 1, 2, 2, 3, 3]
    assert len({one.key for one in whole.candidates}) == 6
    assert all(one.costs["ram"] <= 2048 and one.costs["macs"] <= 300_000 for one in whole.candidates)
    asked_of: list[tuple[str, list[space.Choice]]] = []

    def told(*said: Any) -> Any:
        asked_of.append((said[-1], list(said[3])))
        return evolve.children(*said)

    monkeypatch.setattr(run, "children", told)
    searched(data, tmp_path, rungs="6x1", generations=3)
    assert [seed for seed, _ in asked_of] == ["1 2", "1 3"]
    of = {tuple(one.choice.items()): one for one in run.read(tmp_path).candidates}
    for number, (_, best) in enumerate(asked_of, 1):
        tops = [of[tuple(one.items())].top1 or 0.0 for one in best]
        assert len(best) == 2 * number and tops == sorted(tops, reverse=True)


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"within": 3}, "space must be a name, a .toml file or a Space, got int"),
        ({"data": [1]}, "data must be a name or a folder, which workers can read too, got list"),
        ({"budget": 7}, "budget must be a text such as ram<=32KiB, got int"),
        ({"rungs": 3}, "rungs must be a text such as 64x1,16x5,4x25, got int"),
        ({"hours": "1"}, "hours must be a number, got str"),
        ({"hours": -1}, "--hours must be above 0"),
        ({"seed": "a"}, "seed must be a whole number, got str"),
        ({"objectives": ("watts",)}, "--for: cost must be a known one, got 'watts'"),
        ({"workers": 0}, "--workers must be"),
        ({"generations": 0}, "--generations must be"),
        ({"generations": 2, "supernet": 3}, "--supernet must come with one generation, got --generations 2"),
        ({"workers": 2, "dask": "x"}, "--workers"),
    ],
)
def test_wrong_words_are_named_from_python_too(said: dict[str, Any], says: str, tmp_path: Path) -> None:
    given = {"within": "resnet", "data": "cifar10", "budget": "ram<=3KiB", "out": tmp_path / "out", **said}
    with pytest.raises(RilletError, match=re.escape(says)):
        api.search(**given)


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("candidates.json", ("chosen", 0, "key", "../../../etc/x")),
        ("candidates.json", ("chosen", 0, "choice", "stage1.depth", 10**9)),
        ("candidates.json", ("chosen", 0, "costs", [])),
        ("search.json", ("genes", "stage1.depth", [10**9])),
        ("search.json", ("genes", "stage1.colour", [1])),
        ("search.json", ("stages", 10**9)),
    ],
)
def test_what_a_folder_says_is_checked(file: str, change: tuple[Any, ...], tmp_path: Path) -> None:
    given = asked(tmp_path)
    made = funnel.Costed(SPACE, SPACE.drawn(Random(0)), 3)
    row = {"key": made.key, "choice": dict(made.choice), "costs": {"macs": 1.0}}
    chosen = {"asked": 1, "fitting": 1, "asked_per_s": 1.0, "classes": 3, "chosen": [row]}
    records: dict[str, Any] = {"search.json": given.identity(), "candidates.json": chosen}
    for name, record in records.items():
        (tmp_path / name).write_text(record_text(record))
    assert run.read(tmp_path).candidates[0].key == made.key
    *path, last, value = change
    place: Any = records[file]
    for step in path:
        place = place[step]
    place[last] = value
    (tmp_path / file).write_text(record_text(records[file]))
    with pytest.raises(RilletError, match="must"):
        run.read(tmp_path)


def test_the_answer_has_the_bits_of_its_choice(data: Path, tmp_path: Path) -> None:
    ternary = space.parse("bits", BITS.replace('"int8", ', "").replace("[8, 16]", "16"))
    found, _ = searched(data, tmp_path, within=ternary, rungs="1x1", budget="ram<=8KiB, flash<=3kB, macs<=10M")
    assert found.answer is not None and found.best is not None
    best = load(tmp_path / found.answer.file)
    assert {node.op.weights for node in best.nodes if has_weights(node.op)} == {DType.I8, DType.TERNARY}
    assert count(best).weight_bytes == found.best.costs["flash"]
    assert found.answer.touched_bytes == found.answer.arena_bytes == found.best.costs["ram"]
    assert found.answer.images == 15


def test_the_answer_is_the_best_in_integers(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the best in float32, where that loses more by it; of what was compared before it was late."""
    found, _ = searched(data, tmp_path, rungs="3x1")
    assert found.answer is not None and found.answer.held_top1 is not None
    order = sorted(found.candidates, key=lambda one: (-(one.top1 or 0), one.key))
    file = "networks/{}-1.rlt"
    among = [
        answer.Trained(one.key, funnel.Costed(SPACE, one.choice, 3), tmp_path / file.format(one.key)) for one in order
    ]
    tops = {f"small-{one.key}": top1 for one, top1 in zip(order, (0.5, 0.5, 0.75), strict=True)}

    def evaluated(plan: RowPlan, data: Dataset) -> Evaluation:
        return replace(evaluate(plan, data), top1=tops[plan.graph.name])

    monkeypatch.setattr(answer, "evaluate", evaluated)
    made = answer.answer(among, asked(data, rungs="3x1"), tmp_path, lambda: False)
    assert (made.key, made.held_top1) == (order[2].key, 0.75)
    assert load(tmp_path / made.file).name == f"small-{made.key}"
    assert answer.answer(among[:2], asked(data, rungs="3x1"), tmp_path, lambda: False).key == order[0].key
    assert answer.answer(among, asked(data, rungs="3x1"), tmp_path, lambda: True).key == order[0].key


def test_there_is_an_answer_when_the_hours_end(data: Path, tmp_path: Path) -> None:
    found, _ = searched(data, tmp_path, hours=1e-6, candidates=20)
    assert found.answer is not None and found.ended == "hours"
    assert not found.answer.trained and found.answer.top1 is None
    assert (tmp_path / "best.rlt").exists()


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"data": "nothing"}, "nothing"),
        ({"budget": "ram<=64B"}, "ram must be at least"),
        ({"budget": "macs<=1M, ram<=700B", "candidates": 1}, "is kept by none of the 1 choices"),
        ({"within": space.parse("bits", BITS), "recipe": "qat"}, "ternary: must come without prune and quantize"),
    ],
)
def test_a_start_that_fails_leaves_no_folder(said: dict[str, Any], says: str, data: Path, tmp_path: Path) -> None:
    where = data.parent / str(said.pop("data", data.name))
    how = recipe.find(str(said.pop("recipe", "cifar")))
    given = replace(asked(where, **said), recipe=how)
    with pytest.raises(RilletError, match=re.escape(says)):
        run.search(given, Here(), tmp_path / "out", lambda *_: None)
    assert not (tmp_path / "out").exists()
    (tmp_path / "mine").mkdir()
    with pytest.raises(RilletError, match=re.escape(says)):
        run.search(given, Here(), tmp_path / "mine", lambda *_: None)
    assert (tmp_path / "mine").exists()


def test_a_space_of_one_network_says_so(data: Path, tmp_path: Path) -> None:
    one = space.parse("one", BITS.replace('["int8", "ternary"]', '"int8"').replace("[8, 16]", "8"))
    found, here = searched(data, tmp_path, within=one, rungs="4x1,2x2", budget="macs<=10M")
    assert found.asked == 1 and len(here.trained) == 2
    assert "one has one network, which was trained" in str(found.table())


def test_too_few_pictures_are_refused(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "few")
    for path in (folder / "train").rglob("*.png"):
        if path.stem not in ("1", "2"):
            path.unlink()
    with pytest.raises(GraphError, match="must have at least 10 pictures to train on, got 6"):
        searched(folder, tmp_path / "out")


def task(data: Path, folder: Path) -> Task:
    """A training of the smallest network of the space."""
    given = asked(data)
    made = funnel.Costed(SPACE, funnel.least(SPACE, budget.measure("macs"), 3)[1], 3)
    how = replace(given.recipe, run=replace(given.recipe.run, epochs=2, batch=32))
    from rillet.ir.text import print_graph

    return Task(made.key, 2, print_graph(made.graph), recipe.to_toml(how), str(data), 0, 1, str(folder))


@pytest.mark.slow
def test_what_a_worker_refuses_is_raised(data: Path, tmp_path: Path) -> None:
    made = engine.Local(1)
    try:
        made.submit(replace(task(data, tmp_path), data=str(tmp_path / "nothing")))
        with pytest.raises(GraphError, match="nothing"):
            made.next(300)
    finally:
        made.close()


@pytest.mark.parametrize(("kind", "library"), [("dask", "distributed"), ("ray", "ray")])
def test_a_cluster_whose_library_is_missing_is_said_before_anything_is_sought(
    kind: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that no folder is left behind."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(Unsupported, match=rf"{library} must be installed for this: pip install rillet\[{kind}\]"):
        engine.Workers(**{kind: "HOST:1"})
