"""`mspose doctor`: what it reads of a machine, what it says belongs together, and what it does about what crashes."""

from __future__ import annotations

import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mspose.diagnose import doctor, probe, small
from mspose.diagnose.machine import Ascend, Machine, Processor, look, read_ascend, read_processor
from mspose.diagnose.probe import MINDIR, ONNX, Outcome, Probe
from mspose.diagnose.versions import ROWS, is_within, mismatches, row_of

PLAIN = Machine(
    Processor("A processor", 2, ("AVX2", "AVX-512")), (16.0, 8.0), Ascend(), (), {"ONNX Runtime": "1.20"}, "6.1"
)
CARD = Ascend(("card 0: 310P3",), ("davinci0",), True, "25.2.0", "7.7.0", "8.2.RC1", Path("/cann"), True, True)
GOOD = Outcome(differences={"maps": 1e-7, "attention": 1e-7}, facts={"devices": ["CPU"]})


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ONNX).write_bytes(small.onnx_file())
    (tmp_path / MINDIR).write_bytes(b"model")
    return tmp_path


def lite(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Outcome:
    """What becomes of a mindspore_lite that is this text."""
    write(folder / "packages/mindspore_lite.py", text)
    monkeypatch.setenv("PYTHONPATH", str(folder / "packages"))
    return probe.run(Probe("lite", "Ascend"), folder)


def test_onnx_file_of_the_small_network_is_valid() -> None:
    onnx = pytest.importorskip("onnx")
    onnx.checker.check_model(onnx.load_from_string(small.onnx_file()), full_check=True)


def test_onnx_runtime_computes_what_numpy_does(folder: Path) -> None:
    pytest.importorskip("onnxruntime")
    outcome = probe.run(Probe("onnx"), folder)
    assert outcome.fault == ""
    assert max(outcome.differences.values()) < 1e-5
    assert "CPU" in outcome.facts["devices"]


def test_damaged_file_is_a_fault_on_one_line(folder: Path) -> None:
    (folder / ONNX).write_bytes(small.onnx_file()[:200])
    outcome = probe.run(Probe("onnx"), folder)
    assert "not a readable ONNX model" in outcome.fault
    assert "\n" not in outcome.fault


def test_library_that_crashes_ends_the_probe_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = lite(folder, monkeypatch, "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    assert "SIGSEGV" in outcome.fault


def test_library_that_hangs_is_ended(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "CARD_LIMIT", 1)
    outcome = lite(folder, monkeypatch, "import time\ntime.sleep(60)\n")
    assert outcome.fault == "did not end within 1 s"


def test_library_that_computes_wrongly_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = lite(
        folder,
        monkeypatch,
        """
        from types import SimpleNamespace as N
        import numpy as np
        class ModelType: MINDIR = 0
        class Context: cpu, ascend = N(), N()
        class Model:
            def build_from_file(self, *given): pass
            def get_inputs(self): return [N(shape=[1, 3, 32, 24], set_data_from_numpy=lambda values: None)]
            def predict(self, inputs):
                maps, attention = np.ones((1, 17, 32, 24), np.float32), np.ones((1, 16, 192), np.float32)
                return [N(get_data_to_numpy=lambda: maps), N(get_data_to_numpy=lambda: attention)]
        """,
    )
    assert outcome.fault == ""
    line, wrong, _ = doctor.judge(Probe("lite", "Ascend"), outcome, PLAIN)
    assert "computes wrongly" in line
    assert len(wrong) == 1


def test_environment_of_several_processes_does_not_reach_a_probe(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK_SIZE", "8")
    outcome = lite(
        folder, monkeypatch, "import os\nraise RuntimeError('ranks: ' + os.environ.get('RANK_SIZE', 'none'))"
    )
    assert outcome.fault == "RuntimeError: ranks: none"


def test_expected_outputs_notice_other_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = small.expected()
    values = small.weights()
    monkeypatch.setattr(small, "weights", lambda: values | {"second.weight": values["second.weight"] * 1.01})
    changed = small.expected()
    assert all(np.abs(a - b).max() > 1e-3 * np.abs(a).max() for a, b in zip(expected, changed))


def test_processor() -> None:
    intel = "model name\t: Xeon\nflags\t\t: fpu avx2 avx512f avx512_vnni amx_tile\n"
    assert read_processor(intel).model == "Xeon"
    assert read_processor(intel).has == ("AVX2", "AVX-512", "VNNI", "AMX")
    assert read_processor("Features\t: fp asimd asimddp bf16\n").has == ("bf16", "NEON", "dot products")


@pytest.mark.parametrize(
    ("place", "file", "text", "cann"),
    [
        ("usr/local/Ascend/ascend-toolkit/latest", "compiler/version.info", "Version=8.2.RC1\n", "8.2.RC1"),
        ("usr/local/Ascend/cann", "version.cfg", "runtime_running_version=[7.6.0.1.220:8.5.0]\n", "8.5.0"),
        ("home/me/Ascend/cann", "compiler/version.info", "version=9.0.0\n", "9.0.0"),
    ],
)
def test_cann_where_its_documentation_puts_it(place: str, file: str, text: str, cann: str, tmp_path: Path) -> None:
    write(tmp_path / place / file, text)
    write(tmp_path / "usr/local/Ascend/driver/version.info", "Version=25.2.0\nascendhal_version=7\n")
    write(tmp_path / "dev/davinci0", "")
    ascend = read_ascend(tmp_path, {"HOME": "/home/me", "PATH": ""})
    assert (ascend.cann, ascend.driver, ascend.nodes, ascend.is_sourced) == (cann, "25.2.0", ("davinci0",), False)
    said = list(doctor.doubts(replace(PLAIN, ascend=ascend)))
    assert any(f"source {tmp_path / place}/set_env.sh" in line for line in said)


def test_environment_names_cann(tmp_path: Path) -> None:
    write(tmp_path / "mine/compiler/version.info", "Version=8.3.RC1\n")
    ascend = read_ascend(tmp_path, {"ASCEND_HOME_PATH": str(tmp_path / "mine")})
    assert (ascend.cann, ascend.is_sourced) == ("8.3.RC1", True)


def test_cards_of_npu_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = write(
        tmp_path / "bin/npu-smi",
        """\
        #!/bin/sh
        case "$*" in
            "info -l") echo "	Total Count                    : 1"; echo "	NPU ID                         : 5" ;;
            "info -t board -i 5")
                echo "	Software Version               : 25.2.0"
                echo "	Firmware Version               : 7.7.0.6.236"
                echo "	Compatibility                  : NOK" ;;
            info) echo "| 5       310P3        | OK              | NA           43  |" ;;
        esac
        """,
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:/usr/bin:/bin")
    ascend = read_ascend(tmp_path, {})
    assert ascend.cards == ("card 5: 310P3",)
    assert (ascend.driver, ascend.firmware, ascend.fits) == ("25.2.0", "7.7.0.6.236", False)
    assert any("not compatible" in line for line in doctor.doubts(replace(PLAIN, ascend=ascend)))


def test_this_machine_can_be_looked_at() -> None:
    machine = look()
    assert machine.processor.cores >= 1
    assert machine.packages["NumPy"] == np.__version__


def test_every_row_belongs_to_itself() -> None:
    for row in ROWS:
        for cann in row.cann:
            assert mismatches(row.mindspore, cann, row.driver) == []


@pytest.mark.parametrize(
    ("versions", "said"),
    [
        (("2.7.0", "8.5.0", ""), ("2.7.0", "CANN 8.2", "8.5.0", "2.7.2 or 2.10.0")),
        (("2.7.1", "8.3.RC1", "24.1.RC3"), ("25.3.RC1", "24.1.RC3")),
    ],
)
def test_what_does_not_belong_together_is_said(versions: tuple[str, str, str], said: tuple[str, ...]) -> None:
    found = mismatches(*versions)
    assert len(found) == 1
    assert all(part in found[0] for part in said)


def test_unknown_versions_are_not_judged() -> None:
    assert row_of("2.8.0") is None
    assert mismatches("2.8.0", "8.2.RC1", "1.0") == []
    assert "not judged" in doctor.belonging(replace(PLAIN, packages={"MindSpore": "2.8.0"}))


def test_requirements_of_packages() -> None:
    assert is_within("4.11.0.86", "opencv-python-headless>=4.8,<5")
    assert not is_within("5.0.0", "opencv-python-headless>=4.8,<5")
    assert not is_within("1.25.9", "numpy>=1.26,<3")
    packages = {"OpenCV": "4.9 , 5.0 (opencv-python)"}
    assert any("overwrite" in line for line in doctor.doubts(replace(PLAIN, packages=packages)))


def test_mismatch_is_the_remedy_of_a_card_that_fails() -> None:
    packages = {"MindSpore": "2.7.1"}
    machine = replace(PLAIN, ascend=CARD, packages=packages)
    _, wrong, _ = doctor.judge(Probe("mindspore", "Ascend"), Outcome("the process died of SIGSEGV"), machine)
    assert "CANN 8.3" in wrong[0]


def test_slow_convolutions_are_wrong_and_fast_ones_are_said_to_be_cured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    fast = replace(GOOD, facts={"convolution": 50.0, "product": 100.0})
    _, wrong, notes = doctor.judge(Probe("mindspore"), fast, PLAIN)
    assert not wrong
    assert "AVX-512 is cured" in notes[0]
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE")
    slow = replace(GOOD, facts={"convolution": 2.0, "product": 100.0})
    _, wrong, notes = doctor.judge(Probe("mindspore"), slow, PLAIN)
    assert "unset ONEDNN_MAX_CPU_ISA" in wrong[0]


@pytest.mark.parametrize(("outcome", "code"), [(GOOD, 0), (Outcome("the process died of SIGSEGV"), 1)])
def test_exit_code(outcome: Outcome, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(doctor, "look", lambda: PLAIN)
    monkeypatch.setattr(doctor, "run", lambda probe, folder: outcome)
    assert doctor.main([]) == code
    out = capsys.readouterr().out
    assert "Ascend cards    none" in out
    assert "note: MindSpore is not installed" in out
    assert ("wrong: onnx CPU" in out) == bool(code)


def test_cards_are_tried_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def run(one: Probe, folder: Path) -> Outcome:
        tried.append(one.name)
        (folder / MINDIR).touch()
        return replace(
            GOOD, facts={"devices": ["CANN", "CPU"]} if one.backend == "x" else {"devices": ["Ascend", "CPU"]}
        )

    monkeypatch.setattr(doctor, "run", run)
    packages = {"MindSpore": "2.7.0", "MindSpore Lite": "2.7.0", "ONNX Runtime": "1.20"}
    list(doctor.outcomes(replace(PLAIN, ascend=CARD, packages=packages)))
    for backend in ("mindspore", "mindir", "lite", "onnx"):
        assert f"{backend} Ascend" in tried
    tried.clear()
    list(doctor.outcomes(replace(PLAIN, packages=packages)))
    assert "onnx Ascend" not in tried  # ONNX Runtime lists what it was built for, not what is there
