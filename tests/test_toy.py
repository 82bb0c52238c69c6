"""The toy network and codec of tests/toy go everywhere, and no file of the package knows them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mspose.config.builder import network_of
from mspose.resolve import resolve
from tests.conftest import ROOT
from tests.messages import tells_of

RECIPE = ROOT / "tests/toy/toy.yaml"


def run(folder: Path, *arguments: object, code: int = 0) -> str:
    """A command of the program in a process of its own; its output."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-m", "mspose", *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=environment,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def trained(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training run that was interrupted and continued."""
    folder = tmp_path_factory.mktemp("toy run")
    arguments = ("--config", RECIPE, f"data.root={sample_dir}", f"output={folder / 'out'}")
    run(folder, "train", *arguments, "train.epochs=1")
    assert "resumed from" in run(folder, "train", *arguments, "train.resume=auto")
    return folder / "out"


def ap(text: str) -> float:
    return float(text.rpartition("\nAP: ")[2].split()[0])


def test_it_was_trained_and_evaluated(trained: Path) -> None:
    records = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    losses = [record["loss"] for record in records if "loss" in record]
    assert losses[-1] < losses[0]
    assert sum("AP" in record for record in records) == 2


def test_its_checkpoint_alone_is_enough(trained: Path) -> None:
    config = resolve(None, {"runtime.ckpt": str(trained / "best.ckpt"), "model.name": "tests.toy.network"})
    assert (network_of(config).name, config.model.width) == ("tests.toy.network", 16)


@pytest.fixture(scope="module")
def expected(trained: Path, sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> float:
    """AP of the checkpoint in annotated boxes."""
    arguments = (
        "--config",
        RECIPE,
        "--ckpt",
        trained / "best.ckpt",
        f"data.root={sample_dir}",
        "eval.use_gt_bbox=true",
    )
    folder = tmp_path_factory.mktemp("toy evaluation")
    return ap(run(folder, "eval", *arguments, f"output={folder}"))


@pytest.mark.parametrize("kind", ["ONNX", "MINDIR"])
@pytest.mark.parametrize("batch", ["1", "null"])
def test_exported_it_evaluates_and_runs_the_310_path_alike(
    trained: Path, expected: float, sample_dir: Path, tmp_path: Path, kind: str, batch: str
) -> None:
    data = (f"data.root={sample_dir}", "eval.use_gt_bbox=true")
    own = ("--config", RECIPE, "--ckpt", trained / "best.ckpt")
    model = tmp_path / f"toy.{kind.lower()}"
    options = (f"export.file_format={kind}", f"export.file_name={model}", f"export.batch_size={batch}")
    run(tmp_path, "export", *own, *options)
    card = json.loads(Path(f"{model}.json").read_text())
    assert [output["name"] for output in card["outputs"]] == ["x", "y"]
    assert card["decode"]["kind"] == "vectors"
    arguments = ("--config", RECIPE, "--ckpt", model, f"output={tmp_path / 'out'}", *data)
    assert ap(run(tmp_path, "eval", *arguments)) == pytest.approx(expected, abs=1e-6)
    for command in ("prepare", "infer"):
        run(tmp_path, command, *arguments)
    assert ap(run(tmp_path, "postprocess", *arguments)) == pytest.approx(expected, abs=1e-6)


def test_the_demo_draws_what_it_finds(trained: Path, sample_dir: Path, tmp_path: Path) -> None:
    picture = sorted((sample_dir / "val2017").iterdir())[0]
    demo = ("demo.detector=whole", "demo.person_threshold=0", f"output={tmp_path / 'demo'}")
    run(tmp_path, "demo", "--config", RECIPE, "--ckpt", trained / "best.ckpt", "--input", picture, *demo)
    (person,) = json.loads((tmp_path / "demo/predictions.json").read_text())
    assert np.array(person["keypoints"]).shape == (51,)
    assert list((tmp_path / "demo/pictures").iterdir())


def test_what_it_lacks_is_said_in_one_line(trained: Path, sample_dir: Path, tmp_path: Path) -> None:
    assert "codec.refine" in run(tmp_path, "train", "--config", RECIPE, "codec.refine=dark", code=2)
    picture = sorted((sample_dir / "val2017").iterdir())[0]
    demo = ("demo.detector=whole", "demo.heatmaps=true", f"output={tmp_path / 'demo'}")
    said = run(tmp_path, "demo", "--config", RECIPE, "--ckpt", trained / "best.ckpt", "--input", picture, *demo, code=1)
    assert tells_of(said, "error", "VectorCodec", "demo.heatmaps")
    assert "Traceback" not in said


def test_the_package_does_not_know_it() -> None:
    for path in (ROOT / "src").rglob("*.py"):
        assert "toy" not in path.read_text(encoding="utf-8").lower(), path
