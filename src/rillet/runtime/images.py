"""Pictures to input tensors, by the network's input contract."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from rillet.arithmetic.fixed_point import quantize
from rillet.errors import GraphError, Unsupported
from rillet.ir.graph import Array, Graph, ImageSpec

MAX_PIXELS = 2**26


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
    real = (pixels.astype(np.float64) - np.array(spec.mean)) / np.array(spec.deviation)
    if node.type.quant is None:
        return real.astype(np.float32)
    return quantize(real.astype(np.float32), node.type.quant, node.type.dtype).astype(node.type.dtype.numpy)


def load_pixels(path: Path, spec: ImageSpec) -> Array:
    """The picture's pixels, 0 to 255, at the size and channels that `spec` asks for.

    Turned as its EXIF data say; transparent parts are laid on white; 16-bit grey is scaled down.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about files that a later check refuses
            with Image.open(path) as opened:
                if opened.width * opened.height > MAX_PIXELS:
                    raise GraphError(f"{path}: must have at most {MAX_PIXELS} pixels, got {opened.size}")
                picture = ImageOps.exif_transpose(opened)
                picture.load()
    except GraphError:
        raise
    except FileNotFoundError:
        raise GraphError(f"{path}: must be an image file, got no file") from None
    except Image.DecompressionBombError:
        raise GraphError(f"{path}: must have at most {MAX_PIXELS} pixels, got more") from None
    except IsADirectoryError:
        raise GraphError(f"{path}: must be an image file, got a folder") from None
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
    return fit(picture, spec)


def fit(picture: Image.Image, spec: ImageSpec) -> Array:
    """The pixels of a picture at the size and channels that `spec` asks for."""
    picture = _plain(picture, spec.channels)
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


def _plain(picture: Image.Image, channels: int) -> Image.Image:
    """The picture in grey or RGB, nothing transparent."""
    if picture.mode.startswith("I;16") or picture.mode == "I":
        wide = np.asarray(picture).astype(np.int64)
        picture = Image.fromarray((np.clip(wide, 0, 65535) // 257).astype(np.uint8))
    if picture.mode in ("LA", "PA", "RGBA", "RGBa", "La") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        picture = Image.alpha_composite(white, picture)
    if channels == 1:
        return picture.convert("L")
    return picture.convert("RGB")


def load_array(path: Path, graph: Graph) -> Array:
    """The input of `graph` from an array as the network stores it: a .npy file, or raw bytes in row order.

    Raises GraphError where size or type are not those of the input.
    """
    node = graph.input_nodes[0]
    expected, size = node.type.dtype.numpy, node.type.bytes
    try:
        if path.suffix.lower() != ".npy":
            if path.stat().st_size != size:
                raise GraphError(
                    f"{path}: must have {size} bytes ({expected} of {node.shape}), got {path.stat().st_size}"
                )
            return (
                np.frombuffer(path.read_bytes(), expected.newbyteorder("<")).astype(expected).reshape(node.shape.array)
            )
        # Mapped, not read: a header may claim any size.
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise GraphError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, EOFError, SyntaxError, TypeError, OverflowError) as error:
        raise GraphError(f"{path}: must be a .npy array, got: {str(error).partition(chr(10))[0]}") from None
    if array.dtype != expected or array.size != node.shape.elements:
        raise GraphError(f"{path}: must be {expected} of {node.shape}, got {array.dtype} of {list(array.shape)}")
    if node.type.quant is None and not np.isfinite(np.asarray(array, np.float64)).all():
        raise GraphError(f"{path}: must be finite numbers")
    return np.ascontiguousarray(array).reshape(node.shape.array)
