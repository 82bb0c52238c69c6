"""The speed of training: what counts as what, and the command as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mspose.config.builder import default_config
from mspose.config.text import to_yaml
from mspose.train.performance import WARMUP_STEPS, describe, summarize, time_steps
from tests.conftest import ROOT
from tests.messages import tells_of

SCRIPT = ROOT / "scripts" / "run_performance.sh"


def test_waiting_and_computing_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("mspose.train.performance.time.perf_counter", lambda: clock[0])

    def spend(seconds: float) -> None:
        clock[0] += seconds

    def batches():
        for seconds in (1, 2, 3):
            spend(seconds)
            yield (np.array(seconds * 10),)

    done = []
    waits, steps = time_steps(batches(), lambda batch: spend(float(batch[0])), done.append)
    assert (waits.tolist(), steps.tolist(), done) == ([1, 2, 3], [10, 20, 30], [1, 1, 1])


@pytest.mark.parametrize(("count", "warmup"), [(2, 1), (7, 3), (19, 9), (100, WARMUP_STEPS)])
def test_warm_up_is_left_out(count: int, warmup: int) -> None:
    waits, steps = np.full(count, 0.1), np.full(count, 0.4)
    waits[:warmup], steps[:warmup] = 50, 70
    report = summarize(waits, steps, samples=16)
    assert (report["steps"], report["warmup_steps"]) == (count - warmup, warmup)
    assert report["samples_per_second"] == pytest.approx(32)
    assert report["ms_per_step"] == {"mean": pytest.approx(500), "median": pytest.approx(500)}
    assert report["data_share"] == pytest.approx(0.2)
    assert report["first_step_seconds"] == 70


def test_mean_and_median() -> None:
    waits, steps = np.zeros(8), np.array([9, 9, 9, 9, 1, 1, 1, 5.0])
    report = summarize(waits, steps, samples=4)
    assert report["step_ms"] == {"mean": 2000, "median": 1000}
    assert report["samples_per_second"] == 2
    assert report["data_ms"] == {"mean": 0, "median": 0}


def test_peak_memory_of_the_host_grows_with_what_is_held() -> None:
    code = (
        "import numpy as np; from mspose.train.performance import peak_memory; before = peak_memory('CPU');"
        "np.ones(2**25); after = peak_memory('CPU'); print(after['host'] - before['host'], after['device'])"
    )
    grown, device = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert int(grown) > 2**27
    assert device == "None"


def test_table_names_only_known_memory() -> None:
    report = {**summarize(np.ones(4), np.ones(4), 8), "peak_memory": {"host": 3 * 2**30, "device": None}}
    lines = describe(report).splitlines()
    assert lines[-1].split() == ["peak", "memory", "host", "3.00", "GiB"]
    assert lines[1].split() == ["samples/s", "4.0"]


@pytest.fixture(scope="module")
def small_config(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration file, in a folder with a space in its name, for seconds of training."""
    config = default_config()
    config.model.depth, config.model.base_width, config.model.deconv_filters = 18, 8, [16, 16, 16]
    config.data.root, config.data.input_size, config.codec.heatmap_size = str(sample_dir), [64, 96], [16, 24]
    config.data.workers, config.train.batch_size = 2, 8
    path = tmp_path_factory.mktemp("a folder") / "small.yaml"
    path.write_text(to_yaml(config))
    return path


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(
        ["bash", SCRIPT, *map(str, arguments), "--fg"],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_command_measures_and_saves_no_weights(small_config: Path) -> None:
    """From another folder, with relative paths that hold spaces, longer than the run itself would be."""
    folder = small_config.parent
    (folder / "my run").mkdir()
    (folder / "my run" / "last.ckpt").write_text("of an earlier run")
    result = run(small_config.name, "output=my run", "train.performance_steps=40", "train.epochs=1", cwd=folder)
    assert result.returncode == 0, result.stderr
    report = json.loads((folder / "my run" / "performance.json").read_text())
    assert (report["steps"], report["warmup_steps"], report["batch_size"]) == (30, 10, 8)
    assert report["samples_per_second"] == pytest.approx(8e3 / report["ms_per_step"]["mean"])
    assert report["peak_memory"]["host"] > 2**27
    assert sorted(p.name for p in (folder / "my run").iterdir()) == [
        "last.ckpt",
        "performance.json",
        "performance.log",
        "performance.yaml",
    ]
    assert (folder / "my run" / "last.ckpt").read_text() == "of an earlier run"
    assert f"samples/s {report['samples_per_second']:13.1f}" in result.stdout
    assert not (ROOT / "my run").exists()


def test_measuring_continues_no_run(small_config: Path, tmp_path: Path) -> None:
    result = run(small_config, f"output={tmp_path}", "train.resume=auto", cwd=tmp_path)
    assert result.returncode == 2
    assert tells_of(result.stderr, "error", "train.performance_steps", "train.resume")
