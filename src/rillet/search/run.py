"""The coordinator: funnel, trainings rung by rung, and the answer; everything that it knows is in its folder."""

import json
import math
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from rillet.errors import GraphError, RilletError, TargetError
from rillet.ir.text import print_graph
from rillet.search import answer as answers
from rillet.search import halving, supernet
from rillet.search.budget import Budget, Measure
from rillet.search.engine import Engine
from rillet.search.evolve import children, evolve, to_train
from rillet.search.found import Answer, Candidate, Found, candidate_dict, to_csv
from rillet.search.funnel import Costed, Judged, check_possible, interval_for
from rillet.search.halving import Rung, Scored
from rillet.search.space import Space, from_genes
from rillet.search.study import NETWORKS, Entry, Study, checked_key
from rillet.search.supernet import Audit, Audited
from rillet.search.task import Task, parts
from rillet.system.checksums import read_record, record_text
from rillet.system.files import write_file
from rillet.train import recipe as recipes
from rillet.train.checkpoint import locked
from rillet.train.recipe import Recipe

ABOUT, CHOSEN, ANSWER, FRONT = "search.json", "candidates.json", "answer.json", "front.json"
TABLE, TRAINED, AUDIT = "candidates.csv", "trained", "audit.json"
FUNNEL_SHARE = 0.1
"""Of the hours, the most that the funnel may take."""
ANSWER_SHARE, ANSWER_SECONDS = 0.05, 30.0
"""Of the hours, what is kept for the answer, and at least so many seconds."""
ANSWERS = 4
"""Of those trained longest, so many are compared in 8-bit integers."""
_WARMUP = 0.2
"""Of a short training, the share in which the rate rises."""
_SUPERNET, _GENERATIONS, _STARTS = "supernet", "generations", "starts"
GENERATIONS = 4


class Beginning(Protocol):
    """What begins an engine, such as `engine.Workers`."""

    def begin(self) -> Engine:
        """Begins it."""
        ...


Progress = Callable[[str, int, int], None]
"""Takes what is being done, how much of it is, and of how much."""


@dataclass(frozen=True)
class Asked:
    """What is searched for, and how."""

    space: Space
    data: str
    budget: Budget
    objectives: tuple[str, ...]
    """`top1`, and names of costs that are to be small."""
    rungs: tuple[Rung, ...]
    recipe: Recipe
    candidates: int = 5000
    """Choices that go through the funnel."""
    hours: float | None = None
    seed: int = 0
    limit: int = 0
    """At most so many pictures to train on; 0 for all."""
    resume: bool = False
    measures: tuple[Measure, ...] = ()
    """Costs beside those of the budget that are shown, and may be objectives."""
    supernet: int = 0
    """Epochs of a supernet by whose scores networks are chosen, if they pass its audit; 0 for none."""
    generations: int = 1
    """Equal parts of the first rung: the networks of each but the first are children of those trained before."""

    @property
    def born(self) -> int:
        """Networks of a generation of children."""
        return self.rungs[0].networks // self.generations

    @property
    def pool(self) -> int:
        """Networks that the funnel chooses: the first generation, or those that a supernet chooses it from."""
        first = self.rungs[0].networks - (self.generations - 1) * self.born
        return first * (supernet.POOL if self.supernet else 1)

    @property
    def audit_epochs(self) -> int:
        """Epochs for which the networks of an audit are trained alone: those of the second rung."""
        return self.rungs[min(1, len(self.rungs) - 1)].epochs

    def identity(self) -> dict[str, Any]:
        """What a folder's search is known by: all that its results depend on."""
        return {
            "space": self.space.name,
            "stages": self.space.stages,
            "genes": {gene.name: list(gene.values) for gene in self.space.genes},
            "data": self.data,
            "budget": str(self.budget),
            "objectives": list(self.objectives),
            "rungs": [[rung.networks, rung.epochs] for rung in self.rungs],
            "recipe": recipes.to_toml(self.recipe),
            "candidates": self.candidates,
            "seed": self.seed,
            "limit": self.limit,
            **({_SUPERNET: self.supernet} if self.supernet else {}),
            **({_GENERATIONS: self.generations} if self.generations > 1 else {}),
            **({_STARTS: [dict(one) for one in self.space.starts]} if self.space.starts else {}),
        }


