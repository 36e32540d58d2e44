"""Programs for WebAssembly give the reference's values in Node, and need nothing but their own memory."""

import ctypes
import json
import math
import subprocess
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rillet
from conftest import NETWORKS, example_counts, shared_file
from graphs import Builder, graphs, random_image, several
from rillet.arithmetic import pairwise
from rillet.arithmetic.affine import affine, shifted
from rillet.arithmetic.fixed_point import Clamp, multiply_double
from rillet.backends import reference
from rillet.backends.c.binary import DATA, binary_weights
from rillet.backends.c.emit import sources
from rillet.backends.c.packing import factor_arrays
from rillet.data.images import MAX_PIXELS, fit
from rillet.errors import BuildError, TargetError
from rillet.importers.tflite import load
from rillet.ir.graph import Array, Graph, ImageSpec
from rillet.ir.ops import Add, Input
from rillet.ir.types import DType, Quant, Shape
from rillet.plan.host.planner import plan_host
from rillet.plan.host.tilings import VECTORS
from rillet.runtime.programs import program_of
from rillet.runtime.run import checked_inputs
from rillet.runtime.verify import first_difference, random_given, random_inputs
from rillet.runtime.wasm.building import build_plain, build_relaxed, build_wasm, find_compiler
from rillet.runtime.wasm.program import find_node
from rillet.runtime.wasm.sections import without_data
from rillet.targets.host import WASM, named_host
from test_host import QUIET, any_factors, layers

HOST = named_host("wasm")
SETTINGS: dict[str, Any] = {**QUIET}
WEB = Path(str(files("rillet.runtime.wasm"))) / "web"


@pytest.fixture(autouse=True, scope="module")
def tools() -> None:
    for find in (find_compiler, find_node):
        try:
            find()
        except rillet.RilletError as error:
            pytest.skip(str(error))


def check(graph: Graph, *, traced: bool = False) -> None:
    plan, image = plan_host(graph, HOST), next(random_given(graph, 1))
    program, expected = program_of(plan, traced), reference.run(graph, image)
    for made in (program.run(image), program.push(image)):
        got = dict(zip(dict.fromkeys(graph.outputs), made, strict=True))
        assert first_difference(graph, expected, got, 0, "wasm") is None
    if traced:
        assert first_difference(graph, expected, program.trace(image), 0, "wasm") is None
    assert program.touched_bytes(image) <= plan.arena_bytes


def test_factors_of_any_size_round_alike() -> None:
    check(any_factors(3.0)[1], traced=True)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1e-9, 1e-3, 3e8])
def test_more_factors_round_alike(scale: float) -> None:
    for graph in any_factors(scale):
        check(graph)


@pytest.mark.slow
@settings(max_examples=25, **SETTINGS)
@given(layers() | graphs(), st.booleans())
def test_odd_layers_give_the_references_values(graph: Graph, traced: bool) -> None:
    check(graph, traced=traced)


@example_counts(2, 25)
def test_several_inputs_give_the_references_values(examples: int) -> None:
    @settings(max_examples=examples, **SETTINGS)
    @given(several(), st.booleans())
    def run(graph: Graph, traced: bool) -> None:
        check(graph, traced=traced)

    run()


def test_several_inputs_are_given_as_arrays() -> None:
    """Of the plain build and of that with SIMD; wrong ones are told, and what is not given anew stays."""
    b = Builder(np.random.default_rng(0), DType.I8)
    graph = b.graph(b.add(Add(), b.add(Input(), shape=Shape(4, 4, 2)), b.add(Input(), shape=Shape(1, 1, 2))))
    plan, given_ = plan_host(graph, HOST), next(random_given(graph, 1))
    image, other = (array.reshape(-1).tolist() for array in checked_inputs(graph, given_))
    for file in (build_wasm(plan), build_plain(plan)):
        said = _node(f"""
          import fs from "node:fs";
          const net = await load(fs.readFileSync({json.dumps(str(file))}));
          const [image, other] = {json.dumps([image, other])};
          const said = [[image], [image, image]].map((wrong) => {{
            try {{ net.compute(wrong); }} catch (error) {{ return error.message; }}
          }});
          const made = net.compute([image, other])[0];
          net.image.fill(0);
          net.inputs[0].set(image);
          net.start();
          for (let row = 0; row < 4; row++) net.push(row);
          console.log(JSON.stringify([said, Array.from(made), Array.from(net.pushed()[0]), net.facts.inputs]));
        """)
        wrong, made, pushed, inputs = json.loads(said)
        assert wrong == [
            f"{graph.name}: must have 2 arrays, one an input, got 1",
            f"{graph.name}: input n1 must have 2 values, got 32",
        ]
        assert made == pushed == reference.outputs(graph, given_)[0].reshape(-1).tolist()
        assert [(one["name"], one["count"]) for one in inputs] == [("n0", 32), ("n1", 2)]


