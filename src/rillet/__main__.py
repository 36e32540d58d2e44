"""Entry point of `rillet` and `python -m rillet`, which handles Ctrl-C before it imports the rest."""

import os
import signal
from types import FrameType
from typing import NoReturn


def main() -> NoReturn:
    """Runs the command line; Ctrl-C ends it with exit code 130 and without a traceback, while it is imported too."""
    # The parent process may have set it to be ignored.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    from rillet.cli import main as run

    run()
    raise SystemExit(0)


def _leave(_: int, __: FrameType | None) -> NoReturn:
    """Before and after a command: an import would make an error of its own of it, and there is nothing to tidy."""
    os._exit(130)


if __name__ == "__main__":
    main()
