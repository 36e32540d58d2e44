"""Pictures of every kind become the input tensor, or one sentence."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graphs import Builder, conv
from rillet.data.images import load_array, load_input, load_pixels
from rillet.errors import GraphError, Unsupported
from rillet.ir.graph import Graph, ImageSpec
from rillet.ir.ops import Input
from rillet.ir.types import DType, Quant, Shape

RGB, GREY = ImageSpec(4, 6, 3), ImageSpec(4, 6, 1)


def saved(folder: Path, picture: Image.Image, name: str = "a.png") -> Path:
    picture.save(folder / name)
    return folder / name


def test_every_mode(tmp_path: Path) -> None:
    rgb = Image.new("RGB", (12, 8), (204, 102, 51))
    grey = np.full((4, 6, 1), 127)  # ITU-R 601 luma of that colour
    for mode in ("RGB", "P", "CMYK", "YCbCr"):
        suffix = "a.jpg" if mode in ("CMYK", "YCbCr") else "a.png"
        path = saved(tmp_path, rgb.convert(mode), suffix)
        assert np.abs(load_pixels(path, RGB).astype(int) - (204, 102, 51)).max() <= 3
        assert np.abs(load_pixels(path, GREY).astype(int) - grey).max() <= 3
    for mode in ("L", "1", "LA"):
        path = saved(tmp_path, Image.new("RGB", (12, 8), "white").convert(mode))
        assert (load_pixels(path, RGB) == 255).all()


def test_transparent_parts_are_white(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (6, 4), (0, 0, 0, 0))
    assert (load_pixels(saved(tmp_path, picture), RGB) == 255).all()
    palette = Image.new("P", (6, 4), 0)
    palette.info["transparency"] = 0
    palette.save(tmp_path / "p.png", transparency=0)
    assert (load_pixels(tmp_path / "p.png", GREY) == 255).all()


def test_sixteen_bits(tmp_path: Path) -> None:
    picture = Image.fromarray(np.full((4, 6), 257 * 77, np.uint16))
    assert (load_pixels(saved(tmp_path, picture), GREY) == 77).all()


@pytest.mark.parametrize("size", [(1, 1), (10000, 3), (2, 9000)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    assert (load_pixels(saved(tmp_path, Image.new("L", size, 9)), RGB) == 9).all()


def test_too_many_pixels(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new("1", (9000, 9000)))
    with pytest.raises(GraphError, match="must have at most 67108864 pixels"):
        load_pixels(path, RGB)


def test_crop_takes_the_middle_square(tmp_path: Path) -> None:
    pixels = np.zeros((4, 12, 3), np.uint8)
    pixels[:, 4:8] = 255
    path = saved(tmp_path, Image.fromarray(pixels))
    assert (load_pixels(path, ImageSpec(4, 4, 3, "crop")) == 255).all()
    assert not (load_pixels(path, ImageSpec(4, 4, 3)) == 255).all()


def test_a_picture_is_reduced_to_the_detail_of_training(tmp_path: Path) -> None:
    checks = np.indices((96, 144)).sum(0)[..., None] % 2 * np.full(3, 255, np.uint8)
    path = saved(tmp_path, Image.fromarray(checks.astype(np.uint8)))
    sharp, dull = (load_pixels(path, ImageSpec(96, 96, 3, "crop", detail=side)).astype(int) for side in (0, 32))
    assert np.abs(np.diff(sharp, axis=1)).min() == 255
    assert np.abs(np.diff(dull, axis=1)).max() < 64
    # One that has no more detail, as a training picture, only comes to the size of the network.
    small = saved(tmp_path, Image.fromarray(checks[:32, :32].astype(np.uint8)))
    same = [load_pixels(small, ImageSpec(96, 96, 3, detail=side)) for side in (0, 32)]
    assert (same[0] == same[1]).all()


def test_orientation_is_followed(tmp_path: Path) -> None:
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[0] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180 degrees
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    assert (load_pixels(tmp_path / "a.png", RGB)[3] == 255).all()


def graph_of(dtype: DType, quant: Quant, spec: ImageSpec | None) -> Graph:
    b = Builder(np.random.default_rng(0))
    at = b.add(Input(), shape=Shape(4, 6, 3), dtype=dtype, quant=quant)
    return b.graph(b.add(conv(2), at)).with_image(spec)


def test_scaling_and_quantisation(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new("RGB", (6, 4), (0, 128, 255)))
    spec = ImageSpec(4, 6, 3, mean=(127.5,), deviation=(127.5,))
    stored = load_input(path, graph_of(DType.I8, Quant(1 / 128, 0), spec))
    assert stored[0, 0].tolist() == [-128, 1, 127]
    per_channel = ImageSpec(4, 6, 3, mean=(0, 100, 200), deviation=(1, 2, 5))
    stored = load_input(path, graph_of(DType.U8, Quant(1.0, 10), per_channel))
    assert stored[0, 0].tolist() == [10, 24, 21]


def test_networks_without_image(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new("RGB", (6, 4)))
    with pytest.raises(Unsupported, match="input must be an image of 1 or 3 channels"):
        load_input(path, graph_of(DType.I8, Quant(1.0, 0), None))


def test_arrays(tmp_path: Path) -> None:
    graph = graph_of(DType.I8, Quant(1.0, 0), None)
    values = np.arange(-36, 36, dtype=np.int8).reshape(4, 6, 3)
    np.save(tmp_path / "a.npy", values[None])
    (tmp_path / "a.raw").write_bytes(values.tobytes())
    assert np.array_equal(load_array(tmp_path / "a.npy", graph), values)
    assert np.array_equal(load_array(tmp_path / "a.raw", graph), values)


def test_wrong_arrays(tmp_path: Path) -> None:
    graph = graph_of(DType.I8, Quant(1.0, 0), None)
    np.save(tmp_path / "a.npy", np.zeros((4, 6, 3)))
    with pytest.raises(GraphError, match=r"must be int8 of 4x6x3, got float64 of \[4, 6, 3\]"):
        load_array(tmp_path / "a.npy", graph)
    (tmp_path / "a.raw").write_bytes(b"x")
    with pytest.raises(GraphError, match=r"must have 72 bytes \(int8 of 4x6x3\), got 1"):
        load_array(tmp_path / "a.raw", graph)
    np.save(tmp_path / "o.npy", np.array([{}]), allow_pickle=True)
    (tmp_path / "b.npy").write_bytes(b"\x93NUMPY garbage")
    header = (tmp_path / "a.npy").read_bytes()[:128]
    (tmp_path / "c.npy").write_bytes(header.replace(b"(4, 6, 3), }", b"(4, 6, 99999999999), }")[:128])
    for name in ("o.npy", "b.npy", "c.npy"):
        with pytest.raises(GraphError, match="must be (a .npy array|int8 of 4x6x3)"):
            load_array(tmp_path / name, graph)
    with pytest.raises(GraphError, match="must be a .npy array, got no file"):
        load_array(tmp_path / "none.npy", graph)
