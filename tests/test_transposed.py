"""Transposed convolutions: as PyTorch and ONNX Runtime compute them."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402, N812

from rillet import from_torch  # noqa: E402
from rillet.backends import reference  # noqa: E402
from rillet.errors import RilletError  # noqa: E402
from rillet.importers.transposed import transposed  # noqa: E402
from rillet.ir.graph import Graph, Node  # noqa: E402
from rillet.ir.ops import Conv, Input, output_shape  # noqa: E402
from rillet.ir.types import Shape, TensorType  # noqa: E402


def computed(source: np.ndarray, weight: np.ndarray, size: tuple[int, int], **more: object) -> np.ndarray:
    """A transposed convolution by the ops that stand for it."""
    shape = Shape(*source.shape)
    made = transposed(shape, weight, size, **more)  # type: ignore[arg-type]
    nodes, at = [Node("x", Input(), (), TensorType(shape))], shape
    for i, op in enumerate((made.conv(Conv(1, bias=False)), *made.steps)):
        at = output_shape(op, (at,), at)
        nodes.append(Node(f"n{i}", op, (nodes[-1].name,), TensorType(at)))
    graph = Graph("t", tuple(nodes), (nodes[-1].name,), {"n0.weight": made.weight})
    return reference.outputs(graph, source)[0]


def test_any_kernel_stride_padding_and_groups() -> None:
    rng = np.random.default_rng(0)
    for _ in range(80):
        groups, stride = int(rng.choice([1, 2, 3])), int(rng.integers(1, 5))
        dilation = tuple(int(n) for n in rng.integers(1, 3, 2)) if stride == 1 else (1, 1)
        kernel = tuple(int(n) for n in rng.integers(1, 6, 2))
        whole = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
        padding = tuple(int(rng.integers(0, n + 1)) for n in whole)
        more = tuple(int(n) for n in rng.integers(0, max(stride, *dilation), 2))
        x = rng.normal(size=(1, groups * 2, *rng.integers(1, 6, 2))).astype(np.float32)
        w = rng.normal(size=(groups * 2, 3, *kernel)).astype(np.float32)
        said = {"stride": stride, "padding": padding, "output_padding": more, "groups": groups, "dilation": dilation}
        try:
            wanted = F.conv_transpose2d(torch.from_numpy(x), torch.from_numpy(w), **said)[0].permute(1, 2, 0).numpy()
        except RuntimeError:
            continue
        if not wanted.size:  # nothing is left
            continue
        moved = w.reshape(groups, 2, 3, *kernel).transpose(0, 2, 3, 4, 1).reshape(groups * 3, *kernel, 2)
        source = np.ascontiguousarray(x[0].transpose(1, 2, 0))
        size = (wanted.shape[0], wanted.shape[1])
        got = computed(source, moved, size, stride=(stride, stride), before=padding, dilation=dilation, groups=groups)
        assert np.allclose(got, wanted, atol=1e-4), said


def test_a_module_with_some() -> None:
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, 2, 1),
        torch.nn.ReLU(),
        torch.nn.ConvTranspose2d(8, 6, 4, 2, 1),
        torch.nn.ConvTranspose2d(6, 6, 3, 2, 1, output_padding=1, groups=6, bias=False),
    ).eval()
    image = torch.randn(1, 3, 10, 12)
    graph = from_torch(net, image)
    got = reference.outputs(graph, np.ascontiguousarray(image[0].permute(1, 2, 0).numpy()))[0]
    with torch.no_grad():
        assert np.allclose(got, net(image)[0].permute(1, 2, 0).numpy(), atol=1e-5)


def test_strides_of_two_lengths_are_refused() -> None:
    with pytest.raises(RilletError, match="strides of a transposed convolution must be equal, got 2x1"):
        from_torch(torch.nn.ConvTranspose2d(3, 3, 3, (2, 1)).eval(), torch.zeros(1, 3, 4, 4))
    with pytest.raises(RilletError, match="dilation under a stride must be 1x1, got 2x2"):
        from_torch(torch.nn.ConvTranspose2d(3, 3, 3, 2, dilation=2).eval(), torch.zeros(1, 3, 4, 4))


def test_onnx_pads_and_sizes() -> None:
    pytest.importorskip("onnx")
    from onnx_models import compare, model, node, real

    for said in (
        {"pads": [1, 0, 0, 1], "strides": [2, 2], "output_padding": [1, 1]},
        {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        {"auto_pad": "SAME_LOWER", "strides": [3, 3]},
        {"strides": [2, 2], "output_shape": [8, 9]},
        {"dilations": [2, 1], "group": 2},
    ):
        weight = {"w": real(4, 3, 3, 3), "b": real(3 * said.get("group", 1))}  # type: ignore[operator]
        compare(model([node("ConvTranspose", ["x", "w", "b"], **said)], (1, 4, 4, 5), weight))
