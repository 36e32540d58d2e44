"""Fixtures: real models where they are at hand, goldens, and a build cache of the tests' own."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# The tests are spread over the cores; matrices of the reference that are spread again wait for each other. Said before
# NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest
from hypothesis import settings

# CI draws the same examples every time: a red run there is a change's fault. Elsewhere they are new each time.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


def example_counts(few: int, many: int) -> pytest.MarkDecorator:
    """The test's `examples`: how many random ones it draws, in the fast suite and in the slow one."""
    return pytest.mark.parametrize("examples", [few, pytest.param(many, marks=pytest.mark.slow)])


def mostly_slow(values: Iterable[Any], *fast: Any) -> list[Any]:
    """Parameters of a test, of which the fast suite has those named and the slow one the others."""
    given = list(values)
    assert all(value in given for value in fast)
    return [value if value in fast else pytest.param(value, marks=pytest.mark.slow) for value in given]


ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
NETWORKS = {
    "mobilenet_v2": "mobilenet_tflite/tf2_mobilenet_v2_1.0_224_ptq.tflite",
    "vww": "mlperf_tiny/vww_96_int8.tflite",
    "resnet": "mlperf_tiny/pretrainedResnet_quant.tflite",
    "person": "vww/person_detect_model.tflite",
}


def pytest_configure(config: pytest.Config) -> None:
    """The fast suite compiles at -O1 in its own processes, which takes a third of the time of -O3.

    The slow suite compiles at -O3, and so do commands in processes of their own, as users do.
    """
    import headers
    from rillet.system import build

    headers.install(config)
    if "not slow" in str(config.getoption("markexpr")):
        build.FLAGS = tuple("-O1" if flag == "-O3" else flag for flag in build.FLAGS)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the goldens anew")


def shared_file(name: str) -> Path:
    """A file of the test data; skips, naming it, where it is absent."""
    path = SHARED / name
    if path.exists():
        return path
    if SHARED.exists():
        pytest.fail(f"test data must be complete where it is present, and lacks {name}")
    pytest.skip(f"test data absent: {name}")


@pytest.fixture(params=sorted(NETWORKS))
def network(request: pytest.FixtureRequest) -> Path:
    """Each of the four int8 networks."""
    return shared_file(NETWORKS[request.param])


@pytest.fixture(scope="session", autouse=True)
def build_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Builds go to a folder that ends with the tests; processes that share the tests share it."""
    base = tmp_path_factory.getbasetemp()
    os.environ["RILLET_CACHE"] = str((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache")


@pytest.fixture
def golden(request: pytest.FixtureRequest):
    """Compares text with tests/golden/NAME, or writes it with --update-golden."""

    def check(name: str, text: str) -> None:
        path = ROOT / "tests" / "golden" / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        assert path.read_text() == text, f"{name} differs; renew with pytest --update-golden and read the diff"

    return check
