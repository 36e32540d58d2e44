"""A net as a WebAssembly module in Node: the same questions as of a program in this process."""

import contextlib
import json
import shutil
import statistics
import subprocess
import weakref
from collections.abc import Sequence
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

import numpy as np

from rillet.errors import BuildError, TargetError, Unsupported
from rillet.ir.facts import is_given
from rillet.ir.graph import Array, Node
from rillet.ir.inputs import Inputs
from rillet.ir.types import DType
from rillet.runtime.run import Built, Latency, checked_inputs, values_of
from rillet.system.build import first_error

NODE = "node"
SUFFIX = ".wasm"
"""Of its files."""
_HOST = "host.mjs"
_ENDED_SECONDS = 5.0
_SAID_BYTES = 1 << 16


def find_node() -> str:
    """The command of Node; raises Unsupported where it is not installed."""
    found = shutil.which(NODE)
    if found is None:
        raise Unsupported(f"{NODE} must be installed to run WebAssembly here (on Debian: apt install nodejs), got none")
    return found


class WasmProgram:
    """An emitted net in a process of Node, which ends when nobody refers to this."""

    def __init__(self, built: Built) -> None:
        self._built = built
        graph = self._graph = built.graph
        self._outputs = [graph.by_name[name] for name in dict.fromkeys(graph.outputs)]
        own = package_files("rillet.runtime.wasm")
        code = [str(Path(str(own)) / name) for name in (_HOST, "web/net.js")]
        self._process = subprocess.Popen(
            [find_node(), *code, str(built.library)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        weakref.finalize(self, _end, self._process)
        self.engine = f"V8 {self._read()[0]['engine']}"

    def run(self, image: Inputs) -> tuple[Array, ...]:
        """The outputs for one image, as the net stores them; raises GraphError for a wrong shape."""
        return self._values(self._outputs, self._ask("run", image)[1])

    def run_batch(self, images: Array | Sequence[Inputs], threads: int = 1) -> tuple[Array, ...]:
        """The outputs for images x height x width x channels, one by one; raises TargetError for several threads."""
        if threads > 1:
            raise TargetError(f"{self._graph.name}: threads must be 1 for WebAssembly, got {threads}")
        return tuple(np.stack(made) for made in zip(*map(self.run, images), strict=True))

    def push(self, image: Inputs) -> tuple[Array, ...]:
        """As `run`, row by row."""
        return self._values(self._outputs, self._ask("push", image)[1])

    def trace(self, image: Inputs) -> dict[str, Array]:
        """Every value that the net makes for one image; the program must have been built with `trace`."""
        nodes = [node for node in self._graph.nodes if not is_given(node.op)]
        made = self._values(nodes, self._ask("trace", image)[1])
        return {node.name: array for node, array in zip(nodes, made, strict=True)}

    def touched_bytes(self, image: Inputs) -> int:
        """High-water mark of the arena: the end of the last byte that one image writes, found by poison."""
        return int(self._ask("touched", image)[0]["touched"])

    def latency(self, image: Inputs, runs: int = 10) -> Latency:
        """Minimum and median time of `runs` images after one that is not counted, by Node's clock."""
        times = [float(one) for one in self._ask("times", image, count=runs)[0]["times"]]
        return Latency(min(times), statistics.median(times), runs)

    def stop(self) -> None:
        """Nothing: the process has one thread."""

    def _ask(self, act: str, image: Inputs, **said: int) -> tuple[dict[str, Any], list[bytes]]:
        arrays, pipe = checked_inputs(self._graph, image), self._process.stdin
        assert pipe is not None
        try:
            pipe.write(json.dumps({"act": act, **said}).encode() + b"\n" + b"".join(a.tobytes() for a in arrays))
            pipe.flush()
        except BrokenPipeError:
            raise self._broken() from None
        return self._read()

    def _read(self) -> tuple[dict[str, Any], list[bytes]]:
        pipe = self._process.stdout
        assert pipe is not None
        line = pipe.readline()
        if not line.endswith(b"\n"):
            raise self._broken()
        said: dict[str, Any] = json.loads(line)
        parts = [pipe.read(count) for count in said["bytes"]]
        if [len(part) for part in parts] != said["bytes"]:
            raise self._broken()
        return said, parts

    def _broken(self) -> BuildError:
        """What it said before it ended."""
        self._process.kill()
        said = b"" if self._process.stderr is None else self._process.stderr.read(_SAID_BYTES)
        _end(self._process)
        return BuildError(f"{NODE}: must run the network, got: {first_error(said.decode('utf-8', 'replace'))}")

    def _values(self, nodes: Sequence[Node], parts: list[bytes]) -> tuple[Array, ...]:
        types = [np.dtype(np.uint8) if node.type.dtype is DType.BINARY else node.type.dtype.numpy for node in nodes]
        stored = [np.frombuffer(part, dtype).copy() for part, dtype in zip(parts, types, strict=True)]
        return tuple(values_of(node, array) for node, array in zip(nodes, stored, strict=True))


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ends a process that waits for its standard input."""
    with contextlib.suppress(BrokenPipeError):
        if process.stdin is not None:
            process.stdin.close()
    try:
        process.wait(_ENDED_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
