"""Pages in a real browser: a picture in, the reference's bytes out, no error and no request."""

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.client import HTTPConnection
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image

import rillet
from chromium import Tab, browser
from conftest import ROOT
from graphs import Builder
from rillet.api.measuring import PageBench, bench
from rillet.backends import reference
from rillet.data.images import load_input
from rillet.errors import BuildError, TargetError, Unsupported
from rillet.ir.graph import Graph, ImageSpec
from rillet.ir.ops import Add, Input, Multiply, Pool, PoolKind, Window
from rillet.ir.types import DType, Shape
from rillet.report import search_page
from rillet.runtime.verify import random_inputs
from rillet.runtime.wasm.building import find_compiler
from rillet.runtime.wasm.package import single_page
from rillet.search.found import Candidate, Found
from rillet.targets.host import named_host
from rillet.web import bytes_block
from test_host import any_factors

HOSTILE = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(autouse=True, scope="module")
def tools() -> None:
    try:
        find_compiler()
    except rillet.RilletError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Generator[Tab]:
    with browser(tmp_path_factory.mktemp("browser")) as found:
        yield found


def classifier(seed: int = 0) -> Graph:
    """A few layers that tell four classes, of which two have names that pages must not obey."""
    b = Builder(np.random.default_rng(seed))
    at = b.add(b.conv(8, (3, 3)), b.add(Input(), shape=Shape(16, 16, 3)))
    at = b.add(Add(), at, b.add(b.conv(8, (3, 3), groups=8), at))
    at = b.add(Pool(PoolKind.AVERAGE, Window((16, 16))), at, same=True)
    at = b.add(b.conv(4), at)
    graph = b.graph(at)
    spec = ImageSpec(16, 16, 3, "crop", (127.5,), (127.5,), ("cat", HOSTILE, "a & b", "dog"))
    return Graph(f"net {HOSTILE}", graph.nodes, graph.outputs, graph.params, spec)


def odd_windows() -> Graph:
    """Depthwise windows of one to five rows, and layers of few channels."""
    b = Builder(np.random.default_rng(7))
    at = b.add(b.conv(19, (3, 3)), b.add(Input(), shape=Shape(9, 9, 3)))
    for window in ((1, 3), (2, 2), (3, 3), (4, 1), (5, 5)):
        at = b.add(b.conv(19, window, groups=19), at)
    return b.graph(b.add(b.conv(5), at))


def photo(folder: Path, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (5, 7, 3), np.uint8)
    Image.fromarray(coarse).resize((70, 50), Image.Resampling.BILINEAR).save(folder / "photo.png")
    return folder / "photo.png"


def told(tab: Tab) -> list[int]:
    """The bytes of the first output of the last picture."""
    return json.loads(tab.ask("JSON.stringify(Array.from(window.rillet.result.outputs[0]))"))


def forget(tab: Tab) -> None:
    tab.ask("delete window.rillet")
    tab.said.clear()
    tab.requests.clear()


def test_a_page_of_one_file_answers_with_the_references_bytes(tab: Tab, tmp_path: Path) -> None:
    net, out, first = classifier(), tmp_path / "out", photo(tmp_path)
    found = rillet.emit(rillet.plan(net, target="wasm"), out, single_file=True, image=first)
    assert found.files == ("index.html",)
    tab.dress(390, dark=True)
    forget(tab)
    tab.open((out / "index.html").as_uri())
    tab.wait("window.rillet")
    expected = reference.outputs(net, load_input(first, net))[0].reshape(-1)
    assert told(tab) == expected.tolist()
    (tmp_path / "more").mkdir()
    second = photo(tmp_path / "more", seed=1)
    tab.ask("delete window.rillet")
    tab.drop("#drop", second)
    tab.wait("window.rillet")
    expected = reference.outputs(net, load_input(second, net))[0].reshape(-1)
    assert told(tab) == expected.tolist()
    # Names are shown as they are, the most probable first.
    labels = tab.ask("[...document.querySelectorAll('#answer th')].map(e => e.textContent)")
    assert net.image is not None
    assert labels == [net.image.labels[i] for i in np.argsort(-expected.astype(int), kind="stable")]
    assert tab.ask("document.querySelector('h1').textContent") == net.name and not tab.ask("document.images.length")
    # Pushed row by row, the same.
    tab.ask("document.getElementById('slow').click()")
    segments = len(rillet.compile(rillet.plan(net, target="wasm")).plan.segments)
    tab.wait("document.getElementById('progress').textContent.endsWith(': 100 % of all pixels')")
    assert tab.ask("document.getElementById('progress').textContent").startswith(f"segment {segments} of {segments}, ")
    # What fired adds up to all that was made.
    sums = (
        "const m = {}, f = rillet.net.fired; for (let i = 0; i < f.length; i += 2) m[f[i]] = (m[f[i]] ?? 0) + f[i + 1];"
    )
    same = "rillet.net.facts.segments.flatMap((s) => s.values).every((v) => m[v] === rillet.net.made[v])"
    assert tab.ask(f"(() => {{ {sums} return {same}; }})()")
    assert tab.ask("Array.from(window.rillet.net.pushed()[0])") == expected.tolist()
    # A file that is no picture is told, and the page goes on.
    (tmp_path / "no.png").write_bytes(b"no picture")
    tab.choose("#file", tmp_path / "no.png")
    tab.wait("document.getElementById('problem').textContent.startsWith('no.png must be a picture')")
    # No page from a file: has a camera without being asked; it says so.
    assert not tab.ask("document.documentElement.scrollWidth > innerWidth")
    assert [url for url in tab.requests if not url.startswith(("data:", "blob:"))] == [(out / "index.html").as_uri()]
    assert tab.said == []


