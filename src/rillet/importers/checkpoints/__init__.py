"""Checkpoints to weights: PyTorch's (zip and legacy), safetensors and Keras HDF5, read without executing code."""

from pathlib import Path

from rillet.errors import GraphError, Unsupported
from rillet.importers.checkpoints.hdf5 import check_superblock
from rillet.importers.checkpoints.keras_file import is_keras, parse_keras
from rillet.importers.checkpoints.laying import Laid, lay
from rillet.importers.checkpoints.records import MAX_FILE_BYTES, Checkpoint
from rillet.importers.checkpoints.safetensors_file import check_header, is_safetensors, parse_safetensors
from rillet.importers.checkpoints.torch_file import is_pickle, is_zip, parse_legacy, parse_zip
from rillet.system.reading import HEAD_BYTES, TAIL_BYTES, ZIP_END, read_bytes

__all__ = ["Checkpoint", "Laid", "lay", "parse", "read"]


_FORMS = ((is_zip, parse_zip), (is_pickle, parse_legacy), (is_keras, parse_keras), (is_safetensors, parse_safetensors))


def read(path: Path) -> Checkpoint:
    """The tensors of a checkpoint; raises GraphError for a broken file, Unsupported for what is not read."""
    name = str(path)
    return parse(
        read_bytes(path, MAX_FILE_BYTES, "a checkpoint", look=lambda head, tail, size: _look(head, tail, size, name)),
        name,
    )


def parse(data: bytes, name: str) -> Checkpoint:
    """As `read`, from bytes; `name` stands for the file in messages."""
    _look(data[:HEAD_BYTES], data[-TAIL_BYTES:], len(data), name)
    return next(parse_form for is_form, parse_form in _FORMS if is_form(data))(data, name)


def _look(head: bytes, tail: bytes, size: int, name: str) -> None:
    """Raises GraphError or Unsupported where a file of `size` bytes that begins and ends so can be no checkpoint."""
    if head[257:262] == b"ustar":
        raise Unsupported(f"{name}: must be a checkpoint of PyTorch 0.2 or later, got the older tar form")
    if not any(is_form(head) for is_form, _ in _FORMS):
        raise GraphError(f"{name}: must be a checkpoint (PyTorch, safetensors or Keras HDF5), got another file")
    if is_zip(head) and ZIP_END not in tail:
        raise GraphError(f"{name}: must be a well-formed zip file, got a broken one (it ends too early)")
    if is_keras(head):
        check_superblock(head, size, name)
    elif is_safetensors(head) and not is_pickle(head):
        check_header(head, size, name)
