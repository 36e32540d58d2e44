"""Who trains: processes of this machine, or a Dask or Ray cluster by its address. Workers keep nothing.

A worker, or a machine, that is killed loses no task: the task is given to another, up to `RETRIES` times.
"""

import base64
import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from rillet import errors
from rillet.errors import BuildError, RilletError, Unsupported
from rillet.search import clusters
from rillet.search.clusters import RETRIES
from rillet.search.task import Outcome, Task


class Engine(Protocol):
    """Trains tasks side by side."""

    slots: int
    """Tasks that it works on at once."""

    def submit(self, task: Task) -> None:
        """Takes a task on."""
        ...

    def next(self, seconds: float) -> Outcome | None:
        """The next outcome; None where there is none after so many seconds. Raises what a task raised."""
        ...

    def close(self) -> None:
        """Ends, tasks that are not done left undone."""
        ...


@dataclass(frozen=True, slots=True)
class Workers:
    """Who is to train: so many processes of this machine, or a cluster by its address."""

    count: int = 1
    dask: str | None = None
    ray: str | None = None

    def __post_init__(self) -> None:
        """Raises Unsupported where the cluster's library is not installed: before a search looks for candidates."""
        for name, library, address in (("dask", "distributed", self.dask), ("ray", "ray", self.ray)):
            if address is not None and importlib.util.find_spec(library) is None:
                raise Unsupported(f"{library} must be installed for this: pip install rillet[{name}]")

    def begin(self) -> Engine:
        """Begins, or connects; raises GraphError where a cluster does not answer."""
        if self.dask is not None:
            return clusters.dask(self.dask)
        return Local(self.count) if self.ray is None else clusters.ray(self.ray)


class Local:
    """Worker processes, each with a thread that hands it tasks and begins another where it was killed."""

    def __init__(self, workers: int) -> None:
        self.slots = workers
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._made: SimpleQueue[Outcome | Exception] = SimpleQueue()
        self._closed = False
        self._processes: dict[int, subprocess.Popen[str]] = {}
        self._threads = [threading.Thread(target=self._serve, args=(i,), daemon=True) for i in range(workers)]
        for thread in self._threads:
            thread.start()

    def submit(self, task: Task) -> None:
        """Takes a task on."""
        self._tasks.put(task)

    def next(self, seconds: float) -> Outcome | None:
        """The next outcome; None where there is none after so many seconds."""
        try:
            made = self._made.get(timeout=max(seconds, 0.0))
        except Empty:
            return None
        if isinstance(made, Exception):
            raise made
        return made

    def close(self) -> None:
        """Ends the processes."""
        self._closed = True
        for _ in self._threads:
            self._tasks.put(None)
        for process in list(self._processes.values()):
            process.kill()
        for thread in self._threads:
            thread.join()

    def _serve(self, slot: int) -> None:
        try:
            while (task := self._tasks.get()) is not None and not self._closed:
                self._made.put(self._trained(slot, task))
        except RilletError as error:
            self._made.put(error)
        finally:
            self._end(slot)

    def _trained(self, slot: int, task: Task) -> Outcome | Exception:
        for _ in range(RETRIES):
            answer = self._asked(slot, task)
            if answer is not None:
                return _read(answer)
            self._end(slot)
            if self._closed:
                break
        return BuildError(f"{task.name}: must be trained by a process that lives, and {RETRIES} ended before it was")

    def _asked(self, slot: int, task: Task) -> str | None:
        """The line that answers a task; None where the process ended instead."""
        if slot not in self._processes:
            self._processes[slot] = _begun()
        process = self._processes[slot]
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(task.to_dict()) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except (OSError, ValueError):
            return None
        return line if line.endswith("\n") else None

    def _end(self, slot: int) -> None:
        process = self._processes.pop(slot, None)
        if process is not None:
            process.kill()
            process.communicate()


def _begun() -> "subprocess.Popen[str]":
    """A worker: one thread for its matrices, as the others have."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "rillet.search.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        # Ctrl-C is the coordinator's; it ends the workers.
        start_new_session=True,
    )


def _read(line: str) -> Outcome | Exception:
    """The outcome, or the error, that a worker's line says."""
    said: Mapping[str, Any] = json.loads(line)
    if "error" in said:
        return getattr(errors, said["error"])(said["says"])
    made = dict(said["outcome"])
    made["network"] = base64.b64decode(made["network"])
    return Outcome(**made)
