"""Checkpoint files: every form and type as PyTorch reads it, wrappers and prefixes, and files that lie."""

import io
import pickle
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from conftest import ROOT, shared_file
from pickles import PROTO, STOP, archive, legacy, long, storage, zipped
from rillet.errors import GraphError, RilletError, Unsupported
from rillet.importers.checkpoints import Checkpoint, parse, read, records

FORMS = {"zip": {}, "legacy": {"_use_new_zipfile_serialization": False}}
REAL = [
    "microbotnet/fd_mobilenetv3_x0_25.pth",
    "microbotnet/fd_mobilenetv3_x0_32.pth",
    "microbotnet/fd_mobilenet_v3_x0_50_acc81_91.pth",
    "microbotnet/micro_large_conv_and_fc_ttq_x0_32.pytorch_state",
    "microbotnet/micro_large_conv_ttq_x0_32.pytorch_state",
    "squeezenet/squeezenet_cifar10.pytorch_state",
]


def saved(state: Any, form: str = "zip", **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(state, file, **FORMS[form], **options)
    return file.getvalue()


def reread(state: Any, form: str = "zip", **options: Any) -> Checkpoint:
    return parse(saved(state, form, **options), "file.pth")


def same(tensors: dict[str, torch.Tensor], checkpoint: Checkpoint) -> None:
    assert list(checkpoint.tensors) == list(tensors)
    for key, tensor in tensors.items():
        expected = tensor.float() if tensor.dtype is torch.bfloat16 else tensor
        assert np.array_equal(checkpoint.tensors[key], expected.detach().numpy()), key
        assert checkpoint.tensors[key].dtype == expected.detach().numpy().dtype


# -- PyTorch -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REAL)
def test_real_files(name: str) -> None:
    path = shared_file(name)
    state = torch.load(path, map_location="cpu", weights_only=True)
    checkpoint = read(path)
    wrapped = "net" in state
    assert checkpoint.wrapper == (("net",) if wrapped else ())
    assert checkpoint.prefix == ("module." if wrapped else "")
    if wrapped:
        assert checkpoint.extras == {"acc": state["acc"], "epoch": state["epoch"]}
    tensors = {key.removeprefix("module."): value for key, value in state.get("net", state).items()}
    same(tensors, checkpoint)
    same(tensors, reread(tensors))  # as a zip file


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_type_and_view(form: str, protocol: int) -> None:
    torch.manual_seed(0)
    base = torch.randn(4, 6)
    types = (torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.int16, torch.int8)
    tensors = {
        "plain": base,
        "transposed": base.t(),
        "part": base[1:3, ::2],
        "row": base[3],
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 5),
        "parameter": torch.nn.Parameter(base * 2),
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "bytes": torch.arange(5, dtype=torch.uint8),
        "flags": torch.tensor([True, False]),
        **{str(t): (10 * base).to(t) for t in types},
    }
    same(tensors, reread(tensors, form, pickle_protocol=protocol))


