"""MMDetection's detectors as MMDeploy publishes them: a bare end2end.onnx, or the archive that it came in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from mspose.backends.onnx_runtime import open_onnx
from mspose.checkpoints.mmdeploy import read_package
from mspose.config.schema import RuntimeConfig
from mspose.detection.mmdet import Feed, feed_of
from mspose.detection.onnx import OnnxDetector
from mspose.errors import PoseError, UsageError
from tests.detection.mmdet_graph import SIDE, pipeline, write_detector, write_zip
from tests.messages import naming

SCORES = (0.8, 0.7, 0.9, 0.6)
# 64×32: half as large in the input, which it fills down to the middle. Blue 200, red 40.
PICTURE = np.full((32, 64, 3), (200, 0, 40), np.uint8)


def detector(path: Path, nms: float = 0.1) -> OnnxDetector:
    return OnnxDetector(path, (416, 416), 0.3, nms, RuntimeConfig(device="CPU"))


def archive(tmp_path: Path, content: object, **graph: object) -> Path:
    return write_zip(tmp_path / "x.zip", write_detector(tmp_path / "in.onnx", SCORES, **graph), content)


def test_a_bare_file_of_yolox(tmp_path: Path) -> None:
    found = detector(write_detector(tmp_path / "yolox_m.onnx", SCORES))
    assert (found.form, found.size) == ("mmdet", (SIDE, SIDE))
    people = found(PICTURE)
    # The box that overlaps the best is the file's own affair: the fourth overlaps it by more than our 0.1, and stays.
    np.testing.assert_allclose(people.boxes, [[8, 8, 16, 16], [4, 4, 8, 24]], atol=1e-4)
    # The mean of blue: half picture, half border.
    np.testing.assert_allclose(people.scores, np.array([0.8, 0.6]) + (200 + 114) / 2000, atol=1e-5)


@pytest.mark.parametrize("scores", [(0, 0, 0, 0), (0, 0, 0.9, 0), (0.02, 0, 0, 0)])
def test_nobody(tmp_path: Path, scores: tuple[float, ...]) -> None:
    found = detector(write_detector(tmp_path / "x.onnx", scores))(PICTURE)
    assert (len(found), found.boxes.shape) == (0, (0, 4))


def test_names_that_are_not_utf8_are_one_line(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "yolox_m.onnx", SCORES)
    path.write_bytes(path.read_bytes().replace(b"input", b"inp\xc8t"))
    with pytest.raises(PoseError, match=naming(path)):
        detector(path)


def test_the_archive_as_downloaded(tmp_path: Path) -> None:
    bare = detector(write_detector(tmp_path / "bare.onnx", SCORES))(PICTURE)
    packed = detector(archive(tmp_path, pipeline(), stem="Conv"))(PICTURE)
    np.testing.assert_allclose(packed.boxes, bare.boxes)
    np.testing.assert_allclose(packed.scores, bare.scores, atol=1e-6)


def test_an_open_size_is_that_of_the_pipeline(tmp_path: Path) -> None:
    assert detector(archive(tmp_path, pipeline(), sides=("height", "width"))).size == (SIDE, SIDE)


def test_pixels_are_normalised_as_the_pipeline_says(tmp_path: Path) -> None:
    content = pipeline(to_rgb=True, mean=[20, 0, 0], std=[0.5, 1, 1])
    people = detector(archive(tmp_path, content, stem="Conv"))(PICTURE)
    np.testing.assert_allclose(people.scores, np.array([0.8, 0.6]) + ((40 - 20) + (114 - 20)) / 1000, atol=1e-5)


def test_a_pipeline_without_a_border_stretches(tmp_path: Path) -> None:
    content = pipeline()
    content["pipeline"]["tasks"][0]["transforms"][1]["keep_ratio"] = False
    people = detector(archive(tmp_path, content))(PICTURE)
    np.testing.assert_allclose(people.boxes[0], [8, 4, 16, 8], atol=1e-4)


def test_the_pipeline_beside_an_unzipped_file_counts(tmp_path: Path) -> None:
    write_detector(tmp_path / "end2end.onnx", SCORES, stem="Conv")
    (tmp_path / "pipeline.json").write_text(json.dumps(pipeline()))
    assert detector(tmp_path / "end2end.onnx").form == "mmdet"


def test_the_pipeline_beside_a_file_of_another_name_is_somebody_elses(tmp_path: Path) -> None:
    write_detector(tmp_path / "yolox.onnx", SCORES)
    (tmp_path / "pipeline.json").write_text("no JSON")
    assert feed_of(read_package(tmp_path / "yolox.onnx")) == Feed()


def test_a_bare_file_that_is_no_yolox_is_refused(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "rtmdet.onnx", SCORES, stem="Conv")
    with pytest.raises(PoseError, match=naming(path, "pipeline.json", "end2end.onnx")):
        detector(path)


def changed(index: int, **arguments: object) -> dict:
    content = pipeline()
    content["pipeline"]["tasks"][0]["transforms"][index].update(arguments)
    return content


@pytest.mark.parametrize(
    ("content", "things"),
    [
        (changed(1, size=[64, 64]), ("32x32", "64x64")),
        (changed(1, size=[32, "x"]), ("Resize.size",)),
        (changed(1, keep_ratio="yes"), ("Resize.keep_ratio", "'yes'")),
        (changed(1, type="RandomCrop"), ("RandomCrop",)),
        (changed(2, pad_val={"img": [114, 0, 114]}), ("Pad.pad_val",)),
        (changed(2, pad_to_square=False), ("Pad",)),
        (changed(3, mean=[0, 0]), ("Normalize.mean",)),
        (changed(3, std=[1, 0, 1]), ("Normalize.std",)),
        (changed(3, std=[1, 10**400, 1]), ("Normalize.std",)),
        (changed(3, mean=[float("nan"), 0, 0]), ("Normalize.mean",)),
        (changed(3, to_rgb=1), ("to_rgb",)),
        (changed(4, type="Normalize"), ("Normalize", "2 times")),
        ([], ("pipeline.json",)),
        ({"pipeline": {"tasks": "none"}}, ("pipeline.json",)),
        ({"pipeline": {"tasks": [{"transforms": [{}]}, {"component": "ResizeBBox"}]}}, ("pipeline.json",)),
    ],
)
def test_a_pipeline_that_cannot_be_followed_is_refused(tmp_path: Path, content: object, things: tuple) -> None:
    path = archive(tmp_path, content)
    with pytest.raises(PoseError, match=naming(path, *things)):
        detector(path)


def test_archives_that_are_none_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK no archive")
    with pytest.raises(PoseError, match=naming(tmp_path / "x.zip", "damaged")):
        detector(tmp_path / "x.zip")


def test_an_archive_without_a_model_is_named(tmp_path: Path) -> None:
    write_detector(tmp_path / "m.onnx", SCORES)
    path = write_zip(tmp_path / "x.zip", tmp_path / "m.onnx", pipeline(), **{"other.onnx": b"2"})
    with pytest.raises(PoseError, match=naming(path, "2 .onnx files")):
        detector(path)


@pytest.mark.parametrize("name", ["../end2end.json", "/etc/x", "a/../../x"])
def test_archives_with_paths_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    path = write_zip(tmp_path / "x.zip", write_detector(tmp_path / "m.onnx", SCORES), pipeline(), **{name: b"2"})
    with pytest.raises(PoseError, match=naming(path, repr(name))):
        detector(path)


def test_a_pipeline_too_large_is_refused(tmp_path: Path) -> None:
    content = {**pipeline(), "more": "x" * 2**20}
    path = archive(tmp_path, content)
    with pytest.raises(PoseError, match=naming(path, "pipeline.json", "larger")):
        detector(path)
    shutil.copy(tmp_path / "in.onnx", tmp_path / "end2end.onnx")
    (tmp_path / "pipeline.json").write_text(json.dumps(content))
    with pytest.raises(PoseError, match=naming(tmp_path / "pipeline.json", "larger")):
        detector(tmp_path / "end2end.onnx")


def test_notes_of_macos_do_not_count(tmp_path: Path) -> None:
    model = write_detector(tmp_path / "m.onnx", SCORES)
    path = write_zip(tmp_path / "x.zip", model, pipeline(), **{"__MACOSX/._end2end.onnx": b"2"})
    assert detector(path).form == "mmdet"


def test_it_is_no_pose_network(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "x.onnx", SCORES)
    with pytest.raises(UsageError, match=naming(f"demo.detector_file={path}")):
        open_onnx(path, RuntimeConfig(device="CPU"))


def test_the_feed_is_rtmlibs_for_raw_pixels() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)
    inputs, placement = Feed()(picture, (416, 416))
    ratio = min(416 / 37, 416 / 53)
    expected = np.full((416, 416, 3), 114, np.uint8)
    size = int(53 * ratio), int(37 * ratio)
    expected[: size[1], : size[0]] = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(inputs, expected)
    np.testing.assert_allclose(placement.scale, ratio)
