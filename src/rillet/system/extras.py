"""Heavy libraries that come with an extra of the package, imported only where they are used."""

from collections.abc import Generator
from contextlib import contextmanager

from rillet.errors import Unsupported


@contextmanager
def extra(name: str) -> Generator[None]:
    """Turns a failed import of the extra's library into Unsupported, saying what to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise Unsupported(f"{error.name} must be installed for this: pip install rillet[{name}]") from None
