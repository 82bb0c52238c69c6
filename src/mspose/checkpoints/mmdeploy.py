"""MMDeploy's packages: a network as `end2end.onnx` and, in JSON, how pictures become input and outputs results.

OpenMMLab publishes them as ZIP archives, FOLDER/{end2end.onnx, pipeline.json, deploy.json, detail.json}. Of the JSON
files, pipeline.json alone is read:

    {"pipeline": {"tasks": [{"module": "Transform", "transforms": [{"type": "Normalize", "mean": […], …}, …]},
                            {"module": "Net", …},
                            {"module": "mmpose", "component": "SimCCLabelDecode", "params": {…}}]}}

It is somebody else's file: whatever it says is checked before it is used.
"""

from __future__ import annotations

import posixpath
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mspose.archives import DAMAGED, harmless
from mspose.errors import PoseError
from mspose.files import parse_json

ENDING = ".zip"
MODEL, PIPELINE = "end2end.onnx", "pipeline.json"
INPUT = "input"  # the name of the only input
# Names of the outputs of detectors, whose suppression is inside.
DETECTIONS = ("dets", "labels")
# An ONNX file is a protocol buffer, which cannot be larger; pipeline.json has a few kilobytes.
LARGEST_MODEL, LARGEST_JSON = 2**31, 2**20
# What only brings pictures and arrays into other hands.
_NEUTRAL = ("LoadImageFromFile", "LoadImage", "DefaultFormatBundle", "ImageToTensor", "Collect")


@dataclass(frozen=True)
class Pipeline:
    """What pipeline.json says.

    Attributes:
        source: the file, for messages.
        transforms: how a picture becomes input, each {"type": …, its arguments}, in order.
        decoder: how outputs become results: "SimCCLabelDecode", "TopdownHeatmapSimpleHeadDecode", "ResizeBBox".
        parameters: of the decoder.
    """

    source: str
    transforms: tuple[dict[str, Any], ...]
    decoder: str
    parameters: dict[str, Any]

    def only(self, *kinds: str) -> None:
        """Refuse transforms other than those of `kinds`, and those that change nothing.

        Raises:
            PoseError: one is named.
        """
        for transform in self.transforms:
            if transform["type"] not in (*kinds, *_NEUTRAL):
                raise PoseError(f"{self.source}: {transform['type']} is a step that is not known here")

    def transform(self, kind: str) -> dict[str, Any]:
        """The transform of a kind; empty without one.

        Raises:
            PoseError: there are two.
        """
        found = [transform for transform in self.transforms if transform["type"] == kind]
        if len(found) > 1:
            raise PoseError(f"{self.source}: {kind} is there {len(found)} times")
        return found[0] if found else {}

    def normalisation(self) -> tuple[str, list[float], list[float]]:
        """Order of the channels, bgr or rgb, and in that order the mean and the deviation, of pixels 0…255.

        Raises:
            PoseError: `Normalize` is missing or says nothing usable.
        """
        given = self.transform("Normalize")
        if not isinstance(given.get("to_rgb"), bool):
            raise PoseError(f"{self.source}: Normalize must have to_rgb, true or false")
        mean = self.numbers("Normalize.mean", given.get("mean"), 3, -1e4, 1e4)
        std = self.numbers("Normalize.std", given.get("std"), 3, 1e-3, 1e4)
        return "rgb" if given["to_rgb"] else "bgr", mean, std

    def size(self, name: str, value: object) -> tuple[int, int]:
        """[width, height] in pixels.

        Raises:
            PoseError: it is something else; it is called `name`.
        """
        width, height = self.numbers(name, value, 2, 1, 1 << 14)
        if width != int(width) or height != int(height):
            raise PoseError(f"{self.source}: {name} must be whole numbers, not {_shown(value)}")
        return int(width), int(height)

    def numbers(self, name: str, value: object, count: int, least: float, most: float) -> list[float]:
        """`count` numbers from `least` to `most`.

        Raises:
            PoseError: it is something else; it is called `name`.
        """
        fits = isinstance(value, list) and len(value) == count and all(is_number(v, least, most) for v in value)
        if not fits or not isinstance(value, list):
            raise PoseError(
                f"{self.source}: {name} must be {count} numbers from {least:g} to {most:g}, not {_shown(value)}"
            )
        return [float(v) for v in value]