def test_views_of_one_storage_are_not_copied() -> None:
    base = torch.arange(1000, dtype=torch.float32)
    tensors = reread({f"part{i}": base[i:] for i in range(500)}).tensors
    addresses = {array.__array_interface__["data"][0] - 4 * i for i, array in enumerate(tensors.values())}
    assert len(addresses) == 1
    assert not tensors["part0"].flags.writeable


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("key", ["net", "state_dict", "model", "model_state_dict"])
def test_wrappers_prefixes_and_extras(form: str, key: str) -> None:
    state = OrderedDict({"module.a.weight": torch.ones(2), "module.a.bias": torch.zeros(2)})
    optimizer = {"state": {0: {"step": 3}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    checkpoint = reread({"epoch": 3, "best": 0.5, "arch": "a\nb", "optimizer": optimizer, key: state}, form)
    assert (checkpoint.wrapper, checkpoint.prefix) == ((key,), "module.")
    assert list(checkpoint.tensors) == ["a.weight", "a.bias"]
    assert checkpoint.extras == {"epoch": 3, "best": 0.5, "arch": "a\\nb", "optimizer": "dict of 2"}


def test_wrappers_in_wrappers_and_other_things_beside_tensors() -> None:
    state = {"_orig_mod.module.w": torch.ones(2)}
    checkpoint = reread({"model": {"state_dict": state, "version": 1}, "tags": ["x"], "none": None})
    assert checkpoint.wrapper == ("model", "state_dict")
    assert checkpoint.prefix == "_orig_mod.module."
    assert list(checkpoint.tensors) == ["w"]
    assert checkpoint.extras == {"tags": "list of 1", "none": None, "version": 1}
    half = reread({"module.w": torch.ones(1), "v": torch.ones(1), "hooks": {}})
    assert (list(half.tensors), half.prefix, half.extras) == (["module.w", "v"], "", {"hooks": "dict of 0"})


def refusal(data: bytes, kind: type[RilletError] = RilletError) -> str:
    with pytest.raises(kind) as caught:
        parse(data, "file.pth")
    assert str(caught.value).startswith("file.pth: ")
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize("form", FORMS)
def test_whole_models_are_refused_by_name(form: str) -> None:
    assert "would run torch.nn.modules.linear.Linear" in refusal(saved(torch.nn.Linear(2, 2), form), Unsupported)


@pytest.mark.parametrize("state", [[torch.ones(1)], torch.ones(1), {"a": 1}, {"model": {"net": 3}}, 5])
def test_what_is_no_dictionary_of_tensors(state: Any) -> None:
    assert "must hold a dictionary of tensors" in refusal(saved(state), Unsupported)


def test_torchscript_is_refused() -> None:
    state = saved({"a": torch.ones(1)})
    with zipfile.ZipFile(io.BytesIO(state)) as opened:
        entries = {name: opened.read(name) for name in opened.namelist()}
    root = next(name for name in entries if name.endswith("data.pkl"))[: -len("data.pkl")]
    assert "TorchScript" in refusal(zipped({**entries, f"{root}constants.pkl": b""}))
    assert "byte order" in refusal(zipped({**entries, f"{root}byteorder": b"big"}))
    assert parse(zipped(entries), "file.pth").tensors["a"] == 1
    assert "checksum" in refusal(state.replace(struct.pack("<f", 1.0), struct.pack("<f", 1.5), 1))
    packed = zipped(entries, zipfile.ZIP_DEFLATED)
    assert "must be stored as it is" in refusal(packed, Unsupported)
    assert "must have one entry data.pkl" in refusal(zipped({"a/data.pkl": b"", "b/data.pkl": b""}))
    del entries[f"{root}data/0"]
    assert f"must have an entry {root}data/0" in refusal(zipped(entries))


def tensor(sizes: bytes, strides: bytes, offset: bytes = b"K\0", count: int = 6) -> bytes:
    """A pickle {"w": tensor} of a float32 storage."""
    parts = long("w") + b"ctorch._utils\n_rebuild_tensor\n(" + storage(count=count) + offset + sizes + strides
    return PROTO + b"}" + parts + b"tRs" + STOP


LIES = {
    "more elements than the storage": tensor(b"K\7\x85", b"K\1\x85"),
    "beyond its end": tensor(b"K\3\x85", b"K\1\x85", b"K\4"),
    "strides beyond its end": tensor(b"K\2K\3\x86", b"K\4K\1\x86"),
    "much of one element": tensor(b"J\0\0\0\x40\x85", b"K\0\x85"),
    "an offset of its own": tensor(b"K\1\x85", b"K\1\x85", b"J\xff\xff\xff\x7f"),
    "more storage than bytes": tensor(b"K\7\x85", b"K\1\x85", count=7),
    "nine dimensions": tensor(b"(" + b"K\1" * 9 + b"t", b"(" + b"K\1" * 9 + b"t"),
    "sizes without strides": tensor(b"K\1\x85", b")"),
}


@pytest.mark.parametrize("lie", LIES)
def test_tensors_lie_within_their_storages(lie: str) -> None:
    body, floats = LIES[lie], np.arange(6, dtype=np.float32).tobytes()
    for data in (archive(body, {"0": floats}), legacy(body, ["0"], struct.pack("<q", 6) + floats)):
        refusal(data, GraphError)


def test_the_honest_tensor() -> None:
    body, floats = tensor(b"K\2K\3\x86", b"K\1K\2\x86"), np.arange(6, dtype=np.float32)
    for data in (archive(body, {"0": floats.tobytes()}), legacy(body, ["0"], struct.pack("<q", 6) + floats.tobytes())):
        assert np.array_equal(parse(data, "file.pth").tensors["w"], floats.reshape(3, 2).T)


def test_many_views_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_ELEMENTS", 1000)
    base = torch.zeros(300)
    assert "at most 1000 elements" in refusal(saved({f"w{i}": base for i in range(4)}), GraphError)


def test_legacy_storages_that_are_missing() -> None:
    body, floats = tensor(b"K\6\x85", b"K\1\x85"), np.zeros(6, np.float32).tobytes()
    assert "must have a storage 0" in refusal(legacy(body, []))
    assert "must hold 1 storages" in refusal(legacy(body, ["0"], b"\1\0"))
    assert "must have 24 bytes, got 20" in refusal(legacy(body, ["0"], struct.pack("<q", 6) + floats[:20]))
    assert "must have" in refusal(legacy(body, ["0"], struct.pack("<q", -1) + floats))
    assert "must have a type" in refusal(legacy(body, ["1"], struct.pack("<q", 6) + floats))
    assert "must list" in refusal(legacy(body)[: -len(pickle.dumps([], 2))] + pickle.dumps({}, 2))


def test_other_pickles() -> None:
    assert "magic number" in refusal(pickle.dumps({"a": 1}, 2), Unsupported)
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    assert "protocol must be 1001" in refusal(magic + pickle.dumps(1000, 2), Unsupported)
    big = pickle.dumps({"little_endian": False}, 2)
    assert "byte order" in refusal(magic + pickle.dumps(1001, 2) + big, Unsupported)


# -- zip files ---------------------------------------------------------------------------------------------------------


def test_zip64_as_torch_writes_it() -> None:
    """Sizes and places of 32 ones, told in 64 bits: what files beyond 4 GiB have."""
    data = bytearray(archive(tensor(b"K\6\x85", b"K\1\x85"), {"0": np.zeros(6, np.float32).tobytes()}))
    end = data.rfind(b"PK\5\6")
    count, _, start = struct.unpack_from("<H2L", data, end + 10)
    entries, at, wide = bytes(data[start:end]), 0, b""
    for _ in range(count):
        name, extra = struct.unpack_from("<2H", entries, at + 28)
        header = bytearray(entries[at : at + 46 + name])
        numbers = struct.unpack_from("<2L", header, 20)[::-1] + struct.unpack_from("<L", header, 42)
        header[20:28], header[42:46], header[30:32] = b"\xff" * 8, b"\xff" * 4, struct.pack("<H", 28)
        wide += bytes(header) + struct.pack("<2H3Q", 1, 24, *numbers)
        at += 46 + name + extra
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(wide), start)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, start + len(wide), 1)
    last = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    made = bytes(data[:start]) + wide + record + locator + last
    assert parse(made, "file.pth").tensors["w"].shape == (6,)
    with zipfile.ZipFile(io.BytesIO(made)) as opened:
        assert opened.testzip() is None
    assert "a size is missing" in refusal(made.replace(struct.pack("<2H", 1, 24), struct.pack("<2H", 2, 24)))


