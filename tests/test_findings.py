"""What `run` finds in a picture: boxes of known detectors, maps of classes, both drawn, and arrays that are kept."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graphs import Builder
from rillet.analyses.boxes import DETECTORS, Box, Detector, detector_of, find_boxes, in_picture, merged
from rillet.analyses.regions import class_map, is_segmentation, regions
from rillet.api.programs import compile as compile_network
from rillet.api.programs import save_outputs
from rillet.backends import reference
from rillet.data.overlay import colour, draw_boxes, draw_classes
from rillet.errors import GraphError
from rillet.exporters.rlt import to_bytes
from rillet.ir.graph import Graph, ImageSpec
from rillet.ir.ops import Activate, Activation, ArgMax, Conv, Input, Resize, Softmax, Window
from rillet.ir.types import DType, Shape
from rillet.models.opening import open_model
from rillet.plan.rows.planner import plan_rows
from rillet.runtime import verify
from rillet.runtime.findings import as_files, interpret
from rillet.runtime.programs import program_of
from test_classify import run


def detector_graph(known: Detector) -> Graph:
    """Inputs and outputs of a detector's shapes; nothing between them is asked here."""
    made = Builder(np.random.default_rng(0), DType.F32)
    at = made.add(Input(), shape=Shape(known.side, known.side, 3))
    names: list[str] = []
    for values in (known.values, 1):
        for side, anchors in known.maps:
            step = known.side // side
            names.append(made.add(Conv(anchors * values, Window((step, step), (step, step))), at))
    image = ImageSpec(known.side, known.side, 3, deviation=(255.0,))
    return Graph("detector", tuple(made.nodes), tuple(names), made.params, image)


@pytest.mark.parametrize("known", DETECTORS, ids=lambda one: f"{one.label}{one.side}")
def test_boxes_are_where_they_were_put(known: Detector, tmp_path: Path) -> None:
    graph, rng = detector_graph(known), np.random.default_rng(known.side)
    assert detector_of(graph) is known
    assert detector_of(replace(graph, outputs=graph.outputs[::-1])) is None
    boxes = [np.zeros((side, side, anchors, known.values), np.float32) for side, anchors in known.maps]
    scores = [np.full((side, side, anchors), -200, np.float32) for side, anchors in known.maps]
    wanted: list[tuple[float, ...]] = []
    for i in range(3):  # three boxes in thirds of the picture, each said by an anchor of any map near it
        level = int(rng.integers(len(known.maps)))
        side, anchors = known.maps[level]
        row, column, anchor = int(rng.integers(side)), i * side // 3, int(rng.integers(anchors))
        width, height = rng.uniform(0.1, 0.3, 2)
        x, y = (i + 0.5) / 3, float(rng.uniform(0.2, 0.8))
        points = rng.uniform(0, 1, (known.points, 2))
        centre = np.array([(column + 0.5) / side, (row + 0.5) / side])
        said = [np.array([x, y]) - centre, np.array([width, height]), *(points - centre)]
        boxes[level][row, column, anchor] = np.concatenate(said) * known.side
        scores[level][row, column, anchor] = 3 - i
        wanted.append((x - width / 2, y - height / 2, x + width / 2, y + height / 2, *points.reshape(-1)))
    outputs = tuple(array.reshape(*array.shape[:2], -1) for array in (*boxes, *scores))
    found = find_boxes(graph, outputs, known)
    for box, corners, logit in zip(found, wanted, (3, 2, 1), strict=True):
        got = (box.left, box.top, box.right, box.bottom, *np.reshape(box.points, -1))
        np.testing.assert_allclose(got, corners, atol=1e-6)
        assert box.score == pytest.approx(1 / (1 + np.exp(-logit)))
    assert interpret(graph, (*outputs[: len(boxes)], *(np.full_like(s, -9) for s in scores)), (9, 9)).boxes == ()
    (tmp_path / "net.rlt").write_bytes(to_bytes(graph))
    image = open_model(str(tmp_path / "net.rlt")).graph.image
    assert image is not None
    assert (image.mean, image.deviation) == ((known.mean,), (known.deviation,))


def slow_merge(rows: list[list[float]], overlap: float) -> list[list[float]]:
    """As `merged`, box by box."""
    rest, out = sorted(rows, key=lambda row: -row[0]), list[list[float]]()
    while rest:
        best, group, others = rest[0], [rest[0]], list[list[float]]()
        for row in rest[1:]:
            wide = min(best[3], row[3]) - max(best[1], row[1])
            high = min(best[4], row[4]) - max(best[2], row[2])
            both = wide * high if wide > 0 and high > 0 else 0.0
            whole = sum((r[3] - r[1]) * (r[4] - r[2]) for r in (best, row)) - both
            (group if both / whole > overlap else others).append(row)
        total = sum(row[0] for row in group)
        out.append([best[0], *(sum(row[0] * row[k] for row in group) / total for k in range(1, len(best)))])
        rest = others
    return out