@contextmanager
def served(folder: Path) -> Generator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_other_inputs_of_a_page_are_taken_of_files(tab: Tab, tmp_path: Path) -> None:
    """Zeros until then; a file of another size is told."""
    b, spec = Builder(np.random.default_rng(3), DType.F32), ImageSpec(9, 8, 3, "crop", (127.5,), (127.5,))
    image, other = b.add(Input(), shape=Shape(9, 8, 3)), b.add(Input(), shape=Shape(1, 1, 5))
    made = b.add(Multiply(), b.add(b.conv(5, (3, 3)), image), b.add(b.conv(5), other))
    net, first = b.graph(b.add(b.conv(4), made)).with_image(spec), photo(tmp_path)
    rillet.emit(rillet.plan(net, target="wasm"), tmp_path / "out", single_file=True, image=first)
    forget(tab)
    tab.open((tmp_path / "out" / "index.html").as_uri())
    tab.wait("window.rillet")
    pixels, vector = load_input(first, net), np.linspace(-1, 1, 5, dtype=np.float32).reshape(1, 1, 5)
    np.save(tmp_path / "vector.npy", vector)
    for name, data, values in (
        ("", b"", np.zeros_like(vector)),
        ("vector.npy", (tmp_path / "vector.npy").read_bytes(), vector),
        ("half.raw", bytes(10), vector),
    ):
        if name:
            tab.ask(f"""(() => {{
              const files = new DataTransfer();
              files.items.add(new File([new Uint8Array({list(data)})], "{name}"));
              const input = document.querySelector("#inputs input");
              input.files = files.files;
              input.dispatchEvent(new Event("change"));
            }})()""")
            shown = "#problem" if name == "half.raw" else "#inputs"
            said = "input n1 must be 1" if name == "half.raw" else name
            tab.wait(f"document.querySelector('{shown}').textContent.includes('{said}')")
        expected = reference.outputs(net, (pixels, values))[0].reshape(-1)
        answered = json.loads(tab.ask("JSON.stringify(Array.from(window.rillet.net.compute()[0]))"))
        assert np.allclose(answered, expected, rtol=0, atol=1e-5 * np.abs(expected).max() + 1e-12)
    shown = json.loads(tab.ask("JSON.stringify(Array.from(window.rillet.result.outputs[0]))"))
    assert shown == answered


