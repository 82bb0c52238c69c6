"""What `mspose doctor` does: say what this machine has, whether it belongs together, what computes, and what to do.

mspose doctor

Exit code 0: nothing that is installed fails; 1: something does; the last lines say what to do. It writes nothing.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mspose.diagnose.machine import Ascend, Machine, look
from mspose.diagnose.probe import MINDIR, ONNX, Outcome, Probe, run
from mspose.diagnose.small import onnx_file
from mspose.diagnose.versions import AS_OF, is_within, mismatches, row_of
from mspose.extras import BASE
from mspose.runtime.logs import say, set_up_logging
from mspose.version import __version__, commit

# A convolution that takes this many times as long as a matrix product of as many operations is not the fast one.
SLOW = 12.0
_ISA = "ONEDNN_MAX_CPU_ISA"
# What runs a backend: its package, and the name of that in `machine.PACKAGES`.
_NEEDS = {"mindspore": "MindSpore", "onnx": "ONNX Runtime", "openvino": "OpenVINO", "lite": "MindSpore Lite"}
_MISSING = {
    "mindspore": "training, checkpoints, export and MindIR files need it: pip install 'mspose[train]'",
    "onnx": f"exported ONNX files and `mspose demo` without MindSpore need it: pip install '{BASE['onnxruntime']}'",
    "openvino": "the fastest way to run ONNX files on a processor: pip install 'mspose[openvino]'",
    "lite": "runs MindIR files on Ascend 310 and 310P; its wheel is on MindSpore's site, on no package index",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, 1 where something that is installed does not work, or 2 for wrong usage."""
    parser = argparse.ArgumentParser(
        prog="mspose doctor", description=(__doc__ or ""), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args(argv)
    set_up_logging()
    machine = look()
    for line in describe(machine):
        say(line)
    faults, notes = list[str](), list(doubts(machine))
    say("")
    for probe, outcome in outcomes(machine):
        line, fault, note = judge(probe, outcome, machine)
        say(f"  {line}")
        faults += fault
        notes += note
    say("")
    for text in faults:
        say(f"wrong: {text}")
    for text in notes:
        say(f"note: {text}")
    if not faults:
        say("nothing that is installed fails" + ("" if notes else ", and nothing is left to do"))
    return 1 if faults else 0


def describe(machine: Machine) -> Iterator[str]:
    """A line on each part of the machine, found or not."""
    ascend, has = machine.ascend, machine.processor.has
    lacks = [name for name in ("AVX2", "AVX-512", "VNNI", "bf16", "AMX") if name not in has]
    without = f"; no {', '.join(lacks)}" if platform.machine() == "x86_64" and lacks else ""
    yield f"mspose          {__version__} {commit()}".rstrip()
    yield f"processor       {machine.processor.model}, {machine.processor.cores} cores; {', '.join(has)}{without}"
    if machine.memory:
        yield f"memory          {machine.memory[0]:.1f} GiB, {machine.memory[1]:.1f} available"
    if ascend.is_there:
        yield f"Ascend cards    {', '.join(ascend.cards or ascend.nodes)}"
    else:
        yield "Ascend cards    none: neither npu-smi nor /dev/davinci* shows one"
    yield f"Ascend driver   {ascend.driver or 'none'}"
    yield f"Ascend firmware {ascend.firmware or 'none'}"
    yield f"CANN            {(ascend.cann or 'version unknown') + f' in {ascend.folder}' if ascend.folder else 'none'}"
    yield f"NVIDIA cards    {'; '.join(machine.nvidia) or 'none: nvidia-smi shows none'}"
    yield f"Python          {machine.python}"
    for name in ("MindSpore", "MindSpore Lite", "ONNX Runtime", "OpenVINO", "OpenCV", "PyAV", "NumPy", "onnx"):
        yield f"{name:15} {machine.packages.get(name, 'not installed')}"
    yield f"FFmpeg          {machine.ffmpeg or 'no program of that name; OpenCV brings its own library'}"
    yield f"versions        {belonging(machine)}"


def belonging(machine: Machine) -> str:
    """Whether MindSpore, CANN and driver belong together, on one line."""
    version, ascend = _number(machine, "MindSpore"), machine.ascend
    if not version:
        return "MindSpore is not installed: nothing to compare"
    row = row_of(version)
    if row is None:
        return f"no published row for MindSpore {version} was found (as of {AS_OF}): not judged"
    wanted = f"MindSpore {version} belongs to CANN {' or '.join(row.cann)}"
    wanted += f", driver and firmware {row.driver}" if row.driver else "; for its driver no row was found"
    if not ascend.cann:
        return f"{wanted} (as of {AS_OF}); no CANN to compare"
    wrong = mismatches(version, ascend.cann, ascend.driver)
    return f"{'they do not belong together' if wrong else 'they belong together'}: {wanted} (as of {AS_OF})"


def doubts(machine: Machine) -> Iterator[str]:
    """What the versions and folders alone give to do, a line each."""
    ascend, packages = machine.ascend, machine.packages
    yield from _ascend_doubts(ascend)
    yield from mismatches(_number(machine, "MindSpore"), ascend.cann, ascend.driver)
    for name, module in (("OpenCV", "cv2"), ("NumPy", "numpy"), ("ONNX Runtime", "onnxruntime")):
        if name in packages and not is_within(_number(machine, name), BASE[module]):
            yield f"{name} {packages[name]} is not what this was written for: pip install '{BASE[module]}'"
    if "," in packages.get("OpenCV", ""):
        yield (
            f"several packages bring OpenCV and overwrite each other's files ({packages['OpenCV']}): uninstall all, "
            f"then pip install '{BASE['cv2']}'"
        )
    for backend, name in _NEEDS.items():
        # Lite is for Ascend's inference cards: nobody else misses it.
        if name not in packages and (backend != "lite" or ascend.is_there):
            yield f"{name} is not installed: {_MISSING[backend]}"


def _ascend_doubts(ascend: Ascend) -> Iterator[str]:
    if ascend.is_there and not ascend.tool:
        yield (
            "there are Ascend cards, but no npu-smi: install the driver; in a container, mount /usr/local/bin/npu-smi "
            "and /usr/local/Ascend/driver of the host"
        )
    if ascend.fits is False:
        yield (
            f"npu-smi says that driver {ascend.driver} and firmware {ascend.firmware} are not compatible: install both "
            "of the same Ascend HDK"
        )
    if ascend.folder and not ascend.is_sourced:
        script = next(
            (path for path in (ascend.folder / "set_env.sh", ascend.folder.parent / "set_env.sh") if path.is_file()),
            ascend.folder / "set_env.sh",
        )
        yield f"CANN is installed but not in this shell's environment: source {script}"
    if ascend.is_there and not ascend.folder:
        yield "there are Ascend cards, but no CANN: install toolkit and operator packages, then source their set_env.sh"


def outcomes(machine: Machine) -> Iterator[tuple[Probe, Outcome | None]]:
    """Run the small network with each backend on each device; None: the backend is not installed."""
    with tempfile.TemporaryDirectory(prefix="mspose-doctor-") as name:
        folder = Path(name)
        (folder / ONNX).write_bytes(onnx_file())
        for backend in ("mindspore", "mindir", "onnx", "openvino", "lite"):
            if _NEEDS[_runtime(backend)] not in machine.packages:
                yield Probe(backend), None
                continue
            if backend in ("mindir", "lite") and not (folder / MINDIR).exists():
                yield Probe(backend), Outcome("not tried: MindSpore wrote no MindIR file for it")
                continue
            if backend == "openvino":
                for precision in ("f32", "auto"):
                    probe = Probe(backend, precision=precision)
                    yield probe, run(probe, folder)
                continue
            first = Probe(backend)
            outcome = run(first, folder)
            yield first, outcome
            for device in _cards(backend, outcome, machine):
                probe = Probe(backend, device)
                yield probe, run(probe, folder)


def _cards(backend: str, outcome: Outcome, machine: Machine) -> Iterable[str]:
    """On what a backend is tried besides the CPU."""
    if backend == "lite":
        return ["Ascend"] * machine.ascend.is_there
    known = [device for device in outcome.facts.get("devices", ()) if device != "CPU"]
    # What MindSpore does not see though it is there is worth its own account of why.
    if backend == "mindspore" and machine.ascend.is_there and "Ascend" not in known:
        known.append("Ascend")
    there = {"Ascend": machine.ascend.is_there, "GPU": bool(machine.nvidia)}
    return [device for device in known if backend != "onnx" or there[device]]


def judge(probe: Probe, outcome: Outcome | None, machine: Machine) -> tuple[str, list[str], list[str]]:
    """A line on a probe, what is wrong, and what else is to be said."""
    name = f"{probe.name:18}"
    if outcome is None:
        return f"{name} not installed", [], []
    if outcome.fault.startswith("not tried"):
        return f"{name} {outcome.fault}", [], []
    if outcome.fault:
        return f"{name} fails: {outcome.fault}", [f"{probe.name} does not run: {_remedy(probe, machine)}"], []
    differences = ", ".join(f"{output} {share:.0e}" for output, share in outcome.differences.items())
    worst = max(outcome.differences, key=outcome.differences.__getitem__)
    if outcome.differences[worst] > probe.tolerance:
        return (
            f"{name} computes wrongly: from NumPy's {differences} of the largest",
            [
                f"{probe.name}: output {worst} differs by {outcome.differences[worst]:.1e} of the largest, more than "
                f"{probe.tolerance:g}: {_remedy(probe, machine)}"
            ],
            [],
        )
    line = f"{name} runs; from NumPy's {differences} of the largest"
    if "convolution" not in outcome.facts:
        return line, [], []
    return line, *_speed(outcome.facts["convolution"], outcome.facts["product"], machine)


def _speed(convolution: float, product: float, machine: Machine) -> tuple[list[str], list[str]]:
    """Whether MindSpore's convolutions are fast: with AVX-512 they may be 40 to 100 times slower (`runtime.device`)."""
    measured = f"MindSpore's convolutions reach {convolution:.3g} GFLOP/s, NumPy's matrix product {product:.3g}"
    own = os.environ.get(_ISA)
    if product > SLOW * convolution:
        remedy = f"unset {_ISA} (it is {own})" if own else "MindSpore's oneDNN takes its slow path"
        return [f"{measured}: {remedy}"], []
    if "AVX-512" not in machine.processor.has:
        return [], []
    by = f"{_ISA}={own} in the environment" if own else f"this program sets {_ISA}=AVX2 for MindSpore"
    return [], [f"AVX-512 is cured: {by}; {measured}"]


def _remedy(probe: Probe, machine: Machine) -> str:
    """What to do about a backend that fails."""
    if probe.device == "Ascend":
        found = [
            *_ascend_doubts(machine.ascend),
            *mismatches(_number(machine, "MindSpore"), machine.ascend.cann, machine.ascend.driver),
        ]
        return found[0] if found else "GLOG_v=1 in the environment shows what MindSpore and CANN do; docs/ascend.md"
    package = _NEEDS[_runtime(probe.backend)]
    if probe.device == "GPU":
        return f"install the {package} that is built for this CUDA, or choose --device_target CPU"
    return f"install {package} again (pip install --force-reinstall), or take another backend"


def _runtime(backend: str) -> str:
    """The backend whose package runs it."""
    return "mindspore" if backend == "mindir" else backend


def _number(machine: Machine, name: str) -> str:
    """The version alone of what may be listed with its installer's name."""
    return machine.packages.get(name, "").partition(" ")[0].rstrip(",")
