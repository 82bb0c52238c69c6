"""The commands as a user runs them, on tiny runs: train, kill, resume, evaluate, and what can be wrong."""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mspose.checkpoints.ckpt_file import read_ckpt
from mspose.checkpoints.io import save
from tests.graph import ms
from tests.messages import names

ROOT = Path(__file__).resolve().parents[1]
CONFIG = "configs/quickstart/simplepose.yaml"
SMALL = (
    "model.depth=18",
    "model.base_width=8",
    "model.deconv_filters=[16,16,16]",
    "data.input_size=[64,96]",
    "codec.heatmap_size=[16,24]",
    "train.batch_size=8",
    "train.log_steps=1",
    "train.epochs=2",
    "train.eval_epochs=2",
    "train.warmup_steps=2",
    "data.workers=2",
)


def command(script: str, *arguments: object, config: str = CONFIG) -> list[str]:
    return [sys.executable, script, "--config", config, *SMALL, *map(str, arguments)]


def run(script: str, *arguments: object, config: str = CONFIG) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(script, *arguments, config=config), cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )


def assert_fails(result: subprocess.CompletedProcess, code: int, *words: str) -> None:
    """The right exit code and one line on standard error that says these words."""
    lines = result.stderr.strip().splitlines()
    assert result.returncode == code, result.stdout + result.stderr
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]


def wait_for_step(process: subprocess.Popen, step: int) -> float:
    """Read what a training run prints until this many steps are done; the seconds that the last of them took."""
    steps, now = 0, time.monotonic()
    for line in process.stdout:
        if re.match(r"epoch: \d+ step: ", line):
            steps, before, now = steps + 1, now, time.monotonic()
            if steps == step:
                return now - before
    raise AssertionError(f"the run ended after {steps} steps with {process.wait()}, step {step} was awaited")


@pytest.fixture(scope="module")
def trained(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess]:
    folder = tmp_path_factory.mktemp("trained")
    return folder, run("train.py", f"data.root={sample_dir}", f"output={folder}", "train.ema=0.5")


def test_training_leaves_checkpoints_records_and_curves(trained: tuple[Path, subprocess.CompletedProcess]) -> None:
    folder, result = trained
    assert result.returncode == 0, result.stderr
    assert {"last.ckpt", "last.yaml", "best.ckpt", "best.yaml", "config.yaml", "curves.png", "metrics.jsonl"} <= {
        p.name for p in folder.iterdir()
    }
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    losses = [r["loss"] for r in records if "loss" in r]
    assert len(losses) == records[-1]["step"]
    assert "AP" in records[-1]
    assert f"epoch: 1 step: 1, loss is {losses[0]:.4g}, " in result.stdout


def test_evaluation_prints_the_table_and_ap_last(
    trained: tuple[Path, subprocess.CompletedProcess], sample_dir: Path, tmp_path: Path
) -> None:
    folder, _ = trained
    result = run(
        "eval.py", "--ckpt", folder / "best.ckpt", f"data.root={sample_dir}", f"output={tmp_path}", "eval.draw=2"
    )
    assert result.returncode == 0, result.stderr
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    last = result.stdout.strip().splitlines()[-1]
    assert last == f"AP: {metrics['AP']}"
    assert result.stdout.count("| maxDets= 20 ] = ") == 10
    assert set(metrics["seconds"]) == {"data", "network", "decode", "wall"}
    assert len(list((tmp_path / "pictures").iterdir())) == 2
    results = json.loads((tmp_path / "keypoints_results.json").read_text())
    assert all(len(r["keypoints"]) == 51 for r in results)


def test_last_checkpoint_gives_the_best_ap_again(
    trained: tuple[Path, subprocess.CompletedProcess], sample_dir: Path, tmp_path: Path
) -> None:
    """The averaged weights of a training checkpoint are what was evaluated while training."""
    folder, _ = trained
    result = run("eval.py", "--ckpt", folder / "last.ckpt", f"data.root={sample_dir}", f"output={tmp_path}")
    recorded = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()][-1]["AP"]
    assert float(result.stdout.strip().splitlines()[-1].removeprefix("AP: ")) == pytest.approx(recorded, abs=1e-6)


