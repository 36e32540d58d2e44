"""A real browser for tests: Debian's Chromium, told by the DevTools protocol over two pipes; tests skip without one."""

import base64
import json
import os
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rillet.bench.chromium import find_chromium
from rillet.errors import Unsupported

_SECONDS = 60.0
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--remote-debugging-pipe",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--use-fake-device-for-media-stream",
)


class Tab:
    """A page that is open, and what it said and asked for."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read, self._left, self._last = write, read, b"", 0
        self.said: list[str] = []
        """Errors and warnings of the console, and exceptions."""
        self.requests: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """A method of the protocol, for this page."""
        return self._call(method, self._session, **params)

    def _call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        self._last += 1
        message = {"id": self._last, "method": method, "params": params} | ({"sessionId": session} if session else {})
        os.write(self._write, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + _SECONDS
        while time.monotonic() < until:
            got = self._next()
            if got.get("id") == self._last:
                assert "error" not in got, got
                return got["result"]
            self._note(got)
        raise TimeoutError(method)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            piece = os.read(self._read, 1 << 16)
            assert piece, "the browser has ended"
            self._left += piece
        message, _, self._left = self._left.partition(b"\0")
        return json.loads(message)

    def _note(self, got: dict[str, Any]) -> None:
        params = got.get("params", {})
        match got.get("method"):
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.said.append(str(params["args"]))
            case "Runtime.exceptionThrown":
                self.said.append(str(params["exceptionDetails"]))
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.said.append(params["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case _:
                pass

    def open(self, url: str) -> None:
        """Goes to a page, and waits until it is loaded."""
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def ask(self, expression: str) -> Any:
        """What an expression of JavaScript is, a promise awaited."""
        got = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in got, got["exceptionDetails"]
        return got["result"].get("value")

    def wait(self, expression: str) -> None:
        """Until an expression holds."""
        until = time.monotonic() + _SECONDS
        while not self.ask(expression):
            assert time.monotonic() < until, (expression, self.said)
            time.sleep(0.05)

    def select(self, name: str, value: str) -> None:
        """Chooses a value of the <select> of this id."""
        found = f"document.getElementById({json.dumps(name)})"
        self.ask(f"{found}.value = {json.dumps(value)}, {found}.dispatchEvent(new Event('change'))")

    def choose(self, selector: str, path: Path) -> None:
        """Gives a file to a file input."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def drop(self, selector: str, path: Path) -> None:
        """Drops a file upon an element, as a hand would."""
        element = f"document.querySelector('{selector}')"
        box = self.ask(f"(box => [box.x + box.width / 2, box.y + 5])({element}.getBoundingClientRect())")
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=box[0], y=box[1], data=data)

    def dress(self, width: int, dark: bool) -> None:
        """The width of the window in CSS pixels, and the colours that its user prefers."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def before(self, script: str) -> str:
        """Runs a script in every page that is opened, before its own, until `forget` is given what this gives."""
        return self.call("Page.addScriptToEvaluateOnNewDocument", source=script)["identifier"]

    def forget(self, identifier: str) -> None:
        """What `before` was told."""
        self.call("Page.removeScriptToEvaluateOnNewDocument", identifier=identifier)

    def allow(self, what: str, granted: bool) -> None:
        """What the page's user answers when it asks for the camera, or the like."""
        setting = "granted" if granted else "denied"
        self._call("Browser.setPermission", permission={"name": what}, setting=setting)

    def picture(self, path: Path) -> None:
        """A screenshot of the whole page."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]))


@contextmanager
def browser(folder: Path) -> Generator[Tab]:
    """A browser with a page; `folder` holds what it keeps."""
    try:
        program = find_chromium()
    except Unsupported:
        pytest.skip("no browser is installed: apt-get install chromium")
    to_child, write = os.pipe()
    read, from_child = os.pipe()

    def place() -> None:
        # Where they are already, dup2 would leave them closed at exec.
        ours, theirs = os.dup(to_child), os.dup(from_child)
        os.dup2(ours, 3)
        os.dup2(theirs, 4)

    process = subprocess.Popen(
        [program, *_FLAGS, f"--user-data-dir={folder / 'profile'}"],
        pass_fds=(3, 4),
        preexec_fn=place,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_child)
    os.close(from_child)
    try:
        yield Tab(write, read)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(write)
        os.close(read)
