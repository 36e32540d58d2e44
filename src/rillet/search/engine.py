"""Who trains: processes of this machine, or a Dask or Ray cluster by its address. Workers keep nothing.

A worker, or a machine, that is killed loses no task: the task is given to another, up to `RETRIES` times.
"""

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from rillet import errors
from rillet.errors import BuildError, GraphError, RilletError
from rillet.search.task import Outcome, Task, run
from rillet.system.extras import extra

RETRIES = 20
CONNECT_SECONDS = 20


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

    def begin(self) -> Engine:
        """Begins, or connects; raises GraphError where a cluster does not answer."""
        if self.dask is not None:
            return dask(self.dask)
        return Local(self.count) if self.ray is None else ray(self.ray)


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


@dataclass
class Cluster:
    """A cluster: how it is given a task, which of those given is done first, and what that came to."""

    slots: int
    give: Callable[[Task], Any]
    first: Callable[[list[Any], float], Any]
    """The first of these futures to be done; None where none is after so many seconds."""
    result: Callable[[Any], Outcome]
    shut: Callable[[], None]

    def __post_init__(self) -> None:
        self._given: list[Any] = []

    def submit(self, task: Task) -> None:
        """Takes a task on."""
        self._given.append(self.give(task))

    def next(self, seconds: float) -> Outcome | None:
        """The next outcome; None where there is none after so many seconds."""
        done = self.first(self._given, max(seconds, 0.0)) if self._given else None
        if done is None:
            return None
        self._given = [one for one in self._given if one is not done]
        return self.result(done)

    def close(self) -> None:
        """Leaves the cluster; what was given is taken back."""
        self.shut()


def dask(address: str) -> Cluster:
    """A Dask cluster; raises GraphError where none answers, Unsupported where Dask is not installed."""
    with extra("dask"):
        from distributed import Client, wait  # pyright: ignore[reportMissingImports]
    try:
        client = Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise _unanswered("--dask", address, error) from None
    threads = sum(client.nthreads().values())
    if not threads:
        raise GraphError(f"--dask {address}: must have a worker, got none")

    def first(given: list[Any], seconds: float) -> Any:
        try:
            done = wait(given, timeout=seconds, return_when="FIRST_COMPLETED").done
        except TimeoutError:
            return None
        return next((one for one in given if one in done), None)

    def give(task: Task) -> Any:
        return client.submit(run, task, pure=False, retries=RETRIES)

    def shut() -> None:
        client.close(timeout=5)

    return Cluster(
        threads,
        give,
        first,
        lambda future: future.result(),
        shut,
    )


def ray(address: str) -> Cluster:
    """A Ray cluster; raises GraphError where none answers, Unsupported where Ray is not installed."""
    with extra("ray"):
        import ray as library  # pyright: ignore[reportMissingImports]
    try:
        library.init(address=address, logging_level="ERROR", log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise _unanswered("--ray", address, error) from None
    remote = library.remote(num_cpus=1, max_retries=RETRIES)(run)

    def first(given: list[Any], seconds: float) -> Any:
        done, _ = library.wait(given, num_returns=1, timeout=seconds)
        return done[0] if done else None

    def give(task: Task) -> Any:
        return remote.remote(task)

    return Cluster(
        max(1, int(library.cluster_resources().get("CPU", 1))),
        give,
        first,
        library.get,
        library.shutdown,
    )


def _unanswered(option: str, address: str, error: Exception) -> GraphError:
    reason = str(error).partition("\n")[0][:200]
    return GraphError(f"{option} {address}: must answer, and did not in {CONNECT_SECONDS} s: {reason}")
