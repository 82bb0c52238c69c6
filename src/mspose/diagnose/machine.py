"""What a machine has: processor, memory, cards and their drivers, CANN, and the versions of what is installed.

Nothing here loads a library that computes: a broken one must not keep the rest from being said.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# What a processor computes with, by the flags of /proc/cpuinfo: x86-64's, then ARM's.
INSTRUCTIONS = {
    "AVX2": ("avx2",),
    "AVX-512": ("avx512f",),
    "VNNI": ("avx512_vnni", "avx_vnni"),
    "bf16": ("avx512_bf16", "bf16"),
    "AMX": ("amx_tile",),
    "NEON": ("asimd",),
    "dot products": ("asimddp",),
    "SVE": ("sve",),
}
# Packages by what they are called: the names under which an installer may list them.
PACKAGES = {
    "MindSpore": ("mindspore", "mindspore-dev"),
    "MindSpore Lite": ("mindspore-lite",),
    "ONNX Runtime": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-cann"),
    "OpenVINO": ("openvino",),
    "OpenCV": (
        "opencv-python-headless",
        "opencv-python",
        "opencv-contrib-python-headless",
        "opencv-contrib-python",
    ),
    "PyAV": ("av",),
    "NumPy": ("numpy",),
    "onnx": ("onnx",),
}
# Where CANN lies by its documentation: up to 8.3, from 8.5 on; of root, then of a user.
CANN_FOLDERS = (
    "/usr/local/Ascend/cann",
    "/usr/local/Ascend/ascend-toolkit/latest",
    "~/Ascend/cann",
    "~/Ascend/ascend-toolkit/latest",
)
# Files there that tell the version; MindSpore reads the first.
CANN_FILES = ("compiler/version.info", "{arch}-linux/ascend_toolkit_install.info", "version.cfg")
DRIVER, FIRMWARE = "/usr/local/Ascend/driver/version.info", "/usr/local/Ascend/firmware/version.info"


@dataclass(frozen=True)
class Processor:
    """A processor.

    Attributes:
        model: as its maker calls it.
        cores: that this machine has.
        has: of the names of `INSTRUCTIONS`.
    """

    model: str
    cores: int
    has: tuple[str, ...]


@dataclass(frozen=True)
class Ascend:
    """What there is of Ascend.

    Attributes:
        cards: a line for each card that npu-smi tells of.
        nodes: device files of cards.
        tool: whether npu-smi is there.
        driver, firmware, cann: versions, empty where nothing tells them.
        folder: of CANN; None: none is where its documentation puts it.
        is_sourced: whether set_env.sh has run in this shell.
        fits: whether npu-smi says that driver and firmware fit each other; None: it does not say.
    """

    cards: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    tool: bool = False
    driver: str = ""
    firmware: str = ""
    cann: str = ""
    folder: Path | None = None
    is_sourced: bool = False
    fits: bool | None = None

    @property
    def is_there(self) -> bool:
        """Whether there is a card."""
        return bool(self.cards or self.nodes)


@dataclass(frozen=True)
class Machine:
    """A machine.

    Attributes:
        memory: GiB in all, and available; None: unknown.
        nvidia: a line for each card that nvidia-smi tells of.
        packages: what is called like that in `PACKAGES` → name and version as installed; absent: not installed.
        ffmpeg: version of the program, empty where there is none.
    """

    processor: Processor
    memory: tuple[float, float] | None
    ascend: Ascend
    nvidia: tuple[str, ...]
    packages: Mapping[str, str]
    ffmpeg: str
    python: str = field(default_factory=platform.python_version)


def look(root: Path = Path("/"), environment: Mapping[str, str] = os.environ) -> Machine:
    """Look at the machine that this runs on.

    Args:
        root: of the file system, for tests.
    """
    return Machine(
        read_processor(_text(root / "proc/cpuinfo")),
        read_memory(_text(root / "proc/meminfo")),
        read_ascend(root, environment),
        tuple(_lines("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")),
        installed(),
        _first(r"ffmpeg version (\S+)", "\n".join(_lines("ffmpeg", "-version"))),
    )


def read_processor(cpuinfo: str) -> Processor:
    """What /proc/cpuinfo tells."""
    model = _first(r"^model name\s*:\s*(.+)$", cpuinfo) or platform.processor() or platform.machine()
    flags = set(_first(r"^(?:flags|Features)\s*:\s*(.+)$", cpuinfo).split())
    has = tuple(name for name, names in INSTRUCTIONS.items() if flags & set(names))
    return Processor(model, os.cpu_count() or 1, has)


def read_memory(meminfo: str) -> tuple[float, float] | None:
    """GiB in all, and available, by /proc/meminfo."""
    total, free = (_first(rf"^{name}:\s*(\d+) kB$", meminfo) for name in ("MemTotal", "MemAvailable"))
    return (int(total) / 2**20, int(free) / 2**20) if total and free else None


def read_ascend(root: Path, environment: Mapping[str, str]) -> Ascend:
    """Cards, driver, firmware and CANN, by npu-smi and the files that their documentation names."""
    sourced = environment.get("ASCEND_HOME_PATH") or environment.get("ASCEND_TOOLKIT_HOME") or ""
    home = environment.get("HOME", "/root")
    usual = [root / folder.replace("~", home).lstrip("/") for folder in CANN_FOLDERS]
    folder = next((path for path in ([Path(sourced)] if sourced else usual) if path.is_dir()), None)
    board = {}
    ids = re.findall(r"NPU ID\s*:\s*(\d+)", "\n".join(_lines("npu-smi", "info", "-l")))
    for number in ids:
        text = "\n".join(_lines("npu-smi", "info", "-t", "board", "-i", number))
        board[number] = {key.strip(): value.strip() for key, value in re.findall(r"^([^:\n]+):(.*)$", text, re.M)}
    names = dict(re.findall(r"^\|\s*(\d+)\s+(\w+)\s*\|", "\n".join(_lines("npu-smi", "info")), re.M))
    first = next(iter(board.values()), {})
    fit = {values["Compatibility"] for values in board.values() if "Compatibility" in values}
    return Ascend(
        cards=tuple(f"card {number}: {names.get(number, 'Ascend')}" for number in ids),
        nodes=tuple(sorted(path.name for path in (root / "dev").glob("davinci[0-9]*"))),
        tool=shutil.which("npu-smi") is not None,
        driver=_version(root / DRIVER[1:]) or first.get("Software Version", ""),
        firmware=_version(root / FIRMWARE[1:]) or first.get("Firmware Version", ""),
        cann=_cann(folder) if folder else "",
        folder=folder,
        is_sourced=bool(sourced),
        fits=("NOK" not in fit) if fit else None,
    )


def installed() -> dict[str, str]:
    """What is installed of `PACKAGES`: name → version, after the installer's name where that is another."""
    found = {}
    for name, packages in PACKAGES.items():
        lines = []
        for package in packages:
            try:
                lines.append(version(package) if package == packages[0] else f"{version(package)} ({package})")
            except PackageNotFoundError:
                continue
        if lines:
            found[name] = ", ".join(lines)
    return found


def _cann(folder: Path) -> str:
    for name in CANN_FILES:
        found = _version(folder / name.format(arch=platform.machine()))
        if found:
            return found
    return ""


def _version(path: Path) -> str:
    """Of a file with a line like `Version=8.2.RC1`, `version=…`, or version.cfg's `…=[7.6.0:8.2.RC1]`."""
    text = _text(path)
    return _first(r"(?i)^version\s*=\s*(\S+)$", text) or _first(r"=\[[^\]:]*:([^\]]+)\]", text)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _first(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.M)
    return match[1].strip() if match else ""


def _lines(*command: str) -> Sequence[str]:
    """What a program prints; nothing where it is not there, fails or hangs."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=15, check=True, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.splitlines()