def test_a_folder_is_a_module_and_a_worker(tab: Tab, tmp_path: Path) -> None:
    net, out, picture = classifier(), tmp_path / "out", photo(tmp_path)
    rillet.emit(rillet.plan(net, target="wasm"), out)
    package = json.loads((out / "package.json").read_text())
    assert package["type"] == "module" and all((out / name).is_file() for name in package["files"])
    expected = reference.outputs(net, load_input(picture, net))[0].reshape(-1)
    pixels = np.dstack([np.asarray(Image.open(picture)), np.full((50, 70), 255, np.uint8)]).reshape(-1).tolist()
    forget(tab)
    with served(out) as base:
        tab.open(f"{base}/index.html")
        tab.wait("document.getElementById('facts').textContent.includes('segments')")
        tab.choose("#file", picture)
        tab.wait("window.rillet")
        assert told(tab) == expected.tolist()
        asked = f"{{ id: 7, picture: {{ data: {pixels}, width: 70, height: 50 }} }}"
        got = tab.ask(f"""new Promise((resolve) => {{
          const worker = new Worker("./worker.js", {{ type: "module" }});
          worker.onmessage = ({{ data }}) => resolve([data.id, data.error, Array.from(data.outputs[0])]);
          worker.postMessage({asked});
        }})""")
        assert got == [7, None, expected.tolist()]
        # Where the engine has no SIMD, the plain build is loaded, gives the same bytes, and is said.
        blind = tab.before("WebAssembly.validate = () => false;")
        forget(tab)
        tab.open(f"{base}/index.html")
        tab.wait("document.getElementById('facts').textContent.includes('plain build')")
        tab.choose("#file", picture)
        tab.wait("window.rillet")
        assert told(tab) == expected.tolist() and not tab.ask("window.rillet.net.facts.simd")
        assert f"{base}/net.plain.wasm" in tab.requests and f"{base}/net.wasm" not in tab.requests
        tab.forget(blind)
        # A camera that may not be used is told, and the page goes on; one that may shows its pictures.
        tab.allow("camera", False)
        tab.ask("document.getElementById('camera').click()")
        tab.wait("document.getElementById('problem').textContent.startsWith('The camera cannot be used (')")
        tab.ask("delete window.rillet")
        tab.choose("#file", picture)
        tab.wait("window.rillet && document.getElementById('problem').hidden")
        assert told(tab) == expected.tolist()
        tab.allow("camera", True)
        tab.ask("delete window.rillet")
        tab.ask("document.getElementById('camera').click()")
        tab.wait("window.rillet && document.getElementById('camera').ariaPressed === 'true'")
        seen = "document.getElementById('seen').getAttribute('aria-label')"
        assert tab.ask(seen).startswith("What the network sees of the camera")
        tab.ask("document.getElementById('camera').click()")
        tab.wait("document.getElementById('camera').ariaPressed === 'false'")
        assert {url for url in tab.requests if not url.startswith((base, "data:", "blob:"))} == set()
    assert tab.said == []


def test_engines_with_a_dot_product_of_bytes_load_a_build_of_their_own(tab: Tab, tmp_path: Path) -> None:
    """It gives the same bytes where the engine's relaxed dot product is exact, and is loaded nowhere else."""
    graphs = [classifier(5), any_factors(3.0)[0], odd_windows()]
    for i, graph in enumerate(graphs):
        rillet.emit(rillet.plan(graph, target="wasm"), tmp_path / str(i))
    forget(tab)
    with served(tmp_path) as base:
        tab.open(f"{base}/0/index.html")
        tab.wait("document.getElementById('facts').textContent.includes('segments')")
        exact = tab.ask("import('./net.js').then((one) => one.hasDot())")
        for i, graph in enumerate(graphs):
            image = next(iter(random_inputs(graph, 1)))
            script = f"""import("{base}/{i}/net.js").then(({{ load }}) => load()).then((net) =>
              [net.facts.relaxed, ...net.compute({image.reshape(-1).tolist()}).map((one) => Array.from(one))])"""
            relaxed, *made = tab.ask(script)
            assert relaxed is exact
            assert made == [one.reshape(-1).tolist() for one in reference.outputs(graph, image)]
        asked = [Path(url).name for url in tab.requests if url.endswith(".wasm")]
        assert set(asked) == {"net.relaxed.wasm" if exact else "net.wasm"}
        # Pages of one file have what differs of that build.
        first = photo(tmp_path)
        rillet.emit(rillet.plan(graphs[0], target="wasm"), tmp_path / "one", single_file=True, image=first)
        rillet.page(graphs[0], tmp_path / "about.html", "systolic_64x64", image=first)
        for name in ("one/index.html", "about.html"):
            tab.open(f"{base}/{name}")
            tab.wait("window.rillet")
            assert tab.ask("window.rillet.net.facts.relaxed") is exact
            assert told(tab) == reference.outputs(graphs[0], load_input(first, graphs[0]))[0].reshape(-1).tolist()
        # An engine whose product is another refuses that build, and takes the plain one.
        other = tab.before("WebAssembly.Instance = class { exports = { d: () => 0 }; };")
        forget(tab)
        tab.open(f"{base}/0/index.html")
        tab.wait("document.getElementById('facts').textContent.includes('segments')")
        assert [Path(url).name for url in tab.requests if url.endswith(".wasm")] == ["net.wasm"]
        tab.forget(other)
        if exact:
            said = "import('./net.js').then((one) => one.load('./net.relaxed.wasm')).catch((error) => error.message)"
            assert tab.ask(said).endswith("must be loaded as net.wasm by this engine")
    assert tab.said == []
    if not exact:
        pytest.skip("this browser has no exact dot product of bytes on this processor: its build was not run")


