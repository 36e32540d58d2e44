"""Keras HDF5 files: the same arrays as the HDF5 library reads, and forms that Keras does not write."""

import io
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from conftest import shared_file
from rillet.backends import reference
from rillet.data.images import load_input
from rillet.errors import RilletError, Unsupported
from rillet.importers import tflite
from rillet.importers.checkpoints import Checkpoint, hdf5, lay, parse, read
from rillet.importers.checkpoints.laying import IN_ORDER
from rillet.ir.graph import Graph
from rillet.ir.ops import Activation
from rillet.zoo import registry
from rillet.zoo.layers import Layers, square

REAL = {
    "mobilenet_keras/mobilenet_v1_0.25_224.h5": (137, {}),
    "mlperf_tiny/vww_96.h5": (164, {"optimizer_weights": "group"}),
    "mlperf_tiny/pretrainedResnet.h5": (48, {"optimizer_weights": "group"}),
}


def text(value: Any) -> str:
    return value if isinstance(value, str) else value.decode()


@pytest.mark.parametrize("name", REAL)
def test_real_files(name: str) -> None:
    path = shared_file(name)
    checkpoint = read(path)
    count, extras = REAL[name]
    assert len(checkpoint.tensors) == count
    assert (checkpoint.layout, checkpoint.wrapper, checkpoint.extras) == ("keras", ("model_weights",), extras)
    with h5py.File(path) as file:
        model = file["model_weights"]
        weights = [(text(layer), text(w)) for layer in model.attrs["layer_names"]
                   for w in model[text(layer)].attrs["weight_names"]]  # fmt: skip
        assert list(checkpoint.tensors) == [f"{layer}.{w.split('/')[-1].split(':')[0]}" for layer, w in weights]
        for array, (layer, weight) in zip(checkpoint.tensors.values(), weights, strict=True):
            assert np.array_equal(array, model[layer][weight][()])


def test_mobilenet_v1_sees_what_is_there() -> None:
    laid = lay(
        registry.build("mobilenet_v1", {"width": "0.25"}), read(shared_file("mobilenet_keras/mobilenet_v1_0.25_224.h5"))
    )
    assert (laid.naming, laid.unused) == ("Keras's MobileNetV1", ())
    labels = shared_file("mobilenet_tflite/imagenet_labels.txt").read_text().splitlines()[1:]
    for photo, expected in (("cat.bmp", "tabby"), ("hot_dog.jpg", "hotdog"), ("bird.bmp", "chickadee")):
        image = load_input(shared_file(f"photos/{photo}"), laid.graph)
        scores = reference.outputs(laid.graph, image)[0].ravel()
        assert labels[int(scores.argmax())].startswith(expected)


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


def test_visual_wake_words_is_what_the_tflite_file_is() -> None:
    network = registry.build("mobilenet_v1", {"width": "0.25", "bias": "true", "resolution": "96", "classes": "2"})
    laid = lay(network, read(shared_file("mlperf_tiny/vww_96.h5")))
    assert laid.naming == IN_ORDER
    folded = tflite.load(shared_file("mlperf_tiny/vww_96_float.tflite"))
    image = np.random.default_rng(0).random((96, 96, 3), np.float32)
    expected = reference.outputs(folded, image)[0].ravel()
    np.testing.assert_allclose(softmax(reference.outputs(laid.graph, image)[0].ravel()), expected, atol=1e-6)


def resnet8() -> Graph:
    """MLPerf Tiny's ResNet-8, its layers in the order in which Keras keeps them: shortcuts before the batch norm."""
    net = Layers("resnet8", square(32), padding="keras", epsilon=1e-3)
    net.block = "stem"
    source = net.conv_bn("conv", 16, 3, activation=Activation.RELU, bias=True)
    for number, (channels, stride) in enumerate(((16, 1), (32, 2), (64, 2)), 1):
        net.block = f"block{number}"
        net.conv_bn("conv1", channels, 3, stride, Activation.RELU, bias=True)
        inner = net.conv("conv2", channels, 3, bias=True)
        if stride > 1:
            net.at = source
            source = net.conv("shortcut", channels, 1, stride, bias=True)
        net.at = inner
        net.bn("conv2")
        net.residual(source)
        source = net.activate("add", Activation.RELU)
    net.classifier(10)
    return net.graph()


def test_resnet8_is_what_the_tflite_file_is() -> None:
    laid = lay(resnet8(), read(shared_file("mlperf_tiny/pretrainedResnet.h5")))
    folded = tflite.load(shared_file("mlperf_tiny/pretrainedResnet.tflite"))
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.float32)
    expected = reference.outputs(folded, image)[0].ravel()
    np.testing.assert_allclose(softmax(reference.outputs(laid.graph, image)[0].ravel()), expected, atol=1e-5)


# -- files of our own --------------------------------------------------------------------------------------------------


def written(layers: dict[str, dict[str, Any]], *, chunked: bool = False, **options: Any) -> bytes:
    """A file of weights; `chunked`: with the lists of names cut in two, as Keras does where they are long."""
    file = io.BytesIO()
    with h5py.File(file, "w", **options) as out:
        names = [name.encode() for name in layers]
        if chunked:
            out.attrs["layer_names0"], out.attrs["layer_names1"] = names[:1], names[1:]
        else:
            out.attrs["layer_names"] = names
        for layer, weights in layers.items():
            group = out.create_group(layer)
            group.attrs["weight_names"] = [name.encode() for name in weights]
            for name, value in weights.items():
                group.create_dataset(name, **(value if isinstance(value, dict) else {"data": value}))
    return file.getvalue()


