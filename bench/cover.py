"""What the parts of coverage.py share: a case, what was found of it, and a part, which has cases and looks at one."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """One network: what the table calls it, and what the part needs to find it again in a process of its own."""

    name: str
    place: str


@dataclass
class Found:
    """What is known of a case so far; a process that is ended leaves what it knew."""

    stage: str = "reading"
    """What is done, or was when the process ended: `reading`, `comparing`, then `done`."""
    nodes: int = 0
    macs: int = 0
    kind: str = ""
    """Element types of the values, as in `int8` or `float32`."""
    refusal: str = ""
    """The sentence that refuses the network, without its name."""
    against: str = ""
    """The source runtime; empty where it is not installed, or refuses the network itself."""
    difference: str = ""
    """The first value that is not as it should be; empty where all are."""
    rounding: float | None = None
    """The greatest error of a float32 value, as a fraction of what float32 may round there."""
    note: str = ""
    only_read: bool = False
    """Asked for: nothing is compared."""
    seconds: float = 0.0
    megabytes: float = 0.0


@dataclass(frozen=True)
class Part:
    """Networks of one kind. `look` fills in what it finds, and calls its last argument whenever that has changed."""

    title: str
    says: str
    """What is compared with what, for the page."""
    cases: Callable[[list[str]], Iterable[Case]]
    """Of the folders or names that the user says; of none, those of the part itself."""
    look: Callable[[str, Found, Callable[[], None]], None]
