"""Dask and Ray clusters: the same trainings on machines that others look after.

What is done is known by the study alone, so that a cluster keeps nothing. A task whose worker or machine was killed is
given to another; one that is given again while a worker still trains it waits there for the end of that training.
"""

import socket
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import Any

from rillet.errors import BuildError, GraphError, RilletError
from rillet.search.task import Outcome, Task, run
from rillet.system.extras import extra

RETRIES = 20
"""Times that a task is given to another worker, because the one before was killed."""
CONNECT_SECONDS = 20


class Lost(Exception):
    """The worker of a task was killed, and the task has to be given again."""


@dataclass
class Cluster:
    """A cluster: how it is given a task, which of those given is done first, and what that came to."""

    name: str
    """As it was asked for: the option and its address."""
    slots: int
    give: Callable[[Task], Any]
    first: Callable[[list[Any], float], Any]
    """The first of these futures to be done; None where none is after so many seconds."""
    result: Callable[[Any], Outcome]
    """Raises Lost, or what the task raised."""
    shut: Callable[[], None]
    _given: list[tuple[Any, Task]] = field(default_factory=list[tuple[Any, Task]])
    _lost: list[str] = field(default_factory=list[str])

    def submit(self, task: Task) -> None:
        """Takes a task on; raises BuildError where the cluster has ended."""
        self._given.append((self._asked(lambda: self.give(task)), task))

    def next(self, seconds: float) -> Outcome | None:
        """The next outcome; None where there is none after so many seconds, or a task had to be given again.

        Raises what a task raised, and BuildError where the cluster has ended, or loses a task again and again.
        """
        if not self._given:
            return None
        futures = [future for future, _ in self._given]
        done = self._asked(lambda: self.first(futures, max(seconds, 0.0)))
        if done is None:
            return None
        task = next(task for future, task in self._given if future is done)
        self._given = [(future, task) for future, task in self._given if future is not done]
        try:
            return self._asked(lambda: self.result(done))
        except Lost:
            self._lost.append(task.name)
            if self._lost.count(task.name) > RETRIES:
                raise BuildError(
                    f"{self.name}: {task.name} must be trained by a worker that lives, and {RETRIES} ended before"
                ) from None
            self.submit(task)
            return None

    def close(self) -> None:
        """Leaves the cluster; what was given is taken back."""
        self.shut()

    def _asked(self, ask: Callable[[], Any]) -> Any:
        """What the library of the cluster answers."""
        try:
            return ask()
        except (RilletError, Lost):
            raise
        # The libraries have dozens of exceptions for a cluster that is gone, and no class for them all.
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
            raise BuildError(
                f"{self.name}: must answer until the search ends, and did not ({reason}); --resume goes on"
            ) from None


def dask(address: str) -> Cluster:
    """A Dask cluster; raises GraphError where none answers, Unsupported where Dask is not installed."""
    with extra("dask"):
        from distributed import Client, KilledWorker, wait  # pyright: ignore[reportMissingImports]
    began = time.monotonic()
    try:
        client = Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise _unanswered("--dask", address, error, began) from None
    threads = client.nthreads()
    if not threads:
        client.close()
        raise GraphError(f"--dask {address}: must have a worker, got none")
    if max(threads.values()) > 1:
        client.close()
        raise GraphError(
            f"--dask {address}: workers must have a thread each, since a training takes its process for itself "
            f"(dask worker --nthreads 1 --nworkers N), got {max(threads.values())}"
        )

    def first(given: list[Any], seconds: float) -> Any:
        try:
            done = wait(given, timeout=seconds, return_when="FIRST_COMPLETED").done
        except TimeoutError:
            return None
        except CancelledError:
            return next((one for one in given if one.cancelled()), None)
        return next((one for one in given if one in done), None)

    def give(task: Task) -> Any:
        return client.submit(run, task, pure=False, retries=RETRIES)

    def result(future: Any) -> Outcome:
        try:
            return future.result()
        except (KilledWorker, CancelledError) as error:
            raise Lost from error

    def shut() -> None:
        client.close(timeout=5)

    return Cluster(f"--dask {address}", len(threads), give, first, result, shut)


def ray(address: str) -> Cluster:
    """A Ray cluster; raises GraphError where none answers, Unsupported where Ray is not installed."""
    with extra("ray"):
        import ray as library  # pyright: ignore[reportMissingImports]
    began, failures = time.monotonic(), library.exceptions
    try:
        _reached(address)
        library.init(address=address, logging_level="ERROR", log_to_driver=False)
    except (OSError, OverflowError, ValueError, RuntimeError) as error:
        raise _unanswered("--ray", address, error, began) from None
    remote = library.remote(num_cpus=1, max_retries=RETRIES)(run)

    def first(given: list[Any], seconds: float) -> Any:
        done, _ = library.wait(given, num_returns=1, timeout=seconds)
        return done[0] if done else None

    def give(task: Task) -> Any:
        return remote.remote(task)

    def result(future: Any) -> Outcome:
        try:
            return library.get(future)
        except failures.RayTaskError as error:
            # It carries the sentence below a page of the worker's stack.
            raise error.cause if isinstance(error.cause, RilletError) else error from None
        except (
            failures.WorkerCrashedError,
            failures.NodeDiedError,
            failures.LocalRayletDiedError,
            failures.ObjectLostError,
        ) as error:
            raise Lost from error

    return Cluster(
        f"--ray {address}",
        max(1, int(library.cluster_resources().get("CPU", 1))),
        give,
        first,
        result,
        library.shutdown,
    )


def _reached(address: str) -> None:
    """Raises OSError where nothing listens at HOST:PORT; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()


def _unanswered(option: str, address: str, error: Exception, began: float) -> GraphError:
    reason = str(error).partition("\n")[0][:200]
    seconds = time.monotonic() - began
    return GraphError(f"{option} {address}: must answer, and did not in {seconds:.0f} s: {reason}")
