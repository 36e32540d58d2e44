"""Detectors: boxes out of the outputs of SSDs and YOLOs, beside LiteRT's operator and beside slow counts."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import flatbuffers.flexbuffers as flexbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from PIL import Image

import rillet
from onnx_models import ints, model, node, random_tensor, real, session, yolo
from rillet.analyses.detectors import detector_of, find_boxes
from rillet.analyses.yolo import Form, Yolo
from rillet.backends import reference
from rillet.errors import GraphError, RilletError, Unsupported
from rillet.importers.onnx import parse as parse_onnx
from rillet.importers.onnx import parse_with_views
from rillet.importers.tflite import parse
from rillet.ir.decoding import Decoding
from rillet.ir.graph import Graph
from test_classify import run
from tfl import Writer, conv_options, pack, unpack

SIDE, CLASSES = 16, 3
SCALES = ((4, 3), (2, 2))
"""Side of each map, and its anchors a place."""
ANCHORS = sum(side * side * count for side, count in SCALES)
OPTIONS: dict[str, Any] = {
    "max_detections": 7,
    "max_classes_per_detection": 1,
    "detections_per_class": 5,
    "use_regular_nms": False,
    "nms_score_threshold": 0.55,
    "nms_iou_threshold": 0.4,
    "num_classes": CLASSES,
    "y_scale": 10.0,
    "x_scale": 9.0,
    "h_scale": 5.0,
    "w_scale": 4.0,
}


def options(said: dict[str, Any]) -> bytes:
    """A FlexBuffer's map."""
    made = flexbuffers.Builder()
    with made.Map():
        for name, value in said.items():
            made.Key(name)
            match value:
                case bool():
                    made.Bool(value)
                case int():
                    made.Int(value)
                case float():
                    made.Float(value)
                case _:
                    made.String(value)
    return bytes(made.Finish())


def ssd(seed: int = 0, dtype: str = "float32", background: int = 1, data: bytes | None = None, **more: Any) -> bytes:
    """A detector of two scales whose file ends in TFLite_Detection_PostProcess; `data`: other options of it."""
    rng, w = np.random.default_rng(seed), Writer()
    real = dtype == "float32"

    def value(shape: tuple[int, ...], scale: float, zero: int = 128) -> int:
        return w.tensor(shape, dtype) if real else w.tensor(shape, dtype, scale, zero)

    source = value((1, SIDE, SIDE, 3), 1 / 128)
    ends: dict[str, list[int]] = {"boxes": [], "scores": []}
    for side, count in SCALES:
        for what, values, wide in (("boxes", 4, 3.0), ("scores", CLASSES + background, 1.5)):
            step, channels = SIDE // side, count * values
            weight = rng.normal(0, wide / step, (channels, step, step, 3))
            if real:
                filters = w.tensor(weight.shape, data=weight, dtype="float32")
                bias = w.tensor((channels,), "float32", data=np.zeros(channels))
            else:
                scale = np.abs(weight).max() / 127
                stored = np.round(weight / scale) + 128
                filters = w.tensor(weight.shape, "uint8", scale, 128, data=stored)
                bias = w.tensor((channels,), "int32", scale / 128, data=np.zeros(channels))
            out, rows = (
                value(dims, wide / 16) for dims in ((1, side, side, channels), (1, side * side * count, values))
            )
            w.op("CONV_2D", [source, filters, bias], [out], conv_options("VALID", (step, step)))
            shape: Any = schema.ReshapeOptionsT()
            shape.newShape = [1, -1, values]
            w.op("RESHAPE", [out], [rows], shape, version=1)
            ends[what].append(rows)
    together: dict[str, int] = {}
    for what, values, wide in (("boxes", 4, 3.0), ("scores", CLASSES + background, 1.5)):
        join: Any = schema.ConcatenationOptionsT()
        join.axis = 1
        together[what] = value((1, ANCHORS, values), wide / 16)
        w.op("CONCATENATION", ends[what], [together[what]], join)
    sure = value((1, ANCHORS, CLASSES + background), 1 / 256, 0)
    w.op("LOGISTIC", [together["scores"]], [sure])
    places = np.concatenate([rng.uniform(0, 1, (ANCHORS, 2)), rng.uniform(0.1, 0.4, (ANCHORS, 2))], 1)
    if real:
        anchors = w.tensor((ANCHORS, 4), "float32", data=places)
    else:
        anchors = w.tensor((ANCHORS, 4), "uint8", 1 / 255, 0, data=np.round(places * 255))
    most = int({**OPTIONS, **more}["max_detections"])
    outputs = [w.tensor(dims, "float32") for dims in ((1, most, 4), (1, most), (1, most), (1,))]
    w.op("CUSTOM", [together["boxes"], sure, anchors], outputs, version=1)
    w.model.operatorCodes[-1].customCode = b"TFLite_Detection_PostProcess"
    w.graph.operators[-1].customOptions = np.frombuffer(data or options({**OPTIONS, **more}), np.uint8)
    return w.bytes([source], outputs)