def test_detections_are_evaluated(
    trained: tuple[Path, subprocess.CompletedProcess], sample_dir: Path, tmp_path: Path
) -> None:
    folder, _ = trained
    truth = json.loads((sample_dir / "annotations" / "person_keypoints_val2017.json").read_text())
    people = truth["annotations"]
    boxes = [{"image_id": p["image_id"], "category_id": 1, "bbox": p["bbox"], "score": 0.5} for p in people]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    result = run(
        "eval.py",
        "--ckpt",
        folder / "best.ckpt",
        f"data.root={sample_dir}",
        f"output={tmp_path}",
        "eval.use_gt_bbox=false",
        f"eval.bbox_file={tmp_path / 'boxes.json'}",
    )
    assert result.returncode == 0, result.stderr
    assert f"loaded {len(boxes)} boxes" in result.stdout


def test_run_killed_at_any_step_ends_with_the_same_weights(
    sample_dir: Path, tmp_path: Path, chance: random.Random
) -> None:
    options = (
        f"data.root={sample_dir}",
        "train.epochs=6",
        "train.save_steps=3",
        "train.eval_epochs=0",
        "train.ema=0.9",
        "runtime.amp=O2",  # the loss scale is part of the state
        "data.crop_draws=truncated",
        "data.stages=[{epoch: 2, shift_prob: 0.5, cutout_prob: 0.5}]",
    )
    whole_run = run("train.py", *options, f"output={tmp_path / 'whole'}")
    assert whole_run.returncode == 0
    assert names(whole_run.stdout, "epoch 3", "data.shift_prob=0.5", "data.cutout_prob=0.5")
    folder = tmp_path / "killed"
    # Of 42 steps: the third is followed by the first checkpoint, and after the 28th enough is left that a slow reader
    # still meets the run alive. The moment lies anywhere in the next step, or while a checkpoint is written.
    step, share = chance.randint(3, 28), chance.random()
    print(f"killed after step {step} and {share:.2f} of the time of a step")
    arguments = command("train.py", *options, f"output={folder}")
    process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    time.sleep(share * wait_for_step(process, step))
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert run("train.py", *options, f"output={folder}", "train.resume=auto").returncode == 0
    whole, resumed = read_ckpt(tmp_path / "whole" / "last.ckpt"), read_ckpt(folder / "last.ckpt")
    assert whole.keys() == resumed.keys()
    for name in whole:
        np.testing.assert_array_equal(whole[name], resumed[name], err_msg=name)
    steps = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, len(steps) + 1))


def test_sigterm_saves_and_says_how_to_continue(sample_dir: Path, tmp_path: Path, chance: random.Random) -> None:
    step = chance.randint(1, 20)  # the first evaluation comes after the 14th
    print(f"stopped after step {step}")
    arguments = command("train.py", f"data.root={sample_dir}", "train.epochs=1000", f"output={tmp_path}")
    process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for_step(process, step)
    process.terminate()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM
    assert "stopped after epoch" in errors
    assert "train.resume=auto" in errors
    assert (tmp_path / "last.ckpt").exists()


def test_ctrl_c_saves_and_is_not_taken_for_another_signal(sample_dir: Path, tmp_path: Path) -> None:
    """While MindSpore computes, it would make a SIGTERM of it."""
    arguments = command("train.py", f"data.root={sample_dir}", "train.epochs=1000", f"output={tmp_path}")
    process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(0.5 * wait_for_step(process, 3))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGINT
    assert (errors.count("\n"), names(errors, "stopped", tmp_path / "last.ckpt", "train.resume=auto")) == (1, True)
    assert (tmp_path / "last.ckpt").exists()


STOPPED = {"eval.py": "evaluating", "export.py": "loading", "data_to_bin.py": "writing"}  # behind which line