def search(asked: Asked, workers: Beginning, out: Path, progress: Progress) -> Found:
    """Searches in the folder `out`; `workers` begin once there is something to train.

    Raises GraphError for a folder that holds another search and for data that are none, TargetError for a budget that
    nothing in the space keeps; a folder that was made for nothing is not left behind.
    """
    if asked.space.has_ternary and asked.supernet:
        raise GraphError(f"--supernet must come with a space whose networks are all int8, got {asked.space.name}")
    if asked.space.has_ternary:
        recipes.with_said(asked.recipe, ternary=True)  # which refuses recipes that cannot
    new = not out.exists()
    with locked(out):
        try:
            return _Search(asked, workers, out, progress).whole()
        except RilletError:
            # Nothing is trained before there are candidates; a folder that the caller made stays.
            if new and not (out / CHOSEN).exists():
                shutil.rmtree(out, ignore_errors=True)
            raise


class _Search:
    def __init__(self, asked: Asked, workers: Beginning, out: Path, progress: Progress) -> None:
        self.asked, self.workers, self.out, self.progress = asked, workers, out, progress
        self.began = time.monotonic()
        learned, _ = parts(asked.data, asked.limit, asked.seed)
        self.classes, self.batch = len(learned.classes), min(asked.recipe.run.batch, len(learned))
        self._claim()
        self.study = Study(out)
        self.engine: Engine | None = None

    def _claim(self) -> None:
        """Makes the folder this search's, or finds that it is."""
        path, mine = self.out / ABOUT, self.asked.identity()
        if path.exists():
            before, _ = read_record(path)
            if not self.asked.resume:
                raise GraphError(f"{self.out}: must be a folder without a search, or say --resume to go on with it")
            for key in dict.fromkeys((*mine, _SUPERNET, _GENERATIONS, _STARTS)):
                if before.get(key) != mine.get(key):
                    raise GraphError(f"{self.out}: must be resumed with the same {key}, got another")
        else:
            write_file(path, record_text(mine).encode())
        for name in (TRAINED, NETWORKS):
            (self.out / name).mkdir(exist_ok=True)

    def _left(self, share: float = 0.0) -> float:
        """Seconds until the end of a share of the hours; what the answer takes is kept from all of them."""
        if self.asked.hours is None:
            return math.inf
        whole = self.asked.hours * 3600
        if share:
            return share * whole - (time.monotonic() - self.began)
        return whole - max(ANSWER_SHARE * whole, ANSWER_SECONDS) - (time.monotonic() - self.began)

    # -- the funnel ----------------------------------------------------------------------------------------------------

    def whole(self) -> Found:
        """Searches to the end, or to that of the hours."""
        begun = self._funnel()
        try:
            begun, first = self._chosen(begun)
            begun, ended = self._trained_rungs(begun, first)
        finally:
            if self.engine is not None:
                self.engine.close()
        found = replace(_scored(begun, self.study.entries), ended=ended)
        self.progress("measuring the answer", 0, 1)
        among = [self._trained(one) for one in self._best(found)]
        made = answers.answer(among, self.asked, self.out, lambda: self._left() < 0)
        found = replace(found, answer=made, seconds=time.monotonic() - self.began)
        said = {**asdict(made), "ended": ended, "seconds": found.seconds}
        write_file(self.out / ANSWER, record_text(said).encode())
        write_file(self.out / TABLE, to_csv(found).encode())
        rows = [candidate_dict(one) for one in found.front]
        write_file(self.out / FRONT, (json.dumps(rows, indent=1) + "\n").encode())
        return found

    def _funnel(self) -> Found:
        """The candidates: as they were chosen before, or by evolution."""
        path, asked = self.out / CHOSEN, self.asked
        if path.exists():
            said, _ = read_record(path)
        else:
            said = self._evolved()
            write_file(path, record_text(said).encode())
        return _begun(asked.identity(), said)

    def _evolved(self) -> dict[str, Any]:
        asked = self.asked
        check_possible(asked.space, asked.budget, self.classes)
        began = time.monotonic()
        found = evolve(
            asked.space,
            asked.budget,
            self.classes,
            asked.candidates,
            asked.seed,
            lambda: self._left(FUNNEL_SHARE) < 0,
            lambda done, total: self.progress("choices judged", done, total),
        )
        seconds = time.monotonic() - began
        # Twice as many as are trained, since some make equal networks and some miss by the gaps of their arena.
        able = to_train(found.fitting, 2 * asked.pool + 8, asked.seed, asked.space.starts)
        chosen = self._rows(able, asked.pool, set())
        if not chosen:
            raise TargetError(
                f"--budget: {asked.budget} is kept by none of the {found.asked:,} choices of {asked.space.name} that "
                "were asked; ask more (--candidates), or allow more"
            )
        rate = found.asked / max(seconds, 1e-9)
        return {
            "asked": found.asked,
            "fitting": len(found.fitting),
            "asked_per_s": round(rate, 1),
            "classes": self.classes,
            "chosen": chosen,
        }

    def _rows(self, judged: Iterable[Judged], wanted: int, keys: set[str], generation: int = 1) -> list[dict[str, Any]]:
        """What is written of candidates: the first `wanted` networks with none of these keys that keep the budget."""
        asked, rows = self.asked, list[dict[str, Any]]()
        for one in judged:
            made = Costed(asked.space, one.choice, self.classes)
            if made.key in keys:
                continue
            costs = {of.name: made.value(of, interval_for(of, asked.budget)) for of in self._measures()}
            if all(costs[limit.measure.name] <= limit.most for limit in asked.budget.limits):
                keys.add(made.key)
                row = {"key": made.key, "choice": dict(made.choice), "costs": costs}
                rows.append(row if generation == 1 else {**row, "generation": generation})
            if len(rows) == wanted:
                break
        return rows

    def _measures(self) -> Sequence[Measure]:
        """Costs that are written of every candidate, each once."""
        every = (*self.asked.measures, *(limit.measure for limit in self.asked.budget.limits))
        return list({of.name: of for of in every}.values())

    # -- a supernet ----------------------------------------------------------------------------------------------------

    def _chosen(self, begun: Found) -> tuple[Found, Sequence[Scored]]:
        """The search with its candidates, and those of them that the first rung is to train."""
        pool, path = begun.candidates, self.out / AUDIT
        if not self.asked.supernet:
            return begun, [Scored(one.key, one.depth, 0.0) for one in pool]
        if not path.exists():
            made = self._audited(pool)
            if made is not None:
                write_file(path, record_text(made).encode())
        found = _with_audit(begun, self.out, self.asked.rungs[0].networks)
        return found, [Scored(one.key, one.depth, 0.0) for one in found.candidates if one.key in found.first]

    def _audited(self, pool: Sequence[Candidate]) -> dict[str, Any] | None:
        """The keys that the first rung is to train, and the audit by which they were chosen; None where the hours
        ended before, or the pool is too small for one.
        """
        asked, wanted = self.asked, self.asked.rungs[0].networks
        if len(pool) < supernet.AUDITED:
            return None
        recipe = _shortened(asked.recipe, asked.supernet, self.batch)
        what = supernet.Asked(asked.space, asked.data, asked.limit, asked.seed, recipe, self.classes, self.out)
        choices = {one.key: one.choice for one in pool}
        scores = supernet.scores(what, choices, lambda: self._left(supernet.SHARE) < 0, self.progress)
        if not scores:
            return None if scores is None else {"first": [one.key for one in pool[:wanted]], "audit": None}
        by_size = sorted(pool, key=lambda one: (one.costs["macs"], one.key))
        spread = (round(i * (len(pool) - 1) / (supernet.AUDITED - 1)) for i in range(supernet.AUDITED))
        some = [by_size[i] for i in spread]
        alone = Rung(len(some), asked.audit_epochs)
        if not self._rung([Scored(one.key, one.depth, 0.0) for one in some], alone, {one.key: one for one in pool}):
            return None
        done = {one.key: entry for one in some if (entry := self.study.done(one.key, alone.epochs)) is not None}
        rows = (Audited(one.key, one.costs["macs"], scores[one.key], done[one.key].top1) for one in some)
        audit = Audit(tuple(rows), alone.epochs, len(pool))
        best = [Scored(one.key, one.depth, scores[one.key]) for one in pool]
        first = halving.survivors(best, wanted) if audit.passed else pool[:wanted]
        return {"first": [one.key for one in first], "audit": audit.to_dict()}

    # -- trainings -----------------------------------------------------------------------------------------------------

    def _trained_rungs(self, begun: Found, going: Sequence[Scored]) -> tuple[Found, str]:
        """Trains rung by rung: the search with all its candidates, and why it ended."""
        for number, rung in enumerate(self.asked.rungs):
            going = halving.survivors(going, rung.networks) if number else going
            while going:
                if not self._rung(going, rung, {one.key: one for one in begun.candidates}):
                    return begun, "hours"
                going = self._scores(going, rung)
                born = () if number else self._born(begun, going)
                if not born:
                    break
                begun = replace(begun, candidates=(*begun.candidates, *born))
                going = [*going, *(Scored(one.key, one.depth, 0.0) for one in born)]
        return begun, "whole"

    def _scores(self, going: Sequence[Scored], rung: Rung) -> list[Scored]:
        done = {one.key: self.study.done(one.key, rung.epochs) for one in going}
        return [Scored(one.key, one.depth, entry.top1) for one in going if (entry := done[one.key]) is not None]

    def _born(self, begun: Found, trained: Sequence[Scored]) -> Sequence[Candidate]:
        """The next generation, children of all that were trained so far; none behind the last."""
        asked, generation = self.asked, max(one.generation for one in begun.candidates) + 1
        if generation > asked.generations or not asked.born:
            return ()
        by_key = {one.key: one.choice for one in begun.candidates}
        best = [by_key[one.key] for one in sorted(trained, key=lambda one: (-one.top1, one.key))]
        # More than are wanted, for the same reasons as those of the first generation.
        most, seed = 2 * asked.born + 8, f"{asked.seed} {generation}"
        found = children(asked.space, asked.budget, self.classes, best, most, seed)
        rows = self._rows(found, asked.born, {one.key for one in begun.candidates}, generation)
        said, _ = read_record(self.out / CHOSEN)
        write_file(self.out / CHOSEN, record_text({**said, "chosen": [*said["chosen"], *rows]}).encode())
        return tuple(_candidate(asked.space, row) for row in rows)

    def _rung(self, going: Sequence[Scored], rung: Rung, by_key: Mapping[str, Candidate]) -> bool:
        """Trains what a rung waits for, as many at once as the engine takes; False where the hours ended before."""
        waiting = [one for one in going if self.study.done(one.key, rung.epochs) is None]
        if not waiting:
            return True
        if self.engine is None:
            if self._left() <= 0:
                return False
            self.engine = self.workers.begin()
        engine, left, running, done = self.engine, list(waiting), 0, 0
        word = f"networks trained for {rung.epochs} epoch{'s' if rung.epochs > 1 else ''}"
        self.progress(word, 0, len(waiting))
        while left or running:
            if self._left() <= 0:
                return False
            while left and running < engine.slots and self._left() > 0:
                one = by_key[left.pop(0).key]
                self._begin(one, rung.epochs)
                engine.submit(self._task(one, rung.epochs))
                running += 1
            made = engine.next(min(self._left(), 3600.0))
            if made is None:
                continue
            self.study.end(made, by_key[made.key].costs["macs"])
            running, done = running - 1, done + 1
            self.progress(word, done, len(waiting))
        return True

    def _begin(self, one: Candidate, epochs: int) -> None:
        rungs, asked = tuple(rung.epochs for rung in self.asked.rungs), (self.asked.space, self.asked.budget)
        self.study.begin(one.key, epochs, rungs, one.choice, dict(one.costs), asked)

    def _task(self, one: Candidate, epochs: int) -> Task:
        made = Costed(self.asked.space, one.choice, self.classes)
        recipe = _shortened(self.asked.recipe, epochs, self.batch, ternary=bool(made.ternary))
        return Task(
            one.key,
            epochs,
            print_graph(made.graph),
            recipes.to_toml(recipe),
            self.asked.data,
            self.asked.limit,
            self.asked.seed,
            str(self.out.absolute() / TRAINED),
        )

    def _best(self, found: Found) -> Sequence[Candidate]:
        """The best of those trained longest; without any, the first that was to be trained."""
        longest = max((one.epochs for one in found.candidates if not one.failed), default=0)
        able = [one for one in found.candidates if one.epochs == longest and one.top1 is not None and not one.failed]
        best = sorted(able, key=lambda one: (-(one.top1 or 0.0), one.key))
        return best[:ANSWERS] or found.candidates[:1]

    def _trained(self, one: Candidate) -> answers.Trained:
        file = self.out / NETWORKS / f"{one.key}-{one.epochs}.rlt"
        return answers.Trained(one.key, Costed(self.asked.space, one.choice, self.classes), file)


