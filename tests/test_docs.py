"""The documentation shows what the commands print, its walks run as written, its references are complete."""

import fcntl
import importlib.util
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import rillet
from conftest import ROOT, SHARED, shared_file
from rillet.models.opening import open_model
from rillet.plan.rows.planner import plan_layerwise, plan_rows
from rillet.report.draw import svg
from test_cli import rillet as run

WALKS = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("walk-*.md"))
README = (ROOT / "README.md").read_text()
PAGES = ["README.md", *(str(p.relative_to(ROOT)) for p in sorted((ROOT / "docs").glob("*.md")))]


def blocks(pages: list[str]) -> list[tuple[str, str, str]]:
    """Page, command and output of every console block."""
    found: list[tuple[str, str, str]] = []
    for page in pages:
        for block in re.findall(r"```console\n(.*?)```", (ROOT / page).read_text(), re.S):
            for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
                command, _, output = part.partition("\n")
                found.append((page, command, output))
    return found


def comparable(text: str) -> list[str]:
    """Lines without trailing spaces and without times, and without what another plan takes: the machine decides."""
    lines = [re.sub(r"[\d.]+ ms", "- ms", line).rstrip() for line in text.strip().splitlines()]
    lines = [line for line in lines if not line.startswith("with --target host ")]
    return [re.sub(r"- ms +", "- ms ", line) for line in lines]


def check(update: bool, page: str, command: str, output: str, shown: str) -> None:
    """Compares what a command shows with its block; with --update-golden the page then has it."""
    if update and comparable(shown) != comparable(output):
        with open(ROOT / page, "r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            text = file.read().replace(f"$ {command}\n{output}", f"$ {command}\n{shown}", 1)
            file.seek(0)
            file.write(text)
            file.truncate()
        output = shown
    assert comparable(shown) == comparable(output)


KNOWN = {
    "hub:tf2_mobilenet_v2_ptq": "mobilenet_tflite/tf2_mobilenet_v2_1.0_224_ptq.tflite",
    "hub:mobilenet_v2_quant": "mobilenet_tflite/mobilenet_v2_1.0_224_quant.tflite",
    "hub:mobilenet_v1_0.5_160_quant": "mobilenet_tflite/mobilenet_v1_0.5_160_quant.tflite",
    "hub:mobilenet_v1_0.25_128_quant": "mobilenet_tflite/mobilenet_v1_0.25_128_quant.tflite",
    "hub:vww_96_int8": "mlperf_tiny/vww_96_int8.tflite",
    "hub:vww_96_float": "mlperf_tiny/vww_96_float.tflite",
    "hub:person_detect": "vww/person_detect_model.tflite",
    "hub:resnet8_int8": "mlperf_tiny/pretrainedResnet_quant.tflite",
    "hub:resnet8_float": "mlperf_tiny/pretrainedResnet.tflite",
}


@pytest.mark.parametrize("name", KNOWN)
def test_the_table_of_memory_is_of_the_plans(name: str) -> None:
    graph = open_model(shared_file(KNOWN[name])).graph
    plans = (plan_rows(graph), plan_rows(graph, resident=True), plan_layerwise(graph))
    page, cells = (ROOT / "docs" / "memory.md").read_text(), " | ".join(f"{plan.arena_bytes:,} B" for plan in plans)
    (row,) = (line for line in page.splitlines() if line.startswith(f"| `{name}`"))
    assert row.endswith(f"| {cells} |")


def test_the_readmes_table_of_memory_is_of_the_pages() -> None:
    page, rows = (ROOT / "docs" / "memory.md").read_text(), re.findall(r"(\|(?: [\d,]+ B \|){3})", README)
    assert len(rows) == 5
    assert all(row in page for row in rows)


@pytest.fixture
def update(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))


NOT_WALKS = [page for page in PAGES if page not in WALKS]
LONG = ("rillet evaluate ",)
"""What takes seconds: a whole data set."""
BLOCKS = [
    pytest.param(*block, marks=pytest.mark.slow if block[1].startswith(LONG) else ()) for block in blocks(NOT_WALKS)
]


