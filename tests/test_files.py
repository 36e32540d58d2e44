"""Files are written whole or not at all, planted links do no harm, and damage to what is read again is seen."""

import ast
import errno
import os
import random
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import ROOT
from rillet.errors import BuildError, GraphError
from rillet.exporters.rlt import to_bytes
from rillet.importers.rlt import parse
from rillet.ir.text import print_graph
from rillet.models.opening import open_model
from rillet.system import folders
from rillet.system.checksums import manifest, read_manifest, read_record, record_text, seal, unseal
from rillet.system.files import write_file, written_by_program
from rillet.system.folders import MANIFEST, write_folder
from rillet.system.parts import sweep, temporary_folder

OLD, NEW = {"net.c": "old", "kernels/stale.h": "s"}, {"net.c": "new", "kernels/fresh.h": "f", "net.h": "h"}


def content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and path.name != MANIFEST
    }


# -- files -------------------------------------------------------------------------------------------------------------


def test_a_new_file_has_the_permissions_of_any_and_an_old_one_keeps_its_own(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_file(tmp_path / "a", b"1")
        write_folder(tmp_path / "net", NEW)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "net").stat().st_mode) == 0o750
    (tmp_path / "a").chmod(0o604)
    write_file(tmp_path / "a", b"22")
    assert (tmp_path / "a").read_bytes() == b"22" and stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o604
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_own_links_are_followed_and_stay(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "one").symlink_to("real")
    (tmp_path / "two").symlink_to(tmp_path / "one")
    (tmp_path / "dangling").symlink_to("fresh")
    (tmp_path / "round").symlink_to("round")
    write_file(tmp_path / "two", b"new")
    write_file(tmp_path / "dangling", b"made")
    assert (
        (tmp_path / "real").read_text() == "new" and (tmp_path / "two").is_symlink() and (tmp_path / "one").is_symlink()
    )
    assert (tmp_path / "fresh").read_text() == "made"
    with pytest.raises(BuildError, match="round: cannot be written: Too many levels of symbolic links"):
        write_file(tmp_path / "round", b"")
    (tmp_path / "program").mkdir()
    (tmp_path / "to").symlink_to("program")
    write_folder(tmp_path / "to", OLD)
    write_folder(tmp_path / "to", NEW)
    assert (tmp_path / "to").is_symlink() and content(tmp_path / "program") == NEW


def test_links_that_others_planted_are_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    # As anybody could, who knew the name of what is made beside the target.
    for name in (".out.svg.part", ".net-part", ".rillet-part"):
        (tmp_path / name).symlink_to(victim)
    write_file(tmp_path / "out.svg", b"picture")
    write_folder(tmp_path / "net", NEW)
    assert victim.read_text() == "mine" and not (tmp_path / "out.svg").is_symlink()
    if os.geteuid():
        pytest.skip("only root can make another user's link")
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "out.svg").symlink_to(victim)
    os.lchown(shared / "out.svg", 65534, 65534)
    with pytest.raises(BuildError, match="must not be a link that another user made"):
        write_file(shared / "out.svg", b"picture")
    assert victim.read_text() == "mine"


def test_what_cannot_be_written_is_said_and_stays(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for path, reason in (
        (tmp_path / "folder", "must be a file, got a folder"),
        (tmp_path / "none" / "x", "cannot be written: No such file"),
        (Path("/dev/full"), "cannot be written: No space left"),
    ):
        with pytest.raises(BuildError, match=reason):
            write_file(path, b"x")
    with pytest.raises(BuildError, match="must be a folder, got a file"):
        (tmp_path / "file").write_text("")
        write_folder(tmp_path / "file", NEW)
    with pytest.raises(BuildError, match="must be a folder that another can take the place of in one step"):
        write_folder(Path("/proc"), NEW)


@pytest.mark.parametrize("full", [False, True])
def test_a_mount_point_stays_as_it_is(full: bool, tmp_path: Path) -> None:
    """No folder can take its place: a sentence, and nothing written; a folder within it can."""
    place = tmp_path / "out"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place)], capture_output=True, check=False).returncode:
        pytest.skip("only root can mount here")
    try:
        if full:
            (place / "mine").write_text("mine")
        with pytest.raises(
            BuildError, match="can take the place of in one step, got: .*; one within it can: .*/out/net"
        ):
            write_folder(place, NEW)
        assert list(place.iterdir()) == ([place / "mine"] if full else []) and list(tmp_path.iterdir()) == [place]
        write_folder(place / "net", NEW)
        assert all((place / "net" / name).read_text() == text for name, text in NEW.items())
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("kind", ["pipe", "descriptor", "file", "null"])
def test_what_is_no_file_is_written_straight(kind: str, tmp_path: Path) -> None:
    data, seen = b"x" * 300_000, bytearray()
    if kind == "null":
        write_file(Path("/dev/null"), data)
        assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
        return
    if kind == "file":  # as /dev/stdout is with `> FILE`: what was and will be written there stays
        with (tmp_path / "out").open("wb") as out:
            out.write(b"before ")
            out.flush()
            write_file(Path(f"/dev/fd/{out.fileno()}"), data)
            out.write(b" after")
        assert (tmp_path / "out").read_bytes() == b"before " + data + b" after"
        return
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: seen.extend(pipe.read_bytes()))
    reader.start()
    if kind == "pipe":
        write_file(pipe, data)
    else:
        with pipe.open("wb") as out:
            write_file(Path(f"/proc/self/fd/{out.fileno()}"), data)
    reader.join(20)
    assert seen == data and stat.S_ISFIFO(pipe.stat().st_mode)


