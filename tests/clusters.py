"""Who trains, so that tests can kill it: a local process, and two nodes of Dask or Ray on loopback."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol


class Nodes(Protocol):
    """Nodes with a worker each."""

    option: str
    address: str
    """Empty without a cluster."""

    def kill_worker(self, search: int) -> None:
        """Kills a process that trains, or is ready to; `search` is the coordinator's."""
        ...

    def kill_node(self) -> None:
        """Kills a node, all of its processes, and begins another."""
        ...

    def close(self) -> None:
        """Ends everything."""
        ...


class Local:
    option, address = "local", ""

    def kill_worker(self, search: int) -> None:
        for child in _below(search):
            if "rillet.search.worker" in _command(child):
                _kill(child)

    def kill_node(self) -> None:
        raise NotImplementedError("a local search has no other node")

    def close(self) -> None:
        pass


class Dask:
    option = "dask"

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{port}"
        self._environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._scheduler = self._begun("dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
        self._nodes = [self._node(), self._node()]
        self._wait()

    def kill_worker(self, search: int) -> None:  # noqa: ARG002
        for child in _below(self._nodes[0].pid):
            if "resource_tracker" not in _command(child):
                _kill(child)

    def kill_node(self) -> None:
        _kill_tree(self._nodes.pop(0))
        self._nodes.append(self._node())
        self._wait()

    def close(self) -> None:
        for process in (*self._nodes, self._scheduler):
            _kill_tree(process)

    def _node(self) -> "subprocess.Popen[bytes]":
        words = ("--nthreads", "1", "--nworkers", "1", "--host", "127.0.0.1", "--no-dashboard")
        return self._begun("dask_worker", self.address, *words)

    def _begun(self, what: str, *words: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.{what}", *words],
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _wait(self) -> None:
        from distributed import Client

        with Client(self.address, timeout=120) as client:
            client.wait_for_workers(2, timeout=120)


class Ray:
    option = "ray"

    def __init__(self) -> None:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        from ray.cluster_utils import Cluster

        self._cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        self._cluster.add_node(num_cpus=1)
        self.address = self._cluster.address

    def kill_worker(self, search: int) -> None:  # noqa: ARG002
        # Raylets, and below them the workers, are this process's; a raylet's own agents are called so, too.
        workers = [child for child in _below(os.getpid()) if _command(child).startswith(("ray::run", "ray::IDLE"))]
        if workers:
            _kill(workers[0])

    def kill_node(self) -> None:
        self._cluster.remove_node(next(iter(self._cluster.worker_nodes)), allow_graceful=False)
        self._cluster.add_node(num_cpus=1)

    def close(self) -> None:
        self._cluster.shutdown()


def _kill_tree(process: "subprocess.Popen[bytes]") -> None:
    for one in (*_below(process.pid), process.pid):
        _kill(one)
    process.wait()


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _below(pid: int) -> list[int]:
    """The children of a process, and theirs."""
    found: list[int] = []
    for said in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, said.read_text().split()):
            found += [child, *_below(child)]
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except FileNotFoundError:
        return ""
