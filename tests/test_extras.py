"""What is not installed is named with the command that installs it; without any package there is still one line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mspose.checkpoints.beside import save_description
from mspose.commands import COMMANDS
from mspose.config.builder import default_config
from mspose.extras import BASE, EXTRAS
from tests.conftest import ROOT


def requirements(name: str) -> list[str]:
    """One list of requirements in pyproject.toml; Python 3.10 has no reader of it."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return re.findall(r'"(.+?)"', re.search(rf"^{name} = \[(.*?)\]", text, re.MULTILINE | re.DOTALL)[1])


def test_the_commands_install_what_the_package_declares() -> None:
    assert sorted(BASE.values()) == sorted(requirements("dependencies"))
    for package, extra in EXTRAS.items():
        installed = {"PIL": "pillow"}.get(package, package)
        assert any(re.match(rf"{installed}\b", requirement) for requirement in requirements(extra))


@pytest.mark.parametrize("name", COMMANDS)
def test_without_any_package_one_line_says_what_to_install(name: str) -> None:
    script = COMMANDS[name].script
    start = [str(ROOT / script)] if script else ["-m", "mspose", name]
    # -S: no site-packages.
    done = subprocess.run(
        [sys.executable, "-S", *start, "--help"], capture_output=True, text=True, check=False, cwd=ROOT / "src"
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert all(requirement in done.stderr for requirement in BASE.values())


def test_the_overview_needs_no_package() -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-m", "mspose", "--help"], capture_output=True, text=True, check=False, cwd=ROOT / "src"
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("package", ["pycocotools", "cv2"])
def test_a_missing_package_is_named_before_the_work_begins(tmp_path: Path, package: str) -> None:
    (tmp_path / "x.ckpt").touch()
    save_description(default_config(), tmp_path / "x.yaml")
    code = (
        f"import sys; sys.modules[{package!r}] = None; from mspose.commands import main; "
        f"sys.exit(main(['eval', '--ckpt', {str(tmp_path / 'x.ckpt')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"pip install '{BASE[package]}'" in done.stderr


def test_a_package_that_lacks_a_library_is_named(tmp_path: Path) -> None:
    """As OpenCV's plain wheel does on servers."""
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file', name='cv2')")
    code = "import sys; from mspose.commands import main; sys.exit(main(['sample', 'x']))"
    path = f"{tmp_path}:{ROOT / 'src'}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "libGL" in done.stderr
    assert BASE["cv2"] in done.stderr