def test_a_network_without_products_of_bytes_has_two_builds(tmp_path: Path) -> None:
    net = rillet.load("mobilenet_v1:width=0.25,resolution=32,seed=0,classes=10")
    found = rillet.emit(rillet.plan(net, target="wasm"), tmp_path)
    assert {name for name in found.files if name.endswith(".wasm")} == {"net.wasm", "net.plain.wasm"}
    package = json.loads((tmp_path / "package.json").read_text())
    assert all((tmp_path / name).is_file() for name in package["files"])
    assert (
        "./net.relaxed.wasm" not in (tmp_path / "net.js").read_text() and "./net.relaxed.wasm" not in package["exports"]
    )


def test_a_folder_on_a_disk_says_what_it_needs(tab: Tab, tmp_path: Path) -> None:
    rillet.emit(rillet.plan(classifier(), target="wasm"), tmp_path / "out")
    forget(tab)
    tab.open((tmp_path / "out" / "index.html").as_uri())
    said = tab.ask("document.getElementById('facts').textContent")
    assert said.startswith("Loading … Browsers take the files of this folder from a web server alone")
    assert any("CORS" in one for one in tab.said)


def test_one_file_without_simd_says_so(tab: Tab, tmp_path: Path) -> None:
    """In both pages, and what else they have is shown."""
    net, first = classifier(), photo(tmp_path)
    rillet.emit(rillet.plan(net, target="wasm"), tmp_path, single_file=True, image=first)
    rillet.page(net, tmp_path / "about.html", "systolic_64x64", image=first)
    refuse = "Promise.reject(new WebAssembly.CompileError('SIMD'))"
    blind = tab.before(f"WebAssembly.validate = () => false; WebAssembly.compile = () => {refuse};")
    forget(tab)
    try:
        for name in ("index.html", "about.html"):
            tab.open((tmp_path / name).as_uri())
            tab.wait("document.getElementById('problem').textContent.includes('has no WebAssembly SIMD')")
            reachable = "document.getElementById('file').disabled || !document.getElementById('file').checkVisibility()"
            assert tab.ask(reachable) and not tab.ask("window.rillet")
        assert "fire_" in tab.ask("document.querySelector('#code pre').textContent")
    finally:
        tab.forget(blind)
    assert tab.said == []


def test_what_is_no_page_is_refused(tmp_path: Path) -> None:
    net = classifier()
    with pytest.raises(TargetError, match="single_file .--single-file. must come with a plan for wasm"):
        rillet.emit(rillet.plan(net), tmp_path / "out", single_file=True)
    with pytest.raises(TargetError, match="layout and prefix must be left out for wasm"):
        rillet.emit(rillet.plan(net, target="wasm"), tmp_path / "out", prefix="other")


@pytest.mark.slow
def test_networks_that_are_no_classifiers_show_their_maps(tab: Tab, tmp_path: Path) -> None:
    b = Builder(np.random.default_rng(0))
    b.add(b.conv(5, (3, 3)), b.add(Input(), shape=Shape(16, 16, 3)))
    net = replace(b.graph(), image=ImageSpec(16, 16, 3, "crop", (127.5,), (127.5,)))
    rillet.emit(rillet.plan(net, target="wasm"), tmp_path / "out", single_file=True, image=photo(tmp_path))
    forget(tab)
    tab.open((tmp_path / "out" / "index.html").as_uri())
    tab.wait("window.rillet")
    assert tab.ask("document.querySelectorAll('.maps canvas').length") == 5
    assert tab.said == []


def test_the_demo_page_is_the_present_one() -> None:
    """Its code, that is; what compilers make of the network may differ."""
    demo = (ROOT / "docs" / "demo.html").read_text()
    kept = re.sub(r'<script type="text/plain".*?</script>', "", demo)
    made = single_page([bytes_block(name, b"") for name in ("net-wasm", "net-relaxed", "example-picture")])
    assert kept == re.sub(r'<script type="text/plain".*?</script>', "", made), (
        "rillet emit hub:mobilenet_v2_cifar10 -o DIR --target wasm --single-file --image "
        "src/rillet/models/shipped/chelsea.png writes it anew"
    )


