"""Control of a benchmark process: start, requests, and termination even where it hangs."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from typing import Any

from rillet.errors import Unsupported

START_SECONDS = 300
ANSWER_SECONDS = 120
_LETTERS = 160
"""Of what a runtime says of its failure."""


class Process:
    """One runtime in a process of its own; every question raises Unsupported where it refuses, dies or hangs."""

    def __init__(self, threads: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rillet.bench.peers.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(threads),
        )

    def ask(self, do: str, **said: object) -> dict[str, Any]:
        """The answer to one command."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **said}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None
        seconds = START_SECONDS if do == "start" else ANSWER_SECONDS
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            self.end()
            raise Unsupported(f"must answer within {seconds} s, got nothing")
        line = self._process.stdout.readline()
        if not line:
            raise self._died()
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise Unsupported(" ".join(answer["error"].split())[:_LETTERS])
        return answer

    def _died(self) -> Unsupported:
        code = self._process.wait()
        why = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return Unsupported(f"its process ended with {why}")

    def end(self) -> None:
        """Ends the process, whatever it is at."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def _environment(threads: int) -> dict[str, str]:
    """Thread pools of the size that is asked for, and no chatter."""
    more = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": "1"}
    return {**os.environ, **more, "TF_CPP_MIN_LOG_LEVEL": "3"}
