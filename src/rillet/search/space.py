"""Search spaces: a TOML file that says what may vary in a stack of blocks, and the network that each choice makes.

A list is a choice, anything else is fixed. Where a key of a stage is chosen `for each block`, every block of the stage
has a choice of its own. A choice names its values (`stage2.block1.kernel = 5`), so that it stays readable, and what
does not matter in it (the kernel of a block that the depth leaves out) is dropped: equal networks have equal choices.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

from rillet.errors import TargetError
from rillet.targets import reading

Value = int | float | str | bool
Choice = Mapping[str, Value]
"""The value of every gene that matters, by its name."""

_PACKAGE, _FOLDER = "rillet.search", "spaces"
KINDS = ("inverted", "residual")
"""What a stage is a stack of: inverted residuals (Sandler et al.), or two dense convolutions (He et al.)."""
SPATIAL = ("depthwise", "fuse")
"""How an inverted residual mixes pixels: a K x K depthwise convolution, or its FuSe half (rows and columns)."""
ACTIVATIONS = ("relu", "relu6", "hard_swish")
_BITS, INT8, TERNARY = "network.bits", "int8", "ternary"
WIDTHS_TO = 4
"""Channels under a width multiplier are rounded to a multiple of this."""
MAX_GENES = 1000
MAX_STAGES = 32
MAX_DEPTH = 32
MAX_STARTS = 32
RESOLUTION, WIDTH = "input.resolution", "network.width"


@dataclass(frozen=True, slots=True)
class Gene:
    """One thing that may vary."""

    name: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a space file: what its values may be."""

    name: str
    least: float = 0
    most: float = 0
    words: tuple[str, ...] = ()
    """Instead of numbers."""
    whole: bool = True
    flag: bool = False
    default: Value | None = None
    """None where it must be given."""
    each_block: bool = False
    """True where every block of a stage chooses for itself."""


_INPUT = (Key("resolution", 8, 1024),)
_STEM = (
    Key("channels", 1, 4096),
    Key("kernel", 1, 7, default=3),
    Key("stride", 1, 4, default=2),
)
_STAGE = (
    Key("kind", words=KINDS, default="inverted"),
    Key("stride", 1, 4, default=1),
    Key("channels", 1, 4096),
    Key("depth", 0, MAX_DEPTH, default=1),
    Key("kernel", 1, 7, default=3, each_block=True),
    Key("expand", 1, 16, whole=False, default=1, each_block=True),
    Key("spatial", words=SPATIAL, default="depthwise", each_block=True),
    Key("squeeze", flag=True, default=False, each_block=True),
    Key("activation", words=ACTIVATIONS, default="relu6"),
)
_HEAD = (Key("channels", 0, 8192, default=0), Key("features", 0, 8192, default=0))
_WHOLE = (
    Key("width", 0.05, 4, whole=False, default=1.0),
    Key("activation", words=ACTIVATIONS, default="relu6"),
    Key("bits", words=(INT8, TERNARY), default=INT8),
)
_TABLES: Mapping[str, tuple[Key, ...]] = {"input": _INPUT, "stem": _STEM, "head": _HEAD, "network": _WHOLE}


@dataclass(frozen=True)
class Space:
    """What may vary, and what it is called."""

    name: str
    about: str
    source: str
    genes: tuple[Gene, ...]
    """In the order of the file; those with one value are fixed."""
    stages: int
    starts: tuple[Choice, ...] = ()
    """Networks to begin with, without resolution and width: they have every one of these."""

    @cached_property
    def by_name(self) -> Mapping[str, Gene]:
        """The genes by name."""
        return {gene.name: gene for gene in self.genes}

    @cached_property
    def free(self) -> tuple[Gene, ...]:
        """The genes with more than one value."""
        return tuple(gene for gene in self.genes if len(gene.values) > 1)

    @property
    def size(self) -> int:
        """Number of choices, those that make equal networks counted several times."""
        return math.prod(len(gene.values) for gene in self.genes)

    @property
    def has_ternary(self) -> bool:
        """True where some choices have ternary weights."""
        return _BITS in self.by_name and TERNARY in self.by_name[_BITS].values

    def drawn(self, rng: Random) -> dict[str, Value]:
        """A choice at random, each gene evenly."""
        return self.plain({gene.name: rng.choice(gene.values) for gene in self.genes})

    def started(self, resolution: Value) -> list[dict[str, Value]]:
        """The networks to begin with at a resolution, each in every width."""
        widths = self.by_name[WIDTH].values
        return [
            self.plain({**start, RESOLUTION: resolution, WIDTH: width}) for start in self.starts for width in widths
        ]

    def crossed(self, one: Choice, other: Choice, rng: Random, rate: float) -> dict[str, Value]:
        """A child: each gene from either parent (or drawn, where that has none), and drawn anew at a `rate`."""
        made: dict[str, Value] = {}
        for gene in self.genes:
            parent = one if rng.random() < 0.5 else other
            drawn = rng.choice(gene.values)
            made[gene.name] = drawn if rng.random() < rate else parent.get(gene.name, drawn)
        return self.plain(made)

    def plain(self, said: Choice) -> dict[str, Value]:
        """The choice without genes of blocks that it leaves out, in the order of the space.

        Raises TargetError for a value that the space does not have.
        """
        made: dict[str, Value] = {}
        for gene in self.genes:
            depth = said.get(depth_gene(gene.name), 1) if is_of_block(gene.name) else None
            if depth is not None and block_of(gene.name) > int(depth):
                continue
            if gene.name not in said:
                raise TargetError(f"{self.name}: choice must say {gene.name}")
            if said[gene.name] not in gene.values:
                listed = ", ".join(str(value) for value in gene.values)
                raise TargetError(f"{self.name}: {gene.name} must be one of {listed}, got {said[gene.name]!r}")
            made[gene.name] = said[gene.name]
        for name in said:
            if name not in self.by_name:
                raise TargetError(f"{self.name}: choice must be of known genes, got {name!r:.60}")
        return made

    def depth(self, choice: Choice) -> int:
        """Number of blocks of a choice."""
        return sum(int(choice[f"stage{number}.depth"]) for number in range(1, self.stages + 1))


