"""Pictures to input tensors, by the network's input contract."""

import math
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.lib.format as npy
from PIL import Image, ImageOps

from rillet.arithmetic.pictures import from_pixels
from rillet.errors import GraphError, Unsupported
from rillet.ir.graph import Array, Graph, ImageSpec, Node
from rillet.system.reading import PICTURE_BYTES, open_file, read_bytes

MAX_PIXELS = 2**26
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "PPM", "DIB", "TIFF", "WEBP")
"""Pillow knows more, and runs another program for some of them (Ghostscript for EPS)."""
MAX_HEADER_BYTES = 2**16
"""Bytes of a .npy file before its values."""
_LITTLE_BYTES = 2**20
"""An array of a wrong size up to this is read to say which it has."""
_WIDEST = 8
"""Times as large as it must be, an array of another type is read to say which it has."""
_ROWS = 256
"""Of a transparent picture that are laid on white at a time."""


def load_input(path: Path, graph: Graph) -> Array:
    """The input of `graph` from a picture: resized, scaled and quantised; raises GraphError for what is no picture."""
    return as_input(load_pixels(path, contract(graph)), graph)


def contract(graph: Graph) -> ImageSpec:
    """How a picture becomes the input of `graph`; raises Unsupported where its input is none."""
    if graph.image is None:
        raise Unsupported(f"{graph.name}: input must be an image of 1 or 3 channels, got {graph.input_nodes[0].shape}")
    return graph.image


def may_be_picture(graph: Graph) -> bool:
    """True where the input has the form of a picture: three channels at most three times as long as wide, or one of a
    square. Other maps of one channel are as often spectrograms.
    """
    spec = graph.image
    if spec is None:
        return False
    short, long = sorted((spec.height, spec.width))
    return long <= 3 * short if spec.channels == 3 else short == long


def as_input(pixels: Array, graph: Graph) -> Array:
    """The input of `graph` from pixels of its size, scaled and quantised."""
    spec, node = contract(graph), graph.input_nodes[0]
    return from_pixels(pixels, spec, node.type)


def load_pixels(path: Path, spec: ImageSpec) -> Array:
    """The picture's pixels, 0 to 255, at the size and channels that `spec` asks for.

    Turned as its EXIF data say; transparent parts are laid on white; 16-bit grey is scaled down.
    """
    return fit(load_picture(path), spec)


def load_picture(path: Path) -> Image.Image:
    """A picture, decoded and turned as its EXIF data say; raises GraphError for what is none, or too large."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about files that a later check refuses
            with open_picture(path, MAX_PIXELS) as picture:
                picture.load()
                ImageOps.exif_transpose(picture, in_place=True)
    except GraphError:
        raise
    except Image.DecompressionBombError:
        raise GraphError(f"{path}: must have at most {MAX_PIXELS} pixels, got more") from None
    except (
        OSError,
        ValueError,
        SyntaxError,
        TypeError,
        ArithmeticError,
        EOFError,
        MemoryError,
        KeyError,
    ) as error:
        # Decoders of broken files raise any of these.
        raise GraphError(f"{path}: must be an image file that can be decoded, got: {_reason(error, path)}") from None
    return picture


@contextmanager
def open_picture(path: Path, most_pixels: int) -> Generator[Image.Image]:
    """A picture, opened and not yet decoded; raises GraphError for one of more pixels, and what Pillow raises."""
    with open_file(path, PICTURE_BYTES, "an image file") as file, Image.open(file, formats=FORMATS) as opened:
        if opened.width * opened.height > most_pixels:
            raise GraphError(f"{path}: must have at most {most_pixels} pixels, got {opened.size}")
        yield opened


def fit(picture: Image.Image, spec: ImageSpec) -> Array:
    """The pixels of a picture at the size and channels that `spec` asks for."""
    picture = plain(picture, spec.channels)
    if spec.resize == "crop":
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        picture = picture.crop((left, top, left + side, top + side))
    if spec.detail and min(picture.size) > spec.detail:
        picture = picture.resize((spec.detail, spec.detail), Image.Resampling.BILINEAR)
    size = (spec.width, spec.height)
    if picture.size != size:
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(picture, np.uint8).reshape(spec.height, spec.width, spec.channels)


def _reason(error: BaseException, path: Path) -> str:
    text = str(error)
    return "unknown image format" if "cannot identify" in text else text.replace(f"{str(path)!r}", "it")


def plain(picture: Image.Image, channels: int) -> Image.Image:
    """The picture in grey or RGB, nothing transparent."""
    if picture.mode.startswith("I;16") or picture.mode == "I":
        picture = Image.fromarray((np.clip(np.asarray(picture), 0, 65535) // 257).astype(np.uint8))
    if picture.mode in ("LA", "PA", "RGBA", "RGBa", "La") or "transparency" in picture.info:
        picture = _on_white(picture)
    if channels == 1:
        return picture.convert("L")
    return picture.convert("RGB")


def _on_white(picture: Image.Image) -> Image.Image:
    """A picture with transparent parts in RGB, some rows at a time: together they would take four times its memory."""
    out = Image.new("RGB", picture.size)
    for top in range(0, picture.height, _ROWS):
        part = picture.crop((0, top, picture.width, min(top + _ROWS, picture.height))).convert("RGBA")
        white = Image.new("RGBA", part.size, (255, 255, 255, 255))
        out.paste(Image.alpha_composite(white, part).convert("RGB"), (0, top))
    return out


def load_array(path: Path, graph: Graph, node: Node | None = None) -> Array:
    """An input of `graph`, the first or `node`, from an array as it is stored: a .npy file, or raw bytes in row order.

    Raises GraphError where size or type are not those of the input.
    """
    node = node or graph.input_nodes[0]
    expected, size = node.type.dtype.numpy, node.type.bytes
    try:
        if path.suffix.lower() != ".npy":
            data = read_bytes(path, max(size, _LITTLE_BYTES), "an array")
            if len(data) != size:
                raise GraphError(f"{path}: must have {size} bytes ({expected} of {node.shape}), got {len(data)}")
            return np.frombuffer(data, expected.newbyteorder("<")).astype(expected).reshape(node.shape.array)
        stored = BytesIO(read_bytes(path, _WIDEST * size + MAX_HEADER_BYTES, "a .npy array"))
        _check_header(stored, path, node)
        array: Array = np.load(stored, allow_pickle=False)
    except (ValueError, EOFError, SyntaxError, TypeError, OverflowError, MemoryError, RecursionError) as error:
        raise GraphError(f"{path}: must be a .npy array, got: {str(error).partition(chr(10))[0]}") from None
    if node.type.quant is None and not np.isfinite(np.asarray(array, np.float64)).all():
        raise GraphError(f"{path}: must be finite numbers")
    return np.ascontiguousarray(array).reshape(node.shape.array)


def _check_header(stored: BytesIO, path: Path, node: Node) -> None:
    """Raises GraphError where a .npy file says another type or number of values: room for them is made by what it says.

    Raises what NumPy does for a broken header.
    """
    headers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(stored)
    if version not in headers:
        raise GraphError(f"{path}: must be a .npy array of version 1 or 2, got {version[0]}")
    shape, _, dtype = headers[version](stored)
    stored.seek(0)
    expected = node.type.dtype.numpy
    if dtype != expected or math.prod(shape) != node.shape.elements:
        raise GraphError(f"{path}: must be {expected} of {node.shape}, got {dtype} of {list(shape)}")
