"""One page served to this machine alone, over HTTP on 127.0.0.1."""

import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from rillet.errors import BuildError

ADDRESS = "127.0.0.1"
MOST_PORT = 65535
_HEADERS: Mapping[str, str] = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Served:
    """A page at work: `url` until `close`, or to the end of a `with` block."""

    def __init__(self, page: bytes, port: int = 0) -> None:
        """page: an HTML document. port: 0 for one that is free. Raises BuildError where it cannot be used."""
        try:
            self._server = ThreadingHTTPServer((ADDRESS, port), _handler(page))
        except OSError as error:
            raise BuildError(f"--port: {port} cannot be used: {error.strerror}") from None
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port, as it was given or found."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Where a browser of this machine finds it."""
        return f"http://{ADDRESS}:{self.port}/"

    def wait(self) -> None:
        """Until `close` is called by another thread, or an exception such as KeyboardInterrupt comes."""
        self._thread.join()

    def close(self) -> None:
        """Ends it; the port is free again."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __repr__(self) -> str:
        return f"<Served {self.url}>"

    def __enter__(self) -> "Served":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _handler(page: bytes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        server_version = "Rillet"
        sys_version = ""
        timeout = 10

        def do_GET(self) -> None:
            """The page, and nothing else."""
            self._answer(with_page=True)

        def do_HEAD(self) -> None:
            """The same without it."""
            self._answer(with_page=False)

        def _answer(self, with_page: bool) -> None:
            # A page of another site whose name resolves to this machine must not read it.
            port = self.connection.getsockname()[1]
            known = {f"{name}:{port}" for name in (ADDRESS, "localhost")}
            if self.headers.get("Host") not in known:
                self.send_error(403)
            elif self.path.partition("?")[0] != "/":
                self.send_error(404)
            else:
                self.send_response(200)
                for name, value in _HEADERS.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                if with_page:
                    self.wfile.write(page)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the terminal has the address alone."""

    return Handler