@pytest.mark.parametrize(("page", "command", "output"), BLOCKS, ids=lambda v: v.split("\n")[0][:50])
def test_console_blocks(page: str, command: str, output: str, tmp_path: Path, update: bool) -> None:
    if not SHARED.exists():
        pytest.skip("test data absent: the models of the documentation")
    for path in (p for pattern in ("*.tflite", "*.bmp", "*.pth") for p in SHARED.glob(f"*/{pattern}")):
        (tmp_path / path.name).symlink_to(shared_file(str(path.relative_to(SHARED))))
    (tmp_path / "cifar10").symlink_to(shared_file("cifar10/test_batch.png").parent)
    words = ["rillet", "run"] if command == "make demo" else shlex.split(command)
    assert words[0] == "rillet", page
    done = run(*words[1:], cwd=tmp_path, RILLET_MODELS=str(tmp_path))
    shown = "\n".join(line.rstrip() for line in (done.stdout + done.stderr).strip("\n").split("\n")) + "\n"
    check(update, page, command, output, shown)


@pytest.mark.parametrize("page", WALKS)
def test_the_shell_lines_of_a_walk_run_in_order(page: str, tmp_path: Path, update: bool) -> None:
    for _, command, output in blocks([page]):
        words, _, tail = command.partition(" | tail -")
        done = run(*shlex.split(words)[1:], cwd=tmp_path)
        lines = [line.rstrip() for line in (done.stdout + done.stderr).strip("\n").split("\n")]
        check(update, page, command, output, "\n".join(lines[-int(tail or 0) :]) + "\n")
        assert done.returncode == 0, command


@pytest.mark.parametrize("page", ["README.md", *WALKS])
def test_the_python_lines_run_as_written(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the README and of each walk, in one namespace a page; a walk's notebook has the same."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    for block in re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(), re.M | re.S):
        exec(compile(block, page, "exec"), names)


@pytest.mark.slow
def test_the_python_lines_are_typed(tmp_path: Path) -> None:
    """Pyright, as strict with them as with the source."""
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pyright"]
    settings = rules | {"include": ["."], "extraPaths": [str(Path(rillet.__file__).parents[1])]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    for page in ["README.md", *WALKS]:
        found = re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(), re.M | re.S)
        (tmp_path / Path(page).with_suffix(".py").name.replace("-", "_")).write_text("".join(found))
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_notebook_has_the_python_of_its_walk_and_no_outputs() -> None:
    for page in WALKS:
        cells = json.loads((ROOT / page).with_suffix(".ipynb").read_text())["cells"]
        code = ["".join(cell["source"]) + "\n" for cell in cells if cell["cell_type"] == "code"]
        assert code == re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(), re.M | re.S)
        assert not any(cell.get("outputs") for cell in cells)


def generator() -> ModuleType:
    """docs/generate.py."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generated_pages_are_what_the_program_says() -> None:
    """References and notebooks: a command, an option or a public name that is new makes them stale (`make docs`)."""
    for name, text in generator().pages().items():
        assert (ROOT / "docs" / name).read_text() == text, f"docs/{name} is stale: make docs"


def test_every_command_option_and_public_name_is_documented() -> None:
    """And says something: an empty help or docstring would be written into the references as it is."""
    made = generator()
    for name, command in made.commands().items():
        assert command.help, name
        for parameter in made.options(command):
            assert parameter.help or parameter.name == "help", f"{name} {parameter.opts[0]}"
    for name in made.names():
        value = made.public(name)
        own = (getattr(value, "__doc__", None) or "").strip()
        assert not callable(value) or (own and not own.startswith(f"{name}(")), f"rillet.{name} has no docstring"


def test_every_page_is_within_reach_and_links_only_to_what_is_there() -> None:
    """From the README or the first page, by links; the site's list has all of them, too."""
    sources = ["README.md", "ARCHITECTURE.md", *(page for page in PAGES if page.startswith("docs/"))]
    reached: set[str] = set()
    for page in sources:
        text = re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.S)
        for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            if "://" not in link:
                target = ((ROOT / page).parent / link).resolve()
                assert target.exists(), f"{page} links to {link}"
                reached.add(str(target.relative_to(ROOT)))
    listed = re.findall(r": ([\w-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M)
    assert len(listed) == len(set(listed))
    pages = {page for page in PAGES if page.startswith("docs/")}
    assert pages - reached == {"docs/index.md"} - reached
    assert {page.removeprefix("docs/") for page in pages} | {"ARCHITECTURE.md"} == set(listed)


def test_the_picture_of_the_readme_is_what_is_drawn() -> None:
    assert (ROOT / "docs" / "mobilenet_v2.svg").read_text() == svg(open_model("mobilenet_v2").graph)
