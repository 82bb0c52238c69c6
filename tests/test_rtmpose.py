"""RTMPose as users run it: training, evaluation with pictures, the demo, and MMPose's files there and back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mspose.checkpoints.origins import read_weights, recognise_file
from tests.conftest import ROOT
from tests.messages import tells_of

RECIPE = ROOT / "configs/quickstart/rtmpose.yaml"
SMALL = ("model.width=32", "data.input_size=[64,96]")


def run(folder: Path, *arguments: object, code: int = 0) -> str:
    """A command of the program in a process of its own; its output."""
    done = subprocess.run(
        [sys.executable, "-m", "mspose", *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def trained(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training run of two epochs."""
    folder = tmp_path_factory.mktemp("rtmpose")
    options = ("train.epochs=2", "train.batch_size=4", "train.log_steps=3", "train.eval_epochs=2", "train.ema=0.9")
    run(folder, "train", "--config", RECIPE, *SMALL, *options, f"data.root={sample_dir}", f"output={folder / 'out'}")
    return folder / "out"


def test_it_learns_and_its_checkpoint_alone_evaluates_and_draws(
    trained: Path, sample_dir: Path, tmp_path: Path
) -> None:
    losses = [json.loads(line).get("loss") for line in (trained / "metrics.jsonl").read_text().splitlines()]
    losses = [loss for loss in losses if loss is not None]
    assert losses[-1] < losses[0]
    data = (f"data.root={sample_dir}", "eval.use_gt_bbox=true", "eval.draw=2", f"output={tmp_path / 'eval'}")
    assert "\nAP: " in run(tmp_path, "eval", "--ckpt", trained / "best.ckpt", *data)
    picture = next(iter(sorted((tmp_path / "eval/pictures").iterdir())))
    source = cv2.imread(str(next((sample_dir / "val2017").glob(f"{picture.stem}*"))))
    assert cv2.imread(str(picture)).shape[0] > 2 * source.shape[0]  # predictions, and below them the vectors


def test_the_demo_lays_its_heat_over_the_picture(trained: Path, sample_dir: Path, tmp_path: Path) -> None:
    picture = sorted((sample_dir / "val2017").iterdir())[0]
    options = ("demo.detector=whole", "demo.person_threshold=0", "demo.heatmaps=true", f"output={tmp_path / 'demo'}")
    run(tmp_path, "demo", "--ckpt", trained / "best.ckpt", "--input", picture, *options)
    (person,) = json.loads((tmp_path / "demo/predictions.json").read_text())
    assert np.array(person["keypoints"]).shape == (51,)
    assert list((tmp_path / "demo/pictures").iterdir())


def test_weights_go_to_mmpose_and_back(trained: Path, sample_dir: Path, tmp_path: Path) -> None:
    own, there, back = trained / "best.ckpt", tmp_path / "there.pth", tmp_path / "back.ckpt"
    run(tmp_path, "convert", "--src", own, "--dst", there, "--to", "torch")
    assert {"backbone.stem.0.bn.running_mean", "head.gau.gamma"} <= set(read_weights(there))
    run(tmp_path, "convert", "--config", RECIPE, *SMALL, "--src", there, "--dst", back)
    first, second = (recognise_file(path).values for path in (own, back))
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])


def test_a_file_for_another_input_says_so(trained: Path, sample_dir: Path, tmp_path: Path) -> None:
    there = tmp_path / "there.pth"
    run(tmp_path, "convert", "--src", trained / "best.ckpt", "--dst", there, "--to", "torch")
    there.with_name("there.pth.yaml").unlink()  # as published
    other = ("--config", RECIPE, "model.width=32", "data.input_size=[96,128]", f"data.root={sample_dir}")
    for command, key in (("eval", "runtime.ckpt"), ("train", "train.init_from")):
        said = run(tmp_path, command, *other, f"{key}={there}", f"output={tmp_path / command}", code=1)
        assert tells_of(said, "error", "there.pth", "data.input_size=[64,96]")
        assert "Traceback" not in said
