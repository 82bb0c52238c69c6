"""ONNX detectors as detectors of people, through ONNX Runtime: YOLOX, YOLOv8, and those of MMDetection.

Names and shapes of the outputs tell the form, and with it the input: YOLOX takes BGR pixels 0…255 with the picture top
left, YOLOv8 RGB/255 with the picture in the middle; both surround it with grey 114. Of MMDetection's, see
`mspose.detection.mmdet`; they choose among overlapping boxes themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mspose.backends.onnx_runtime import first_line, open_session
from mspose.checkpoints.mmdeploy import DETECTIONS, PIPELINE, read_package
from mspose.config.schema import RuntimeConfig
from mspose.detection.boxes import Boxes, select_boxes
from mspose.detection.decode import STRIDES, grid, suppressed_people, yolov8_people, yolox_people
from mspose.detection.letterbox import Placement, letterbox, top_left
from mspose.detection.mmdet import Feed, feed_of
from mspose.errors import PoseError
from mspose.files import file_fault

PADDING_LEVEL = 114
INPUT_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class OnnxDetector:
    """Finds people with an ONNX detector whose first class is person.

    Args:
        path: the file, or the archive that MMDeploy's `end2end.onnx` came in.
        size: (width, height) of the input, for files that leave it open; multiples of 32.
        threshold: boxes with a lower score are left out.
        nms: boxes that overlap a better one by more than this IoU are left out; not used with the form "mmdet".
        runtime: where to compute.
        overlap: pictures that are looked at a time, while other threads compute too; 0: one, and nothing beside it.

    Attributes:
        form: "yolox", "yolov8" or "mmdet".
        size: (width, height) of the input.

    Raises:
        PoseError: ONNX Runtime is not installed, or the file is missing, not ONNX, or of another form.
        UsageError: ONNX Runtime was built without the configured device.
    """

    def __init__(
        self,
        path: str | Path,
        size: tuple[int, int],
        threshold: float,
        nms: float,
        runtime: RuntimeConfig,
        overlap: int = 0,
    ) -> None:
        self._path, self._threshold, self._nms = path, threshold, nms
        fault = file_fault(path)
        if fault:
            raise PoseError(f"ONNX detector {fault}: {path} (demo.detector_file)")
        package = read_package(Path(path))
        self._session = open_session(package, runtime, overlap > 0, max(overlap, 1))
        node = self._session.get_inputs()[0]
        self._input, self._dtype = node.name, INPUT_TYPES.get(node.type)
        if (
            len(self._session.get_inputs()) != 1
            or self._dtype is None
            or len(node.shape) != 4
            or _fixed(node.shape[1]) not in (None, 3)
            or _fixed(node.shape[0]) not in (None, 1)
        ):
            raise PoseError(
                f"ONNX detector must have one input, 1 x 3 x height x width: {path} has "
                f"{_described(self._session.get_inputs())}"
            )
        height, width = (_fixed(side) for side in node.shape[2:])
        self._outputs = tuple(output.name for output in self._session.get_outputs())
        self._feed = feed_of(package) if self._outputs == DETECTIONS else Feed()
        said = self._feed.size
        self.size = (width or (said or size)[0], height or (said or size)[1])
        if said not in (None, self.size):
            raise PoseError(
                f"ONNX detector {package.name} takes {self.size[0]}x{self.size[1]}, its {PIPELINE} says "
                f"{said[0]}x{said[1]}"
            )
        # Shapes in the file may be open or wrong: one run tells, and prepares the first picture's.
        self.form = self._recognise(self._run(np.zeros((self.size[1], self.size[0], 3), np.uint8)))

    def __call__(self, image: np.ndarray, name: str = "") -> Boxes:
        """People in a picture (H, W, 3) uint8 BGR."""
        boxes, scores, placement = self._find(image)
        nms = 1 if self.form == "mmdet" else self._nms
        return select_boxes(placement.to_picture(boxes), scores, placement.picture, self._threshold, nms)

    def _find(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, Placement]:
        """Candidates in the input, their scores, and where the picture lies in it."""
        if self.form == "mmdet":
            pixels, placement = self._feed(image, self.size)
            return *suppressed_people(*self._run(pixels)), placement
        if self.form == "yolov8":
            pixels, placement = letterbox(image, self.size, PADDING_LEVEL)
            return *yolov8_people(self._run(pixels[:, :, ::-1].astype(np.float32) / 255)[0]), placement
        pixels, placement = top_left(image, self.size, PADDING_LEVEL)
        return *yolox_people(self._run(pixels)[0], self.size), placement

    def _run(self, pixels: np.ndarray) -> Sequence[np.ndarray]:
        """All outputs for an input (H, W, 3)."""
        inputs = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], self._dtype)
        try:
            return self._session.run(None, {self._input: inputs})
        except Exception as error:  # ONNX Runtime raises types of its own
            raise PoseError(
                f"ONNX detector fails on an input of {self.size[0]}x{self.size[1]}: {self._path}: {first_line(error)}"
            ) from error

    def _recognise(self, outputs: Sequence[np.ndarray]) -> str:
        shape = outputs[0].shape
        if self._outputs == DETECTIONS:
            if len(shape) == 3 and shape[::2] == (1, 5) and outputs[1].shape == shape[:2]:
                return "mmdet"
        elif all(side % STRIDES[-1] == 0 for side in self.size) and len(shape) == 3 and shape[0] == 1:
            count = len(grid(self.size)[0])
            if shape[1] == count and shape[2] > 5:
                return "yolox"
            if shape[2] == count and shape[1] > 4:
                return "yolov8"
        raise PoseError(
            f"ONNX detector is of no known form: {self._path}: for an input of {self.size[0]}x"
            f"{self.size[1]} its first output, {self._outputs[0]}, is {' x '.join(map(str, shape))}; YOLOX gives "
            "1 x N x (5 + classes), YOLOv8 1 x (4 + classes) x N, N the cells at strides 8, 16 and 32; MMDetection "
            "dets, 1 x N x 5, and labels, 1 x N"
        )


def _fixed(side: object) -> int | None:
    """A dimension of the file, None where it is left open."""
    return side if isinstance(side, int) and side > 0 else None


def _described(inputs: Sequence) -> str:
    return ", ".join(f"{node.name}: {' x '.join(map(str, node.shape))} {node.type}" for node in inputs)
