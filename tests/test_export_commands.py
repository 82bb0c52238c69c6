"""Export and the Ascend 310 path as a user runs them, with small networks of random weights, in ONNX Runtime."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from tests.messages import naming, tells_of

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from mspose.checkpoints.card import card_path
from mspose.cli import parse
from mspose.config.schema import Config
from mspose.config.text import save_config
from mspose.errors import PoseError, UsageError
from mspose.estimator import PoseEstimator
from mspose.export.command import export_checkpoint
from mspose.methods.evaluator import Evaluator
from mspose.networks import method_of
from tests.conftest import ROOT
from tests.export.networks import small_config

# A module whose import ends the process, to prove that nothing imports MindSpore.
NO_MINDSPORE = "raise SystemExit('MindSpore was imported')\n"


def make(name: str, folder: Path, sample_dir: Path, **overrides: object) -> tuple[Config, Path]:
    """Configuration (also saved as folder/config.yaml) and exported ONNX model of a small network."""
    config = small_config(
        name,
        folder,
        data__root=str(sample_dir),
        export__file_format="ONNX",
        eval__flip_test=True,
        **({"eval__resize": "canvas"} if name == "openpose" else {"eval__use_gt_bbox": True}),
        **overrides,
    )
    model = export_checkpoint(config)
    save_config(config, folder / "config.yaml")
    return config, model


def run(arguments: list[object], folder: Path, **environment: str) -> subprocess.CompletedProcess:
    settings = {**os.environ, "PYTHON": sys.executable, **environment}
    return subprocess.run(
        list(map(str, arguments)), cwd=folder, capture_output=True, text=True, check=False, timeout=300, env=settings
    )


def script(
    model: Path,
    sample_dir: Path,
    folder: Path,
    *more: object,
    need: str = "y",
    backend: str = "onnx",
    **environment: str,
) -> subprocess.CompletedProcess:
    command = ["bash", ROOT / "scripts/run_infer_310.sh", model, sample_dir, need, 0, folder / "config.yaml", *more]
    return run(command, folder, INFER_BACKEND=backend, INFER_OUTPUT=str(folder / "run"), **environment)


def results(folder: Path) -> list[dict]:
    return json.loads((folder / "keypoints_results.json").read_text())


def assert_same_results(first: list[dict], second: list[dict]) -> None:
    assert [r["image_id"] for r in first] == [r["image_id"] for r in second]
    assert len(first) > 5
    for a, b in zip(first, second):
        np.testing.assert_allclose(a["keypoints"], b["keypoints"], atol=0.05)


@pytest.fixture(scope="module")
def exported(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Path, Path]:
    folder = tmp_path_factory.mktemp("exported")
    return *make("simplepose", folder, sample_dir, export__batch_size=None), folder


@pytest.fixture(scope="module")
def finished(exported: tuple[Config, Path, Path], sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the whole path was run once."""
    folder = tmp_path_factory.mktemp("finished")
    shutil.copy(exported[2] / "config.yaml", folder)
    done = script(exported[1], sample_dir, folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of that folder."""
    return shutil.copytree(finished, tmp_path, dirs_exist_ok=True)


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("simplepose", {}),
        ("simplepose", {"data__unbiased": True, "codec__refine": "dark_udp"}),
        ("openpose", {"export__size": [96, 64], "export__preprocess": True}),
        ("rtmpose", {"export__preprocess": True}),
    ],
)
def test_310_path_gives_what_evaluation_gives(name: str, keys: dict, sample_dir: Path, tmp_path: Path) -> None:
    _, model = make(name, tmp_path, sample_dir, **keys)
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "mindspore.py").write_text(NO_MINDSPORE)
    (tmp_path / "src").mkdir()  # the current folder may be the checkout of something else
    (tmp_path / "src/__init__.py").write_text("raise SystemExit('src of the current folder was imported')")
    done = script(model, sample_dir, tmp_path, PYTHONPATH=str(blocked))
    assert done.returncode == 0, done.stderr
    evaluated = run(
        [
            sys.executable,
            ROOT / "eval.py",
            "--config",
            tmp_path / "config.yaml",
            "--ckpt",
            model,
            f"output={tmp_path / 'eval'}",
        ],
        tmp_path,
    )
    assert evaluated.returncode == 0, evaluated.stderr
    last = [text.strip().splitlines()[-1] for text in ((tmp_path / "acc.log").read_text(), evaluated.stdout)]
    assert last[0].startswith("AP: ")
    assert last[0] == last[1]
    assert_same_results(results(tmp_path / "run"), results(tmp_path / "eval"))
    stored = json.loads((tmp_path / "run/manifest.json").read_text())["settings"]
    assert stored.get("data.unbiased", False) == keys.get("data__unbiased", False)


def test_path_that_was_killed_goes_on(
    exported: tuple[Config, Path, Path], finished: Path, sample_dir: Path, tmp_path: Path
) -> None:
    _, model, folder = exported
    shutil.copy(folder / "config.yaml", tmp_path)
    command = [
        "bash",
        str(ROOT / "scripts/run_infer_310.sh"),
        str(model),
        str(sample_dir),
        "y",
        "0",
        str(tmp_path / "config.yaml"),
        "eval.batch_size=2",
    ]
    environment = {
        **os.environ,
        "PYTHON": sys.executable,
        "INFER_BACKEND": "onnx",
        "INFER_OUTPUT": str(tmp_path / "run"),
    }
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    )
    while process.poll() is None and len(list((tmp_path / "run").glob("results/*.bin"))) < 4:
        time.sleep(0.002)
    os.killpg(process.pid, 9)
    process.wait()
    assert not (tmp_path / "acc.log").exists()
    old = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run").glob("*/0*.bin")}
    done = script(model, sample_dir, tmp_path)
    assert done.returncode == 0, done.stderr
    now = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run").glob("*/0*.bin")}
    assert {name: now[name] for name in old} == old, "finished files were made again"
    assert results(tmp_path / "run") == results(finished / "run")


def test_results_of_another_model_are_not_mixed_in(
    exported: tuple[Config, Path, Path], sample_dir: Path, copied: Path
) -> None:
    config, model, _ = exported
    first = results(copied / "run")
    other = copied / "other"
    other.mkdir()
    overrides = {"export__fold_batch_norm": False, "export__half": True, "export__batch_size": None}
    _, half = make("simplepose", other, sample_dir, runtime__ckpt=config.runtime.ckpt, **overrides)
    done = script(half, sample_dir, copied, need="n")
    assert done.returncode == 0, done.stderr
    assert results(copied / "run") != first
    done = script(model, sample_dir, copied, need="n")
    assert results(copied / "run") == first


@pytest.mark.parametrize(
    ("damage", "need", "named"),
    [
        (lambda run: (run / "manifest.json").unlink(), "n", ("data_to_bin.py", "run/manifest.json")),
        (lambda run: os.truncate(run / "inputs/000001.bin", 10), "n", ("data_to_bin.py", "000001.bin", 10)),
        (lambda run: (run / "inputs/000001_flip.bin").unlink(), "n", ("data_to_bin.py", "000001_flip.bin")),
    ],
)
def test_damaged_inputs(
    exported: tuple[Config, Path, Path], sample_dir: Path, copied: Path, damage: object, need: str, named: tuple
) -> None:
    shutil.rmtree(copied / "run/results")
    damage(copied / "run")
    done = script(exported[1], sample_dir, copied, need=need)
    assert done.returncode == 1
    assert tells_of(done.stderr, *named)
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not (copied / "acc.log").exists()


def test_cut_result_is_found_by_postprocess_and_made_again(
    exported: tuple[Config, Path, Path], sample_dir: Path, copied: Path
) -> None:
    model = exported[1]
    first = results(copied / "run")
    os.truncate(copied / "run/results/000001_0.bin", 100)
    done = run(
        [
            sys.executable,
            ROOT / "postprocess.py",
            "--config",
            copied / "config.yaml",
            "--ckpt",
            model,
            f"output={copied / 'run'}",
        ],
        copied,
    )
    assert done.returncode == 1
    assert tells_of(done.stderr, "000001_0.bin", 100)
    assert script(model, sample_dir, copied).returncode == 0
    assert results(copied / "run") == first


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], (3, 5)),
        (["nowhere.onnx", ".", "y"], ("MINDIR_PATH", "nowhere.onnx")),
        (["MODEL", "nowhere", "y"], ("DATA_PATH", "nowhere")),
        (["MODEL", ".", "x"], ("NEED_PREPROCESS", "x")),
        (["MODEL", ".", "y", "one"], ("DEVICE_ID", "one")),
        (["MODEL", ".", "y", "0", "nowhere.yaml"], ("CONFIG", "nowhere.yaml")),
    ],
)
def test_script_refuses_wrong_arguments(
    arguments: list[str], named: tuple, exported: tuple[Config, Path, Path], tmp_path: Path
) -> None:
    given = [exported[1] if argument == "MODEL" else argument for argument in arguments]
    done = run(["bash", ROOT / "scripts/run_infer_310.sh", *given], tmp_path, INFER_BACKEND="onnx")
    assert done.returncode == 2
    assert tells_of(done.stderr.splitlines()[-1], *named)


def test_model_and_card_are_enough(exported: tuple[Config, Path, Path], sample_dir: Path, tmp_path: Path) -> None:
    """run_eval_onnx.sh without a recipe; the folder of the checkpoint is out of reach."""
    config, model, _ = exported
    shutil.copy(model, tmp_path)
    shutil.copy(card_path(model), tmp_path)
    alone = tmp_path / model.name
    done = run(
        [
            "bash",
            ROOT / "scripts/run_eval_onnx.sh",
            alone,
            sample_dir,
            "eval.use_gt_bbox=true",
            f"output={tmp_path / 'out'}",
        ],
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "eval.log").read_text().strip().splitlines()[-1].startswith("AP: ")
    parsed = asdict(parse(["--ckpt", str(alone)]))
    for section, names in (("model", None), ("codec", None), ("data", ("input_size", "color", "mean", "std"))):
        expected = asdict(config)[section]
        for name in names or expected:
            if name != "pretrained":
                assert parsed[section][name] == expected[name]


def test_estimator_needs_only_the_model_and_its_card(exported: tuple[Config, Path, Path]) -> None:
    estimator = PoseEstimator(ckpt=exported[1])
    people = estimator(np.zeros((120, 160, 3), np.uint8), boxes=np.array([[10, 10, 60, 90], [80, 5, 50, 100]]))
    assert people.keypoints.shape[1:] == (17, 2)
    with pytest.raises(UsageError, match="--config"):
        PoseEstimator(ckpt="network.ckpt")


def test_somebody_elses_script_gets_the_same_keypoints(exported: tuple[Config, Path, Path], sample_dir: Path) -> None:
    """NumPy, OpenCV and ONNX Runtime, following the card's recipe word by word."""
    import cv2
    import onnxruntime

    config, model, _ = exported
    card = json.loads(Path(f"{model}.json").read_text())
    assert (card["decode"]["refine"], card["decode"]["flip_test"]) == ("quarter", True)
    evaluator = Evaluator(method_of(config), True)
    picture, box = evaluator.images.read(evaluator.set.rows[0]), evaluator.set.instances.boxes[0]
    session, (width, height) = onnxruntime.InferenceSession(model), card["input"]["size"]
    single, (x, y, w, h) = np.float32, box
    center = np.array([x + w / 2, y + h / 2], single)
    side = single(max(w, h * width / height) / 200) * single(card["decode"]["box_padding"]) * single(200)
    top = np.array([center[0], center[1] - side / 2], single)
    source = np.array([center, top, [top[0] + (top[1] - center[1]), top[1]]], single)
    target = np.array([(width / 2, height / 2), (width / 2, (height - width) / 2), (0, (height - width) / 2)], single)
    crop = cv2.warpAffine(picture, cv2.getAffineTransform(source, target), (width, height), flags=cv2.INTER_LINEAR)
    names = card["skeleton"]["keypoints"]
    exchange = {a: b for pair in card["skeleton"]["flip_pairs"] for a, b in (pair, pair[::-1])}
    order = [names.index(exchange.get(name, name)) for name in names]

    def run(pixels: np.ndarray) -> np.ndarray:
        inputs = (pixels / card["input"]["scale"] - card["input"]["mean"]) / card["input"]["std"]
        inputs = inputs.transpose(2, 0, 1)[None].astype(single)
        return session.run(None, {card["input"]["name"]: inputs})[0][0]

    maps, mirrored = run(crop), run(crop[:, ::-1])[order][..., ::-1]
    maps = (maps + np.concatenate([mirrored[..., :1], mirrored[..., :-1]], axis=2)) / 2
    keypoints = []
    for one in maps:
        cy, cx = np.unravel_index(one.argmax(), one.shape)
        dx = dy = 0.0
        if 1 < cx < one.shape[1] - 1 and 1 < cy < one.shape[0] - 1:
            dx, dy = np.sign([one[cy, cx + 1] - one[cy, cx - 1], one[cy + 1, cx] - one[cy - 1, cx]]) / 4
        cell = np.array([cx + dx, cy + dy]) - np.array(one.shape[::-1]) / 2
        keypoints.append(center + cell * side / one.shape[1])
    ours = PoseEstimator(config, model, {"demo.person_threshold": 0.0, "demo.flip_test": True})(picture, boxes=box)
    np.testing.assert_allclose(ours.keypoints[0], keypoints, atol=0.05)


def test_an_onnx_file_is_evaluated_without_mindspore(
    exported: tuple[Config, Path, Path], sample_dir: Path, tmp_path: Path
) -> None:
    """With what `pip install .` brings, and nothing else."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nfor name in ('mindspore', 'matplotlib', 'onnx', 'gradio'):\n    sys.modules[name] = None\n"
    )
    command = [sys.executable, str(ROOT / "eval.py"), "--ckpt", str(exported[1]), f"data.root={sample_dir}"]
    done = subprocess.run(
        [*command, f"output={tmp_path / 'out'}", "eval.use_gt_bbox=true"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "AP" in json.loads((tmp_path / "out" / "metrics.json").read_text())


def test_without_card_a_recipe_is_needed(exported: tuple[Config, Path, Path], tmp_path: Path) -> None:
    shutil.copy(exported[1], tmp_path)
    with pytest.raises(UsageError, match=naming("--config", tmp_path / exported[1].name, f"{exported[1].name}.json")):
        parse(["--ckpt", str(tmp_path / exported[1].name)])


def test_card_overrules_a_recipe_of_another_size(exported: tuple[Config, Path, Path]) -> None:
    config = parse(["--config", str(ROOT / "configs/simplepose_r50_256x192.yaml"), "--ckpt", str(exported[1])])
    assert (config.data.input_size, config.codec.heatmap_size) == ([64, 96], [16, 24])


def test_onnx_of_another_network(exported: tuple[Config, Path, Path], sample_dir: Path, tmp_path: Path) -> None:
    """Without its card, and with the recipe of a bottom-up network."""
    shutil.copy(exported[1], tmp_path)
    done = run(
        [
            sys.executable,
            ROOT / "eval.py",
            "--config",
            ROOT / "configs/quickstart/openpose.yaml",
            "--ckpt",
            tmp_path / exported[1].name,
            f"data.root={sample_dir}",
            f"output={tmp_path}",
            "eval.resize=canvas",
            "data.input_size=[64,96]",
        ],
        tmp_path,
    )
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert tells_of(done.stderr, "17x24x16", "38xanyxany", "19xanyxany")


def test_export_says_what_it_did(exported: tuple[Config, Path, Path], sample_dir: Path, tmp_path: Path) -> None:
    _, _, folder = exported
    done = run(
        [
            sys.executable,
            ROOT / "export.py",
            "--config",
            folder / "config.yaml",
            "--file_format",
            "MINDIR",
            "--file_name",
            tmp_path / "pose",
            "--device_target",
            "CPU",
            f"data.root={sample_dir}",
        ],
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "largest difference from the checkpoint" in done.stdout
    beside = ("", ".json", ".ascend.sh", ".ascend.ini")
    assert {path.name for path in tmp_path.iterdir()} == {f"pose.mindir{ending}" for ending in beside}
    assert "bash pose.mindir.ascend.sh" in done.stdout.replace(f"{tmp_path}/", "")


def test_full_disk(exported: tuple[Config, Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import mindspore as ms

    config, _, _ = exported
    monkeypatch.setattr(config.export, "file_name", str(tmp_path / "pose.onnx"))

    def full(*arguments: object, **options: object) -> None:
        raise RuntimeError("write failed: No space left on device\nC++ call stack")

    monkeypatch.setattr(ms, "export", full)
    with pytest.raises(PoseError, match=naming(tmp_path / "pose.onnx", "No space left on device")) as error:
        export_checkpoint(config)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []
