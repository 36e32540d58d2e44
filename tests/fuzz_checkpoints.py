"""Breaks a checkpoint in many seeded ways; each must give one clean error, or weights that fit the network.

usage: fuzz_checkpoints.py FORM NETWORK FILE FIRST_SEED COUNT; FORM is legacy, zip, safetensors or keras. Prints how
many were laid and how many refused.
"""

import io
import pickletools
import resource
import struct
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from memory import peak_bytes
from pickles import zipped
from rillet.errors import RilletError
from rillet.importers.checkpoints import lay, parse
from rillet.zoo import registry

MEMORY_BYTES = 10**9
ATTEMPT_S = 10.0
OPCODES = [ord(opcode.code) for opcode in pickletools.opcodes]
Rng = np.random.Generator


def broken(data: bytes, places: np.ndarray, rng: Rng) -> bytes:
    """Flips bits and sets bytes at some of `places`; sometimes takes bytes out, puts some in, or cuts the end off."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        if not len(out):
            break
        at = int(rng.choice(places)) % len(out)
        match rng.integers(8):
            case 0 | 1:
                out[at] ^= 1 << int(rng.integers(8))
            case 2:
                out[at] = int(rng.choice([0, 1, 127, 128, 255]))
            case 3:
                out[at] = int(rng.integers(256))
            case 4:
                out[at] = int(rng.choice(OPCODES))
            case 5:
                del out[at : at + int(rng.integers(1, 9))]
            case 6:
                out[at:at] = rng.bytes(int(rng.integers(1, 9)))
            case _ if rng.random() < 0.1:
                del out[at:]
            case _:
                pass
    return bytes(out)


def pickle_end(data: bytes) -> int:
    """Where the five pickles of a legacy file end."""
    stream = io.BytesIO(data)
    for _ in range(5):
        for _ in pickletools.genops(stream):
            pass
    return stream.tell()


def break_legacy(data: bytes) -> Callable[[Rng], bytes]:
    end = pickle_end(data)
    return lambda rng: broken(data, np.arange(end + 64 if rng.random() < 0.9 else len(data)), rng)


def break_zip(data: bytes) -> Callable[[Rng], bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        entries = {name: opened.read(name) for name in opened.namelist()}
    body = next(name for name in entries if name.endswith("data.pkl"))
    raw = np.frombuffer(data, np.uint8)
    marks = np.flatnonzero((raw[:-1] == ord("P")) & (raw[1:] == ord("K")))
    records = np.unique(np.minimum(marks[:, None] + np.arange(64), len(data) - 1))

    def one(rng: Rng) -> bytes:
        if rng.random() < 0.5:  # with checksums that are right
            return zipped({**entries, body: broken(entries[body], np.arange(len(entries[body])), rng)})
        return broken(data, records if rng.random() < 0.9 else np.arange(len(data)), rng)

    return one


def break_safetensors(data: bytes) -> Callable[[Rng], bytes]:
    end = 8 + int(struct.unpack_from("<Q", data)[0])

    def one(rng: Rng) -> bytes:
        if rng.random() < 0.2:
            return broken(data, np.arange(len(data)), rng)
        text = broken(data[8:end], np.arange(end - 8), rng)
        return struct.pack("<Q", len(text)) + text + data[end:]

    return one


def break_keras(data: bytes) -> Callable[[Rng], bytes]:
    """Breaks what is not array data: blocks where zeros are many, which float32 weights do not have."""
    raw = np.frombuffer(data, np.uint8)
    blocks = raw[: len(raw) // 64 * 64].reshape(-1, 64)
    structure = np.flatnonzero((blocks == 0).mean(1) > 0.3)
    places = (structure[:, None] * 64 + np.arange(64)).ravel()
    places = places[(raw[places] != 0) | (np.arange(len(places)) % 8 == 0)]
    return lambda rng: broken(data, places if rng.random() < 0.9 else np.arange(len(data)), rng)


def main(form: str, network: str, path: Path, first: int, count: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (4 * MEMORY_BYTES, 4 * MEMORY_BYTES))
    name, _, words = network.partition(":")
    graph = registry.build(name, dict(word.split("=") for word in words.split(",")))
    data = path.read_bytes()
    make = {"legacy": break_legacy, "zip": break_zip, "safetensors": break_safetensors, "keras": break_keras}[form](
        data
    )
    laid = 0
    for seed in range(first, first + count):
        file, start = make(np.random.default_rng(seed)), time.process_time()
        try:
            lay(graph, parse(file, "fuzz"))
            laid += 1
        except RilletError as error:
            assert str(error).isprintable() and len(str(error)) < 1000, (seed, error)
        except BaseException:
            print(f"seed {seed}", file=sys.stderr)
            raise
        assert time.process_time() - start < ATTEMPT_S, seed
    assert peak_bytes() < MEMORY_BYTES, peak_bytes()
    print(laid, count - laid)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