def weights(**options: Any) -> Checkpoint:
    rng = np.random.default_rng(0)
    layers = {
        "conv": {"conv/kernel:0": rng.normal(size=(3, 3, 2, 4)).astype("<f4"), "conv/bias:0": np.zeros(4, "<f2")},
        "dense": {"dense/kernel:0": rng.normal(size=(4, 5)), "dense/count:0": np.arange(5, dtype=np.int32)},
    }
    checkpoint = parse(written(layers, **options), "file.h5")
    expected = [value for layer in layers.values() for value in layer.values()]
    assert list(checkpoint.tensors) == ["conv.kernel", "conv.bias", "dense.kernel", "dense.count"]
    for array, value in zip(checkpoint.tensors.values(), expected, strict=True):
        assert np.array_equal(array, value)
        assert array.dtype == value.dtype
    return checkpoint


def test_weights_alone() -> None:
    assert weights().wrapper == ()
    weights(chunked=True)


def test_many_layers() -> None:
    layers = {f"layer{i}": {f"layer{i}/kernel:0": np.full((2, 2), i, np.float32)} for i in range(300)}
    checkpoint = parse(written(layers), "file.h5")
    assert [array[0, 0] for array in checkpoint.tensors.values()] == list(range(300))


def test_a_model_within_the_model() -> None:
    ones, twos = np.ones((1, 1), np.float32), np.full((1, 1), 2, np.float32)
    checkpoint = parse(written({"model": {"a/kernel:0": ones, "b/kernel:0": twos}}), "file.h5")
    assert checkpoint.tensors == {"a.kernel": ones, "b.kernel": twos}


@pytest.mark.parametrize("leaf", ["depthwise_kernel:0", "kernel"])
def test_depthwise_kernels_of_keras_2_and_3(leaf: str) -> None:
    net = Layers("net", square(4))
    net.block = "block1"
    net.conv("depthwise", 6, 3, groups=3)
    net.block = "head"
    net.dense("logits", 2)
    rng = np.random.default_rng(0)
    kernel, dense = rng.normal(size=(3, 3, 3, 2)).astype("f"), rng.normal(size=(4 * 4 * 6, 2)).astype("f")
    layers = {
        "dw": {f"net/dw/{leaf}": kernel},
        "logits": {"net/logits/kernel": dense, "net/logits/bias": np.zeros(2, "f")},
    }
    graph = lay(net.graph(), parse(written(layers), "file.h5")).graph
    image = rng.normal(size=(4, 4, 3)).astype("f")
    padded, middle = np.pad(image, ((1, 1), (1, 1), (0, 0))), np.zeros((4, 4, 6))
    for y, x, c, m in np.ndindex(4, 4, 3, 2):
        middle[y, x, 2 * c + m] = (padded[y : y + 3, x : x + 3, c] * kernel[:, :, c, m]).sum()
    np.testing.assert_allclose(reference.outputs(graph, image)[0].ravel(), middle.ravel() @ dense, rtol=1e-5)


def test_big_endian_is_refused() -> None:
    assert "type class 1" in refusal(written({"a": {"a/kernel:0": np.ones(3, ">f4")}}))


def refusal(data: bytes, kind: type[RilletError] = Unsupported) -> str:
    with pytest.raises(kind) as caught:
        parse(data, "file.h5")
    assert str(caught.value).startswith("file.h5: ")
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_forms_that_keras_does_not_write(tmp_path: Path) -> None:
    data = np.ones((64, 64), np.float32)
    assert "chunks" in refusal(written({"a": {"a/kernel:0": {"data": data, "chunks": (8, 8)}}}))
    assert "compressed" in refusal(written({"a": {"a/kernel:0": {"data": data, "compression": "gzip"}}}))
    assert "type class" in refusal(written({"a": {"a/kernel:0": {"data": [b"x"]}}}))
    assert "superblock" in refusal(written({"a": {"a/kernel:0": data}}, libver="latest"))
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["x"] = data
    assert "layer_names" in refusal(path.read_bytes())
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [1, 2]
    assert "where a text must be" in refusal(path.read_bytes())


def test_names_that_lead_nowhere() -> None:
    data = written({"aa": {"kernel:0": np.ones(3, np.float32)}})
    assert "must have aa, got 1 other" in refusal(data.replace(b"aa", b"bb", 1), RilletError)
    deep = "/".join("a" * 20) + "/kernel:0"
    assert "8 groups deep" in refusal(written({"aa": {deep: np.ones(3, np.float32)}}), RilletError)


def test_what_a_file_can_make_us_do_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    data = shared_file("mlperf_tiny/vww_96.h5").read_bytes()
    monkeypatch.setattr(hdf5, "MAX_RECORDS", 500)
    assert "at most 500 records" in refusal(data, RilletError)


def test_a_tree_of_itself() -> None:
    data = bytearray(written({f"layer{i}": {"kernel:0": np.ones(1, np.float32)} for i in range(40)}))
    tree = data.index(b"TREE")
    for i in range(int.from_bytes(data[tree + 6 : tree + 8], "little")):
        data[tree + 32 + 16 * i : tree + 40 + 16 * i] = tree.to_bytes(8, "little")
    assert "records" in refusal(bytes(data), RilletError)