@pytest.mark.slow
def test_the_demo_page_sees_a_cat(tab: Tab) -> None:
    forget(tab)
    tab.open((ROOT / "docs" / "demo.html").as_uri())
    tab.wait("window.rillet")
    assert tab.ask("document.querySelector('#answer th').textContent") == "cat"
    assert tab.said == []


@pytest.mark.slow
def test_the_packaged_network_sees_a_cat(tab: Tab, tmp_path: Path) -> None:
    from rillet.models import specifier

    made = rillet.plan(rillet.load(specifier.DEMO_MODEL), target="wasm")
    rillet.emit(made, tmp_path / "out", single_file=True, image=specifier.demo_photo())
    forget(tab)
    tab.open((tmp_path / "out" / "index.html").as_uri())
    tab.wait("window.rillet")
    assert tab.ask("document.querySelector('#answer th').textContent") == "cat"
    assert told(tab) == rillet.compile(made)(specifier.demo_photo())[0].reshape(-1).tolist()
    assert tab.said == []


@pytest.mark.slow
def test_a_benchmark_measures_the_module_in_node_and_in_a_browser(tab: Tab) -> None:
    assert tab.ask("1 + 1") == 2  # there is a browser
    found = bench(classifier(), target=named_host("wasm"), rounds=2)
    assert isinstance(found, PageBench)
    ours = [one for one in found.records if one.runtime == "rillet"]
    assert ["Node" in ours[0].engine, ours[1].engine.startswith("Chromium ")] == [True, True]
    assert all(0 <= one.min_ms <= one.median_ms and one.code_bytes == ours[0].code_bytes for one in ours)


def test_only_what_runs_in_pages_stands_beside_it() -> None:
    with pytest.raises(
        Unsupported, match="--against must be one of onnxruntime-web, @litertjs/core, .* for wasm, got 'openvino'"
    ):
        bench(classifier(), "openvino", target="wasm")


def test_a_package_of_npm_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RILLET_NODE_MODULES", str(tmp_path))
    with pytest.raises(Unsupported, match="^@litertjs/core: npm install @litertjs/core, and name its folder"):
        bench(classifier(), "@litertjs/core", target="wasm")


# -- the page about a network ------------------------------------------------------------------------------------------


def test_the_page_about_a_network(tab: Tab, tmp_path: Path) -> None:
    net, out, picture = classifier(), tmp_path / "about.html", photo(tmp_path)
    found = rillet.page(net, out, ["nano33ble", "systolic_64x64"], image=picture)
    assert found.to_dict()["runs"] and found.machines == 2 and out.stat().st_size == found.bytes < 400_000
    tab.dress(390, dark=False)
    forget(tab)
    tab.open(out.as_uri())
    tab.wait("window.rillet")
    expected = reference.run(net, load_input(picture, net))
    names = [node.name for node in net.nodes]
    assert told(tab) == expected[names[-1]].reshape(-1).tolist()
    # A layer is chosen by a click on its slab, and shows what it is and what it made of the picture.
    tab.ask("document.querySelector('.drawing rect[data-layer=\"0\"]').dispatchEvent(new MouseEvent('click'))")
    assert tab.ask("document.querySelector('#detail td').textContent") == names[1]
    assert "fire_" in tab.ask("document.querySelector('#code pre').textContent")
    assert tab.ask("document.querySelectorAll('#histogram rect').length") == 32
    assert tab.ask("document.querySelectorAll('#maps canvas').length") == 8
    made = tab.ask(f"Array.from(window.rillet.values.get('{names[1]}'))")
    assert made == expected[names[1]].reshape(-1).tolist()
    # The memory is played to its end.
    planned = rillet.plan(net, "nano33ble")
    assert isinstance(planned, rillet.RowPlan)
    segments = len(planned.segments)
    tab.ask("document.getElementById('moment').value = 1")
    tab.ask("document.getElementById('play').click()")
    tab.wait(f"document.getElementById('moment-text').textContent.startsWith('Segment {segments} of {segments}')")
    # The table is sorted by a heading, one way and the other.
    heading = "[...document.querySelectorAll('#table thead button')].find(one => one.textContent === 'machine')"
    machines = "[...document.querySelectorAll('#table tbody td:first-child')].map(one => one.textContent)"
    tab.ask(f"{heading}.click()")
    first = tab.ask(machines)
    tab.ask(f"{heading}.click()")
    assert first == sorted(first) and tab.ask(machines) == first[::-1] and len(first) == 2
    assert tab.ask("document.querySelector('h1').textContent") == net.name and not tab.ask("document.images.length")
    assert not tab.ask("document.documentElement.scrollWidth > innerWidth")
    assert [url for url in tab.requests if not url.startswith(("data:", "blob:"))] == [out.as_uri()]
    assert tab.said == []