@dataclass(frozen=True)
class Package:
    """A model and what lies beside it.

    Attributes:
        name: of the model, for messages.
        model: its file, or its content where it is in an archive.
        pipeline: None without a pipeline.json.
    """

    name: str
    model: Path | bytes
    pipeline: Pipeline | None


def read_package(path: Path) -> Package:
    """An archive (`.zip`), or a bare ONNX file; a file called end2end.onnx with the pipeline.json beside it.

    Raises:
        PoseError: the archive is damaged, unsafe, too large or holds no or several models, or pipeline.json says
            nothing usable.
    """
    if path.suffix.lower() == ENDING:
        return _read_zip(path)
    beside = path.with_name(PIPELINE)
    if path.name != MODEL or not beside.is_file():  # of any other name, it may be somebody else's pipeline
        return Package(str(path), path, None)
    try:
        if beside.stat().st_size > LARGEST_JSON:
            raise PoseError(f"{beside}: larger than {LARGEST_JSON:,} bytes: no pipeline.json of MMDeploy")
        return Package(str(path), path, parse_pipeline(beside.read_bytes(), str(beside)))
    except OSError as error:
        raise PoseError(f"{PIPELINE} cannot be read: {beside}: {error.strerror}") from error


def _read_zip(path: Path) -> Package:
    try:
        with zipfile.ZipFile(path) as file:
            members = [m for m in harmless(file, path) if not m.filename.startswith("__MACOSX/")]
            models = [m for m in members if m.filename.lower().endswith(".onnx")]
            if len(models) != 1:
                raise PoseError(f"{path}: holds {len(models)} .onnx files, a package of MMDeploy holds one, {MODEL}")
            name = models[0].filename
            content = _content(file, models[0], LARGEST_MODEL, path)
            beside = posixpath.join(posixpath.dirname(name), PIPELINE)
            said = next((_content(file, m, LARGEST_JSON, path) for m in members if m.filename == beside), None)
    except FileNotFoundError as error:
        raise PoseError(f"archive not found: {path}") from error
    except OSError as error:
        raise PoseError(f"archive cannot be read: {path}: {error.strerror}") from error
    except DAMAGED as error:
        raise PoseError(f"{path}: cannot be unzipped ({error}); is it damaged or encrypted?") from error
    pipeline = parse_pipeline(said, f"{path}: {beside}") if said is not None else None
    return Package(f"{path}: {name}", content, pipeline)


def _content(file: zipfile.ZipFile, member: zipfile.ZipInfo, most: int, path: Path) -> bytes:
    if member.file_size > most:  # zipfile never yields more than the entry declares
        raise PoseError(f"{path}: {member.filename} is larger than {most:,} bytes")
    return file.read(member)


def parse_pipeline(data: bytes, source: str) -> Pipeline:
    """What a pipeline.json says, as far as its form can be checked.

    Raises:
        PoseError: it has another form.
    """
    content = parse_json(data, PIPELINE, source)
    outer = content.get("pipeline") if isinstance(content, dict) else None
    tasks = outer.get("tasks") if isinstance(outer, dict) else None
    tasks = [task for task in tasks if isinstance(task, dict)] if isinstance(tasks, list) else []
    inputs = [task["transforms"] for task in tasks if isinstance(task.get("transforms"), list)]
    results = [task for task in tasks if isinstance(task.get("component"), str)]
    if len(inputs) != 1 or len(results) != 1 or not all(_is_transform(transform) for transform in inputs[0]):
        raise PoseError(f"{source}: not of MMDeploy's form: one task has transforms, one a component")
    parameters = results[0].get("params") or {}
    if not isinstance(parameters, dict):
        raise PoseError(f"{source}: params of {_shown(results[0]['component'])} must be a mapping")
    return Pipeline(source, tuple(inputs[0]), results[0]["component"], parameters)


def is_number(value: Any, least: float, most: float) -> bool:
    """Whether a value of JSON is a number in a range; NaN is in none."""
    return type(value) in (int, float) and least <= value <= most


def _is_transform(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("type"), str)


def _shown(value: object) -> str:
    return repr(value)[:60]