def test_entries_over_each_other() -> None:
    data = bytearray(zipped({"archive/data.pkl": b".", "archive/data/0": bytes(1000), "archive/data/1": b"x"}))
    at = data.rfind(b"PK\1\2")
    first = data.find(b"PK\1\2", data.find(b"PK\1\2") + 1)
    data[at + 16 : at + 28], data[at + 42 : at + 46] = data[first + 16 : first + 28], data[first + 42 : first + 46]
    assert "entries overlap" in refusal(bytes(data))


def test_a_large_directory() -> None:
    data = bytearray(zipped({"archive/data.pkl": b"."}))
    end = data.rfind(b"PK\5\6")
    struct.pack_into("<L", data, end + 12, 2**30)
    assert "directory must have at most" in refusal(bytes(data))


# -- safetensors -------------------------------------------------------------------------------------------------------


def test_safetensors() -> None:
    torch.manual_seed(0)
    types = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int8, torch.uint8)
    tensors = {f"block{i}.weight": (10 * torch.randn(2, 3)).to(t) for i, t in enumerate(types, 5)}
    data = safetensors.torch.save({**dict(reversed(tensors.items())), "flag": torch.tensor([True])})
    checkpoint = parse(data, "file.safetensors")
    same({**tensors, "flag": torch.tensor([True])}, checkpoint)  # sorted as people count
    assert (checkpoint.layout, checkpoint.ordered) == ("torch", False)