def test_names_of_layers_are_shown_as_text(tab: Tab, tmp_path: Path) -> None:
    net = classifier()
    names = {node.name: f"{node.name}{HOSTILE}" for node in net.nodes}
    nodes = tuple(
        replace(node, name=names[node.name], inputs=tuple(names[one] for one in node.inputs)) for node in net.nodes
    )
    arrays = {f"{names[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}": array for key, array in net.params.items()}
    hostile = Graph(HOSTILE, nodes, tuple(names[one] for one in net.outputs), arrays, net.image)
    rillet.page(hostile, tmp_path / "about.html", ["zcu102", "systolic_64x64"], image=photo(tmp_path))
    rillet.emit(rillet.plan(hostile, target="wasm"), tmp_path, single_file=True, image=photo(tmp_path))
    tab.dress(390, dark=True)
    for file in ("about.html", "index.html"):
        forget(tab)
        tab.open((tmp_path / file).as_uri())
        tab.wait("window.rillet")
        assert tab.ask("document.querySelector('h1').textContent") == HOSTILE
        assert not tab.ask("document.images.length") and not tab.ask(
            "document.documentElement.scrollWidth > innerWidth"
        )
        assert tab.said == []
    tab.open((tmp_path / "about.html").as_uri())
    tab.wait("window.rillet")
    chosen = "[...document.querySelectorAll('#layer option')].map(one => one.textContent)"
    assert tab.ask(chosen) == [names[node.name] for node in net.nodes[1:]]
    assert tab.ask("document.querySelector('#detail td').textContent") in tab.ask(chosen)


def test_pictures_keep_their_colours_in_one_page(tab: Tab, tmp_path: Path) -> None:
    """Each has a style sheet, and all of these hold for the whole page: in light a shape looks as it says itself."""
    rillet.page(classifier(), tmp_path / "about.html", ["zcu102", "systolic_64x64", "nano33ble"])
    tab.dress(1280, dark=False)
    forget(tab)
    tab.open((tmp_path / "about.html").as_uri())
    tab.wait("document.querySelectorAll('#table tbody tr').length")
    pictures, shapes, others = tab.ask(r"""(() => {
      const hex = (rgb) => rgb.replace(/rgb\((\d+), (\d+), (\d+)\)/, (_, ...rgb) =>
        "#" + rgb.slice(0, 3).map((part) => Number(part).toString(16).padStart(2, "0")).join(""));
      const [all, others] = [[...document.querySelectorAll("svg[class^=n-] [class^=n-]:not(.chosen)")], []];
      for (const shape of all) {
        for (const kind of ["fill", "stroke"]) {
          const [said, is] = [shape.getAttribute(kind), hex(getComputedStyle(shape)[kind])];
          if (said && said !== is) others.push(`${shape.outerHTML}: ${kind} ${is}`);
        }
      }
      return [new Set(all.map((one) => one.ownerSVGElement)).size, all.length, others];
    })()""")
    assert others == [] and pictures == 4 and shapes > 200
    assert tab.said == []


def test_a_page_without_decompression_lacks_the_c_alone(tab: Tab, tmp_path: Path) -> None:
    """Browsers from before 2023."""
    net = classifier()
    rillet.page(net, tmp_path / "about.html", "systolic_64x64", image=photo(tmp_path))
    old = tab.before("delete window.DecompressionStream;")
    forget(tab)
    try:
        tab.open((tmp_path / "about.html").as_uri())
        tab.wait("window.rillet")
    finally:
        tab.forget(old)
    assert told(tab) == reference.outputs(net, load_input(photo(tmp_path), net))[0].reshape(-1).tolist()
    assert "which this browser cannot open" in tab.ask("document.querySelector('#code pre').textContent")
    assert tab.said == []