@pytest.mark.parametrize("name", STOPPED)
def test_ctrl_c_is_one_line_and_leaves_nothing_half_done(
    trained: tuple[Path, subprocess.CompletedProcess], sample_dir: Path, tmp_path: Path, name: str
) -> None:
    weights, out = trained[0] / "best.ckpt", tmp_path / "out"
    large = ("data.input_size=[768,1024]", "codec.heatmap_size=[192,256]", "data.workers=1")
    more = large if name == "data_to_bin.py" else ("--ckpt", weights)
    arguments = command(name, f"data.root={sample_dir}", f"output={out}", *more)
    process = subprocess.Popen(
        arguments,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert any(STOPPED[name] in line for line in process.stdout), process.stderr.read()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGINT, errors
    assert (errors.count("\n"), errors.startswith("error: stopped")) == (1, True)
    left = [path for path in tmp_path.rglob("*") if path.name.startswith((".", "tmp")) and path.suffix != ".files"]
    assert left == []


def test_used_output_folder_is_not_overwritten(
    trained: tuple[Path, subprocess.CompletedProcess], sample_dir: Path
) -> None:
    result = run("train.py", f"data.root={sample_dir}", f"output={trained[0]}")
    assert_fails(result, 2, str(trained[0]), "train.resume=auto")


def test_another_run_is_not_continued_into_a_used_folder(
    trained: tuple[Path, subprocess.CompletedProcess], sample_dir: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.ckpt"
    other.write_bytes((trained[0] / "last.ckpt").read_bytes())
    result = run("train.py", f"data.root={sample_dir}", f"output={trained[0]}", f"train.resume={other}")
    assert_fails(result, 2, str(trained[0]), "train.resume=auto", "output=")


def test_any_trace_of_a_run_keeps_its_folder(
    trained: tuple[Path, subprocess.CompletedProcess], sample_dir: Path, tmp_path: Path
) -> None:
    for name in ("simplepose-1_3.ckpt", "best.ckpt", "metrics.jsonl"):
        folder = tmp_path / name.partition(".")[0]
        folder.mkdir()
        source = trained[0] / (name if "-" not in name else "last.ckpt")
        (folder / name).write_bytes(source.read_bytes())
        assert_fails(run("train.py", f"data.root={sample_dir}", f"output={folder}"), 2, str(folder), name, "output=")


def test_resume_auto_takes_the_newest_whole_checkpoint_where_the_last_is_damaged(
    trained: tuple[Path, subprocess.CompletedProcess], sample_dir: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained[0], tmp_path, dirs_exist_ok=True)
    state = read_ckpt(tmp_path / "last.ckpt")
    older, last = tmp_path / "simplepose-1_3.ckpt", tmp_path / "last.ckpt"
    entries = {**state, "state.step": np.array(3), "global_step": np.array([3], np.int32)}
    save({name: ms.Tensor(value.copy()) for name, value in entries.items()}, older)
    (newest,) = (path for path in tmp_path.glob("simplepose-*.ckpt") if path != older)
    lacking = [name for name in entries if not name.startswith("moment1")]
    save({name: ms.Tensor(entries[name].copy()) for name in lacking}, tmp_path / "simplepose-1_4.ckpt")
    for path in (last, newest):
        os.truncate(path, path.stat().st_size - 9)
    options = (f"data.root={sample_dir}", f"output={tmp_path}", "train.ema=0.5", "train.resume=auto")
    result = run("train.py", *options)
    assert result.returncode == 0, result.stderr
    for name in (str(last), str(newest), "moment1", f"resumed from {older} after step 3 "):
        assert name in result.stdout
    assert read_ckpt(last)["state.step"] == state["state.step"]


def test_resume_auto_destroys_nothing_where_no_checkpoint_can_be_read(
    trained: tuple[Path, subprocess.CompletedProcess], sample_dir: Path, tmp_path: Path
) -> None:
    for name in ("best.ckpt", "metrics.jsonl"):
        (tmp_path / name).write_bytes((trained[0] / name).read_bytes())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    options = (f"data.root={sample_dir}", f"output={tmp_path}", "train.resume=auto")
    assert_fails(run("train.py", *options), 1, str(tmp_path), "best.ckpt", "last.ckpt", "output=")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_finished_run_says_so(
    trained: tuple[Path, subprocess.CompletedProcess], sample_dir: Path, tmp_path: Path
) -> None:
    last = trained[0] / "last.ckpt"
    result = run("train.py", f"data.root={sample_dir}", f"output={tmp_path}", f"train.resume={last}", "train.ema=0.5")
    assert result.returncode == 0, result.stderr
    assert "steps are done already" in result.stdout
    assert (tmp_path / "last.ckpt").exists()
    assert (tmp_path / "best.ckpt").exists()


def test_resume_with_another_batch_size_continues_at_an_epoch(
    trained: tuple[Path, subprocess.CompletedProcess], sample_dir: Path, tmp_path: Path
) -> None:
    last = trained[0] / "last.ckpt"
    result = run(
        "train.py",
        f"data.root={sample_dir}",
        f"output={tmp_path}",
        f"train.resume={last}",
        "train.ema=0.5",
        "train.batch_size=4",
        "train.epochs=3",
    )
    assert result.returncode == 0, result.stderr
    assert "continuing at epoch 3" in result.stdout
    steps = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    per_epoch = steps[-1] // 3
    assert steps[0] == 2 * per_epoch + 1


def test_own_keypoints_train_and_evaluate(tmp_path: Path) -> None:
    from mspose.skeleton import load_skeleton
    from mspose.synthetic.sample import generate

    skeleton = ROOT / "configs" / "skeletons" / "body14.yaml"
    generate(tmp_path / "data", 16, 6, skeleton=load_skeleton(str(skeleton)))
    options = (f"data.root={tmp_path / 'data'}", f"data.skeleton={skeleton}", f"output={tmp_path / 'out'}")
    assert run("train.py", *options).returncode == 0
    result = run("eval.py", *options, "--ckpt", tmp_path / "out" / "best.ckpt", "eval.draw=1")
    assert result.returncode == 0, result.stderr
    results = json.loads((tmp_path / "out" / "keypoints_results.json").read_text())
    assert {len(r["keypoints"]) for r in results} == {42}


def test_openpose_trains_resumes_and_evaluates(sample_dir: Path, tmp_path: Path) -> None:
    options = (
        "--config",
        "configs/openpose_vgg19_368.yaml",
        f"data.root={sample_dir}",
        f"output={tmp_path}",
        "model.stages=2",
        "model.stage_width=8",
        "model.base_width=4",
        "data.input_size=[96,96]",
        "train.batch_size=4",
        "train.log_steps=1",
        "train.eval_epochs=1",
        "data.workers=2",
    )

    def call(script: str, *more: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, script, *options, *more],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    result = call("train.py", "train.epochs=1")
    assert result.returncode == 0, result.stderr
    assert "epoch[0], iter[0], mean loss is 0." in result.stdout
    result = call("train.py", "train.epochs=2", "train.resume=auto")
    assert result.returncode == 0, result.stderr
    result = call("eval.py", "--ckpt", str(tmp_path / "last.ckpt"), "eval.draw=1")
    assert result.returncode == 0, result.stderr
    assert "{'AP': " in result.stdout
    assert result.stdout.strip().splitlines()[-1].startswith("AP: ")


def test_unreadable_picture_is_skipped_and_counted(sample_dir: Path, tmp_path: Path) -> None:
    root = copy_of(sample_dir, tmp_path / "data")
    victim = cut_picture(root)
    result = run("train.py", f"data.root={root}", f"output={tmp_path / 'out'}", "train.eval_epochs=0")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count(victim.name) == 1
    assert "1 images could not be read and were skipped" in result.stdout


def test_too_many_unreadable_pictures_stop_the_run(sample_dir: Path, tmp_path: Path) -> None:
    root = copy_of(sample_dir, tmp_path / "data")
    for index in range(6):
        cut_picture(root, index)
    result = run("train.py", f"data.root={root}", f"output={tmp_path / 'out'}", "train.eval_epochs=0")
    assert_fails(result, 1, "1%", "training")


def test_cut_picture_in_evaluation_is_named(
    trained: tuple[Path, subprocess.CompletedProcess], sample_dir: Path, tmp_path: Path
) -> None:
    root = copy_of(sample_dir, tmp_path / "data")
    victims = [cut_picture(root, index, "val2017") for index in range(10)]
    result = run("eval.py", "--ckpt", trained[0] / "best.ckpt", f"data.root={root}", f"output={tmp_path / 'out'}")
    assert_fails(result, 1, "truncated", victims[0].parent.name)


def test_checkpoint_of_another_network(
    trained: tuple[Path, subprocess.CompletedProcess], sample_dir: Path, tmp_path: Path
) -> None:
    result = run(
        "eval.py", "--ckpt", trained[0] / "best.ckpt", f"data.root={sample_dir}", f"output={tmp_path}", "model.depth=50"
    )
    assert_fails(result, 1, str(trained[0] / "best.ckpt"), "backbone.layer1.0.conv1.weight")


def test_checkpoint_cut_short(
    trained: tuple[Path, subprocess.CompletedProcess], sample_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "cut.ckpt").write_bytes((trained[0] / "best.ckpt").read_bytes()[:5000])
    result = run("eval.py", "--ckpt", tmp_path / "cut.ckpt", f"data.root={sample_dir}", f"output={tmp_path / 'out'}")
    assert_fails(result, 1, "MindSpore", str(tmp_path / "cut.ckpt"))


def test_full_disk_while_saving(sample_dir: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk."""
    limited = f"ulimit -f 100; exec {shlex.join(command('train.py', f'data.root={sample_dir}', f'output={tmp_path}'))}"
    result = subprocess.run(["bash", "-c", limited], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert_fails(result, 1, str(tmp_path), ".ckpt")
    assert not [p.name for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_missing_picture(sample_dir: Path, tmp_path: Path) -> None:
    root = copy_of(sample_dir, tmp_path / "data")
    victim = next((root / "train2017").iterdir())
    victim.unlink()
    assert_fails(run("train.py", f"data.root={root}", f"output={tmp_path / 'out'}"), 1, "missing", victim.name)


def test_annotations_cut_in_half(sample_dir: Path, tmp_path: Path) -> None:
    root = copy_of(sample_dir, tmp_path / "data")
    path = root / "annotations" / "person_keypoints_train2017.json"
    path.write_text(path.read_text()[: path.stat().st_size // 2])
    assert_fails(run("train.py", f"data.root={root}", f"output={tmp_path / 'out'}"), 1, "JSON", str(path))


def test_sixteen_keypoints(sample_dir: Path, tmp_path: Path) -> None:
    root = copy_of(sample_dir, tmp_path / "data")
    path = root / "annotations" / "person_keypoints_train2017.json"
    content = json.loads(path.read_text())
    for annotation in content["annotations"]:
        annotation["keypoints"] = annotation["keypoints"][:48]
    path.write_text(json.dumps(content))
    result = run("train.py", f"data.root={root}", f"output={tmp_path / 'out'}")
    assert_fails(result, 1, " 16 ", "data.skeleton", path.name)


def test_empty_evaluation_set(
    trained: tuple[Path, subprocess.CompletedProcess], sample_dir: Path, tmp_path: Path
) -> None:
    root = copy_of(sample_dir, tmp_path / "data")
    path = root / "annotations" / "person_keypoints_val2017.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "annotations": []}))
    result = run("eval.py", "--ckpt", trained[0] / "best.ckpt", f"data.root={root}", f"output={tmp_path / 'out'}")
    assert_fails(result, 1, "nobody", path.name)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["train.lrr=1"], 2, ["train.lrr", "train.lr"]),
        (["train.batch_size=100000"], 2, ["train.batch_size", "100000"]),
        (["train.batch_size=many"], 2, ["train.batch_size", "whole number"]),
        (["train.init_from=none.ckpt"], 1, ["train.init_from", "none.ckpt"]),
        (["train.resume=none.ckpt"], 1, ["train.resume", "none.ckpt"]),
        (["--ckpt=any.ckpt"], 2, ["--ckpt", "train.init_from"]),
        (["model.pretrained=none.ckpt"], 1, ["model.pretrained", "none.ckpt"]),
        (["runtime.device=Ascend"], 2, ["runtime.device", "Ascend"]),
        (["data.input_size=[100,100]"], 2, ["data.input_size"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_wrong_arguments(sample_dir: Path, tmp_path: Path, arguments: list[str], code: int, words: list[str]) -> None:
    assert_fails(run("train.py", f"data.root={sample_dir}", f"output={tmp_path}", *arguments), code, *words)


def test_unwritable_output(sample_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run("train.py", f"data.root={sample_dir}", f"output={tmp_path / 'file' / 'out'}")
    assert_fails(result, 1, str(tmp_path / "file"), "output=")


def copy_of(source: Path, target: Path) -> Path:
    """Copy a data set by hard links; a changed file must be replaced, not written into."""
    for path in source.rglob("*"):
        if path.is_file():
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".json":
                copy.write_bytes(path.read_bytes())
            else:
                os.link(path, copy)
    return target


def cut_picture(root: Path, index: int = 0, split: str = "train2017") -> Path:
    """Cut a picture that has labelled people in half."""
    content = json.loads((root / "annotations" / f"person_keypoints_{split}.json").read_text())
    used = {a["image_id"] for a in content["annotations"] if a["num_keypoints"] and not a["iscrowd"]}
    names = [i["file_name"] for i in content["images"] if i["id"] in used]
    path = root / split / names[index % len(names)]
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[: len(data) // 2])
    return path
