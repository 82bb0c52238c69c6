"""The folder of results: one run at a time, and no files of an earlier run among the new ones."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mspose.checkpoints.ckpt_file import write_ckpt
from mspose.commands import COMMANDS
from mspose.config.builder import default_config
from mspose.deploy.bins import Manifest, input_settings, write_manifest
from mspose.errors import PoseError
from mspose.files import unlisted, write_text
from mspose.runtime import results as results_module
from mspose.runtime.results import locked, results_folder
from tests.messages import naming

HOLD = """
import sys, time
from pathlib import Path
from mspose.runtime.results import locked
with locked(Path(sys.argv[1]), "train"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path: Path):
    """A process that writes into `tmp_path`."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_second_run_is_told_who_holds_the_folder(tmp_path: Path, holder: subprocess.Popen) -> None:
    with pytest.raises(PoseError) as caught, results_folder(tmp_path, "train"):
        pass
    for word in (str(tmp_path), "train", str(holder.pid), socket.gethostname()):
        assert word in str(caught.value)


def test_who_has_locked_but_not_yet_written_it_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / ".train.lock"
    who = {"command": "train", "pid": 7, "host": "h", "since": "now"}
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        monkeypatch.setattr(results_module.time, "sleep", lambda _: lock.write_text(json.dumps(who)))
        with pytest.raises(PoseError, match="process 7 on h"), locked(tmp_path, "train"):
            pass


def test_lock_dies_with_its_process(tmp_path: Path, holder: subprocess.Popen) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert (tmp_path / ".train.lock").exists()
    with locked(tmp_path, "train"):
        pass
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("environment", [{"RANK_ID": "1", "RANK_SIZE": "2"}, {"MS_ROLE": "MS_SCHED"}])
def test_other_ranks_and_the_scheduler_leave_the_lock_to_the_first(
    tmp_path: Path, holder: subprocess.Popen, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with results_folder(tmp_path, "train"):
        pass


def test_disk_without_locks_is_named_and_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with locked(tmp_path, "eval"):
        pass
    assert str(tmp_path) in caplog.text


def test_single_files_are_locked_one_by_one(tmp_path: Path) -> None:
    with locked(tmp_path, "export", tmp_path / "a.onnx"):
        with locked(tmp_path, "export", tmp_path / "b.onnx"):
            pass
        with pytest.raises(PoseError, match="export"), locked(tmp_path, "export", tmp_path / "a.onnx"):
            pass


def test_a_run_may_be_evaluated_while_it_trains(tmp_path: Path, holder: subprocess.Popen) -> None:
    results(tmp_path, "metrics.json")
    assert files(tmp_path) == {"metrics.json"}


def results(folder: Path, *names: str, fails: bool = False) -> None:
    with results_folder(folder, "eval"):
        for name in names:
            write_text(folder / name, name)
        if fails:
            raise ZeroDivisionError


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.name[0] != "."}


def test_what_the_run_before_has_left_goes_and_nothing_else(tmp_path: Path) -> None:
    results(tmp_path, "metrics.json", "pictures/a.jpg", "pictures/b.jpg", "old/c.jpg", "edited.json")
    (tmp_path / "pictures/mine.jpg").touch()
    (tmp_path / "edited.json").write_text("by hand")
    with results_folder(tmp_path, "demo"):
        write_text(tmp_path / "predictions.json", "[]")
    results(tmp_path, "metrics.json", "pictures/b.jpg")
    kept = {"metrics.json", "pictures/b.jpg", "pictures/mine.jpg", "edited.json", "predictions.json"}
    assert files(tmp_path) == kept
    assert not (tmp_path / "old").exists()


def test_what_a_killed_run_was_writing_goes_from_folders_that_the_next_one_has_no_use_for(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from mspose.files import write_text, atomic_path\n"
        "from mspose.runtime.results import results_folder\n"
        "with results_folder(sys.argv[1], 'eval') as folder:\n"
        "    write_text(folder / 'pictures/a.jpg', '')\n"
        "    with atomic_path(folder / 'pictures/b.jpg'): os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, tmp_path], check=False).returncode == -signal.SIGKILL
    assert len(os.listdir(tmp_path / "pictures")) == 2
    results(tmp_path, "metrics.json")
    assert not (tmp_path / "pictures").exists()


def test_a_run_that_fails_removes_nothing_and_the_next_removes_what_it_left(tmp_path: Path) -> None:
    results(tmp_path, "a")
    with pytest.raises(ZeroDivisionError):
        results(tmp_path, "b", fails=True)
    assert files(tmp_path) == {"a", "b"}
    results(tmp_path, "c")
    assert files(tmp_path) == {"c"}


def test_names_that_lead_out_of_the_folder_do_not_count(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.touch()
    folder = tmp_path / "folder"
    folder.mkdir()
    status = outside.stat()
    lines = [
        f'{{"name": "{name}", "size": {status.st_size}, "modified": {status.st_mtime_ns}}}'
        for name in ("../outside", str(outside))
    ]
    (folder / ".eval.files").write_text("\n".join([*lines, "[]", "[" * 100_000, '{"name": 3']))
    results(folder, "a")
    assert outside.exists()


@pytest.mark.parametrize(
    "line",
    [
        {"name": "\ud800", "size": 1, "modified": 1},
        {"name": "a\0b", "size": 1, "modified": 1},
        {"name": ["a"], "size": 1, "modified": 1},
        {"name": "a", "size": float("inf"), "modified": 1},
        {"name": "a", "size": 1, "modified": "1"},
    ],
)
def test_a_list_that_names_no_files_removes_none(tmp_path: Path, line: dict) -> None:
    (tmp_path / ".eval.files").write_text(json.dumps(line) + "\n")
    (tmp_path / "a").write_text("a")
    results(tmp_path, "metrics.json")
    assert files(tmp_path) == {"a", "metrics.json"}


def test_files_that_are_kept_for_later_are_no_results(tmp_path: Path) -> None:
    with results_folder(tmp_path, "eval"), unlisted():
        write_text(tmp_path / "w.pth.converted.ckpt", "")
    results(tmp_path, "a")
    assert files(tmp_path) == {"w.pth.converted.ckpt", "a"}


@pytest.mark.parametrize("name", ["train", "eval", "demo", "detect", "prepare"])
def test_every_command_that_fills_a_folder_respects_its_lock(tmp_path: Path, name: str, sample_dir: Path) -> None:
    weights = tmp_path / "w.ckpt"
    write_ckpt({"x": np.zeros(1, np.float32)}, weights)
    keys = {"runtime.output": str(tmp_path / "out"), "data.root": str(sample_dir), "eval.use_gt_bbox": True}
    if name in ("eval", "demo"):
        keys["runtime.ckpt"] = str(weights)
    if name == "demo":
        keys["demo.input"] = str(sample_dir / "val2017")
    config = default_config("simplepose", keys)
    (tmp_path / "out").mkdir()
    with locked(tmp_path / "out", name), pytest.raises(PoseError, match=naming(tmp_path / "out", os.getpid())):
        COMMANDS[name].function()(config)
    assert os.listdir(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("name", "folder", "lock", "result"),
    [
        ("infer", "out/results", "infer", None),
        ("postprocess", "out", "eval", None),  # eval writes the same files
        ("export", "out", "export", "pose.onnx"),
    ],
)
def test_every_later_step_respects_the_lock_of_what_it_writes(
    tmp_path: Path, name: str, folder: str, lock: str, result: str | None, sample_dir: Path
) -> None:
    weights, out = tmp_path / "w.ckpt", tmp_path / "out"
    write_ckpt({"x": np.zeros(1, np.float32)}, weights)
    keys = {
        "runtime.output": str(out),
        "runtime.ckpt": str(weights),
        "data.root": str(sample_dir),
        "eval.use_gt_bbox": True,
        "export.file_name": str(out / "pose.onnx"),
        "export.file_format": "ONNX",
    }
    config = default_config("simplepose", keys)
    out.mkdir()
    write_manifest(out, Manifest("a", [3, 256, 192], "float32", input_settings(config), 1, []))
    before = files(out)
    written = tmp_path / folder / (result or "")
    with (
        locked(tmp_path / folder, lock, written if result else None),
        pytest.raises(PoseError, match=naming(written, os.getpid())),
    ):
        COMMANDS[name].function()(config)
    assert files(out) == before