def test_arrays_of_files_are_checked() -> None:
    """Values alone, or a .npy file of the type and size of an input."""
    import io

    def npy(array: Array) -> list[int]:
        file = io.BytesIO()
        np.save(file, array)
        return list(file.getvalue())

    values = np.arange(6, dtype=np.int16).reshape(1, 2, 3)
    files_ = [npy(values), list(values.tobytes()), npy(values.astype(np.int32)[..., :1]), [1, 2], npy(values.T)]
    parts = Path(str(files("rillet.web"))) / "parts.js"
    said = _node(f"""
      const {{ arrayOf }} = await import({json.dumps(parts.as_uri())});
      const input = {{ name: "x", type: "int16", count: 6, height: 1, width: 2, channels: 3 }};
      const read = (bytes) => Array.from(arrayOf(new Uint8Array(bytes).buffer, input));
      console.log(JSON.stringify({json.dumps(files_)}.map((bytes) => {{
        try {{ return read(bytes); }} catch (error) {{ return error.message; }}
      }})));
    """)
    wrong = "input x must be 1\u00d72\u00d73 of int16 in row order, 12 bytes or a .npy file of them"
    assert json.loads(said) == [list(range(6)), list(range(6)), wrong, wrong, wrong]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_published_networks_give_the_references_bytes(name: str) -> None:
    check(load(shared_file(NETWORKS[name])))


def test_a_module_imports_nothing_and_tells_its_network() -> None:
    graph = any_factors(3.0)[0]
    plan = plan_host(graph, HOST)
    said = _node(f"""
      import fs from "node:fs";
      const net = await load(fs.readFileSync({json.dumps(str(build_wasm(plan)))}));
      console.log(JSON.stringify([WebAssembly.Module.imports(net.module), net.facts]));
    """)
    imports, facts = json.loads(said)
    assert imports == []
    assert (facts["macs"], facts["arenaBytes"]) == (graph.macs, plan.arena_bytes)
    assert [value["name"] for value in facts["values"]] == [node.name for node in graph.nodes]


def test_an_engine_without_simd_runs_the_plain_build(tmp_path: Path) -> None:
    """As engines on processors without SSE4.1; the module with SIMD is refused in a sentence there."""
    graph = any_factors(3.0)[0]
    plan, image = plan_host(graph, HOST), random_image(graph)
    for name, file in (("net.wasm", build_wasm(plan)), ("net.plain.wasm", build_plain(plan))):
        (tmp_path / name).write_bytes(file.read_bytes())
    script = f"""
      import fs from "node:fs";
      const bytes = (name) => fs.readFileSync({json.dumps(str(tmp_path))} + "/" + name);
      const said = await load(bytes("net.wasm")).catch((error) => error.message);
      const net = await load(bytes("net.plain.wasm"));
      const made = net.compute({json.dumps(image.reshape(-1).tolist())});
      console.log(JSON.stringify([said, net.facts.simd, hasSimd(), ...made.map((one) => Array.from(one))]));
    """
    said, *simd, made = json.loads(_node(script, "--no-enable-sse4-1", "--no-enable-avx"))
    assert said.startswith("this browser has no WebAssembly SIMD") and simd == [False, False]
    assert made == reference.outputs(graph, image)[0].reshape(-1).tolist()


def test_two_builds_have_their_data_once() -> None:
    plan = plan_host(any_factors(3.0)[0], HOST)
    relaxed = build_relaxed(plan)
    assert relaxed is not None
    module, other = build_wasm(plan).read_bytes(), relaxed.read_bytes()
    rest = without_data(other, module)
    assert rest is not None and len(rest) < len(other)
    # What is cut out is the data, and they are in the other.
    size = len(other) - len(rest)
    place = next(i for i in range(len(rest), -1, -1) if other[:i] == rest[:i] and other[i + size :] == rest[i:])
    data = other[place : place + size]
    assert data[0] == 11 and module.count(data) == 1
    assert without_data(other, module.replace(data, data[:-1] + bytes([data[-1] ^ 1]))) is None
    with pytest.raises(BuildError, match="got a section without an end"):
        without_data(other[:8] + b"\x0b\xff\xff", module)


@pytest.mark.slow
def test_float32_values_are_the_references_within_their_rounding() -> None:
    net = rillet.load("mobilenet_v1:width=0.25,resolution=32,seed=0,classes=10")
    image = next(iter(random_inputs(net, 1)))
    made = rillet.compile(rillet.plan(net, target="wasm"))(image)[0]
    assert np.allclose(made, reference.outputs(net, image)[0], rtol=0, atol=1e-5)