def by_litert(data: bytes, image: Any) -> list[tuple[float, ...]]:
    """Class, score, left, top, right and bottom of what LiteRT finds."""
    runtime: Any = Interpreter(model_content=data, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    runtime.allocate_tensors()
    runtime.set_tensor(runtime.get_input_details()[0]["index"], image[None])
    runtime.invoke()
    boxes, classes, scores, count = (runtime.get_tensor(one["index"]) for one in runtime.get_output_details())
    return [
        (float(which), float(score), *(float(box[i]) for i in (1, 0, 3, 2)))
        for box, which, score in zip(boxes[0], classes[0], scores[0], strict=True)
    ][: int(count[0])]


def ours(graph: Graph, image: Any) -> list[tuple[float, ...]]:
    """The same of the reference's outputs."""
    detector = detector_of(graph)
    assert isinstance(detector, Decoding)
    found = find_boxes(graph, reference.outputs(graph, image), detector)
    return [(float(b.label.removeprefix("class ")), b.score, b.left, b.top, b.right, b.bottom) for b in found]


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"max_detections": 40, "nms_score_threshold": 0.0, "nms_iou_threshold": 0.2},
        {"use_regular_nms": True},
        {"use_regular_nms": True, "detections_per_class": 2, "nms_iou_threshold": 0.1, "max_detections": 20},
        {"background": 0},
    ],
    ids=str,
)
def test_boxes_are_those_of_litert(dtype: str, more: dict[str, Any]) -> None:
    seen = 0
    for seed in range(4):
        data, rng = ssd(seed, dtype, **more), np.random.default_rng(seed)
        graph = parse(data, "ssd.tflite").graph
        image = rng.normal(0, 1, (SIDE, SIDE, 3)).astype(np.float32)
        if dtype == "uint8":
            image = rng.integers(0, 256, image.shape).astype(np.uint8)
        want, got = by_litert(data, image), ours(graph, image)
        assert [row[0] for row in got] == [row[0] for row in want]
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
        seen += len(got)
    assert seen > 8


# -- as the file of another -------------------------------------------------------------------------------------------


def test_decoding_is_kept_in_files(tmp_path: Path) -> None:
    graph = parse(ssd(), "ssd.tflite").graph
    assert graph.image is not None
    assert graph.image.decoding is not None
    assert len(graph.image.decoding.anchors) == ANCHORS
    for name in ("net.rlt", "net.onnx"):
        rillet.save(graph, tmp_path / name)
        again = rillet.load(tmp_path / name)
        assert again.image is not None
        assert again.image.decoding == graph.image.decoding
        assert detector_of(again) == graph.image.decoding
    part = replace(graph, outputs=graph.outputs[:3])
    assert detector_of(part) is None  # of other outputs than the contract is about


def test_classes_of_one_anchor_and_labels(tmp_path: Path) -> None:
    (tmp_path / "net.tflite").write_bytes(ssd(3, max_classes_per_detection=2, max_detections=2))
    (tmp_path / "labels.txt").write_text("cat\ndog\nowl\n")
    graph = rillet.load(tmp_path / "net.tflite", labels=tmp_path / "labels.txt")
    decoding, rng = detector_of(graph), np.random.default_rng(1)
    assert isinstance(decoding, Decoding)
    image = rng.normal(0, 1, (SIDE, SIDE, 3)).astype(np.float32)
    outputs = reference.outputs(graph, image)
    one = find_boxes(graph, outputs, replace(decoding, classes_a_box=1))
    two = find_boxes(graph, outputs, decoding)
    assert two[::2] == one
    assert len(one) == 2
    for first, second in zip(two[::2], two[1::2], strict=True):
        assert (first.left, first.top, first.right, first.bottom) == (
            second.left,
            second.top,
            second.right,
            second.bottom,
        )
        assert first.score >= second.score
        assert {first.label, second.label} < {"cat", "dog", "owl"}