@pytest.mark.slow
def test_the_page_about_the_packaged_network_is_small(tmp_path: Path) -> None:
    from rillet.models import specifier

    machines, out = ["nano33ble", "zcu102", "systolic_64x64"], tmp_path / "page.html"
    # The weights of the second are those left when its norms are folded.
    for name, most in [(specifier.DEMO_MODEL, 385_000), ("mobilenet_v1:width=0.25,resolution=32,seed=0", 260_000)]:
        found = rillet.page(rillet.load(name), out, machines, image=specifier.demo_photo())
        assert found.runs and 100_000 < found.own_bytes < most
        # What is not counted is there: weights and picture as base64, beside the program and its constants.
        brought = map(len, re.findall(r'<script type="text/plain" id="[ne].*?">(.*?)</script>', out.read_text()))
        assert 0 <= sum(brought) - (found.bytes - found.own_bytes) < 130_000


# -- pages that compare ------------------------------------------------------------------------------------------------


def test_a_comparison_draws_any_two_measures(tab: Tab, tmp_path: Path) -> None:
    names = [f"mobilenet_v1:width={width},resolution=128" for width in (0.25, 0.5, 0.75)]
    nets = [*map(rillet.load, names), classifier()]
    found, made = rillet.compare_page(nets, tmp_path / "compare.html", ["systolic_64x64", "nano33ble"])
    assert made.machines == 2 and made.path.stat().st_size == made.bytes < 100_000
    tab.dress(390, dark=True)
    forget(tab)
    tab.open(made.path.as_uri())
    dots = "[...document.querySelectorAll('.dot')].map(one => one.getAttribute('aria-label'))"
    # Published accuracies: of the three alone, and said of the fourth.
    assert [label.partition(": ")[0] for label in tab.ask(dots)] == names
    assert "has no top-1" in tab.ask("document.getElementById('lacking').textContent")
    # The front of two measures that are better the less there is of them is one network here: the smallest.
    tab.select("up", "macs")
    tab.select("across", "latency systolic_64x64")
    assert len(tab.ask(dots)) == 4
    macs = {one.name: one.macs for one in found.networks}
    best = tab.ask("document.getElementById('front').textContent")
    assert min(macs, key=lambda name: macs[name]) in best and names[2] not in best
    # By the keyboard: Enter on a dot shows its figures, and keeps the focus.
    tab.ask("document.querySelector('.dot').focus()")
    tab.ask("document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter' }))")
    assert tab.ask("document.querySelector('#chosen h2').textContent") == names[0]
    assert f"{macs[names[0]]:,}" in tab.ask("document.getElementById('chosen').textContent")
    assert tab.ask("document.activeElement.ariaPressed") == "true"
    heading = "[...document.querySelectorAll('#table thead button')].find(one => one.textContent === 'MACs')"
    tab.ask(f"{heading}.click()")
    rows = tab.ask("[...document.querySelectorAll('#table tbody tr')].map(one => one.cells[0].textContent)")
    assert rows == sorted(macs, key=lambda name: macs[name])
    assert not tab.ask("document.images.length") and not tab.ask("document.documentElement.scrollWidth > innerWidth")
    assert [url for url in tab.requests if not url.startswith("data:")] == [made.path.as_uri()] and tab.said == []


def test_the_page_of_a_search_has_the_same_parts(tab: Tab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_page, "ZOO", ("microbotnet",))
    rng = np.random.default_rng(0)
    made = [
        Candidate(
            key=f"key{i}",
            choice={"input.resolution": 96, "stem.channels": int(8 * (1 + i % 3)), "name": HOSTILE},
            depth=3,
            costs={"macs": float(rng.integers(10**5, 10**7)), "ram": float(rng.integers(10**3, 10**5))},
            top1=None if i == 5 else float(rng.uniform(0.3, 0.8)),
            epochs=0 if i == 5 else 1 + i % 2,
            seconds=1.5,
        )
        for i in range(6)
    ]
    found = Found(HOSTILE, 10, "data", "ram<=32KiB, macs<=5M", ("top1", "macs"), 0, 9, 6, 1.0, tuple(made), "4x1,2x2")
    (tmp_path / "search.html").write_text(search_page.html(found))
    tab.dress(1280, dark=False)
    forget(tab)
    tab.open((tmp_path / "search.html").as_uri())
    assert tab.ask("document.querySelectorAll('.dot').length") == 5
    assert tab.ask("document.querySelector('.plot').getAttribute('aria-label')") == "top-1, held back against ram"
    tab.select("cost", "macs")
    assert tab.ask("document.querySelector('.plot').getAttribute('aria-label')") == "top-1, held back against macs"
    tab.ask("document.getElementById('last').click()")
    longest = {one.key for one in made if one.epochs == 2}
    assert set(tab.ask("[...document.querySelectorAll('.dot')].map(one => one.dataset.key)")) == longest
    tab.ask("document.querySelector('#table tbody button').focus()")
    tab.ask("document.activeElement.click()")
    assert tab.ask("document.querySelector('tr.picked button') === document.activeElement")
    assert tab.ask("document.querySelector('#chosen h2').textContent").partition(":")[0] in longest
    last = "[...document.querySelectorAll('#table tbody tr')].at(-1).cells[0].textContent"
    assert tab.ask(last) == "key5"  # not trained
    assert tab.ask("document.querySelector('h1').textContent") == f"Search in {HOSTILE}"
    assert not tab.ask("document.images.length") and tab.said == []


