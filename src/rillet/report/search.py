"""A search, for the terminal and as a record."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rillet.report.screen import Grid, Screen, columns
from rillet.search.found import Candidate, Found, candidate_dict
from rillet.search.space import Space
from rillet.search.supernet import TAU, Audit

_SHOWN = 12
"""Candidates beside the front."""


def record(found: Found) -> dict[str, Any]:
    """All that is known of it."""
    return {
        "space": found.space,
        "data": found.data,
        "budget": found.budget,
        "objectives": list(found.objectives),
        "seed": found.seed,
        "rungs": found.rungs,
        "asked": found.asked,
        "fitting": found.fitting,
        "asked_per_s": found.asked_per_s,
        "seconds": round(found.seconds, 1),
        "ended": found.ended,
        "generations": found.generations,
        "supernet": found.supernet,
        "audit": None if found.audit is None else found.audit.to_dict(),
        "answer": None if found.answer is None else asdict(found.answer),
        "front": [one.key for one in found.front],
        "candidates": [candidate_dict(one) for one in found.candidates],
    }


def search(console: Screen, found: Found) -> None:
    """The best candidates, those of the front marked, and the answer."""
    order = sorted(found.candidates, key=lambda one: (-one.epochs, -(one.top1 or 0.0), one.key))
    front = {one.key for one in found.front}
    costs = list(dict.fromkeys(name for one in order for name in one.costs))
    names = ("network", "held back", "epochs", "blocks", *costs, "s", "front")
    rows = [_row(one, costs, one.key in front) for one in order[:_SHOWN]]
    console.draw(Grid(columns(names, words=("network", "front"), leave=("s", "blocks")), rows))
    if len(order) > _SHOWN:
        console.print(f"and {len(order) - _SHOWN} more: candidates.csv", soft_wrap=True)
    for line in lines(found):
        console.print(line, soft_wrap=True)


def _row(one: Candidate, costs: Sequence[str], front: bool) -> tuple[str, ...]:
    top1 = "failed" if one.failed else "" if one.top1 is None else f"{one.top1:.2%}"
    numbers = (f"{one.costs[name]:,.6g}" if one.costs[name] % 1 else f"{int(one.costs[name]):,}" for name in costs)
    return (one.key, top1, f"{one.epochs}", f"{one.depth}", *numbers, f"{one.seconds:.0f}", "*" if front else "")


def lines(found: Found) -> list[str]:
    """What came through the funnel, what was trained, and the answer, a sentence each."""
    trained = sum(one.epochs > 0 for one in found.candidates)
    said = [
        f"{found.space}: {found.asked:,} choices asked ({found.asked_per_s:,.0f}/s), {found.fitting:,} keep "
        f"{found.budget}; {trained} trained on {found.data} ({found.rungs})"
    ]
    if found.asked == 1:
        said.append(f"{found.space} has one network, which was {'trained' if trained else 'to be trained'}")
    if found.supernet and (found.audit is not None or found.answer is not None):
        said.append(_audited(found.audit))
    answer = found.answer
    if answer is None:
        return [*said, "not ended: the same command with --resume goes on"]
    if found.ended == "hours":
        said.append("the hours ended before the last training: --resume without them, or with more, goes on")
    memory = (
        f"{answer.arena_bytes:,} bytes of RAM planned, {answer.touched_bytes:,} touched by its C program, "
        f"{answer.layerwise_bytes:,} layer by layer"
    )
    if answer.top1 is None:
        said.append(f"{answer.file}: {answer.key}, not trained, for the hours were too few; {memory}")
    else:
        said.append(f"{answer.file}: {answer.key} in int8, top-1 {answer.top1:.2%} of {answer.images:,} in C; {memory}")
    return said


def _audited(audit: Audit | None) -> str:
    """Whether networks were chosen by a supernet, and why."""
    if audit is None:
        return "the supernet was not used: it was not audited (no time, too few networks, or its training diverged)"
    used = "used" if audit.passed else "not used"
    return (
        f"the supernet was {used}: {len(audit.networks)} networks trained alone for {audit.epochs} epochs rank as its "
        f"scores do with Kendall's tau {audit.tau:.2f} ({TAU} is asked for), as their MACs do with {audit.tau_macs:.2f}"
    )


def spaces(console: Screen, found: Sequence[Space]) -> None:
    """A row a space."""
    rows = [(one.name, f"{one.size:.1e}", f"{len(one.free)}", one.about) for one in found]
    console.draw(Grid(columns(("space", "choices", "genes", "about"), words=("space", "about")), rows))
