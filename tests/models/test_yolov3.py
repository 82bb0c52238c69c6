"""YOLOv3: the authors' network against OpenCV's Darknet importer, the zoo's by its parts."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from mindspore import nn

from mspose.backends.checkpoint import MindSporeBackend
from mspose.checkpoints.darknet import read_darknet
from mspose.checkpoints.io import assign
from mspose.detection.boxes import select_boxes
from mspose.detection.letterbox import letterbox
from mspose.detection.yolov3 import PADDING_LEVEL, YoloV3Detector
from mspose.models.yolov3 import ANCHORS, SameBlock, YOLOv3
from tests.darknet import write_yolov3
from tests.golden.formula import parameter, picture
from tests.graph import ms, without_graph

GOLDEN = Path(__file__).parents[1] / "golden" / "golden_yolov3.json"
SIZE, WIDTH, CLASSES = (128, 96), 4, 3
# Layers in OpenCV: the last convolution of each head, and the boxes made of it.
RAW, DECODED = ["conv_81", "conv_93", "conv_105"], ["yolo_82", "yolo_94", "yolo_106"]


def shapes(network: nn.Cell) -> dict[str, tuple[int, ...]]:
    return {p.name: tuple(p.shape) for p in network.get_parameters()}


def small(zoo: bool) -> YOLOv3:
    """A narrow network with formula weights."""
    torch = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    network = YOLOv3(zoo, classes=2, base_width=4).set_train(False)
    for p in network.get_parameters():
        layer, _, last = p.name.rpartition(".")
        p.set_data(ms.Tensor(parameter(f"{layer}.{torch.get(last, last)}", tuple(p.shape))))
    return network


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[MindSporeBackend, cv2.dnn.Net]:
    """A narrow network with random weights, ours and OpenCV's."""
    cfg, weights = write_yolov3(tmp_path_factory.mktemp("darknet"), SIZE, WIDTH, CLASSES)
    network = YOLOv3(classes=CLASSES, base_width=WIDTH)
    assign(network, read_darknet(weights, shapes(network)), weights)
    return MindSporeBackend(network), cv2.dnn.readNetFromDarknet(str(cfg), str(weights))


def photo(height: int, width: int) -> np.ndarray:
    """Smooth noise (H, W, 3) uint8."""
    noise = np.random.default_rng(5).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def test_raw_outputs_are_opencvs(both: tuple[MindSporeBackend, cv2.dnn.Net]) -> None:
    ours, reference = both
    inputs = np.random.default_rng(1).random((1, 3, SIZE[1], SIZE[0]), np.float32)
    reference.setInput(inputs)
    for found, expected in zip(ours(inputs), reference.forward(RAW)):
        assert found.shape == expected.shape
        assert 1 < np.abs(expected).max() < 100
        np.testing.assert_allclose(found, expected, atol=1e-3, rtol=0)


def test_boxes_after_nms_are_opencvs(both: tuple[MindSporeBackend, cv2.dnn.Net]) -> None:
    ours, reference = both
    image = photo(150, 130)
    found = YoloV3Detector(ours, ANCHORS, SIZE, zoo=False, threshold=0.3, nms=0.45)(image)
    pixels, placement = letterbox(image, SIZE, PADDING_LEVEL)
    reference.setInput(cv2.dnn.blobFromImage(pixels, 1 / 255, swapRB=True))
    rows = np.concatenate(reference.forward(DECODED))  # centre, size as shares of the input, objectness, classes
    boxes = np.concatenate([rows[:, :2] - rows[:, 2:4] / 2, rows[:, 2:4]], axis=1) * (*SIZE, *SIZE)
    expected = select_boxes(placement.to_picture(boxes), rows[:, 5], (130, 150), 0.3, 0.45)
    assert len(expected) > 5
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.01)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)


@pytest.mark.parametrize("case", json.loads(GOLDEN.read_text()), ids=lambda case: "zoo" if case["zoo"] else "darknet")
def test_golden_outputs(case: dict) -> None:
    with without_graph():
        outputs = small(case["zoo"])(ms.Tensor(picture(7, (1, 3, 64, 96))))
    for maps, golden in zip((m.asnumpy() for m in outputs), case["outputs"]):
        assert list(maps.shape) == golden["shape"]
        np.testing.assert_allclose(
            maps.reshape(-1)[:: golden["every"]], golden["values"], atol=1e-4 * golden["largest"]
        )


def test_names_and_shapes_are_the_zoos(parity_dir: Path) -> None:
    keys = json.loads((parity_dir / "mindspore_zoo_yolov3.keys.json").read_text())
    expected = {name.removeprefix("feature_map."): tuple(shape) for name, shape in keys.items()}
    assert shapes(YOLOv3(zoo=True)) == expected
    assert shapes(YOLOv3()) == expected


def test_zoo_downsampling_pads_as_mode_same() -> None:
    block = SameBlock(YOLOv3(zoo=True, base_width=4).backbone.conv1[0], nn.BatchNorm2d(8), nn.ReLU()).set_train(False)
    plain = nn.Conv2d(4, 8, 3, 2, pad_mode="same")
    plain.weight.set_data(block[0].weight)
    image = ms.Tensor(picture(2, (2, 4, 12, 16)))
    expected = nn.SequentialCell(plain, nn.BatchNorm2d(8), nn.ReLU()).set_train(False)(image).asnumpy()
    np.testing.assert_allclose(block(image).asnumpy(), expected, atol=1e-5)


@pytest.mark.parametrize("zoo", [False, True])
def test_activations_and_downsampling_of_each_kind(zoo: bool) -> None:
    network = YOLOv3(zoo, classes=1, base_width=2)
    backbone = [cell for _, cell in network.backbone.cells_and_names()]
    assert sum(isinstance(cell, SameBlock) for cell in backbone) == (5 if zoo else 0)
    assert sum(isinstance(cell, nn.ReLU) for cell in backbone) == (52 if zoo else 0)
    assert sum(isinstance(cell, nn.LeakyReLU) for cell in backbone) == (0 if zoo else 52)
    everything = [cell for _, cell in network.cells_and_names()]
    assert sum(isinstance(cell, nn.LeakyReLU) for cell in everything) == (20 if zoo else 72)
