"""Writes files and folders: whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from rillet.errors import BuildError


def write_file(path: Path, data: bytes) -> None:
    """Puts `data` at `path`, written beside it and brought to the disk first: a crash leaves the old or the new.

    Raises BuildError where it cannot be written; what was there before is still there then.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        if path.is_dir():
            raise BuildError(f"{path}: must be a file, got a folder")
        with part.open("wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        os.replace(part, path)
    except OSError as error:
        raise BuildError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)


def write_folder(folder: Path, files: Mapping[str, str]) -> None:
    """Puts `files` into `folder`, replacing those of the same names, once all of them are written beside it.

    Raises BuildError where the folder cannot be written; nothing half-written is left then.
    """
    work: Path | None = None
    try:
        if folder.exists() and not folder.is_dir():
            raise BuildError(f"{folder}: must be a folder, got a file")
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
        for name, text in files.items():
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_text(text)
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(work / name, folder / name)
    except OSError as error:
        raise BuildError(f"{folder}: cannot be written: {error.strerror}") from None
    finally:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)
