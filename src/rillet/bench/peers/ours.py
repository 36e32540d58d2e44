"""Rillet itself as one of the benchmarked runtimes: what is built before, and what the measured process runs.

This is the only place that knows how Rillet's fastest program for this machine is made and called.
"""

import ctypes
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rillet.bench.peers.sessions import Session
from rillet.errors import Unsupported
from rillet.system.library import Context

if TYPE_CHECKING:
    from rillet.ir.graph import Array, Graph
    from rillet.plan.rows.plan import RowPlan
    from rillet.targets.host import Host


def kernels(host: "Host | None" = None) -> str:
    """The kernel set of the fastest program for a host, for this machine if none is given."""
    from rillet.targets.host import this_host

    return (host or this_host()).kernels


def plan(
    graph: "Graph",
    ram_bytes: int | None = None,
    threads: int = 1,
    host: "Host | None" = None,
    *,
    bf16: bool = False,
) -> "RowPlan":
    """The plan that runs fastest on a host (on this machine if none is given), within `ram_bytes` of activations."""
    # Imported here, as below: the process that is measured has the library alone.
    from rillet.plan.host.planner import plan_host
    from rillet.targets.host import this_host

    return plan_host(graph, host or this_host(), ram_bytes=ram_bytes, threads=threads, bf16=bf16)


def prepare(graph: "Graph", threads: int, host: "Host | None" = None, *, bf16: bool = False) -> Path:
    """The shared library of `graph` for so many threads of a host; raises Unsupported for more than there can be."""
    from rillet.plan.host.threads import MAX_THREADS
    from rillet.runtime.run import build

    if threads > MAX_THREADS:
        raise Unsupported(f"threads must be at most {MAX_THREADS}, got {threads}")
    return build(plan(graph, threads=threads, host=host, bf16=bf16)).library


def start(job: Mapping[str, Any]) -> Session:
    """The library, loaded; `job` says the shapes and element types of its inputs and outputs."""
    library = ctypes.CDLL(job["file"])
    count = job["at_once"]
    inputs, outputs = (
        [np.empty((count, *one["shape"]), one["dtype"]) for one in job[ends]] for ends in ("inputs", "outputs")
    )
    context = Context(library)
    given, results = ([ctypes.c_void_p(array.ctypes.data) for array in arrays] for arrays in (inputs, outputs))
    call = library.net_run if count == 1 else library.net_run_batch
    call.restype = None
    rest = (*given, *(() if count == 1 else (ctypes.c_int32(count),)), *results)

    def run() -> None:
        call(context.pointer, *rest)

    def feed(arrays: "Sequence[Array]") -> None:
        for room, array in zip(inputs, arrays, strict=True):
            room[...] = array

    return Session(feed, run, lambda: outputs[0].copy())
