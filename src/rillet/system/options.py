"""Which options apply in which mode: an option that would be ignored is refused."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rillet.errors import GraphError, RilletError


def is_said(value: object) -> bool:
    """True for an option that was given: neither None, nor a switch that is off, nor an empty list."""
    return value is not None and value is not False and value != ()


@dataclass(frozen=True, slots=True)
class Uses:
    """The options that do something in some modes alone."""

    modes: Mapping[str, tuple[str, ...]]
    """For each mode, in the words of its user (`--compare`, `a chip`), those of the options that do something there."""
    error: type[RilletError] = GraphError

    def check(self, mode: str, said: Mapping[str, object]) -> None:
        """Raises `error` for a given option that has no effect in `mode`; options that are not listed always apply."""
        listed = {option for options in self.modes.values() for option in options}
        for option, value in said.items():
            if option in listed and is_said(value) and option not in self.modes[mode]:
                useful = [name for name, options in self.modes.items() if option in options]
                raise self.error(f"{option} must come with {' or '.join(useful)}, got {mode}")


def at_most_one(said: Mapping[str, object]) -> None:
    """Raises GraphError where more than one of these options is given."""
    got = [option for option, value in said.items() if is_said(value)]
    if len(got) > 1:
        raise GraphError(f"one of {_listed(said)} must be given, got {' and '.join(got)}")


def none_beside(option: str, said: Mapping[str, object], error: type[RilletError] = GraphError) -> None:
    """Raises `error` for an option that is said although `option`, which is said too, has it already."""
    for other, value in said.items():
        if is_said(value):
            raise error(f"{other} must come without {option}, which says it already")


def _listed(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}"
