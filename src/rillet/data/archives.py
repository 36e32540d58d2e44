"""Data sets at public addresses: downloaded once, checked, and unpacked into the cache."""

import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from rillet.errors import GraphError
from rillet.system.cache import cache_folder, room
from rillet.system.download import Progress, Remote, download, silent
from rillet.system.parts import move, temporary_folder

DATA = "data"
"""The folder of the cache that data sets are unpacked into."""


@dataclass(frozen=True, slots=True)
class Archive:
    """A data set in one file: where it comes from, how it is known, and the folder within."""

    name: str
    url: str
    sha256: str
    size_bytes: int
    folder: str


ARCHIVES = {
    archive.name: archive
    for archive in (
        Archive(
            "cifar10",
            "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
            "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            170_498_071,
            "cifar-10-batches-py",
        ),
        Archive(
            "cifar100",
            "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
            "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
            169_001_437,
            "cifar-100-python",
        ),
        Archive(
            "tiny-imagenet",
            "https://cs231n.stanford.edu/tiny-imagenet-200.zip",
            "6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821",
            248_100_043,
            "tiny-imagenet-200",
        ),
    )
}
"""Addresses of the authors; sizes and checksums as TensorFlow Datasets and Keras state them."""


def fetch(archive: Archive, progress: Progress = silent) -> Path:
    """The folder of a data set in the cache, downloaded and unpacked if it is not there yet.

    Raises GraphError, saying what to do, where there is no network, the bytes are not the published ones, or the disk
    is full.
    """
    found = cache_folder() / DATA / archive.folder
    if found.is_dir():
        return found
    place = room(DATA)
    target = place / archive.folder
    file = place / archive.url.rpartition("/")[2]
    otherwise = f"unpack {archive.url} into a folder that RILLET_DATA names"
    if not file.exists():
        download(Remote(archive.name, archive.url, archive.sha256, archive.size_bytes, otherwise), file, progress)
    try:
        with temporary_folder(place) as work:
            _unpack(file, work)
            if not (work / archive.folder).is_dir():
                raise GraphError(f"{file}: must have a folder {archive.folder}")
            move(work / archive.folder, target)
        file.unlink()
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        file.unlink(missing_ok=True)
        raise GraphError(f"{file}: must be an archive, got: {error}") from None
    except OSError as error:
        raise GraphError(f"{target}: cannot be written: {error.strerror}") from None
    return target


def _unpack(file: Path, place: Path) -> None:
    if file.suffix == ".zip":
        with zipfile.ZipFile(file) as archive:
            archive.extractall(place)
    else:
        with tarfile.open(file) as archive:
            archive.extractall(place, filter="data")
