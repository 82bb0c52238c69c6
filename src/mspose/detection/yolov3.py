"""YOLOv3 as a detector of people: the authors' weights, or those of the MindSpore model zoo.

The two were trained on different input, and each gets its own. The authors': RGB/255, the picture fitted into the
middle of the input, grey around it. The zoo's: RGB/255 with ImageNet mean and deviation, the picture stretched to the
input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mspose.config.keys import section_as
from mspose.config.schema import Config
from mspose.config.topdown import TopDownDemo
from mspose.detection.boxes import Boxes, select_boxes
from mspose.detection.decode import yolov3_people
from mspose.detection.letterbox import letterbox, stretch
from mspose.errors import PoseError
from mspose.files import file_fault

PADDING_LEVEL = 128  # Darknet fills with 0.5
ZOO_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
ZOO_STD = np.array([0.229, 0.224, 0.225], np.float32)


class YoloV3Detector:
    """Finds people with a YOLOv3 network.

    Args:
        forward: the network: (1, 3, H, W) float32 → raw outputs of the heads, coarsest first.
        anchors: (width, height) of each head's anchors in input pixels.
        size: (width, height) of the network input.
        zoo: the input is what the MindSpore zoo's weights were trained on, else what the authors' were.
        threshold: boxes with a lower score are left out.
        nms: boxes that overlap a better one by more than this IoU are left out.
    """

    def __init__(
        self,
        forward: Callable[[np.ndarray], Sequence[np.ndarray]],
        anchors: Sequence[Sequence[tuple[int, int]]],
        size: tuple[int, int],
        zoo: bool,
        threshold: float,
        nms: float,
    ) -> None:
        self._forward, self._anchors, self._size, self._zoo = forward, anchors, size, zoo
        self._threshold, self._nms = threshold, nms

    def __call__(self, image: np.ndarray, name: str = "") -> Boxes:
        """People in a picture (H, W, 3) uint8 BGR."""
        if self._zoo:
            pixels, placement = stretch(image, self._size)
        else:
            pixels, placement = letterbox(image, self._size, PADDING_LEVEL)
        inputs = pixels[:, :, ::-1].astype(np.float32) / 255
        if self._zoo:
            inputs = (inputs - ZOO_MEAN) / ZOO_STD
        heads = self._forward(np.ascontiguousarray(inputs.transpose(2, 0, 1)[None]))
        boxes, scores = yolov3_people(heads, self._anchors, self._size)
        return select_boxes(placement.to_picture(boxes), scores, placement.picture, self._threshold, self._nms)


def load_yolov3(config: Config) -> YoloV3Detector:
    """YOLOv3 with the weights of `demo.detector_file`: `.weights` of Darknet, `.ckpt` of the MindSpore zoo.

    Raises:
        PoseError: the file is missing, cut short or of another network.
    """
    demo = section_as(config.demo, TopDownDemo)
    path = Path(demo.detector_file)
    fault = file_fault(path)
    if fault:
        raise PoseError(f"detector {fault}: {path} (demo.detector_file)")
    from mspose.runtime.device import start

    runtime = start(config.runtime)
    # These import MindSpore.
    from mspose.backends.checkpoint import MindSporeBackend
    from mspose.checkpoints.ckpt_file import read_ckpt
    from mspose.checkpoints.darknet import read_darknet
    from mspose.checkpoints.foreign import float_weights
    from mspose.checkpoints.io import assign
    from mspose.checkpoints.names import yolov3_from_zoo
    from mspose.models.yolov3 import ANCHORS, YOLOv3

    zoo = path.suffix.lower() == ".ckpt"
    network = YOLOv3(zoo)
    if zoo:
        values = float_weights(yolov3_from_zoo(read_ckpt(path)), path)
        if not any(name.startswith("backblock0.") for name in values):
            raise PoseError(f"not a YOLOv3 checkpoint of the MindSpore model zoo: {path} (demo.detector_file)")
    else:
        values = read_darknet(path, {p.name: tuple(p.shape) for p in network.get_parameters()})
    assign(network, values, path)
    backend = MindSporeBackend(runtime.adapt(network))

    def forward(inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        heads = backend(inputs)
        return heads if isinstance(heads, tuple) else (heads,)

    width, height = demo.detector_size
    return YoloV3Detector(
        forward,
        ANCHORS,
        (width, height),
        zoo,
        demo.detector_threshold,
        demo.detector_nms,
    )
