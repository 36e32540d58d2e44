"""How a command ends: its exit code, and the one sentence that it says where something went wrong."""

import contextlib
import errno
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Generator
from types import FrameType
from typing import Any, TextIO

from rillet.errors import RilletError, RilletWarning
from rillet.system.printable import printable

INTERRUPTED = 130
"""128 and the number of the signal, as shells have it."""
_OUTPUT = (errno.ENOSPC, errno.EPIPE, errno.EIO, errno.EBADF, errno.EFBIG, errno.EDQUOT, errno.ENXIO)
"""What a write fails with that names no file: standard output cannot be written."""


def run(command: Callable[[], object]) -> int:
    """The exit code of a command: that of its SystemExit, 1 after a sentence on standard error, 130 after Ctrl-C."""
    with _warnings(), _interrupts() as interrupted:
        try:
            # Without one, what is opened first would get its number, and what is printed would go there.
            code = _code(command) if sys.stdout else _fail("standard output: must be open, got none")
            _flush(sys.stdout)
        except KeyboardInterrupt:
            code = INTERRUPTED
        except RilletError as error:
            code = _fail(str(error))
        except BrokenPipeError:
            # The reader of our output has left (`rillet show | head`): nothing to say, nobody to say it to.
            code = 1
        except OSError as error:
            if error.filename is None and error.errno not in _OUTPUT:
                raise
            what = f"{error.filename}: cannot be used" if error.filename else "standard output: cannot be written"
            code = _fail(f"{what}: {error.strerror}")
        except Exception:
            if not interrupted():
                raise
            code = INTERRUPTED  # an import or a callback made another error of it
        for stream in (sys.stdout, sys.stderr):
            _give_up(stream)
    return code


def _code(command: Callable[[], object]) -> int:
    try:
        command()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    return 0


def _fail(sentence: str) -> int:
    _say(sentence)
    return 1


def _say(sentence: str) -> None:
    with contextlib.suppress(OSError, AttributeError):
        print(f"rillet: {printable(sentence)}", file=sys.stderr, flush=True)


def _flush(stream: TextIO | None) -> None:
    if stream is not None:
        stream.flush()


def _give_up(stream: TextIO | None) -> None:
    """Where a stream cannot be written, what is left in it goes nowhere: the interpreter would try again at its end."""
    try:
        _flush(stream)
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())  # pyright: ignore[reportOptionalMemberAccess]
            os.close(nowhere)


@contextlib.contextmanager
def _warnings() -> Generator[None]:
    """Rillet's own warnings are sentences on standard error; those of others stay as they are."""
    with warnings.catch_warnings():
        others = warnings.showwarning
        warnings.simplefilter("always", RilletWarning)

        def show(message: Any, category: type[Warning], *more: Any, **said: Any) -> None:
            if issubclass(category, RilletWarning):
                _say(str(message))
            else:
                others(message, category, *more, **said)

        warnings.showwarning = show
        yield


@contextlib.contextmanager
def _interrupts() -> Generator[Callable[[], bool]]:
    """Remembers Ctrl-C, which some code makes another error of; tells whether there was one."""
    seen = threading.Event()
    before, unraisable = signal.getsignal(signal.SIGINT), sys.unraisablehook

    def heard(_: int, __: FrameType | None) -> None:
        seen.set()
        raise KeyboardInterrupt

    def lost(what: Any) -> None:
        if what.exc_type is KeyboardInterrupt:
            os._exit(INTERRUPTED)  # it came in a callback, which can raise nothing
        unraisable(what)

    # Ignored is ignored, and only the main thread may say what a signal means.
    ours = callable(before) and threading.current_thread() is threading.main_thread()
    try:
        if ours:
            signal.signal(signal.SIGINT, heard)
        sys.unraisablehook = lost
        yield seen.is_set
    finally:
        sys.unraisablehook = unraisable
        if ours:
            signal.signal(signal.SIGINT, before)
