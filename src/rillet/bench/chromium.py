"""The rounds of WebAssembly in a headless Chromium: a page that this process serves, which sends back what it found."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

from rillet.errors import BuildError, Unsupported
from rillet.system.reading import MODEL_BYTES, read_bytes

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    *("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"),
    *("--no-first-run", "--disable-extensions", "--mute-audio"),
)
_TYPES = {".html": "text/html", ".mjs": "text/javascript", ".js": "text/javascript", ".wasm": "application/wasm"}
_ALONE = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
"""With these a page's clock counts by 5 microseconds, not 100."""
_ENDED_SECONDS = 10.0
_VERSION = re.compile(r"(?:Headless)?Chrome/([\d.]+)")


def find_chromium() -> str:
    """The command of Chromium; raises Unsupported where none is installed."""
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        raise Unsupported("Chromium: not measured: it must be installed (on Debian: apt install chromium), got none")
    return found


def in_chromium(job: Mapping[str, Any], files: Mapping[str, Path], seconds: float) -> dict[str, Any]:
    """What the page found: `engine` and `runners`. files: those that the job names, by the addresses that it has there.

    Raises BuildError where the browser says nothing within `seconds`.
    """
    own = package_files("rillet.bench")
    known = {**files, **{name: Path(str(own / name)) for name in ("page.html", "rounds.mjs")}}
    said, done = list[bytes](), threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(json.dumps(job).encode(), known, said, done))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # Chromium's own sandbox cannot be had by root, as in containers; the page is ours alone.
    sandbox = ("--no-sandbox",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()
    with tempfile.TemporaryDirectory(prefix="rillet-chromium-", ignore_cleanup_errors=True) as folder:
        url = f"http://127.0.0.1:{server.server_port}/page.html"
        process = subprocess.Popen(
            [find_chromium(), *_FLAGS, *sandbox, f"--user-data-dir={folder}", url],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            done.wait(seconds)
        finally:
            _end(process)
            server.shutdown()
            server.server_close()
    if not said:
        raise BuildError(f"Chromium: must answer within {seconds:.0f} s, got nothing")
    found: dict[str, Any] = json.loads(said[0])
    version = _VERSION.search(str(found["engine"]))
    return {**found, "engine": f"Chromium {version[1] if version else 'of unknown version'}"}


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_ENDED_SECONDS)
        return
    process.kill()
    process.wait()


def _handler(
    job: bytes, files: Mapping[str, Path], said: list[bytes], done: threading.Event
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """The job, or one of the files."""
            name = self.path.partition("?")[0].removeprefix("/")
            if name == "job.json":
                self._send(job, "application/json")
            elif name in files:
                data = read_bytes(files[name], MODEL_BYTES)
                self._send(data, _TYPES.get(files[name].suffix, "application/octet-stream"))
            else:
                self.send_error(404)

        def do_POST(self) -> None:
            """What the page found."""
            said.append(self.rfile.read(int(self.headers["Content-Length"])))
            self._send(b"", "text/plain")
            done.set()

        def _send(self, data: bytes, kind: str) -> None:
            self.send_response(200)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **_ALONE}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    return Handler
