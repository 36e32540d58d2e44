"""The benchmark process of one runtime: commands in, measurements out, one line of JSON each.

It imports NumPy and one runtime, nothing else that is large, so that its memory is that runtime's.
"""

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rillet.bench.peers import sessions

Array = npt.NDArray[np.generic]


def main() -> None:
    """Answers commands until there are no more."""
    # What a runtime prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = Worker()
    for line in sys.stdin:
        try:
            answer = worker.answer(json.loads(line))
        except Exception as error:  # A runtime may raise anything; the reason is told, and the others go on.
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


class Worker:
    """A runtime, and the images it is run on."""

    def __init__(self) -> None:
        self._session: sessions.Session | None = None
        self._images: list[Array] = []
        self._batch = 1
        self._idle_bytes: int | None = None

    def answer(self, said: dict[str, Any]) -> dict[str, Any]:
        """The answer to one command."""
        commands: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "start": self._start,
            "answers": self._answers,
            "run": self._run,
            "memory": self._memory,
            "cold": self._cold,
        }
        return commands[said["do"]](said)

    def _start(self, job: dict[str, Any]) -> dict[str, Any]:
        """Loads runtime and network, and runs once."""
        with np.load(job["images"]) as given:  # before anything is measured: the caller's memory
            self._images = list(given.values())
        self._batch = job["batch"]
        self._idle_bytes = resident_bytes()
        start = time.perf_counter_ns()
        self._session = sessions.start(job)
        self._session.feed(self._taken(0))
        self._session.run()
        return {"first_ms": (time.perf_counter_ns() - start) / 1e6}

    def _answers(self, said: dict[str, Any]) -> dict[str, Any]:
        """The first output for each image, into a file."""
        session = self._ready()
        made: list[Array] = []
        for i in range(0, len(self._images[0]), self._batch):
            session.feed(self._taken(i))
            session.run()
            made.append(session.result())
        np.save(said["file"], np.concatenate(made))
        return {}

    def _taken(self, start: int) -> list[Array]:
        """The images of a call, one array an input."""
        return [array[start : start + self._batch] for array in self._images]

    def _run(self, said: dict[str, Any]) -> dict[str, Any]:
        """Times of some inferences, after some that are not counted."""
        run, clock = self._ready().run, time.perf_counter_ns
        times: list[int] = []
        gc.disable()
        for _ in range(said["before"]):
            run()
        for _ in range(said["count"]):
            start = clock()
            run()
            times.append(clock() - start)
        gc.enable()
        return {"ms": [t / 1e6 for t in times]}

    def _memory(self, _: dict[str, Any]) -> dict[str, Any]:
        """Resident bytes above those before the runtime was imported; None where the system does not tell."""
        gc.collect()
        now = resident_bytes()
        return {"bytes": None if now is None or self._idle_bytes is None else now - self._idle_bytes}

    def _cold(self, said: dict[str, Any]) -> dict[str, Any]:
        """Times of single inferences, each after a walk over more memory than the caches hold."""
        run, clock = self._ready().run, time.perf_counter_ns
        walk = np.ones(said["bytes"] // 8, np.int64)
        times: list[int] = []
        for _ in range(said["count"]):
            walk += 1
            start = clock()
            run()
            times.append(clock() - start)
        return {"ms": [t / 1e6 for t in times]}

    def _ready(self) -> sessions.Session:
        assert self._session is not None
        return self._session


def resident_bytes() -> int | None:
    """Memory of this process that is in use, pages of mapped files included; None where the system does not tell."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return None
    found = [line.split() for line in text.splitlines() if line.startswith("VmRSS:")]
    return int(found[0][1]) * 1024 if found else None


if __name__ == "__main__":
    main()
