"""A process that trains what it is told: a task a line in, an outcome a line out; it ends with whoever began it."""

import base64
import json
import os
import sys
import threading
from dataclasses import asdict
from queue import SimpleQueue
from typing import TextIO

from rillet.errors import RilletError
from rillet.search.task import Task, run


def main() -> None:
    """Trains task after task until the input ends."""
    # What libraries print must not lie between the lines.
    said = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    lines: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_read, args=(lines,), daemon=True).start()
    while True:
        answer(lines.get(), said)


def answer(line: str, said: TextIO) -> None:
    """Trains the task of a line and writes its outcome, or the sentence of what is wrong with it."""
    try:
        made = asdict(run(Task(**json.loads(line))))
        made["network"] = base64.b64encode(made["network"]).decode()
        text = json.dumps({"outcome": made})
    except RilletError as error:
        text = json.dumps({"error": type(error).__name__, "says": str(error)})
    said.write(text + "\n")
    said.flush()


def _read(lines: "SimpleQueue[str]") -> None:
    """Where the coordinator is gone, its pipe ends, and so does this process, in the midst of what it does."""
    for line in sys.stdin:
        lines.put(line)
    os._exit(1)


if __name__ == "__main__":
    main()