def is_ternary(choice: Choice) -> bool:
    """True where the large layers of a choice have weights of three values."""
    return choice.get(_BITS, INT8) == TERNARY


def is_of_block(name: str) -> bool:
    """True for a gene that a block chooses for itself."""
    return ".block" in name


def block_of(name: str) -> int:
    """The number of a block in its stage, from 1."""
    return int(name.split(".")[1].removeprefix("block"))


def depth_gene(name: str) -> str:
    """The gene that says how many blocks the stage of a block has."""
    return f"{name.partition('.')[0]}.depth"


def from_genes(name: str, genes: Mapping[str, Any], stages: Any) -> Space:
    """The space that a search wrote down, gene by gene; raises TargetError for values that no space file may have."""
    if not isinstance(stages, int) or not 1 <= stages <= MAX_STAGES or len(genes) > MAX_GENES:
        raise TargetError(f"{name}: must have 1 to {MAX_STAGES} stages and at most {MAX_GENES} choices")
    known = {f"{table}.{key.name}": key for table, keys in _TABLES.items() for key in keys}
    for stage in range(1, stages + 1):
        for key in _STAGE:
            prefixes = [f"block{block}." for block in range(1, MAX_DEPTH + 1)] if key.each_block else [""]
            known |= {f"stage{stage}.{prefix}{key.name}": key for prefix in prefixes}
    made: list[Gene] = []
    for gene, values in genes.items():
        if gene not in known or not isinstance(values, list):
            raise TargetError(f"{name}: must have known genes with lists of values, got {gene!r:.60}")
        made.append(Gene(gene, _values(f"{name}: {gene}", {known[gene].name: values}, known[gene])))
    return Space(name, "", "", tuple(made), stages)


def names() -> tuple[str, ...]:
    """The spaces that Rillet has."""
    return reading.names(_FOLDER, _PACKAGE)


def find(name: str) -> Space:
    """The space called `name` (`-` and `_` alike), or that of a file ending in .toml.

    Raises TargetError for an unknown one (with the nearest), and for a file that is no space, naming the key.
    """
    key, table = reading.document(_FOLDER, "search space", name, _PACKAGE)
    return from_table(key, table)


def parse(where: str, text: str) -> Space:
    """The space in a TOML text; raises TargetError as `find` does."""
    return from_table(where, reading.table(where, text))


def text_of(name: str) -> str:
    """The TOML text of a space that Rillet has, to start another from."""
    if name.endswith(".toml"):
        return reading.text_of(Path(name))
    find(name)
    return reading.packaged(_FOLDER, reading.canonical(name), _PACKAGE)


def from_table(where: str, table: Mapping[str, Any]) -> Space:
    """The space that a table describes; raises TargetError, which names the key, for a wrong one."""
    reading.check_keys(
        where, table, ("about", "source", *_TABLES, "stage", "start"), ("about", "input", "stem", "stage")
    )
    genes: list[Gene] = []
    for name in ("input", "network", "stem"):
        genes += _genes(f"{where}: {name}", name, table.get(name, {}), _TABLES[name])
    stages = table["stage"]
    if not isinstance(stages, list) or not stages or not all(isinstance(one, dict) for one in stages):
        raise TargetError(f"{where}: stage must be given as [[stage]], once or more")
    if len(stages) > MAX_STAGES:
        raise TargetError(f"{where}: must have at most {MAX_STAGES} stages, got {len(stages)}")
    for number, stage in enumerate(stages, 1):
        genes += _stage(f"{where}: stage {number}", f"stage{number}", stage)
    genes += _genes(f"{where}: head", "head", table.get("head", {}), _HEAD)
    if len(genes) > MAX_GENES:
        raise TargetError(f"{where}: must have at most {MAX_GENES} choices, got {len(genes)}")
    said = {key: reading.text(f"{where}: {key}", table[key]) if key in table else "" for key in ("about", "source")}
    made = Space(where, said["about"], said["source"], tuple(genes), len(stages))
    starts = table.get("start", [])
    if not isinstance(starts, list) or len(starts) > MAX_STARTS or not all(isinstance(one, dict) for one in starts):
        raise TargetError(f"{where}: start must be given as [[start]], at most {MAX_STARTS} times")
    return replace(made, starts=tuple(_start(f"{where}: start {i}", made, one) for i, one in enumerate(starts, 1)))


