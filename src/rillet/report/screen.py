"""The terminal: whatever a name or a label holds is shown, and nothing of it is obeyed."""

from typing import Any

from rich.console import Console
from rich.text import Text

from rillet.system.printable import printable


class Screen(Console):
    """A console on which strings are plain text: no markup, no emoji codes, no control characters.

    Rich makes every string that it is given, in a table's cell too, into text here; styles are said by Text objects of
    the program's own.
    """

    def __init__(self, *, stderr: bool = False, width: int | None = None) -> None:
        super().__init__(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **said: Any) -> Text:
        """`text` as it may be shown, in the style and justification that are `said`."""
        said["markup"] = said["emoji"] = False
        return super().render_str(printable(text), **said)