def test_boxes_that_overlap_become_one() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        corner, size = rng.uniform(0, 1, (40, 2)), rng.uniform(0.1, 0.5, (40, 2))
        rows = np.concatenate([rng.uniform(0.5, 1, (40, 1)), corner, corner + size, rng.uniform(0, 1, (40, 4))], 1)
        np.testing.assert_allclose(merged(rows, 0.3), slow_merge(rows.tolist(), 0.3))


def map_graph(channels: int, last: str, grow: bool = False) -> Graph:
    """A network that makes a map of its image, 12 x 18."""
    made = Builder(np.random.default_rng(4), DType.F32)
    at = made.add(Input(), shape=Shape(12, 18, 3))
    at = made.add(Conv(channels, Window((3, 3), (1, 1), (1, 1, 1, 1))), at)
    op = {"sigmoid": Activate(Activation.SIGMOID), "softmax": Softmax(), "argmax": ArgMax()}.get(last)
    op = Activate(Activation.RELU) if last == "relu" else op
    at = made.add(op, at) if op is not None else at
    at = made.add(Resize(tuple(range(12)), tuple(i // 2 for i in range(36))), at) if grow else at
    return Graph("map", tuple(made.nodes), (at,), made.params, ImageSpec(12, 18, 3, deviation=(255.0,)))


def test_which_maps_are_of_classes() -> None:
    assert is_segmentation(map_graph(1, "sigmoid"))
    assert is_segmentation(map_graph(4, "softmax"))
    assert is_segmentation(map_graph(4, "softmax", grow=True))
    assert not is_segmentation(map_graph(1, "relu"))
    assert not is_segmentation(map_graph(4, ""))
    logits = map_graph(4, "")
    assert logits.image is not None
    assert is_segmentation(logits.with_image(replace(logits.image, labels=("a", "b", "c", "d"))))
    assert not is_segmentation(logits.with_image(None))


def test_places_of_the_greatest_channels_are_classes() -> None:
    for channels, known in ((4, True), (256, True), (257, False)):
        graph = map_graph(channels, "argmax")
        assert is_segmentation(graph) is known
    graph = map_graph(4, "argmax")
    assert graph.image is not None
    named = graph.with_image(replace(graph.image, labels=("a", "b", "c", "d")))
    image = np.random.default_rng(5).uniform(0, 1, (12, 18, 3)).astype(np.float32)
    values = reference.run(named, image)
    classes = class_map(named, values[named.outputs[0]])
    assert classes.shape == (12, 18)
    assert np.array_equal(classes, values[named.by_name[named.outputs[0]].inputs[0]].argmax(-1))
    assert {one.label for one in regions(named, classes)} == {"abcd"[i] for i in np.unique(classes)}
    assert not is_segmentation(graph.with_image(None))


def test_the_class_of_a_pixel() -> None:
    graph, rng = map_graph(4, "softmax"), np.random.default_rng(5)
    values = rng.uniform(0, 1, (12, 18, 4)).astype(np.float32)
    classes = class_map(graph, values)
    for row, column in ((0, 0), (7, 11)):
        assert classes[row, column] == max(range(4), key=lambda c: values[row, column, c])
    shares = regions(graph, classes)
    assert [one.share for one in shares] == sorted(((classes == one.index).mean() for one in shares), reverse=True)
    alone = map_graph(1, "sigmoid")
    half = np.array([0.5, np.nextafter(np.float32(0.5), np.float32(1))], np.float32)
    assert class_map(alone, np.resize(half, (12, 18, 1)))[0].tolist() == [0, 1] * 9


def test_boxes_and_classes_lie_where_the_picture_was_seen() -> None:
    ground = Image.new("L", (60, 40), 90)
    box = in_picture(Box("face", 0.9, 0.25, 0.5, 0.75, 1.0, ((0.5, 0.75),)), ground.size, "crop")
    assert (box.left, box.top, box.right, box.bottom, box.points) == (20, 20, 40, 40, ((30, 30),))
    drawn = np.asarray(draw_boxes(ground, (box,)))
    assert tuple(drawn[30, 20]) == tuple(drawn[30, 30]) == colour(0)
    assert (drawn[:, :20] == 90).all()
    assert (drawn[22:28, 22:28] == 90).all()
    classes = np.zeros((4, 4), np.uint8)
    classes[0, 3] = 2
    covered = np.asarray(draw_classes(ground, classes, "crop"))
    changed = (covered != 90).any(-1)
    assert changed[:10, 40:50].all()
    assert changed.sum() == 100


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that makes a map of classes, one that makes some map, and a picture."""
    made = tmp_path_factory.mktemp("maps")
    (made / "map.rlt").write_bytes(to_bytes(map_graph(3, "softmax")))
    (made / "some.rlt").write_bytes(to_bytes(map_graph(3, "relu")))
    Image.fromarray(np.random.default_rng(6).integers(0, 256, (40, 30, 3), np.uint8)).save(made / "photo.png")
    return made


def test_a_network_that_ends_in_places_is_drawn_alike(folder: Path) -> None:
    with Image.open(folder / "photo.png") as photo:
        drawn = [compile_network(plan_rows(map_graph(3, last))).draw(photo) for last in ("softmax", "argmax")]
    assert np.array_equal(*map(np.asarray, drawn))
    (folder / "places.rlt").write_bytes(to_bytes(map_graph(3, "argmax")))
    out, err, code = run(folder / "places.rlt", folder / "photo.png", "-o", folder / "places.png")
    assert (code, err) == (0, "")
    assert "class " in out
    with Image.open(folder / "places.png") as seen:
        assert np.array_equal(np.asarray(seen), np.asarray(drawn[1]))


def test_a_class_map_goes_onto_the_picture_or_into_an_array(folder: Path) -> None:
    out, err, code = run(folder / "map.rlt", folder / "photo.png", "-o", folder / "out.png")
    assert (code, err) == (0, "")
    assert "class " in out
    program = compile_network(plan_rows(open_model(str(folder / "map.rlt")).graph))
    with Image.open(folder / "out.png") as drawn, Image.open(folder / "photo.png") as photo:
        assert drawn.size == (30, 40)
        assert np.array_equal(np.asarray(drawn), np.asarray(program.draw(photo)))
        array = program(photo)[0]
    found = program.find(folder / "photo.png")
    assert found.classes is not None
    assert np.array_equal(found.classes, array.argmax(-1))
    out, err, code = run(folder / "map.rlt", folder / "photo.png", "-o", folder / "out.npy", "--json")
    assert [row["share"] for row in json.loads(out)["regions"]] == [one.share for one in found.regions]
    assert np.array_equal(np.load(folder / "out.npy"), array)
    with pytest.raises(GraphError, match="image must be a picture to be drawn on, got an array of inputs"):
        program.draw(np.zeros((12, 18, 3), np.float32))


def test_where_a_result_cannot_go(folder: Path) -> None:
    photo = folder / "photo.png"
    for words, said in (
        (("map.rlt", photo, "-o", folder / "out.txt"), "must end in .png, .jpg or .npy, or be a folder, got '.txt'"),
        (("map.rlt", photo, "--raw", "-o", "out.png"), "must be a .npy file or a folder with --raw"),
        (("some.rlt", photo, "-o", folder / "some.png"), "must be boxes of a known detector or a map of classes"),
    ):
        _, err, code = run(folder / words[0], *words[1:])
        assert code == 1
        assert said in err
    assert not (folder / "some.png").exists()
    assert run(folder / "some.rlt", photo, "-o", folder / "kept")[2] == 0
    assert [file.name for file in sorted((folder / "kept").glob("*.npy"))] == ["n2.npy"]


def test_names_of_outputs_are_names_of_files(tmp_path: Path) -> None:
    graph = detector_graph(DETECTORS[0])
    nodes = {name: f"../{i}:{name}" for i, name in enumerate(graph.outputs)}
    named = replace(
        graph,
        nodes=tuple(replace(node, name=nodes.get(node.name, node.name)) for node in graph.nodes),
        outputs=tuple(nodes.values()),
        params={},
    )
    outputs = tuple(np.zeros(named.by_name[name].shape.array, np.float32) for name in named.outputs)
    files = save_outputs(named, outputs, tmp_path / "kept")
    assert [file.name for file in files] == [f"_{i}_{name}.npy" for i, name in enumerate(graph.outputs)]
    assert np.load(files[0]).shape == outputs[0].shape
    with pytest.raises(GraphError, match="must be a folder for 4 outputs, got a file"):
        save_outputs(named, outputs, tmp_path / "one.npy")
    same = replace(named, nodes=graph.nodes[:1], outputs=(graph.nodes[0].name,))
    assert list(as_files(same, outputs[:1])) == ["n0.npy"]


def test_float32_that_differs_by_its_rounding_alone_is_the_references(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = map_graph(3, "softmax")
    plan, image = plan_rows(graph), next(verify.random_inputs(graph, 1))
    outputs = program_of(plan).push(image)
    monkeypatch.setattr(verify, "REAL_TOLERANCE", 0.0)
    assert verify.first_difference(graph, verify.reference.run(graph, image), {graph.outputs[0]: outputs[0]}, 0, "c")
    assert verify.output_difference(lambda: plan, graph, image, outputs) is None
    other = verify.output_difference(lambda: plan, graph, image, (np.multiply(outputs[0], np.float32(1.001)),))
    assert other is not None
    assert other.node == graph.outputs[0]
