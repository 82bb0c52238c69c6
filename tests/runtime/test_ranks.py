"""Several processes as one: shares, gathering, and two ranks, on one host and on two, against one process."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mspose.checkpoints.ckpt_file import read_ckpt
from mspose.errors import UsageError
from mspose.runtime.ranks import Ranks, launched, local_device
from tests.conftest import ROOT
from tests.namespaces import linked_hosts
from tests.test_commands import SMALL, command
from tests.test_scripts import wait_until

PLAIN = ("data.flip=0", "data.scale_factor=0", "data.rotation_prob=0", "train.eval_epochs=1", "train.epochs=1")
TRAIN = ROOT / "scripts/run_distribute_train.sh"


@pytest.mark.parametrize(("count", "world"), [(10, 3), (2, 4), (0, 2), (7, 1)])
def test_shares_hold_everything_once_and_come_back_in_order(count: int, world: int) -> None:
    values = np.arange(count * 2).reshape(count, 2)
    parts = [values[Ranks(rank, world).share(count)] for rank in range(world)]
    assert np.array_equal(Ranks(0, world).interleave(parts), values)


def test_a_single_process_gathers_its_own() -> None:
    array = np.arange(3)
    assert Ranks().gather(array)[0] is array
    assert Ranks().gather_json({"a": 1}) == [{"a": 1}]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Ranks()),
        ({"RANK_ID": "1", "RANK_SIZE": "4"}, Ranks(1, 4)),
        ({"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "3"}, Ranks(2, 3)),
    ],
)
def test_the_launcher_is_read_from_the_environment(
    environment: dict[str, str], expected: Ranks, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK_ID", "RANK_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert launched() == expected


@pytest.mark.parametrize("name", ["RANK_ID", "RANK_SIZE", "DEVICE_ID"])
@pytest.mark.parametrize("value", ["9" * 20, "-1", "²", "1_0", "x"])
def test_numbers_of_the_environment_that_cannot_be_are_named(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, text in {"RANK_ID": "0", "RANK_SIZE": "2", "DEVICE_ID": "0", name: value}.items():
        monkeypatch.setenv(key, text)
    with pytest.raises(UsageError, match=name):
        (launched(), local_device())


@pytest.mark.parametrize(("rank", "world"), [("2", "2"), ("-1", "2"), ("one", "2")])
def test_a_rank_beyond_the_number_of_ranks_is_refused(rank: str, world: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK_ID", rank)
    monkeypatch.setenv("RANK_SIZE", world)
    with pytest.raises(UsageError, match="RANK_ID"):
        launched()


@pytest.fixture(scope="module")
def pair(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Output folders of one process with batches of 8 and, beside it, of two ranks with batches of 4 each."""
    folders = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    one, two = (
        command("train.py", f"data.root={sample_dir}", f"output={folder}", *PLAIN, *more)
        for folder, more in zip(folders, ([], ["train.batch_size=4", "train.sync_batch_norm=true"]))
    )
    alone = subprocess.Popen(one, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    launch(two, folders[1])
    output, _ = alone.communicate(timeout=300)
    assert alone.returncode == 0, output
    return folders


def launch(arguments: list[str], folder: Path) -> subprocess.CompletedProcess:
    """Run a command on two ranks of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder_of_python = Path(sys.executable).parent
    msrun = shutil.which("msrun", path=str(folder_of_python)) or "msrun"
    environment = {**os.environ, "PATH": f"{folder_of_python}{os.pathsep}{os.environ['PATH']}"}
    result = subprocess.run(
        [
            msrun,
            "--worker_num=2",
            "--local_worker_num=2",
            f"--master_port={port}",
            f"--log_dir={folder / 'ranks'}",
            "--join=True",
            *arguments[1:],
        ],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result


def losses(folder: Path) -> np.ndarray:
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return np.array([record["loss"] for record in records if "loss" in record])


def test_two_ranks_learn_as_one_with_twice_the_batch(pair: tuple[Path, Path]) -> None:
    one, two = map(losses, pair)
    assert len(one) == len(two) > 4
    # The first loss is that of the same weights and samples; later ones part by rounding, which Adam magnifies.
    assert abs(two[0] - one[0]) < 1e-6 * one[0]
    assert np.abs(two - one).max() < 0.02 * one.max()


def test_synchronised_statistics_agree(pair: tuple[Path, Path]) -> None:
    one, two = (read_ckpt(folder / "last.ckpt") for folder in pair)
    name = "bn1.moving_mean"
    key = next(k for k in one if k.endswith(name) and not k.startswith(("moment", "ema")))
    assert np.allclose(one[key], two[key], atol=0.02 * np.abs(one[key]).max())


def test_ranks_evaluate_everybody_once_with_the_result_of_one(
    pair: tuple[Path, Path], sample_dir: Path, tmp_path: Path
) -> None:
    common = ["--ckpt", pair[1] / "last.ckpt", f"data.root={sample_dir}"]
    alone = subprocess.run(
        command("eval.py", *common, f"output={tmp_path / 'one'}"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert alone.returncode == 0, alone.stderr
    result = launch(command("eval.py", *common, f"output={tmp_path / 'two'}"), tmp_path)
    one, two = (json.loads((tmp_path / name / "keypoints_results.json").read_text()) for name in ("one", "two"))
    assert len(one) == len(two) > 0
    assert [r["image_id"] for r in one] == [r["image_id"] for r in two]
    assert np.allclose([r["keypoints"] for r in one], [r["keypoints"] for r in two], atol=1e-3)
    assert result.stdout.count("AP: ") == 1


def test_two_hosts_learn_as_two_processes_also_after_a_restart(
    pair: tuple[Path, Path], sample_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a file system each, and a rank that is killed."""
    monkeypatch.setenv("DEVICE_TARGET", "CPU")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    common = [*SMALL, *PLAIN, f"data.root={sample_dir}", "train.batch_size=4", "train.sync_batch_norm=true"]
    common += ["train.eval_epochs=0", "train.save_steps=2", "--fg"]

    def start(host: int) -> subprocess.Popen:
        options = ["--hosts", 2, "--host_rank", host, "--master", hosts.addresses[0], "--restarts", 1]
        arguments = ["configs/quickstart/simplepose.yaml", 1, *options, *common, f"output={tmp_path / f'host_{host}'}"]
        command = [*hosts.inside(host), "bash", str(TRAIN), *map(str, arguments)]
        with (tmp_path / f"host_{host}.txt").open("w") as log:
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    with linked_hosts() as hosts:
        run = [start(host) for host in range(2)]
        told = tmp_path / "host_0.txt"
        wait_until(lambda: "epoch: 1 step: 4" in told.read_text() or run[0].poll() is not None, 240)
        os.kill(rank_in(hosts.names[1]), signal.SIGKILL)
        assert [process.wait(240) for process in run] == [0, 0], told.read_text()
    assert re.search(r"^error: host 1 .*rank 1 ended with signal 9", told.read_text(), re.MULTILINE)
    assert "resumed from" in told.read_text()
    # Rank 0 alone has written, and the other host had nothing to continue from.
    assert not list((tmp_path / "host_1").glob("*.ckpt"))
    assert np.array_equal(losses(tmp_path / "host_0"), losses(pair[1]))


def rank_in(namespace: str) -> int:
    """Process id of the rank that runs in a namespace."""
    pids = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=True).stdout.split()
    for pid in map(int, pids):
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        if b"MS_ROLE=MS_WORKER" in variables:
            return pid
    raise AssertionError("no rank runs")
