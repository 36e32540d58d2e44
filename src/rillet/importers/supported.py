"""Which operators importers read; and of a network that they cannot read, all kinds that stand in the way, at once."""

from collections import Counter
from collections.abc import Callable, Iterable

from rillet.errors import Unsupported

MOST_KINDS = 12
"""Kinds that a message names; of more it says how many there are."""


def refuse_unknown(found: Iterable[tuple[str, str]], known: Callable[[str], bool], what: str, form: str) -> None:
    """Raises Unsupported where some operators have no reader.

    `found`: each operator as messages call it, and its kind. `what`: what the file calls them. `form`: the word for the
    kind of file in `rillet ops --format`.
    """
    listed = list(found)
    missing = Counter(kind for _, kind in listed if not known(kind))
    if not missing:
        return
    first = next(name for name, kind in listed if kind in missing)
    kinds = [f"{kind} ({count}){_remark(kind, listed)}" for kind, count in missing.most_common(MOST_KINDS)]
    more = f" and {len(missing) - MOST_KINDS} more kinds" if len(missing) > MOST_KINDS else ""
    supported = len(listed) - missing.total()
    raise Unsupported(
        f"{first}: is not supported; {supported} of {len(listed)} {what} are, all but {', '.join(kinds)}{more}; "
        f"rillet ops --format {form} lists those that are"
    )


def _remark(kind: str, listed: list[tuple[str, str]]) -> str:
    """A word about a kind that is attention by its name, or by that of a layer it is in; empty for others."""
    names = (name.lower() for name, own in listed if own == kind)
    return ", of attention" if any("attention" in name or "attn" in name for name in names) else ""


Rows = list[tuple[str, str, str]]
"""Of each operator its name, the op that it becomes in a graph, and its limits."""


def markdown(rows: Rows) -> str:
    """The supported operators as a Markdown table."""
    lines = [f"| `{name}` | {becomes} | {limits} |" for name, becomes, limits in rows]
    return "\n".join(["| operator | becomes | limits |", "|---|---|---|", *lines]) + "\n"
