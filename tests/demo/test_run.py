"""The demo as a whole, around a network that needs no weights; one run of the real command."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mspose.demo.run import run_demo
from mspose.demo.speed import Speed
from mspose.demo.video import Video
from mspose.errors import PoseError, UsageError
from mspose.estimator import PoseEstimator
from tests.conftest import ROOT
from tests.demo.test_sources import picture, video
from tests.fake_network import TOP_DOWN, Sliced, config_with, install
from tests.messages import names, naming


@pytest.fixture(autouse=True)
def network(monkeypatch: pytest.MonkeyPatch) -> Sliced:
    network = Sliced()
    install(monkeypatch, network)
    return network


def test_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "in"
    for name in ("000000000042.jpg", "a.jpg", "a.png"):
        picture(folder / name)
    (folder / "text.jpg").write_text("this is no picture at all")
    with caplog.at_level("INFO", "pose"):
        run_demo(config_with(tmp_path, demo__input=str(folder), demo__heatmaps=True))
    out = tmp_path / "out"
    assert sorted(path.name for path in (out / "pictures").iterdir()) == ["000000000042.jpg", "a_jpg.jpg", "a_png.png"]
    assert sorted(path.name for path in (out / "openpose").iterdir()) == [
        f"{name}_keypoints.json" for name in ("000000000042", "a_jpg", "a_png")
    ]
    entries = json.loads((out / "predictions.json").read_text())
    assert [(e["image_id"], e["file_name"]) for e in entries] == [(42, "000000000042.jpg"), (0, "a.jpg"), (1, "a.png")]
    assert (out / "demo_config.yaml").is_file()
    # Three cells beside each other, four pixels around each.
    assert cv2.imread(str(out / "sheet.jpg")).shape == (360 + 8, 3 * 480 + 16, 3)
    text = caplog.text
    assert text.count("text.jpg") == 1
    assert "; 1 left out" in text
    assert names(text, "speed", "pictures/s", "writing")


def test_video(tmp_path: Path) -> None:
    path = video(tmp_path / "v.mp4", 12)
    run_demo(config_with(tmp_path, demo__input=str(path), demo__track=True, demo__keypoint_threshold=0.0))
    out = tmp_path / "out"
    entries = json.loads((out / "predictions.json").read_text())
    assert [e["frame"] for e in entries] == list(range(12))
    assert all(isinstance(e["track_id"], int) for e in entries)
    assert len(list((out / "openpose").iterdir())) == 12
    capture = cv2.VideoCapture(str(out / "v.mp4"))
    assert [capture.get(key) for key in (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FPS)] == [12, 20]


def test_people_of_frames_that_follow_each_other_share_batches(tmp_path: Path, network: Sliced) -> None:
    path = video(tmp_path / "v.mp4", 12)
    run_demo(config_with(tmp_path, demo__input=str(path), demo__keypoint_threshold=0.0))
    assert [shape[0] for shape in network.shapes] == [4, 4, 4]
    people = PoseEstimator(config_with(tmp_path, demo__keypoint_threshold=0.0))
    entries = json.loads((tmp_path / "out" / "predictions.json").read_text())
    for entry, frame in zip(entries, Video(path)):
        alone = people(frame.image).to_coco(entry["image_id"], entry["category_id"], entry["file_name"], frame.number)
        assert [entry] == alone


@pytest.mark.parametrize(
    ("options", "batches"),
    [({"demo__detect_every": 3}, [1] * 12), ({"demo__detector": "hog"}, []), ({"demo__flip_test": True}, [4] * 6)],
    ids=str,
)
def test_a_frame_that_others_wait_for_does_not_wait(
    options: dict, batches: list[int], tmp_path: Path, network: Sliced
) -> None:
    path = video(tmp_path / "v.mp4", 12)
    run_demo(config_with(tmp_path, demo__input=str(path), demo__keypoint_threshold=0.0, **options))
    assert [shape[0] for shape in network.shapes] == batches


def test_video_that_ends_early_is_processed_as_far_as_it_goes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = video(tmp_path / "v.avi", 30)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    run_demo(config_with(tmp_path, demo__input=str(path)))
    count = len(json.loads((tmp_path / "out" / "predictions.json").read_text()))
    assert names(caplog.text, f"{count} of 30 frames", path)


def test_pictures_and_videos_in_one_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "in"
    for name in ("a/v.mp4", "b/v.mp4"):
        video(folder / name, 3)
    picture(folder / "7.jpg")
    (folder / "bad.mp4").write_bytes(b"no video" * 99)
    specs = [str(folder / "*" / "v.mp4"), str(folder)]
    with caplog.at_level("INFO", "pose"):
        run_demo(config_with(tmp_path, demo__input=specs, demo__track=True, demo__keypoint_threshold=0.0))
    out = tmp_path / "out"
    entries = json.loads((out / "predictions.json").read_text())
    assert [(e["file_name"], e.get("frame")) for e in entries] == [
        ("7.jpg", None),
        *((name, number) for name in ("a/v.mp4", "b/v.mp4") for number in range(3)),
    ]
    assert len({e["image_id"] for e in entries}) == 7
    assert [e["track_id"] for e in entries if e.get("frame") == 0] == [0, 0]  # numbers begin anew with each
    assert sorted(path.name for path in out.glob("*.mp4")) == ["a_v_mp4.mp4", "b_v_mp4.mp4"]
    assert len(list((out / "openpose").iterdir())) == 7
    assert names(caplog.text, "left out", folder / "bad.mp4")
    rows = list(csv.DictReader((out / "people.csv").read_text().splitlines()))
    assert [(row["file_name"], row["frame"], row["seconds"]) for row in rows][:3] == [
        ("7.jpg", "", ""),
        ("a/v.mp4", "0", "0.0"),
        ("a/v.mp4", "1", "0.05"),
    ]
    assert float(rows[0]["nose_x"]) == entries[0]["keypoints"][0]


def test_what_is_in_the_folder_is_said_of_this_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run_demo(config_with(tmp_path, demo__input=str(picture(tmp_path / "a.png"))))
    caplog.clear()
    with caplog.at_level("INFO", "pose"):
        run_demo(config_with(tmp_path, demo__input=str(video(tmp_path / "v.mp4", 3))))
    assert names(caplog.text, "results in", "people.csv", "predictions.json", "openpose/")
    assert "pictures/" not in next(line for line in caplog.text.splitlines() if "results in" in line)


def test_a_part_side_by_side_with_boxes(tmp_path: Path) -> None:
    keys = {"demo__side_by_side": True, "demo__draw_boxes": True, "demo__start": 0.2, "demo__end": 0.4}
    run_demo(config_with(tmp_path, demo__input=str(video(tmp_path / "v.mp4", 12)), **keys))
    assert [e["frame"] for e in json.loads((tmp_path / "out" / "predictions.json").read_text())] == [4, 5, 6, 7]
    capture = cv2.VideoCapture(str(tmp_path / "out" / "v.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 4
    assert capture.get(cv2.CAP_PROP_FRAME_WIDTH) >= 2 * 64


@pytest.mark.parametrize(("start", "end"), [(-1.0, 0.0), (2.0, 1.0), (1.0, 1.0)])
def test_parts_that_are_none(tmp_path: Path, start: float, end: float) -> None:
    with pytest.raises(UsageError, match=naming("demo.start")):
        config_with(tmp_path, demo__start=start, demo__end=end)


def test_listed_boxes_tell_no_frames_of_several_videos_apart(tmp_path: Path) -> None:
    (tmp_path / "boxes.json").write_text(json.dumps([{"image_id": 1, "bbox": [1, 2, 20, 30]}]))
    specs = [str(video(tmp_path / name, 3)) for name in ("a.mp4", "b.mp4")]
    keys = {"demo__detector": "boxes", "demo__boxes": str(tmp_path / "boxes.json")}
    with pytest.raises(UsageError, match=naming("demo.boxes", specs[0])):
        run_demo(config_with(tmp_path, demo__input=specs, **keys))


def test_without_pyav_the_video_is_mpeg4_and_a_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for place in ("run", "outputs"):
        monkeypatch.setattr(f"mspose.demo.{place}.is_installed", lambda name: False)
    with caplog.at_level("INFO", "pose"):
        run_demo(config_with(tmp_path, demo__input=str(video(tmp_path / "v.mp4", 3))))
    assert names(caplog.text, "MPEG-4", "mspose[video]")
    assert b"mp4v" in (tmp_path / "out" / "v.mp4").read_bytes()


def test_a_stream_that_is_stopped_keeps_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless:
        def __init__(self, *_: object) -> None:
            self._read = 0

        def isOpened(self) -> bool:
            return True

        def set(self, key: int, value: float) -> bool:
            return True

        def grab(self) -> bool:
            self._read += 1
            return True

        def retrieve(self) -> tuple[bool, np.ndarray]:
            return True, np.zeros((48, 64, 3), np.uint8)

        def get(self, key: int) -> float:
            return 40.0 * (self._read - 1) if key == cv2.CAP_PROP_POS_MSEC else -1.0

        def release(self) -> None: ...

    count = Speed.count

    def stop(speed: Speed) -> None:
        count(speed)
        if speed.done == 5:
            raise KeyboardInterrupt

    capture = cv2.VideoCapture
    monkeypatch.setattr(
        cv2, "VideoCapture", lambda *source: (Endless if "rtsp" in str(source[0]) else capture)(*source)
    )
    monkeypatch.setattr(Speed, "count", stop)
    run_demo(config_with(tmp_path, demo__input="rtsp://me:secret@camera/live"))
    out = tmp_path / "out"
    assert len(json.loads((out / "predictions.json").read_text())) >= 5
    assert (out / "live.mp4").stat().st_size > 0
    for path in out.rglob("*.*"):
        assert b"secret" not in path.read_bytes()


def test_listed_boxes_of_a_video_are_found_by_frame(tmp_path: Path) -> None:
    boxes = [{"image_id": i, "category_id": 1, "bbox": [i, 2, 20, 30], "score": 0.9} for i in (1, 3)]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    path = video(tmp_path / "v.mp4", 5)
    run_demo(
        config_with(tmp_path, demo__input=str(path), demo__detector="boxes", demo__boxes=str(tmp_path / "boxes.json"))
    )
    entries = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [(e["frame"], e["box"][0]) for e in entries] == [(1, 1.0), (3, 3.0)]


def test_a_picture_that_is_not_listed_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "in"
    for name in ("1.jpg", "2.jpg", "other.jpg"):
        picture(folder / name)
    truth = {
        "images": [{"id": i, "file_name": f"{i}.jpg"} for i in (1, 2)],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [2, 2, 20, 20]}],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(truth))
    with caplog.at_level("INFO", "pose"):
        run_demo(
            config_with(
                tmp_path, demo__input=str(folder), demo__detector="boxes", demo__boxes=str(tmp_path / "boxes.json")
            )
        )
    assert [e["image_id"] for e in json.loads((tmp_path / "out" / "predictions.json").read_text())] == [1]
    assert names(caplog.text, tmp_path / "boxes.json", "demo.boxes", "other.jpg")
    assert "; 1 left out" in caplog.text


@pytest.mark.parametrize(("category", "told"), [(["cat"], True), (["person"], False), ([], False), (["5"], False)])
def test_a_category_that_is_only_a_name_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, category: list[str], told: bool
) -> None:
    run_demo(config_with(tmp_path, demo__input=str(picture(tmp_path / "a.jpg")), data__category=category))
    assert names(caplog.text, "category_id", "data.category=ID") == told


def test_hog_without_a_find_says_what_finds_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "pose"):
        run_demo(config_with(tmp_path, demo__input=str(picture(tmp_path / "a.jpg")), demo__detector="hog"))
    assert "demo.detector_file=" in caplog.text


def test_black_background_and_nobody(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", 255)
    run_demo(config_with(tmp_path, demo__input=str(path), demo__black_background=True, demo__person_threshold=9.0))
    assert cv2.imread(str(tmp_path / "out" / "pictures" / "a.png")).max() == 0
    assert json.loads((tmp_path / "out" / "predictions.json").read_text()) == []


def test_one_bad_picture(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("this is no picture at all")
    with pytest.raises(PoseError, match=naming("truncated", tmp_path / "text.jpg")):
        run_demo(config_with(tmp_path, demo__input=str(tmp_path / "text.jpg")))


def test_only_bad_pictures(tmp_path: Path) -> None:
    for name in ("in/a.jpg", "in/b.jpg"):
        picture(tmp_path / name).write_text("this is no picture at all")
    with pytest.raises(PoseError, match=naming("none", "2 pictures")):
        run_demo(config_with(tmp_path, demo__input=str(tmp_path / "in")))


def test_pictures_of_one_name_in_two_folders(tmp_path: Path) -> None:
    """Each has its own boxes, its own file name in the results, and its own drawn picture."""
    for folder in "ab":
        picture(tmp_path / "in" / folder / "x.jpg")
    boxes = [
        {"image_id": n, "file_name": f"{folder}/x.jpg", "bbox": [n, n, 20, 20]} for n, folder in enumerate("ab", 1)
    ]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    keys = {"demo__input": str(tmp_path / "in" / "**" / "*.jpg"), "demo__boxes": str(tmp_path / "boxes.json")}
    run_demo(config_with(tmp_path, demo__detector="boxes", eval__nms="none", **keys))
    out = tmp_path / "out"
    entries = json.loads((out / "predictions.json").read_text())
    assert [e["file_name"] for e in entries] == ["a/x.jpg", "b/x.jpg"]
    assert len({e["image_id"] for e in entries}) == 2
    assert len(list((out / "pictures").iterdir())) == 2
    # What was found in a picture is found for it again.
    keys["demo__boxes"] = str(out / "predictions.json")
    run_demo(
        config_with(tmp_path, demo__detector="boxes", eval__nms="none", runtime__output=str(tmp_path / "2"), **keys)
    )
    again = json.loads((tmp_path / "2" / "predictions.json").read_text())
    assert [e["file_name"] for e in again] == ["a/x.jpg", "b/x.jpg"]


def test_boxes_are_not_replaced_by_the_people_found_in_them(tmp_path: Path) -> None:
    boxes = tmp_path / "out" / "predictions.json"
    path = picture(tmp_path / "7.jpg")
    boxes.parent.mkdir()
    boxes.write_text(json.dumps([{"image_id": 7, "bbox": [1, 1, 20, 20]}]))
    with pytest.raises(UsageError, match=naming(boxes, "demo.boxes", "output=DIR")):
        run_demo(config_with(tmp_path, TOP_DOWN, demo__input=str(path), demo__boxes=str(boxes)))
    assert [p.name for p in boxes.parent.iterdir()] == ["predictions.json"]


@pytest.mark.parametrize("name", ["predictions.json", "sheet.jpg", "pictures/7.jpg", "openpose/7_keypoints.json"])
def test_files_of_somebody_else_are_not_replaced(tmp_path: Path, name: str) -> None:
    path, other = picture(tmp_path / "7.jpg"), tmp_path / "out" / name
    other.parent.mkdir(parents=True)
    other.write_text("mine")
    config = config_with(tmp_path, demo__input=str(path))
    with pytest.raises(UsageError, match=naming(other, "output=DIR")):
        run_demo(config)
    assert other.read_text() == "mine"
    other.unlink()
    run_demo(config)
    run_demo(config)  # its own it replaces


def test_inputs_are_never_drawn_over(tmp_path: Path) -> None:
    path = picture(tmp_path / "out" / "pictures" / "a.png")
    before = path.read_bytes()
    with pytest.raises(UsageError, match=naming(path, "input", "output=DIR")):
        run_demo(config_with(tmp_path, demo__input=str(path)))
    assert path.read_bytes() == before


def test_no_window_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    run_demo(config_with(tmp_path, demo__input=str(picture(tmp_path / "a.png")), demo__show=True))
    assert caplog.text.count("demo.show") == 1


def test_closing_the_window_ends_a_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[np.ndarray] = []

    class Glass:
        def __init__(self, title: str) -> None: ...
        def close(self) -> None: ...

        def show(self, image: np.ndarray, milliseconds: int = 1) -> bool:
            shown.append(image)
            return len(shown) < 3

    monkeypatch.setattr("mspose.demo.run.Window", Glass)
    run_demo(config_with(tmp_path, demo__input=str(video(tmp_path / "v.mp4", 60)), demo__show=True))
    assert len(shown) == 3
    assert 3 <= len(json.loads((tmp_path / "out" / "predictions.json").read_text())) < 20


def test_an_unwritable_picture_ends_the_run(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "pictures").write_text("in the way")
    with pytest.raises(PoseError, match=naming(tmp_path / "out" / "pictures")):
        run_demo(config_with(tmp_path, demo__input=str(picture(tmp_path / "a.png"))))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.graph import ms  # noqa: F401, I001
    from mspose.checkpoints.io import save
    from mspose.config.builder import load_config
    from mspose.networks import build_model

    network = build_model(load_config(TOP_DOWN))
    path = tmp_path_factory.mktemp("net") / "net.ckpt"
    save({p.name: p for p in network.get_parameters()}, path)
    return path


def command(checkpoint: Path, *arguments: object) -> list[str]:
    return [
        sys.executable,
        "demo.py",
        "--config",
        str(TOP_DOWN),
        "--ckpt",
        str(checkpoint),
        "demo.detector=whole",
        "demo.person_threshold=0",
        *map(str, arguments),
    ]


def test_command(checkpoint: Path, tmp_path: Path) -> None:
    picture(tmp_path / "in" / "a.jpg")
    (tmp_path / "in" / "text.jpg").write_text("this is no picture at all")
    result = subprocess.run(
        command(checkpoint, "--input", tmp_path / "in", "--output", tmp_path / "out"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "text.jpg" in result.stdout
    assert len(json.loads((tmp_path / "out" / "predictions.json").read_text())) == 1


def test_broken_video_is_one_line(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"no video" * 99)
    result = subprocess.run(
        command(checkpoint, "--input", tmp_path / "v.mp4", "--output", tmp_path / "out"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert names(line, "video", tmp_path / "v.mp4")


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_keeps_what_was_done(checkpoint: Path, tmp_path: Path) -> None:
    path = video(tmp_path / "v.mp4", 2000)
    process = subprocess.Popen(
        command(checkpoint, "--input", path, "--output", tmp_path / "out"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    folder = tmp_path / "out" / "openpose"
    while process.poll() is None and (not folder.is_dir() or len(list(folder.iterdir())) < 5):
        pass
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "error: stopped\n")
    done = len(json.loads((tmp_path / "out" / "predictions.json").read_text()))
    assert 3 <= done < 2000
    assert cv2.VideoCapture(str(tmp_path / "out" / "v.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) >= done


def test_values_that_are_no_numbers_make_valid_json_and_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def spoiled(inputs: np.ndarray) -> tuple[np.ndarray]:
        return (np.full((len(inputs), 17, 32, 24), np.nan, np.float32),)

    install(monkeypatch, spoiled)
    for name in ("1.jpg", "2.jpg"):
        picture(tmp_path / "in" / name)
    run_demo(config_with(tmp_path, demo__input=str(tmp_path / "in"), data__category=["5"]))
    for path in (tmp_path / "out").rglob("*.json"):
        json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(name))
    assert caplog.text.count("NaN") == 1
    assert names(caplog.text, "NaN", "2 people")
    entries = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert {entry["category_id"] for entry in entries} <= {5}