def _start(where: str, space: Space, table: Mapping[str, Any]) -> Choice:
    """A network to begin with: what it does not say is the first of its values; of a list the last is for all blocks
    behind it.
    """
    keys: dict[str, list[str]] = {}
    for gene in space.genes:
        if gene.name not in (RESOLUTION, WIDTH):
            part, key = _place(gene.name)
            keys.setdefault(part, []).append(key)
    reading.check_keys(where, table, tuple(keys), ())
    said = {part: reading.section(f"{where}: {part}", table.get(part, {}), known, ()) for part, known in keys.items()}
    made: dict[str, Value] = {}
    for gene in space.genes:
        part, key = _place(gene.name)
        value = said[part].get(key, gene.values[0]) if part in said else gene.values[0]
        made[gene.name] = _of_block(value, block_of(gene.name)) if is_of_block(gene.name) else value
    try:
        plain = space.plain(made)
    except TargetError as error:
        raise TargetError(f"{where}: {str(error).removeprefix(f'{space.name}: ')}") from None
    return {name: value for name, value in plain.items() if name not in (RESOLUTION, WIDTH)}


def _of_block(value: Any, block: int) -> Any:
    """Of a list what a block has."""
    if not isinstance(value, list) or not value:
        return value
    every: list[Any] = list(value)  # pyright: ignore[reportUnknownArgumentType]
    return every[min(block, len(every)) - 1]


def _place(gene: str) -> tuple[str, str]:
    """The table and the key that say a gene."""
    names = gene.split(".")
    return names[0], names[-1]


def _stage(where: str, name: str, table: Any) -> list[Gene]:
    whole = _genes(where, name, table, tuple(key for key in _STAGE if not key.each_block), more=_STAGE)
    each = _genes(where, name, table, tuple(key for key in _STAGE if key.each_block), more=_STAGE)
    by_name = {gene.name: gene for gene in whole}
    if len(by_name[f"{name}.kind"].values) > 1:
        raise TargetError(f"{where}: kind must be one word, got a choice")
    deepest = max(int(value) for value in by_name[f"{name}.depth"].values)
    if by_name[f"{name}.kind"].values == ("residual",):
        _check_residual(where, table)
        each = [gene for gene in each if gene.name.endswith(".kernel")]
    of_blocks = [
        Gene(f"{name}.block{block}.{gene.name.partition('.')[2]}", gene.values)
        for block in range(1, deepest + 1)
        for gene in each
    ]
    return [*whole, *of_blocks]


def _check_residual(where: str, table: Mapping[str, Any]) -> None:
    for key in ("expand", "spatial", "squeeze"):
        if key in table:
            raise TargetError(f'{where}: {key} must come with kind = "inverted"')


def _genes(where: str, name: str, table: Any, keys: Sequence[Key], more: Sequence[Key] = ()) -> list[Gene]:
    known = [key.name for key in more or keys]
    required = [key.name for key in more or keys if key.default is None]
    found = reading.section(where, table, known, required)
    return [Gene(f"{name}.{key.name}", _values(f"{where}: {key.name}", found, key)) for key in keys]


def _values(where: str, found: Mapping[str, Any], key: Key) -> tuple[Value, ...]:
    if key.name not in found:
        assert key.default is not None
        return (key.default,)
    said = found[key.name]
    options: list[Any] = list(said) if isinstance(said, list) else [said]
    if not options:
        raise TargetError(f"{where}: must have a value to choose, got an empty list")
    values = tuple(_value(where, one, key) for one in options)
    if len(set(values)) < len(values):
        raise TargetError(f"{where}: must name a value once, got {reading.shown(said)}")
    return values


def _value(where: str, said: Any, key: Key) -> Value:
    if key.flag:
        if not isinstance(said, bool):
            raise TargetError(f"{where}: must be true or false, got {reading.shown(said)}")
        return said
    if key.words:
        return reading.text(where, said, key.words)
    kinds = (int,) if key.whole else (int, float)
    if isinstance(said, bool) or not isinstance(said, kinds) or not key.least <= said <= key.most:
        what = "whole number" if key.whole else "number"
        raise TargetError(f"{where}: must be a {what} from {key.least:g} to {key.most:g}, got {reading.shown(said)}")
    if key.name == "kernel" and said % 2 == 0:
        raise TargetError(f"{where}: must be odd, got {said}")
    return said
