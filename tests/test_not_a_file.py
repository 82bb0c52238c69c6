"""A folder, a named pipe, a socket or a device where a file belongs: one line at once, whatever would have read it."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mspose.backends.exported import model_file
from mspose.checkpoints.beside import read_description
from mspose.checkpoints.card import file_hash, read_card
from mspose.checkpoints.ckpt_file import read_ckpt
from mspose.checkpoints.origins import read_weights
from mspose.config.builder import load_config
from mspose.config.schema import DataConfig, RuntimeConfig
from mspose.data.coco import load_annotations
from mspose.data.detections import detection_file
from mspose.deploy.bins import read_bin
from mspose.detection.listed import ListedBoxes
from mspose.detection.onnx import OnnxDetector
from mspose.errors import PoseError
from mspose.files import read_json
from mspose.images import read_image
from mspose.migrate.translate import translate
from mspose.outputs import check_run_folder
from mspose.resolve import resolve
from mspose.runtime.results import results_folder
from mspose.skeleton import COCO17, load_skeleton
from tests.messages import naming

READERS: dict[str, Callable[[Path], object]] = {
    "annotations.json": lambda path: load_annotations(path, None, COCO17),
    "boxes.json": lambda path: ListedBoxes(path, 0.3, COCO17),
    "config.yaml": load_config,
    "detections.json": lambda path: detection_file(str(path), DataConfig()),
    "detector.onnx": lambda path: OnnxDetector(path, (64, 64), 0.3, 0.4, RuntimeConfig()),
    "hashed": file_hash,
    "input.bin": lambda path: read_bin(path, [1], "float32", "run it again"),
    "manifest.json": lambda path: read_json(path, "manifest"),
    "model.onnx": model_file,
    "model.onnx.json": lambda path: read_card(path.with_suffix("")),
    "old.yaml": translate,
    "picture.jpg": read_image,
    "resumed.ckpt": read_ckpt,
    "skeleton.yaml": lambda path: load_skeleton(str(path)),
    "unknown.onnx": lambda path: resolve(None, {"runtime.ckpt": str(path)}),
    "unknown.pth": lambda path: resolve(None, {"runtime.ckpt": str(path)}),
    "weights.pth": read_weights,
    "weights.yaml": lambda path: read_description(path.with_suffix(".ckpt")),
}


def make(kind: str, name: str) -> None:
    """Make a path of a kind in the current folder; sockets take no long paths."""
    if kind == "folder":
        Path(name).mkdir()
    elif kind == "pipe":
        os.mkfifo(name)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(name)
    else:
        Path(name).symlink_to("/dev/zero")


@pytest.fixture(autouse=True)
def _at_once() -> Iterator[None]:
    """Opening a pipe waits for its other end: end that."""

    def end(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("kind", ["folder", "pipe", "socket", "device"])
@pytest.mark.parametrize("name", READERS)
def test_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str) -> None:
    monkeypatch.chdir(tmp_path)
    make(kind, name)
    with pytest.raises(PoseError, match=naming(name, kind)):
        READERS[name](Path(name))


def test_a_folder_does_not_hide_the_recipe_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make("folder", "simplepose_r50_256x192")
    assert load_config("simplepose_r50_256x192").model.name == "simplepose"


@pytest.mark.parametrize("name", ["metrics.jsonl", "simplepose-1_1.ckpt"])
def test_a_pipe_in_a_run_folder_is_of_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    make("pipe", name)
    with pytest.raises(PoseError, match=naming(name)):
        check_run_folder(load_config("simplepose_r50_256x192"), tmp_path)


def test_a_pipe_is_no_list_of_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make("pipe", ".eval.files")
    with pytest.raises(PoseError, match=naming(".eval.files", "pipe")), results_folder(tmp_path, "eval"):
        pass
