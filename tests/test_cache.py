"""The cache: nobody else's library is loaded or folder removed, and where it cannot be used all goes on."""

import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from graphs import random_image
from rillet.errors import BuildError, RilletWarning
from rillet.ir.graph import Graph
from rillet.plan.rows.planner import plan_rows
from rillet.runtime import ready
from rillet.runtime.ready import Ready, make_ready
from rillet.runtime.run import Program
from rillet.system import cache
from rillet.system.build import build_library
from test_plan import residual

NOBODY = 65534
EVIL = "#include <unistd.h>\n__attribute__((constructor)) static void begin(void) { _exit(42); }\n"
"""Where it is loaded, the program ends."""

needs_users = pytest.mark.skipif(not hasattr(os, "getuid"), reason="this system gives users no numbers")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of each test's own, where nothing is yet."""
    monkeypatch.setenv("RILLET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def graph() -> Graph:
    return residual(5, 5, 1)


@pytest.fixture(scope="module")
def filled(graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with a network made ready, to be copied."""
    place = tmp_path_factory.mktemp("filled") / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RILLET_CACHE", str(place))
        made(graph)
    return place


def made(graph: Graph) -> Ready:
    return make_ready(lambda: ("a network",), lambda: plan_rows(graph))


def copied(filled: Path, root: Path) -> None:
    shutil.copytree(filled, root)


def entry(root: Path, kind: str) -> Path:
    return next(file for file in sorted((root / kind).glob("*/*")) if file.name != cache.MARKER)


def test_what_is_kept_is_for_this_user_alone_whatever_the_umask(root: Path, graph: Graph) -> None:
    before = os.umask(0)
    try:
        library = made(graph).built.library
    finally:
        os.umask(before)
    assert root in library.parents
    found = [root, *root.rglob("*")]
    assert {file.parent.parent.name for file in found if file.parent.parent.parent == root} == set(cache.KEPT) - {
        "synthesis"
    }
    assert [file for file in found if file.stat().st_mode & 0o022] == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert made(graph).built.library == library


WRITABLE: dict[str, Callable[[Path], Path]] = {
    "root": lambda root: root,
    "kind": lambda root: root / "programs",
    "key": lambda root: entry(root, "programs").parent,
    "library": lambda root: entry(root, "programs"),
    "entry": lambda root: entry(root, "ready"),
    "parent": lambda root: root.parent,
}


@needs_users
@pytest.mark.parametrize(("part", "bits"), list(zip(WRITABLE, 3 * (0o020, 0o002), strict=True)))
def test_what_others_can_write_does_not_count(
    root: Path, filled: Path, graph: Graph, monkeypatch: pytest.MonkeyPatch, part: str, bits: int
) -> None:
    copied(filled, root)
    place = WRITABLE[part](root)
    place.chmod(place.stat().st_mode | bits)
    makes: list[str] = []
    monkeypatch.setattr(ready, "_make", lambda plan: makes.append("made") or Ready(_built(plan), 1, 0))
    with pytest.warns(
        RilletWarning, match=f"{root}: cache must .*; a private one is used until this program ends"
    ) as said:
        first = made(graph)
        second = made(graph)  # out of the private one, and said once
    assert len(said) == 1
    assert makes == ["made"]
    assert first.built.library == second.built.library
    assert root not in first.built.library.parents
    assert first.built.library.parents[2].stat().st_mode & 0o777 == 0o700


def _built(plan: object) -> object:
    return ready.build(plan)  # type: ignore[arg-type]


@needs_users
def test_a_sticky_folder_of_roots_above_is_no_harm(
    root: Path, filled: Path, graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied(filled, root)
    root.parent.chmod(0o1777)
    monkeypatch.setattr(ready, "_make", None)
    assert root in made(graph).built.library.parents


def test_a_link_in_the_cache_does_not_count(root: Path, filled: Path, graph: Graph) -> None:
    copied(filled, root)
    library = entry(root, "programs")
    library.rename(root.parent / library.name)
    library.symlink_to(root.parent / library.name)
    with pytest.warns(RilletWarning, match="must have no links in it"):
        assert root not in made(graph).built.library.parents


def poisoned(filled: Path, root: Path) -> None:
    """As a user would leave it who knows the keys, in a folder that all may write: his library, called by its sum."""
    copied(filled, root)
    library = entry(root, "programs")
    evil = build_library({"evil.c": EVIL})
    target = library.with_name(evil.name)
    library.unlink()
    shutil.copyfile(evil, target)
    described = entry(root, "ready")
    text = described.read_text().replace(library.name, evil.name)
    described.unlink()
    described.write_text(text)
    described.rename(described.with_stem(cache._checksum(described)))


def test_a_library_of_another_user_is_not_loaded(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(os, "getuid") or os.getuid() != 0:
        pytest.skip("must be root to give files to another user")
    with tempfile.TemporaryDirectory() as place:  # below a sticky folder, where others come too
        root = Path(place) / "cache"
        poisoned(filled, root)
        for file in [*root.rglob("*")]:
            os.chown(file, NOBODY, NOBODY)
        root.chmod(0o1777)
        monkeypatch.setenv("RILLET_CACHE", str(root))
        program = f"""
import sys
sys.path[:0] = {[str(Path(__file__).parent)]!r}
from test_cache import made, residual, Program, random_image
graph = residual(5, 5, 1)
Program(made(graph).built).run(random_image(graph))
print("went on")
"""
        # Loaded, it would end the process: the test's own is another one.
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
        assert (done.returncode, done.stdout) == (0, "went on\n"), done.stderr
        assert f"{root}: cache must be writable by this user alone, got {root} of mode 1777" in done.stderr
        # The folder's owner alone may write it now; what the other put there is still his.
        root.chmod(0o700)
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
        assert (done.returncode, done.stdout) == (0, "went on\n"), done.stderr
        assert f"{root}: cache must belong to this user alone, got {root}/ready" in done.stderr


def test_the_poison_would_have_worked(filled: Path, root: Path) -> None:
    """What the test above keeps out is loaded where it is this user's own: the test can fail."""
    poisoned(filled, root)
    program = f"""
import sys
sys.path[:0] = {[str(Path(__file__).parent)]!r}
from test_cache import made, residual, Program
Program(made(residual(5, 5, 1)).built)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, timeout=120)
    assert done.returncode == 42


def test_a_relative_cache_is_where_it_was_said(tmp_path: Path, graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RILLET_CACHE", "some/cache")
    built = made(graph).built
    assert (tmp_path / "some/cache").resolve() in built.library.parents
    monkeypatch.chdir("/")
    Program(built).run(random_image(graph))


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/none/cache", "loop"])
def test_a_cache_that_cannot_be_written(
    tmp_path: Path, graph: Graph, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    monkeypatch.setenv("RILLET_CACHE", str(tmp_path / place))
    with pytest.warns(
        RilletWarning, match="cache must (be writable, got: .*|have no links in it, .*); a private"
    ) as said:
        library = made(graph).built.library
        assert made(graph).built.library == library
    assert len(said) == 1
    assert (tmp_path / "file").read_text() == "no folder"


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("RILLET_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", none)
    monkeypatch.setattr(cache, "_instead", {})
    with pytest.warns(RilletWarning, match="cache must be writable"):
        assert cache.room("programs").is_dir()


@needs_users
def test_no_place_for_a_private_one_either(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root.mkdir(mode=0o700)
    root.chmod(0o777)
    (tmp_path / "all").mkdir()
    (tmp_path / "all").chmod(0o777)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "all"))
    with pytest.raises(BuildError, match="nor has TMPDIR a place for a private one: it must lie where nobody else"):
        cache.room("programs")
    assert list((tmp_path / "all").iterdir()) == []


def test_a_private_cache_goes_with_the_program(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    program = "from rillet.system import cache; print(cache.room('programs'))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env={**os.environ, "RILLET_CACHE": str(tmp_path / "file"), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert Path(done.stdout.strip()).parents[1] == tmp_path
    assert [place.name for place in tmp_path.iterdir()] == ["file"]


def test_looking_makes_nothing(root: Path) -> None:
    assert cache.kept("programs", "0" * 32, ".so") is None
    assert cache.cache_folder() == root.resolve()
    assert not root.exists()


def test_trim_removes_what_rillet_made_and_nothing_else(
    root: Path, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied(filled, root)
    outside, key = root.parent / "outside", "0" * 32
    (outside / key).mkdir(parents=True)
    theirs = [
        root / "programs" / "notes" / "letter.txt",  # among ours
        root / "programs" / key / "letter.txt",
        root / "programs" / "letter.so",
        root / "objects" / key / key / f"{key}.o",
        root / "building" / "house" / "plan.txt",
        root / "building-old" / "plan.txt",
        root / "letters" / key / f"{key}.so",
        outside / f"{key}.so",  # behind a link
    ]
    for file in theirs:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("theirs")
    (root / "programs" / ("1" * 32)).symlink_to(outside)
    (root / "building" / "rillet-old").mkdir()
    for place in [*root.rglob("*"), root / "building" / "rillet-old"]:
        if not place.is_symlink():
            os.utime(place, (10**9, 10**9))
    ours = [file for kind in cache.KEPT for file in (root / kind).glob("*/*.*") if file not in theirs]
    ours = [file for file in ours if outside not in file.resolve().parents]
    assert len(ours) > 3
    # A folder without the marker is another's, whatever it holds.
    (root / "ready" / cache.MARKER).rmdir()
    monkeypatch.setattr(cache, "MOST_BYTES", 0)
    cache.trim()
    assert [file for file in theirs if not file.exists()] == []
    assert {file.parent.parent.name for file in ours if file.exists()} == {"ready"}
    assert not (root / "building" / "rillet-old").exists()


def test_a_folder_that_was_there_is_not_marked(root: Path) -> None:
    root.mkdir(mode=0o700)
    (root / "programs").mkdir(mode=0o700)
    (root / "programs" / "letter.txt").write_text("theirs")
    assert not (cache.room("programs") / cache.MARKER).exists()
    assert (cache.room("objects") / cache.MARKER).exists()
