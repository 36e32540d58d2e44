"""The pickle machine: what it makes, and that nothing in a file is ever imported, called or set."""

import copyreg
import io
import os
import pickle
import struct
import subprocess
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest

import rillet.importers.checkpoints.unpickle as unpickle
from conftest import mostly_slow
from pickles import PROTO, STOP, Bomb, Reducing, archive, legacy, long, short, storage
from rillet.errors import GraphError, RilletError, Unsupported
from rillet.importers.checkpoints import parse
from rillet.importers.checkpoints.unpickle import Storage, Tensor, load

EXTENSION = 240
BOMB = f"{Bomb.__module__}.Bomb"

# What each pickle does to PATH when Python's own pickle loads it, and the name that the refusal must say.
ATTACKS: dict[str, tuple[Callable[[str], bytes], str]] = {
    "global and reduce": (
        lambda path: PROTO + b"cos\nsystem\n" + long(f"touch {path}") + b"\x85R" + STOP,
        "would run os.system",
    ),
    "eval": (
        lambda path: PROTO + b"c__builtin__\neval\n" + long(f"__import__('os').mknod({path!r})") + b"\x85R" + STOP,
        "would run __builtin__.eval",
    ),
    "exec in protocol 5": (
        lambda path: pickle.dumps(Reducing(exec, f"__import__('os').mknod({path!r})"), 5),
        "would run builtins.exec",
    ),
    "a class of one's own": (
        lambda path: pickle.dumps(Reducing(os.system, f"touch {path}"), 2),
        "would run posix.system",
    ),
    "in a dictionary of tensors": (
        lambda path: pickle.dumps({"weight": [Reducing(os.system, f"touch {path}")]}, 2),
        "would run posix.system",
    ),
    "protocol 0": (
        lambda path: b"cos\nsystem\n(S'touch " + path.encode() + b"'\ntR.",
        "would run os.system",
    ),
    "stack global": (
        lambda path: b"\x80\x04" + short("os") + short("system") + b"\x93" + long(f"touch {path}") + b"\x85R" + STOP,
        "would run os.system",
    ),
    "inst": (
        lambda path: b"(S'touch " + path.encode() + b"'\nios\nsystem\n.",
        "STRING",
    ),
    "inst without text": (
        lambda path: PROTO + b"(" + long(f"touch {path}") + b"ios\nsystem\n" + STOP,
        "would run os.system (INST)",
    ),
    "obj": (
        lambda path: PROTO + b"(cos\nsystem\n" + long(f"touch {path}") + b"o" + STOP,
        "would run os.system",
    ),
    "newobj": (
        lambda path: PROTO + f"c{Bomb.__module__}\nBomb\n".encode() + long(path) + b"\x85\x81" + STOP,
        f"would run {BOMB}",
    ),
    "newobj_ex": (
        lambda path: b"\x80\x04" + short(Bomb.__module__) + short("Bomb") + b"\x93" + long(path) + b"\x85}\x92" + STOP,
        f"would run {BOMB}",
    ),
    "build": (
        lambda path: PROTO + f"c{Bomb.__module__}\nBomb\n".encode() + b")\x81" + long(path) + b"b" + STOP,
        f"would run {BOMB}",
    ),
    "build that sets setstate": (
        lambda path: (
            PROTO + b"ctypes\nSimpleNamespace\n)\x81}" + long("__setstate__") + b"cos\nsystem\nsb"
            + long(f"touch {path}") + b"b" + STOP
        ),
        "would run types.SimpleNamespace",
    ),
    "extension": (
        lambda path: PROTO + b"\x82" + bytes([EXTENSION]) + long(f"touch {path}") + b"\x85R" + STOP,
        "EXT1",
    ),
    "long extension": (
        lambda path: PROTO + b"\x84" + struct.pack("<i", EXTENSION) + long(f"touch {path}") + b"\x85R" + STOP,
        "EXT4",
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def extension():
    copyreg.add_extension("os", "system", EXTENSION)
    yield
    copyreg.remove_extension("os", "system", EXTENSION)


@pytest.mark.parametrize("attack", ATTACKS)
def test_code_is_refused_and_does_not_run(attack: str, tmp_path: Path) -> None:
    make, said = ATTACKS[attack]
    mark = tmp_path / "mark"
    body = make(str(mark))
    pickle.loads(body)  # the attack is a real one
    assert mark.exists()
    mark.unlink()
    inner = body if body[:1] == b"\x80" else PROTO + body
    tensors = long("weight") + inner[2:-1]
    files = {
        "legacy": legacy(body),
        "legacy, inside": legacy(PROTO + b"}" + tensors + b"s" + STOP),
        "legacy, instead of the keys": legacy(PROTO + b"}" + STOP)[: -len(pickle.dumps([], 2))] + body,
        "zip": archive(body),
        "zip, inside": archive(PROTO + b"}" + tensors + b"s" + STOP),
    }
    if body[:1] == b"\x80":
        files["bare"] = body
    for form, data in files.items():
        with pytest.raises(Unsupported) as caught:
            parse(data, "evil.pth")
        assert str(caught.value).startswith("evil.pth: "), form
        assert said in str(caught.value), form
        assert not mark.exists(), form


def test_a_named_module_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = tmp_path / "mark"
    (tmp_path / "harmful_module.py").write_text(f"open({str(mark)!r}, 'w').close()\nthing = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    body = PROTO + b"charmful_module\nthing\n" + STOP
    with pytest.raises(Unsupported, match=r"would run harmful_module\.thing"):
        parse(archive(body), "evil.pth")
    assert not mark.exists()
    assert "harmful_module" not in sys.modules
    pickle.loads(body)
    assert mark.exists()


def loaded(body: bytes) -> object:
    return load(io.BytesIO(body), "file").value


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_values(protocol: int) -> None:
    value = {
        "none": None,
        "yes": True,
        "small": 7,
        "large": 2**70,
        "negative": -5,
        "float": 0.5,
        "text": "grüße",
        "long": "x" * 300,
        "list": [1, [2, (3, 4, 5, 6)]],
        "one": (1,),
        "ordered": OrderedDict(a=1),
        "names": {"b", "a"},
        "3": 4,
    }
    assert loaded(pickle.dumps(value, protocol)) == value
    assert loaded(pickle.dumps({3: 4}, protocol)) == {"3": 4}


def test_bytes_as_protocol_3_has_them() -> None:
    assert loaded(pickle.dumps({"raw": b"\0\1"}, 3)) == {"raw": b"\0\1"}


def test_an_ordered_dictionary_of_python_2() -> None:
    pairs = pickle.dumps([["a", 1], ["b", 2]], 2)[2:-1]
    body = PROTO + b"ccollections\nOrderedDict\n" + pairs + b"\x85R" + STOP
    assert loaded(body) == OrderedDict(a=1, b=2)


def test_a_tensor() -> None:
    body = PROTO + b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage() + b"K\1K\2K\1\x86K\1K\1\x86\x89}tR" + STOP
    assert loaded(body) == Tensor(Storage("0", "float32", 0, 6), 1, (2, 1), (1, 1))


def test_a_view_of_a_storage() -> None:
    body = PROTO + storage("HalfStorage", view=long("v") + b"K\2K\3\x87") + STOP
    assert loaded(body) == Storage("0", "float16", 2, 3)


REFUSED = {
    "torch's names with other arguments": PROTO + b"ctorch._utils\n_rebuild_tensor_v2\n)R" + STOP,
    "a set of numbers": PROTO + b"c__builtin__\nset\n]K\1a\x85R" + STOP,
    "a size of a string": PROTO + b"ctorch\nSize\n" + long("x") + b"\x85R" + STOP,
    "a call of a string": PROTO + long("x") + b")R" + STOP,
    "a new object of a known class": PROTO + b"ccollections\nOrderedDict\n)\x81" + STOP,
    "the state of a dictionary": PROTO + b"}}b" + STOP,
    "the state of a class": PROTO + b"ctorch\nFloatStorage\n}b" + STOP,
    "a storage type that is none": PROTO + storage("Size") + STOP,
    "a storage of two types": PROTO + storage() + b"0" + storage("HalfStorage") + STOP,
    "a view beyond its storage": PROTO + storage(view=long("v") + b"K\2K\5\x87") + STOP,
    "a negative size": PROTO + b"ctorch._utils\n_rebuild_tensor\n(" + storage() + b"K\0J\xff\xff\xff\xff\x85K\1\x85tR.",
    "a huge size": PROTO + b"ctorch._utils\n_rebuild_tensor\n(" + storage() + b"K\0\x8b\0\1\0\0" + b"\x7f" * 256
    + b"\x85K\1\x85tR.",
    "a conjugate": PROTO + b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage() + b"K\0))\x89}}" + long("conj")
    + b"\x88stR" + STOP,
    "a persistent name": b"Pstorage\n.",
    "a key that is a tuple": PROTO + b"}K\1\x85K\2s" + STOP,
    "a key that is a float": PROTO + b"}G?\xf0\0\0\0\0\0\0K\2s" + STOP,
    "a key that is huge": PROTO + b"}\x8a\xff" + b"\x7f" * 255 + b"K\2s" + STOP,
    "a key without a value": PROTO + b"}(K\1u" + STOP,
    "a mark that is missing": PROTO + b"t" + STOP,
    "a value below a mark": PROTO + b"K\1(\x85" + STOP,
    "a value that is missing": PROTO + b"\x86" + STOP,
    "a memo that is missing": PROTO + b"h\7" + STOP,
    "a memo beyond": PROTO + b"K\1r\xff\xff\xff\xff" + STOP,
    "two values": PROTO + b"K\1K\2" + STOP,
    "nothing": PROTO + STOP,
    "no end": PROTO + b"K\1",
    "no opcode": PROTO + b"\xff" + STOP,
    "half a string": PROTO + b"X\xff\0\0\0ab" + STOP,
    "text that is none": PROTO + b"X\2\0\0\0\xff\xfe" + STOP,
    "protocol 9": b"\x80\x09" + STOP,
    "a buffer": b"\x80\x05\x97" + STOP,
    "a frozen set": b"\x80\x04(K\1\x91" + STOP,
    "an item of nothing": PROTO + b"K\1K\2a" + STOP,
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    with pytest.raises(RilletError) as caught:
        loaded(REFUSED[case])
    assert str(caught.value).startswith("file: ")
    assert str(caught.value).isprintable()


def test_names_are_shown_safely() -> None:
    with pytest.raises(Unsupported) as caught:
        loaded(b"\x80\x04" + short("\x1b[31m\n\rbad") + short("x" * 200) + b"\x93.")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


BOMBS = {
    "opcodes": (PROTO + b"]" * (unpickle.MAX_OPCODES + 1), "at most 1048576 opcodes"),
    "marks": (PROTO + b"(" * (unpickle.MAX_OPCODES + 1), "at most 1048576 opcodes"),
    "nesting": (PROTO + b"]" + b"\x85" * (unpickle.MAX_OPCODES - 4) + STOP, "must hold a dictionary of tensors"),
    "copies of a long list": (
        PROTO + b"c__builtin__\nset\nq\1](" + b"U\1a" * 100_000 + b"eq\x0000" + b"h\1h\0\x85R0" * 20 + b"N" + STOP,
        "copied items",
    ),
    "sets": (b"\x80\x04" + b"\x8f" * (unpickle.MAX_OPCODES + 1), "at most 1048576 opcodes"),
    "doublings": (PROTO + b"]q\0" + b"0(h\0h\0lq\0" * 10_000 + STOP, "must hold a dictionary of tensors"),
}  # fmt: skip


PROGRAM = """
import sys
from pathlib import Path
from memory import peak_bytes
from rillet.errors import RilletError
from rillet.importers.checkpoints import read
before = peak_bytes()
try:
    read(Path(sys.argv[1]))
except RilletError as error:
    print(error)
print(peak_bytes() - before)
"""


@pytest.mark.parametrize("bomb", mostly_slow(BOMBS, "opcodes", "copies of a long list", "doublings"))
def test_bombs(bomb: str, tmp_path: Path) -> None:
    body, said = BOMBS[bomb]
    path = tmp_path / "bomb.pth"
    path.write_bytes(archive(body))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path)], capture_output=True, text=True, check=True, timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    error, grown = done.stdout.splitlines()
    assert said in error
    assert int(grown) < 400 * 10**6


def test_broken_text_in_a_pickle_is_a_clean_error() -> None:
    with pytest.raises(GraphError, match="well-formed pickle"):
        loaded(PROTO + b"X\2\0\0\0\xff\xfe" + STOP)


def test_a_prefix_without_end() -> None:
    body = PROTO + b"}" + long("module." * 1_000_000) + b"ctorch._utils\n_rebuild_tensor\n(" + storage() + (
        b"K\0K\6\x85K\1\x85tRs" + STOP
    )  # fmt: skip
    start = time.process_time()
    assert len(parse(archive(body, {"0": bytes(24)}), "file.pth").tensors) == 1
    assert time.process_time() - start < 5