def test_a_page_has_no_threads() -> None:
    with pytest.raises(TargetError, match="--threads must be 1 for WebAssembly, got 2"):
        rillet.plan(rillet.load("mobilenet_v1:width=0.25,resolution=32,seed=0,classes=10"), target="wasm", threads=2)


def _node(script: str, *flags: str) -> str:
    text = f"import {{ load, fitted, hasSimd }} from {json.dumps((WEB / 'net.js').as_uri())};\n{script}"
    command = [find_node(), *flags, "--input-type=module", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- pictures ----------------------------------------------------------------------------------------------------------


def test_pictures_are_resized_as_pillow_does() -> None:
    """To the byte where a square stays one; elsewhere versions of Pillow differ among themselves by one."""
    from PIL import Image

    rng, cases, expected = np.random.default_rng(0), [], []
    for size, channels, resize, detail, to in [
        ((40, 31), 3, "crop", 0, 24),
        ((200, 130), 1, "crop", 64, 32),
        ((8, 8), 3, "crop", 0, 24),
        ((24, 24), 1, "stretch", 0, 24),
        ((17, 90), 3, "stretch", 0, 24),
    ]:
        pixels = rng.integers(0, 256, (size[1], size[0], 4), np.uint8)
        pixels[rng.random(pixels.shape[:2]) < 0.6, 3] = 255
        spec = ImageSpec(to, to, channels, resize, detail=detail)
        expected.append(fit(Image.fromarray(pixels, "RGBA"), spec).reshape(-1).astype(int))
        picture = {"data": pixels.reshape(-1).tolist(), "width": size[0], "height": size[1]}
        cases.append([picture, {"height": to, "width": to, "channels": channels, "resize": resize, "detail": detail}])
    said = _node(f"""
      const cases = {json.dumps(cases)};
      console.log(JSON.stringify(cases.map(([picture, spec]) => [...fitted(picture, spec)])));
    """)
    off = [np.abs(np.array(got) - want).max() for got, want in zip(json.loads(said), expected, strict=True)]
    assert off[:4] == [0, 0, 0, 0] and off[4] <= 1


def test_pictures_have_a_most_of_pixels() -> None:
    """That of Python: a browser would fill memory with them, and stand still."""
    parts = Path(str(files("rillet.web"))) / "parts.js"
    script = f"""
      const {{ pixelsOf }} = await import({json.dumps(parts.as_uri())});
      console.log(await pixelsOf({{ width: 8193, height: 8192 }}).catch((error) => error.message));
    """
    assert _node(script) == f"it must have at most {MAX_PIXELS:,} pixels, got 8,193 \u00d7 8,192\n"


# -- arithmetic --------------------------------------------------------------------------------------------------------


def test_steps_are_where_integers_have_them_without_fused_operations() -> None:
    rng = np.random.default_rng(0)
    mantissa, shift = rng.integers(2**30, 2**31, 300), rng.integers(-9, -4, 300)
    reach = np.full(300, 2**15)
    for clamp in (Clamp(0, 255), Clamp(-120, 135)):
        found = affine(mantissa, shift, (-reach, reach), clamp, fused=False)
        assert found.shown.mean() > 0.8
        for row in np.flatnonzero(found.shown)[:40]:
            sums = np.arange(-int(reach[row]), int(reach[row]) + 1)
            real = sums.astype(np.float32)
            nudge = np.copysign(found.nudge[row], real) if found.signed else found.nudge[row]
            made = np.rint((real * found.scale[row]).astype(np.float32) + nudge).astype(np.int64) + found.centre
            expected = multiply_double(sums, mantissa[row], shift[row])
            assert np.array_equal(np.clip(made, clamp.low, clamp.high), np.clip(expected, clamp.low, clamp.high))


def test_sums_of_bytes_have_constants_without_fused_operations() -> None:
    rng, found = np.random.default_rng(1), 0
    for _ in range(6):
        left, right, out = (Quant(float(rng.uniform(0.01, 0.1)), int(rng.integers(-9, 9))) for _ in range(3))
        clamp = Clamp(-128 - out.zero_point, 127 - out.zero_point)
        k = pairwise.add(left, right, out, False, DType.I8, clamp, fused=False)
        found += k is not None
    assert found >= 3


def test_a_shift_as_a_byte_has_the_constants_of_two_floats() -> None:
    """What rillet_factors_shifted computes: 2^-shift by its exponent, and 1.5 * 2^23 less its share."""
    right = np.arange(17)
    reach = np.full(17, 2**14)
    found = shifted(right, (-reach, reach))
    kept = factor_arrays(found, VECTORS["wasm128"])["shift"]
    scale = (np.float32(1).view(np.int32) - (kept.astype(np.int32) << 23)).view(np.float32)
    origin = np.float32(1.5 * 2**23)
    assert found.as_bits and np.array_equal(scale, found.scale)
    assert np.array_equal(origin - origin * scale, found.nudge)


def test_what_pages_download_is_little_beside_the_weights() -> None:
    """Arrays of zeros are in no file; of a window's rows those are stored that there are; all lie side by side."""
    arrays = {
        "net_a": np.arange(1, 6, dtype=np.int8),
        "net_zeros": np.zeros(100, np.int8),
        "net_b": np.ones(4, np.int32),
    }
    made = binary_weights(arrays | {"net_minus": np.full(2, -0.0, np.float32)}, WASM)
    assert b"".join(made.data[DATA]) == bytes([1, 2, 3, 4, 5]) + b"\1\0\0\0" * 4 + b"\0\0\0\x80" * 2
    text = made.files["net_weights.s"]
    assert text.index("net_minus_data:") < text.index(".section .bss") < text.index("net_zeros_data:")
    assert [VECTORS["wasm128"].weight_rows(rows) for rows in range(1, 8)] == [*range(1, 8)]
    assert VECTORS["avx2"].weight_rows(5) == 8


@pytest.mark.parametrize(
    ("graphs_of", "ways"),
    [
        (lambda: [rillet.load("hub:mobilenet_v2_cifar10")], "RILLET_AS_BITS | RILLET_AS_NUMBERS"),
        (lambda: any_factors(1e-9)[:1], "RILLET_BY_INTEGERS | RILLET_SIGNED | RILLET_AS_NUMBERS"),
    ],
)
def test_programs_have_the_roundings_that_layers_take(graphs_of: Callable[[], list[Graph]], ways: str) -> None:
    for graph in graphs_of():
        assert f"#define RILLET_ROUNDS ({ways})\n" in sources(plan_host(graph, HOST)).files["net.c"]


@pytest.mark.slow
def test_the_packaged_network_is_small() -> None:
    """Program, constants beside the weights, and what loads them."""
    net = rillet.load("hub:mobilenet_v2_cifar10")
    made = build_wasm(plan_host(net, HOST)).stat().st_size - net.weight_bytes
    assert made + (WEB / "net.js").stat().st_size < 80_000


REAL = np.concatenate([np.linspace(-30, 30, 4001), np.geomspace(1e-6, 80, 500), -np.geomspace(1e-6, 80, 500)])
KNOWN: dict[str, Callable[[float], float]] = {
    "expf": math.exp,
    "expm1f": math.expm1,
    "tanhf": math.tanh,
    "erff": math.erf,
    "erfcf": math.erfc,
    "logf": math.log,
    "log1pf": math.log1p,
    "roundf": lambda x: math.copysign(math.floor(abs(x) + 0.5), x),
}


def test_functions_of_a_c_library_are_right_to_the_last_bits() -> None:
    """Built for this machine under other names: WebAssembly's arithmetic is IEEE 754's, too."""
    from rillet.system.build import build_library

    text = (Path(str(files("rillet.runtime.wasm"))) / "freestanding" / "functions.c").read_text()
    renamed = text.replace("#include <math.h>", "")
    for name in [*KNOWN, "powf", "fabsf", "sqrtf"]:
        renamed = renamed.replace(f"float {name}(", f"float own_{name}(").replace(f" {name}(", f" own_{name}(")
    declared = "float own_expf(float x);\n"
    for name in [*KNOWN, "fabsf", "sqrtf"]:
        declared += f"float own_{name}(float x);\n"
    library = ctypes.CDLL(str(build_library({"net.c": f"{declared}float own_powf(float x, float y);\n{renamed}"})))
    for name, function in KNOWN.items():
        own = getattr(library, f"own_{name}")
        own.restype, own.argtypes = ctypes.c_float, [ctypes.c_float]
        for real in REAL.astype(np.float32):
            if (name == "logf" and real <= 0) or (name == "log1pf" and real <= -1):
                continue
            want = np.float32(function(float(real)))
            assert abs(own(real) - want) <= 2 * np.spacing(abs(want)), (name, real)
    power = library.own_powf
    power.restype, power.argtypes = ctypes.c_float, [ctypes.c_float, ctypes.c_float]
    for x, y in [(2, 10), (3, -2), (0.5, 0.5), (-2, 3), (-2, 2), (0, 3), (0, 0), (7, 1.25), (1.5, 80)]:
        want = np.float32(float(x) ** y)
        assert abs(power(x, y) - want) <= 2 * np.spacing(abs(want)), (x, y)
    assert math.isnan(power(-2, 0.5)) and power(10, 60) == math.inf and power(10, -60) == 0
