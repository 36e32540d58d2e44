"""Writes a machine as the TOML file that reads as it."""

import json
from collections.abc import Mapping
from typing import assert_never

from rillet.targets.arrays import ArrayMachine
from rillet.targets.boards import Board
from rillet.targets.catalogue import Target
from rillet.targets.chips import StreamChip
from rillet.targets.host import Host
from rillet.targets.quantity import Quantity


def words(target: Target) -> Mapping[str, str | tuple[str, ...]]:
    """What a machine's file says that is no number, by its keys."""
    match target:
        case Host():
            return {"name": target.name, "kernels": target.kernels, "extras": target.extras}
        case Board():
            return {"name": target.name, "core": target.core, "kernels": target.kernels}
        case StreamChip():
            found = {"name": target.name, "about": target.about}
            more = {"family": target.family.name if target.family else "", "device": target.device}
            return found | {key: word for key, word in {**more, "package": target.package}.items() if word}
        case ArrayMachine():
            found = {"name": target.name, "about": target.about}
            return {**found, "dataflow": target.dataflow, "hardware": target.hardware}
    assert_never(target)


def to_toml(target: Target) -> str:
    """The machine's file, from which `catalogue.parse` reads an equal machine."""
    lines = [f"{key} = {_word(word)}" for key, word in words(target).items()]
    for key, quantity in target.quantities.items():
        lines += ["", f"[{key}]", *_numbers(quantity)]
        lines += [f"source = {_word(quantity.source)}", f"confidence = {_word(quantity.confidence)}"]
    return "\n".join(lines) + "\n"


def _numbers(quantity: Quantity) -> list[str]:
    said = {"value": quantity.value}
    if quantity.banded:
        said |= {"low": quantity.low, "high": quantity.high}
    return [f"{key} = {number:_}" if isinstance(number, int) else f"{key} = {number!r}" for key, number in said.items()]


def _word(word: str | tuple[str, ...]) -> str:
    """A text or a list of texts in TOML, whose escapes are JSON's; what a terminal would obey is escaped as well."""
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in json.dumps(word, ensure_ascii=False))