def test_run_draws_what_an_ssd_finds(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(ssd(1, "uint8"))
    pixels = np.random.default_rng(5).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in.png")
    out, _, code = run(path, tmp_path / "in.png", "-o", tmp_path / "out.png", "--json")
    assert code == 0
    found = json.loads(out)["boxes"]
    want = by_litert(path.read_bytes(), pixels)
    assert [box["score"] for box in found] == [row[1] for row in want]
    sides = [[box[side] / SIDE for side in ("left", "top", "right", "bottom")] for box in found]
    np.testing.assert_allclose(sides, [row[2:] for row in want], atol=1e-4)
    assert not np.array_equal(np.asarray(Image.open(tmp_path / "out.png")), pixels)
    assert rillet.verify(rillet.load(path), inputs=1, against="litert").equal


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (lambda: ssd(num_classes=0), "operator 11 .*: classes must be 1 to 65536, got 0"),
        (lambda: ssd(y_scale=0.0), "scales must be finite numbers, scales not 0"),
        (lambda: ssd(nms_iou_threshold=float("nan")), "must be finite numbers"),
        (lambda: ssd(w_scale="5"), "option w_scale must be a number, got something else"),
        (lambda: ssd(data=options({"num_classes": 3})), "option y_scale must be a number, got none"),
        (lambda: ssd(data=b"\x01\x04\x01"), "options must be a map"),
        (lambda: ssd(data=b"\xff" * 40), "net.tflite: "),
    ],
)
def test_broken_options_are_refused(made: Any, says: str) -> None:
    with pytest.raises(GraphError, match=says) as caught:
        parse(made(), "net.tflite")
    assert "\n" not in str(caught.value)


def test_any_byte_of_the_options_may_be_broken() -> None:
    whole, rng = options(OPTIONS), np.random.default_rng(0)
    read = 0
    for _ in range(40):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            data[place] = rng.integers(0, 256)
        try:
            read += parse(ssd(data=bytes(data)), "net.tflite").graph.image is not None
        except RilletError as error:
            assert "\n" not in str(error)
    assert read


def test_anchors_are_constant() -> None:
    made = unpack(ssd())
    last = made.subgraphs[0].operators[-1]
    last.inputs = [last.inputs[0], last.inputs[1], last.inputs[0]]
    with pytest.raises(Unsupported, match=r"anchors must be a constant of Nx4 values, got \[1, 56, 4\]"):
        parse(pack(made), "net.tflite")
    last.inputs = last.inputs[:2]
    with pytest.raises(GraphError, match="must have 3 inputs, got 2"):
        parse(pack(made), "net.tflite")


# -- YOLO -------------------------------------------------------------------------------------------------------------


def slow_suppression(
    rows: list[tuple[int, float, list[float]]], overlap: float
) -> list[tuple[int, float, list[float]]]:
    """Class, score and corners of the boxes that no more certain one of their class overlaps."""

    def share(a: list[float], b: list[float]) -> float:
        width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
        both = max(width, 0) * max(height, 0)
        whole = sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)) - both
        return both / whole if whole > 0 else 0

    out: list[tuple[int, float, list[float]]] = []
    for row in sorted(rows, key=lambda one: -one[1]):
        if all(row[0] != other[0] or share(row[2], other[2]) <= overlap for other in out):
            out.append(row)
    return out


def test_a_yolo_is_known_by_its_end_and_its_boxes_are_those_of_its_file() -> None:
    names = "{0: 'cat', 1: \"dog's\", 2: 'owl'}"
    data = yolo(metadata={"task": "detect", "names": names}).SerializeToString()
    imported = parse_with_views(data, "yolo.onnx")
    graph, tensor = imported.graph, random_tensor(imported, 3)
    detector = detector_of(graph)
    assert detector == Yolo(Form.DECODED, 3, 0.25)
    assert graph.image is not None
    assert graph.image.labels == ("cat", "dog's", "owl")
    said = session(data).run(None, {"x": tensor})[0][0]  # 7 x places: centre, size, a probability a class
    rows = [
        (
            which,
            float(place[4 + which]),
            [place[0] - place[2] / 2, place[1] - place[3] / 2, place[0] + place[2] / 2, place[1] + place[3] / 2],
        )
        for place in said.T
        for which in range(3)
        if place[4 + which] >= 0.25
    ]
    want = slow_suppression(rows, 0.05)
    assert len(want) < len(rows)
    got = find_boxes(graph, reference.outputs(graph, imported.input.to_map(tensor)), replace(detector, overlap=0.05))
    assert len(got) == len(want) > 5
    for box, (which, score, corners) in zip(got, want, strict=True):
        assert box.label == graph.image.labels[which]
        assert box.score == pytest.approx(score, rel=1e-5)
        np.testing.assert_allclose(np.array([box.left, box.top, box.right, box.bottom]) * 16, corners, atol=1e-4)