def _shortened(recipe: Recipe, epochs: int, batch: int, *, ternary: bool = False) -> Recipe:
    """The recipe for a short training, the rise of its rate no larger a share of it."""
    made = recipes.with_said(recipe, epochs=epochs, batch=batch, ternary=ternary)
    warmup = min(made.rate.warmup_epochs, _WARMUP * epochs)
    return replace(made, rate=replace(made.rate, warmup_epochs=warmup))


def read(out: Path) -> Found:
    """The search in a folder as it stands, whether it goes on or has ended; raises GraphError where there is none."""
    about, chosen, answered = out / ABOUT, out / CHOSEN, out / ANSWER
    if not about.exists():
        raise GraphError(f"{out}: must be the folder of a search, and has no {ABOUT}")
    if not chosen.exists():
        raise GraphError(f"{out}: must have come through its funnel, and has no {CHOSEN} yet")
    try:
        begun = _begun(read_record(about)[0], read_record(chosen)[0])
        if begun.supernet:
            begun = _with_audit(begun, out, halving.parse(begun.rungs)[0].networks)
        found = _scored(begun, Study(out).entries)
        if not answered.exists():
            return found
        said = dict(read_record(answered)[0])
        ended, seconds = said.pop("ended"), said.pop("seconds")
        return replace(found, answer=Answer(**said), ended=ended, seconds=seconds)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise GraphError(f"{out}: must be the folder of a search: {str(error)[:100]}") from None


