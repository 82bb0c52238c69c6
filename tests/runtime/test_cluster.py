"""Several hosts: the command lines of each, what is refused, and the examples for schedulers."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.test_scripts import SIMPLEPOSE, script

EXAMPLES = ROOT / "examples/clusters"


def test_dry_run_prints_the_command_lines_of_each_host(tmp_path: Path) -> None:
    cluster = ("--hosts", 2, "--host_rank", 1, "--master=10.0.0.1:9000", "--dry_run")
    result = script("run_distribute_train", SIMPLEPOSE, 8, *cluster, f"output={tmp_path}", device="Ascend")
    assert (result.returncode, result.stderr) == (0, "")
    lines = [shlex.split(line) for line in result.stdout.splitlines()]
    for host, words in enumerate(lines):
        assert words[:3] == ["host", f"{host}:", "msrun"]
        options = dict(
            word.removeprefix("--").split("=") for word in words[3:] if word.startswith("--") and "=" in word
        )
        assert options == {
            "worker_num": "16",
            "local_worker_num": "8",
            "master_addr": "10.0.0.1",
            "master_port": "9000",
            "node_rank": str(host),
            "log_dir": str(tmp_path / f"ranks/host_{host}"),
            "worker_log_name": "rank",
            "join": "False",
        }
        assert words[-4:] == ["--config", str(ROOT / SIMPLEPOSE), "runtime.device=Ascend", f"output={tmp_path}"]
    assert len(lines) == 2
    assert not list(tmp_path.iterdir())


def test_dry_run_of_a_rank_table_prints_each_rank(tmp_path: Path) -> None:
    result = script(
        "run_distribute_train",
        SIMPLEPOSE,
        8,
        EXAMPLES / "hccl_2x8.json",
        "--dry_run",
        "--host_rank=0",
        f"output={tmp_path}",
        device="Ascend",
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert re.findall(r"^host (\d): RANK_ID=(\d+) RANK_SIZE=16 DEVICE_ID=(\d)", result.stdout, re.MULTILINE) == [
        (str(rank // 8), str(rank), str(rank % 8)) for rank in range(16)
    ]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--hosts", "2"), ("--master", "MASTER_ADDR")),
        (("--hosts",), ("--hosts",)),
        (("--restarts", "often"), ("--restarts", "often")),
    ],
)
def test_options_that_do_not_fit_are_named(options: tuple[str, ...], named: tuple[str, ...], tmp_path: Path) -> None:
    result = script("run_distribute_train", SIMPLEPOSE, 2, *options, f"output={tmp_path}")
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert all(name in result.stderr.splitlines()[-1] for name in named)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.y*ml")), ids=lambda path: path.name)
def test_manifests_are_yaml_that_runs_the_scripts(path: Path) -> None:
    documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    assert all({"apiVersion", "kind", "metadata", "spec"} <= set(document) for document in documents)
    shell = [text for text in texts(documents) if "run_distribute_train.sh" in text]
    assert len(shell) == 1
    assert subprocess.run(["bash", "-n"], input=shell[0], text=True, check=False).returncode == 0


def texts(value: object) -> list[str]:
    """All texts in a YAML document."""
    if isinstance(value, dict):
        return [text for inner in value.values() for text in texts(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in texts(inner)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.sh")), ids=lambda path: path.name)
def test_batch_scripts_are_shell(path: Path) -> None:
    result = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