def yolox(last: str = "Sigmoid") -> bytes:
    """Heads of two scales as YOLOX's exporter writes them: raw boxes, a probability of one, and two of classes."""
    nodes: list[Any] = []
    constants: dict[str, Any] = {"flat": ints(1, 7, -1)}
    for i, stride in enumerate((2, 4)):
        window = {"kernel_shape": [stride, stride], "strides": [stride, stride]}
        for what, count in (("box", 4), ("any", 1), ("class", 2)):
            constants[f"{what}{i}/w"] = real(count, 3, stride, stride) / stride / 3
            nodes.append(node("Conv", ["x", f"{what}{i}/w"], f"{what}{i}", **window))
        nodes += [
            node("Sigmoid", [f"any{i}"], f"any{i}/p"),
            node(last, [f"class{i}"], f"class{i}/p"),
            node("Concat", [f"box{i}", f"any{i}/p", f"class{i}/p"], f"all{i}", axis=1),
            node("Reshape", [f"all{i}", "flat"], f"flat{i}"),
        ]
    nodes += [node("Concat", ["flat0", "flat1"], "j", axis=2), node("Transpose", ["j"], perm=[0, 2, 1])]
    return model(nodes, (1, 3, 16, 16), constants).SerializeToString()


def test_a_yolox_is_decoded_from_its_places() -> None:
    data = yolox()
    imported = parse_with_views(data, "yolox.onnx")
    graph, tensor = imported.graph, random_tensor(imported, 3)
    detector = detector_of(graph)
    assert detector == Yolo(Form.RAW, 2, 0.3)
    said = session(data).run(None, {"x": tensor})[0][0]
    cells = [(x, y, step) for step in (2, 4) for y in range(16 // step) for x in range(16 // step)]
    rows: list[tuple[int, float, list[float]]] = []
    for (x, y, step), place in zip(cells, said.astype(float), strict=True):
        middle = (place[0] + x) * step, (place[1] + y) * step
        half = np.exp(place[2]) * step / 2, np.exp(place[3]) * step / 2
        corners = [middle[0] - half[0], middle[1] - half[1], middle[0] + half[0], middle[1] + half[1]]
        rows += [
            (which, place[4] * place[5 + which], corners) for which in (0, 1) if place[4] * place[5 + which] >= 0.3
        ]
    want = slow_suppression(rows, 0.05)
    assert len(want) < len(rows)
    got = find_boxes(graph, reference.outputs(graph, imported.input.to_map(tensor)), replace(detector, overlap=0.05))
    assert [box.label for box in got] == [f"class {which}" for which, _, _ in want]
    assert len(got) > 5
    for box, (_, score, corners) in zip(got, want, strict=True):
        assert box.score == pytest.approx(score, rel=1e-5)
        np.testing.assert_allclose(np.array([box.left, box.top, box.right, box.bottom]) * 16, corners, atol=1e-4)


def test_what_only_looks_like_one_is_none() -> None:
    for data in (yolox(last="Tanh"), yolo(strides=(2, 4, 8), classes=3, times=3).SerializeToString()):
        assert detector_of(parse_onnx(data, "net.onnx")) is None
    for metadata in (
        {"task": "detect", "names": "{0: 'cat', 1: 'dog'}"},
        {"task": "detect", "names": "{0: 'cat', 2: 'dog', 3: 'owl'}"},
        {"task": "segment", "names": "{0: 'cat', 1: 'dog', 2: 'owl'}"},
        {"task": "detect", "names": "{" * 9999},
    ):
        graph = parse_onnx(yolo(metadata=metadata).SerializeToString(), "net.onnx")
        assert graph.image is not None
        assert graph.image.labels == ()


def test_boxes_that_are_no_numbers_are_left_out() -> None:
    graph = parse_onnx(yolox(), "net.onnx")
    detector = detector_of(graph)
    assert detector is not None
    outputs = [np.full(graph.by_name[name].shape.array, 0.9, np.float32) for name in graph.outputs]
    outputs[0][0, 0, 2], outputs[0][1, 1, 4] = np.inf, np.nan
    assert all(np.isfinite([b.left, b.right, b.score]).all() for b in find_boxes(graph, tuple(outputs), detector))