def test_what_a_program_wrote_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    file, pipe = tmp_path / "waves.vcd", tmp_path / "pipe"
    with written_by_program(file) as place:
        place.write_text("first")
        assert not file.exists() and place.parent.parent.parent == tmp_path
    file.chmod(0o604)
    with pytest.raises(ValueError, match="stopped"), written_by_program(file) as place:
        place.write_text("half")
        raise ValueError("stopped")
    assert file.read_text() == "first"
    with written_by_program(file) as place:
        place.write_text("second")
    assert file.read_text() == "second" and stat.S_IMODE(file.stat().st_mode) == 0o604
    with pytest.raises(BuildError, match=r"waves\.vcd: cannot be written: No such file"), written_by_program(file):
        pass
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with written_by_program(pipe) as place:
        place.write_text("third")
    assert os.read(reader, 9) == b"third"
    os.close(reader)
    missing = tmp_path / "missing" / "waves.vcd"
    with pytest.raises(BuildError, match=r"missing/waves\.vcd: cannot be written: "), written_by_program(missing):
        raise AssertionError
    assert {path.name for path in tmp_path.iterdir()} == {"waves.vcd", "pipe"}


def test_only_what_killed_writers_left_is_swept(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys; from rillet.system.parts import new_part, temporary_folder, EXCLUSIVE\n"
        "at = pathlib.Path(sys.argv[1]); new_part(at, lambda part: os.open(part, EXCLUSIVE, 0o600))\n"
        "with temporary_folder(at) as work:\n (work / 'a').mkdir(); (work / 'a' / 'b').write_text('x')\n"
        " print(flush=True); os.kill(os.getpid(), 9) if sys.argv[2] == 'killed' else input()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    precious = tmp_path / f".rillet-{'0' * 32}.part"  # a folder that somebody gave such a name
    precious.mkdir()
    (precious / "file").write_text("")
    with subprocess.Popen([*command, "alive"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as alive:
        assert alive.stdout is not None
        alive.stdout.readline()
        subprocess.run([*command, "killed"], stdout=subprocess.DEVNULL, check=False)
        assert len(list(tmp_path.iterdir())) == 5
        sweep(tmp_path)
        assert len(list(tmp_path.iterdir())) == 3
        alive.kill()
    write_file(tmp_path / "x", b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == [precious.name, "x"]
    with temporary_folder(tmp_path) as work, temporary_folder(tmp_path) as other:
        assert work.is_dir() and other.is_dir() and stat.S_IMODE(work.parent.stat().st_mode) == 0o700


# -- folders -----------------------------------------------------------------------------------------------------------


def other_files(folder: Path) -> dict[str, str]:
    """What a user may keep in the folder of a program."""
    mine = {"Makefile": "all:", "kernels/own.h": "o", "build/deep/net.o": "b"}
    for name, text in mine.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "link").symlink_to("nowhere")
    (folder / "empty").mkdir()
    return mine


@pytest.mark.parametrize("way", ["exchanged", "renamed twice"])
def test_a_program_takes_the_place_of_another(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "renamed twice":

        def refuse(one: Path, other: Path) -> None:
            raise OSError(errno.EINVAL, f"{one} {other}")

        monkeypatch.setattr(folders, "exchange", refuse)
    folder = tmp_path / "net"
    write_folder(folder, OLD)
    mine, before = other_files(folder), (folder / "Makefile")
    inode = (folder / "Makefile").stat().st_ino
    write_folder(folder, NEW)
    assert content(folder) == NEW | mine and before.stat().st_ino == inode
    assert (folder / "link").is_symlink() and (folder / "empty").is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["net"]
    done = subprocess.run(["sha256sum", "-c", MANIFEST], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.count(": OK") == len(NEW)


def test_what_the_user_changed_is_the_users(tmp_path: Path) -> None:
    write_folder(tmp_path / "net", OLD)
    (tmp_path / "net" / "kernels" / "stale.h").write_text("changed")
    write_folder(tmp_path / "net", NEW)
    assert content(tmp_path / "net") == NEW | {"kernels/stale.h": "changed"}


def test_folders_that_are_no_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "net"
    (folder / "net.c").mkdir(parents=True)
    with pytest.raises(BuildError, match=r"net\.c: must be moved away"):
        write_folder(folder, NEW)
    (folder / "net.c").rmdir()
    (folder / "kernels").write_text("a file")
    with pytest.raises(BuildError, match="kernels: must be moved away"):
        write_folder(folder, NEW)
    (folder / "kernels").unlink()
    write_folder(folder, OLD)
    (folder / MANIFEST).write_bytes((folder / MANIFEST).read_bytes()[1:])
    with pytest.raises(BuildError, match="must be as Rillet wrote it"):
        write_folder(folder, NEW)
    assert content(folder) == OLD
    (folder / MANIFEST).unlink()
    monkeypatch.setattr(folders, "MOST_KEPT", 2)
    for name in "abc":
        (folder / name).write_text("")
    with pytest.raises(BuildError, match="must be a program's own folder"):
        write_folder(folder, NEW)
    assert [path.name for path in tmp_path.iterdir()] == ["net"]


def test_a_folder_is_one_program_while_others_are_written(tmp_path: Path) -> None:
    programs = [{"a": str(i), "b": str(i)} for i in range(4)]
    folder, failed = tmp_path / "net", list[str]()
    write_folder(folder, programs[0])

    def rewrite(program: dict[str, str]) -> None:
        try:
            for _ in range(10):
                write_folder(folder, program)
        except BuildError as error:
            failed.append(str(error))

    workers = [threading.Thread(target=rewrite, args=(program,)) for program in programs]
    for worker in workers:
        worker.start()
    looks = 0
    while any(worker.is_alive() for worker in workers):
        held = os.open(folder, os.O_RDONLY)  # one folder, whatever takes its place while it is read
        try:
            found = {name: Path(f"/proc/self/fd/{held}/{name}").read_text() for name in "ab"}
        except FileNotFoundError:
            found = None
        if os.path.samestat(os.fstat(held), folder.stat()):
            looks += 1
            assert found in programs
        os.close(held)
    assert looks and not failed and content(folder) in programs and len(list(tmp_path.iterdir())) == 1


# -- checksums ---------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=200), st.data())
def test_sealed_bytes(data: bytes, draw: st.DataObject) -> None:
    whole = data + seal(data)
    assert unseal(whole, "x") == (data, True)
    bit = draw.draw(st.integers(0, 8 * len(whole) - 1))
    broken = bytearray(whole)
    broken[bit // 8] ^= 1 << bit % 8
    try:
        found, checked = unseal(bytes(broken), "x")
    except GraphError as error:
        assert str(error).startswith("x: must have the checksum")
    else:
        # The mark itself is gone: what asks for a checksum must refuse this, as checkpoints do by their version.
        assert not checked and found == broken and bit // 8 in range(len(data), len(data) + 15)


def flips(data: bytes, count: int) -> Iterator[bytes]:
    """`count` single bits flipped, one each."""
    for bit in random.Random(0).sample(range(8 * len(data)), min(count, 8 * len(data))):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        yield bytes(broken)


@pytest.mark.parametrize("count", [300, pytest.param(1500, marks=pytest.mark.slow)])
def test_a_damaged_record_is_refused_or_the_same(count: int, tmp_path: Path) -> None:
    record, path = {"name": "x", "numbers": [1, 2.5, None], "more": {"a": "b c", "d": True}}, tmp_path / "record.json"
    data = record_text(record).encode()
    path.write_bytes(data)
    assert read_record(path) == (record, True)
    refused = 0
    for broken in flips(data, count):
        path.write_bytes(broken)
        try:
            assert read_record(path) == (record, True), broken
        except GraphError:
            refused += 1
    assert refused > count // 2
    path.write_text('{"name": "old"}')
    assert read_record(path) == ({"name": "old"}, False)
    for text in ("[1]", "{", "[" * 100_000, '{"format": "x"}', ""):
        path.write_text(text)
        with pytest.raises(GraphError, match=r"record\.json: must"):
            read_record(path)


def test_a_damaged_manifest_is_refused() -> None:
    data = manifest({"a/b c.h": b"1", "net.c": b"2"})
    assert sorted(read_manifest(data) or {}) == ["a/b c.h", "net.c"]
    assert all(read_manifest(broken) is None for broken in flips(data, 8 * len(data)))


@pytest.mark.parametrize("count", [400, pytest.param(20_000, marks=pytest.mark.slow)])
def test_a_damaged_rlt_file_is_refused_or_the_same(count: int) -> None:
    graph = open_model("mobilenet_v1:width=0.25,resolution=32,classes=2,seed=0").graph
    data = to_bytes(graph)
    text, found = print_graph(parse(data, "x")), parse(data, "x").params
    refused = 0
    for broken in flips(data, count):
        try:
            made = parse(broken, "x")
        except GraphError:
            refused += 1
        else:
            assert print_graph(made) == text
            assert all((made.params[name] == array).all() for name, array in found.items())
    assert refused > count // 2


# -- one door ----------------------------------------------------------------------------------------------------------

METHODS = {
    "write_text", "write_bytes", "mkstemp", "mkdtemp", "TemporaryDirectory", "NamedTemporaryFile", "rename", "touch",
    "symlink_to", "hardlink_to",
}  # fmt: skip
OF_MODULES = {
    "os": {"replace", "rename", "open", "link", "symlink", "truncate"},
    "shutil": {"rmtree", "move", "copy", "copy2", "copyfile", "copytree"},
    "np": {"save", "savez", "savetxt"},
    "torch": {"save"},
}
REASONS = {
    "runtime/ready.py": "the cache's own",
    "runtime/findings.py": "into memory",
    "bench/browser.py": "a folder of this process's own, for the process that it starts",
    "bench/chromium.py": "what the browser keeps, in a folder that goes with it",
    "bench/rounds.py": "a folder of this process's own, for the processes it starts",
    "bench/peers/worker.py": "answers, into the folder of the process that started it",
    "cli/ending.py": "opens the null device",
    "runtime/emulator/on_qemu.py": "a folder of this process's own, for the emulator that it starts",
    "runtime/oracles.py": "opens the null device",
    "runtime/rtl/harness.py": "a folder of this process's own, for the simulation that it starts",
    "runtime/rtl/placing.py": "a folder of this process's own, for the tools that it starts",
    "runtime/rtl/synthesis.py": "a folder of this process's own, for the tools that it starts",
    "runtime/wasm/building.py": "a module in our own workshop, which the cache then keeps",
    "runtime/rtl/simulator.py": "a folder of this process's own, for the tools that it starts",
    "search/run.py": "removes the folder that it made itself, where a search does not begin",
    "search/task.py": "a folder of this process's own, where a cluster's machine does not have the run's",
    "train/checkpoint.py": "the lock of a run, which holds nothing; saves into memory",
    "train/infer.py": "a folder of this process's own, for what a compiler makes",
    "train/pictures.py": "slots of a cache, each with its checksum",
}


def writes(tree: ast.AST) -> set[str]:
    """Calls that write files."""
    found: set[str] = set()
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        match call.func:
            case ast.Attribute(value=ast.Name(id="os"), attr="open") if "O_RDONLY" in ast.dump(call):
                pass
            case ast.Attribute(value=ast.Name(id="self")):
                pass
            case ast.Attribute(value=ast.Name(id=module), attr=name) if name in OF_MODULES.get(module, ()):
                found.add(f"{module}.{name}")
            case ast.Attribute(attr=name) | ast.Name(id=name) if name in METHODS:
                found.add(name)
            case ast.Attribute(attr="replace") if len(call.args) == 1 and not call.keywords:
                found.add("replace")  # of a path: a text's has two arguments
            case ast.Attribute(attr="open") | ast.Name(id="open"):
                words = [*call.args, *(keyword.value for keyword in call.keywords)]
                modes = [part for word in words for part in ast.walk(word) if isinstance(part, ast.Constant)]
                texts = [mode.value for mode in modes if isinstance(mode.value, str)]
                if any(set(mode) <= set("rwxabt+") and set(mode) & set("wxa+") for mode in texts):
                    found.add("open")
            case _:
                pass
    return found


def test_what_writes_is_seen() -> None:
    for text in (
        "p.write_text('')",
        "open(p, 'wb')",
        "p.open(mode='a')",
        "os.replace(a, b)",
        "a.replace(b)",
        "mkdtemp()",
    ):
        assert writes(ast.parse(text)), text
    for text in ("open(p)", "p.open('rb')", "s.replace('a', 'b')", "write_file(p, b'')"):
        assert not writes(ast.parse(text)), text


def test_files_are_written_by_one_door() -> None:
    source, found = ROOT / "src" / "rillet", dict[str, set[str]]()
    for path in source.rglob("*.py"):
        name = path.relative_to(source).as_posix()
        calls = writes(ast.parse(path.read_text()))
        if calls and not name.startswith("system/"):
            found[name] = calls
    assert found.keys() == REASONS.keys(), found
    scripts = {
        f"{path.parent.name}/{path.name}"
        for folder in ("experiments", "bench")
        for path in (ROOT / folder).glob("*.py")
    }
    found = {name: writes(ast.parse((ROOT / name).read_text())) for name in scripts}
    # What they write elsewhere lies in a temporary folder of their own.
    assert {name for name, calls in found.items() if calls and "TemporaryDirectory" not in calls} == set()
