"""Checkpoints to weights: PyTorch's (zip and legacy), safetensors and Keras HDF5, read without running anything."""

from pathlib import Path

from rillet.errors import GraphError, Unsupported
from rillet.importers.checkpoints.keras_file import is_keras, parse_keras
from rillet.importers.checkpoints.laying import Laid, lay
from rillet.importers.checkpoints.records import MAX_FILE_BYTES, Checkpoint
from rillet.importers.checkpoints.safetensors_file import is_safetensors, parse_safetensors
from rillet.importers.checkpoints.torch_file import is_pickle, is_zip, parse_legacy, parse_zip

__all__ = ["Checkpoint", "Laid", "lay", "parse", "read"]


def read(path: Path) -> Checkpoint:
    """The tensors of a checkpoint; raises GraphError for a broken file, Unsupported for what is not read."""
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise GraphError(f"{path}: must be at most {MAX_FILE_BYTES} bytes, got {size}")
        data = path.read_bytes()
    except OSError as error:
        raise GraphError(f"{path}: cannot be read: {error.strerror}") from None
    return parse(data, str(path))


def parse(data: bytes, name: str) -> Checkpoint:
    """As `read`, from bytes; `name` stands for the file in messages."""
    if is_zip(data):
        return parse_zip(data, name)
    if is_pickle(data):
        return parse_legacy(data, name)
    if is_keras(data):
        return parse_keras(data, name)
    if is_safetensors(data):
        return parse_safetensors(data, name)
    if data[257:262] == b"ustar":
        raise Unsupported(f"{name}: must be a checkpoint of PyTorch 0.2 or later, got the older tar form")
    raise GraphError(f"{name}: must be a checkpoint (PyTorch, safetensors or Keras HDF5), got another file")