def header(text: str, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(text)) + text.encode() + data


@pytest.mark.parametrize(
    "data",
    [
        header('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', bytes(4)),
        header('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', bytes(3)),
        header('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],'
               '"data_offsets":[0,4]}}', bytes(4)),
        header('{"a":{"dtype":"F32","shape":[18446744073709551615,2],"data_offsets":[0,4]}}', bytes(4)),
        header('{"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}}', bytes(4)),
        header('{"a":{"dtype":"C64","shape":[1],"data_offsets":[0,8]}}', bytes(8)),
        header('{"a":' * 10_000),
        header('{"a":1}'),
        struct.pack("<Q", 2**40) + b"{}",
        header("{}")[:9],
    ],
)  # fmt: skip
def test_broken_safetensors(data: bytes) -> None:
    refusal(data)


# -- files -------------------------------------------------------------------------------------------------------------


def test_other_files(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="nothing.pth: must be a checkpoint, got no file"):
        read(tmp_path / "nothing.pth")
    with pytest.raises(GraphError, match="must be a checkpoint, got a folder"):
        read(tmp_path)
    path = tmp_path / "text.pth"
    path.write_text("hello")
    with pytest.raises(GraphError, match="must be a checkpoint"):
        read(path)
    assert "older tar form" in refusal(bytes(257) + b"ustar" + bytes(250), Unsupported)
    refusal(b"")


def test_neither_torch_nor_hdf5_is_needed() -> None:
    path = shared_file(REAL[0])
    program = f"""
import sys
from pathlib import Path
from rillet.importers.checkpoints import read
assert read(Path({str(path)!r})).tensors
print([name for name in ("torch", "h5py") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_large_files(tmp_path: Path) -> None:
    path = tmp_path / "large.pth"
    with path.open("wb") as file:
        file.truncate(records.MAX_FILE_BYTES + 1)
    with pytest.raises(GraphError, match="must be at most 1073741824 bytes"):
        read(path)


# -- fuzzing -----------------------------------------------------------------------------------------------------------


def fuzz(form: str, network: str, path: Path, count: int) -> tuple[int, int]:
    """How many broken files were read and laid, and how many refused; fails on anything else."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "fuzz_checkpoints.py"), form, network, str(path), "0", str(count)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    laid, refused = map(int, done.stdout.split())
    assert laid + refused == count
    return laid, refused


def file_of(form: str, tmp_path: Path) -> Path:
    """MicroBotNet x0.25 in a form; MobileNetV1 where the form is Keras's."""
    real = shared_file(REAL[0])
    if form == "legacy":
        return real
    if form == "keras":
        return shared_file("mobilenet_keras/mobilenet_v1_0.25_224.h5")
    state = torch.load(real, map_location="cpu", weights_only=True)
    path = tmp_path / f"file.{form}"
    if form == "zip":
        torch.save(state, path)
    else:
        tensors = {key.removeprefix("module."): value for key, value in state["net"].items()}
        safetensors.torch.save_file(tensors, path)
    return path


def network_of(form: str) -> str:
    return "mobilenet_v1:width=0.25" if form == "keras" else "microbotnet:width=0.25"


@pytest.mark.parametrize("form", ["legacy", "zip", "safetensors", "keras"])
def test_broken_files(form: str, tmp_path: Path) -> None:
    laid, refused = fuzz(form, network_of(form), file_of(form, tmp_path), 100)
    assert laid > 5
    assert refused > 25


@pytest.mark.slow
@pytest.mark.parametrize("form", ["legacy", "zip", "safetensors", "keras"])
def test_many_broken_files(form: str, tmp_path: Path) -> None:
    fuzz(form, network_of(form), file_of(form, tmp_path), 2000)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlperf_tiny/vww_96.h5", "mlperf_tiny/pretrainedResnet.h5"])
def test_many_broken_keras_files(name: str) -> None:
    fuzz("keras", "mobilenet_v1:width=0.25,bias=true,resolution=96,classes=2", shared_file(name), 2000)
