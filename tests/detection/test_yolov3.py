"""YOLOv3 as a detector: what its two kinds are fed, and loading their files."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

import mspose.models.yolov3
from mspose.checkpoints.io import save
from mspose.config.builder import load_config
from mspose.config.schema import Config
from mspose.detection import build_detector
from mspose.detection.yolov3 import YoloV3Detector
from mspose.errors import PoseError
from mspose.models.yolov3 import ANCHORS, YOLOv3
from tests.conftest import ROOT
from tests.darknet import write_yolov3
from tests.graph import ms
from tests.messages import naming

SIZE = (64, 96)


class Recorder:
    """Stands in for a network: keeps its input, and finds one person in the first cell of the finest head."""

    def __call__(self, inputs: np.ndarray) -> list[np.ndarray]:
        self.inputs = inputs
        heads = [np.full((1, 18, SIZE[1] // s, SIZE[0] // s), -20, np.float32) for s in (32, 16, 8)]
        heads[2][0, :6, 0, 0] = [0, 0, np.log(8 / 10), np.log(8 / 13), 20, 20]  # centre (4, 4), 8×8
        return heads


def test_zoo_input_is_stretched_and_normalised() -> None:
    network = Recorder()
    image = np.full((48, 128, 3), (10, 100, 200), np.uint8)
    found = YoloV3Detector(network, ANCHORS, SIZE, zoo=True, threshold=0.5, nms=0.5)(image)
    expected = (np.array([200, 100, 10]) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert network.inputs.shape == (1, 3, 96, 64)
    assert network.inputs.dtype == np.float32
    for channel in range(3):
        np.testing.assert_allclose(network.inputs[0, channel], expected[channel], atol=1e-5)
    np.testing.assert_allclose(found.boxes, [[0, 0, 16, 4]], atol=1e-4)


def test_darknet_input_is_letterboxed() -> None:
    network = Recorder()
    image = np.full((60, 40, 3), (10, 100, 200), np.uint8)
    found = YoloV3Detector(network, ANCHORS, SIZE, zoo=False, threshold=0.5, nms=0.5)(image)
    np.testing.assert_allclose(network.inputs[0, :, 48, 32], np.array([200, 100, 10]) / 255, atol=1e-6)
    np.testing.assert_allclose(found.boxes, [[0, 0, 5, 5]], atol=1e-4)
    YoloV3Detector(network, ANCHORS, SIZE, zoo=False, threshold=0.5, nms=0.5)(image[:10])
    np.testing.assert_allclose(network.inputs[0, :, :40], 128 / 255, atol=1e-6)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of the whole network have 248 MB; here it is eight times narrower."""
    monkeypatch.setattr(mspose.models.yolov3, "YOLOv3", partial(YOLOv3, base_width=4))


def config(path: Path) -> Config:
    return load_config(
        ROOT / "configs" / "simplepose_r50_256x192.yaml",
        {
            "demo.detector_file": str(path),
            "demo.detector_size": [64, 64],
            "demo.detector_threshold": 0.0,
            "demo.detector_nms": 1.0,
        },
    )


@pytest.mark.usefixtures("narrow")
def test_darknet_weights_are_loaded(tmp_path: Path) -> None:
    _, weights = write_yolov3(tmp_path, (64, 64), 4, 80)
    found = build_detector(config(weights))(np.zeros((64, 64, 3), np.uint8))
    assert len(found) > 0
    assert 0 < found.scores.max() < 1


@pytest.mark.usefixtures("narrow")
def test_zoo_checkpoints_are_loaded(tmp_path: Path) -> None:
    network = YOLOv3(zoo=True, base_width=4).set_train(False)
    values = {f"feature_map.{p.name}": p for p in network.get_parameters()} | {"global_step": ms.Tensor([1])}
    save(values, tmp_path / "yolo.ckpt")
    image = np.full((64, 64, 3), 90, np.uint8)
    detector = build_detector(config(tmp_path / "yolo.ckpt"))
    expected = YoloV3Detector(lambda x: [h.asnumpy() for h in network(ms.Tensor(x))], ANCHORS, (64, 64), True, 0.0, 1.0)
    np.testing.assert_allclose(detector(image).scores, expected(image).scores, atol=1e-5)


@pytest.mark.usefixtures("narrow")
def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    save({"conv1.weight": ms.Tensor(np.zeros((2, 2), np.float32))}, tmp_path / "other.ckpt")
    with pytest.raises(PoseError, match=naming("YOLOv3", tmp_path / "other.ckpt", "demo.detector_file")):
        build_detector(config(tmp_path / "other.ckpt"))