def test_a_page_is_served_to_this_machine_alone(tab: Tab, tmp_path: Path) -> None:
    net = classifier()
    with rillet.serve(net, "systolic_64x64", image=photo(tmp_path)) as served:
        assert served.url == f"http://127.0.0.1:{served.port}/"
        forget(tab)
        tab.open(served.url)
        tab.wait("window.rillet")
        assert told(tab) == reference.outputs(net, load_input(photo(tmp_path), net))[0].reshape(-1).tolist()
        assert [url for url in tab.requests if not url.startswith(("data:", "blob:"))] == [served.url]
        for path, host, status in [("/", "127.0.0.1", 200), ("/x", "127.0.0.1", 404), ("/", "evil.example", 403)]:
            asked = HTTPConnection("127.0.0.1", served.port, timeout=10)
            asked.request("GET", path, headers={"Host": f"{host}:{served.port}"})
            got = asked.getresponse()
            assert (got.status, got.getheader("Access-Control-Allow-Origin")) == (status, None)
            asked.close()
        with pytest.raises(BuildError, match=f"--port: {served.port} cannot be used"):
            rillet.serve(net, "systolic_64x64", port=served.port)
    with pytest.raises(ConnectionRefusedError):
        HTTPConnection("127.0.0.1", served.port, timeout=10).connect()
    with pytest.raises(TargetError, match="--port must be from 0 to 65535, got 65536"):
        rillet.serve(net, port=65536)


def test_ctrl_c_ends_what_is_served() -> None:
    small = "mobilenet_v1:width=0.25,resolution=32"
    words = [sys.executable, "-m", "rillet", "serve", small, "--target", "systolic_64x64", "--json"]
    # A shell that starts tests in the background has them ignore Ctrl-C, and what they start, too.
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, preexec_fn=heard) as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            lines = [process.stdout.readline() for _ in range(4)]
            said = json.loads("".join(lines))
            with urlopen(said["url"], timeout=10) as got:
                assert got.headers["Content-Type"] == "text/html; charset=utf-8"
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0 and process.stderr.read() == ""
        finally:
            process.kill()


@pytest.mark.slow
def test_networks_that_cannot_run_have_a_page(tab: Tab, tmp_path: Path) -> None:
    net = rillet.load("mobilenet_v1:width=0.25,resolution=96")
    found = rillet.page(net, tmp_path / "page.html", "zcu102")
    assert not found.runs and found.to_dict()["runs"] is False
    forget(tab)
    tab.open((tmp_path / "page.html").as_uri())
    tab.wait("document.querySelectorAll('#table tbody tr').length")
    assert "has no weights" in tab.ask("document.getElementById('no-run').textContent")
    assert not tab.ask("document.getElementById('can-run').checkVisibility()")
    assert tab.ask("document.querySelectorAll('#pictures svg').length") == 1
    # A layer is told with its time in the pipeline.
    assert "ZCU102, beside the others" in tab.ask("document.getElementById('detail').textContent")
    # Its picture is made wider than the page by steps, and scrolled.
    wide = "document.querySelector('.zoom').scrollWidth"
    before = tab.ask(wide)
    tab.ask("document.querySelector('#pictures button[aria-label=\"zoom in\"]').click()")
    assert tab.ask(wide) > 1.9 * before
    assert tab.said == []