def space_of(out: Path) -> Space:
    """The space of the search in a folder."""
    return _space(read_record(out / ABOUT)[0])


def _space(about: Mapping[str, Any]) -> Space:
    return from_genes(str(about["space"]), about["genes"], about["stages"])


def _begun(about: Mapping[str, Any], said: Mapping[str, Any]) -> Found:
    """A search behind its funnel."""
    return Found(
        space=about["space"],
        classes=said["classes"],
        data=about["data"],
        budget=about["budget"],
        objectives=tuple(about["objectives"]),
        seed=about["seed"],
        asked=said["asked"],
        fitting=said["fitting"],
        asked_per_s=said["asked_per_s"],
        candidates=tuple(_candidate(_space(about), row) for row in said["chosen"]),
        rungs=",".join(f"{networks}x{epochs}" for networks, epochs in about["rungs"]),
        supernet=about.get(_SUPERNET, 0),
        generations=about.get(_GENERATIONS, 1),
    )


def _with_audit(found: Found, out: Path, wanted: int) -> Found:
    """The search behind its audit: candidates are what that trained, and what the first rung is to train."""
    said: Mapping[str, Any] = {"first": [one.key for one in found.candidates[:wanted]], "audit": None}
    if (out / AUDIT).exists():
        said, _ = read_record(out / AUDIT)
    rows, audit = said["audit"], None
    if rows is not None:
        audit = Audit(tuple(Audited(**row) for row in rows["networks"]), rows["epochs"], rows["scored"])
    first = frozenset(map(checked_key, said["first"]))
    keys = first | {one.key for one in (audit.networks if audit else ())}
    kept = tuple(one for one in found.candidates if one.key in keys)
    return replace(found, candidates=kept, first=first, audit=audit)


def _candidate(space: Space, row: Mapping[str, Any]) -> Candidate:
    """A candidate that was written down: its key becomes part of paths, its choice a network."""
    choice = space.plain(row["choice"])
    costs = {str(name): float(value) for name, value in row["costs"].items()}
    key, generation = checked_key(row["key"]), int(row.get("generation", 1))
    return Candidate(key, choice, space.depth(choice), costs, generation=generation)


def _scored(found: Found, entries: Sequence[Entry]) -> Found:
    """The search with what its trainings came to."""
    by_key: dict[str, list[Entry]] = {}
    for entry in entries:
        by_key.setdefault(entry.key, []).append(entry)

    def scored(one: Candidate) -> Candidate:
        mine = by_key.get(one.key, [])
        if not mine:
            return one
        last = max(mine, key=lambda entry: entry.epochs)
        seconds = sum(entry.seconds for entry in mine)
        return replace(one, top1=last.top1, epochs=last.epochs, seconds=seconds, failed=last.failed)

    return replace(found, candidates=tuple(map(scored, found.candidates)))
