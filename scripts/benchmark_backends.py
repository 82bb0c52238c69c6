"""The part `backends` of benchmark.py, and the process that measures one backend of it. benchmark.py starts it:

python scripts/benchmark_backends.py BACKEND FILE CONFIG BATCH
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
# OpenVINO's.
PRECISIONS = ("f32", "bf16")
# Files by the backend that runs them; "session" is a bare one of ONNX Runtime.
FILES = {
    "mindspore": "ckpt",
    "mindir": "mindir",
    "session": "onnx",
    "onnx": "onnx",
    **{f"openvino-{precision}": "onnx" for precision in PRECISIONS},
    "onnx-int8": "int8.onnx",
    "openvino-int8": "int8.onnx",
}
# What each backend's time is divided by.
AGAINST = ("onnx", "PyTorch")
sys.path.insert(0, str(ROOT / "src"))


def backends(arguments: argparse.Namespace, worker: type) -> None:
    """A table for each network: ms/image, memory and size in each backend, and AP where checkpoints are given."""
    from mspose.networks import method_of

    environment = {name: value for name, value in os.environ.items() if not name.startswith("ONEDNN_")}
    torch = [arguments.torch_python, "-c", "import torch"]
    has_torch = not subprocess.run(torch, capture_output=True, check=False).returncode
    names = [name for name in FILES if name not in _absent()]
    print(f"ms/image, median of {arguments.rounds} alternating rounds; ratios are those of the largest batch")
    for weights in arguments.ckpt or arguments.recipes:
        with tempfile.TemporaryDirectory() as folder:
            config, files = export(weights, Path(folder), environment, arguments.keys if arguments.ckpt else None)
            width, height = config.data.input_size
            rounds = {}
            # Whole pictures come one at a time.
            for batch in sorted(arguments.batches) if method_of(config).needs_boxes else [1]:
                commands = {
                    name: [sys.executable, __file__, name, str(files[FILES[name]]), f"{folder}/c.yaml", str(batch)]
                    for name in names
                }
                if has_torch:
                    baseline = [arguments.torch_python, str(ROOT / "scripts/torch_baseline.py"), "forward"]
                    model = json.dumps(asdict(config.model))
                    commands["PyTorch"] = [*baseline, model, str(batch), str(width), str(height)]
                workers = {name: worker(command, environment) for name, command in commands.items()}
                rounds[batch] = [
                    {name: process.measure(4) for name, process in workers.items()} for _ in range(arguments.rounds)
                ]
                memory = {name: process.close() for name, process in workers.items()}
            ap = _evaluated(names, files, arguments.keys, Path(folder), environment) if arguments.ckpt else {}
            _report(f"{Path(weights).stem} ({config.model.name}), {width}x{height}", rounds, memory, files, ap)


def _absent() -> list[str]:
    """Backends that are not installed, or compute in what the processor lacks."""
    if not find_spec("openvino"):
        return [name for name in FILES if name.startswith("openvino")]
    from mspose.backends.openvino import import_openvino

    if "BF16" in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return []
    print("this processor has no bf16")
    return ["openvino-bf16"]


def _report(
    title: str,
    rounds: dict[int, list[dict[str, float]]],
    memory: dict[str, float],
    files: dict[str, Path],
    ap: dict[str, float],
) -> None:
    last = rounds[max(rounds)]
    against = [other for other in AGAINST if other in last[0]]
    head = [title, *(f"batch {batch}" for batch in rounds), *(f"/ {other}" for other in against), "MB", "file, MB"]
    lines = [head + ["AP"] * bool(ap), ["---"] * (len(head) + bool(ap))]
    for name in last[0]:
        times = [f"{statistics.median(r[name] for r in series):.1f}" for series in rounds.values()]
        ratios = [f"{statistics.median(r[name] / r[other] for r in last):.2f}" for other in against]
        size = f"{files[FILES[name]].stat().st_size / 1e6:.1f}" if name in FILES else ""
        figure = [f"{ap[name]:.4f}" if name in ap else ""] if ap else []
        lines.append([name, *times, *ratios, f"{memory[name]:.0f}", size, *figure])
    print("\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n", flush=True)


def _evaluated(
    names: list[str], files: dict[str, Path], keys: list[str], folder: Path, environment: dict[str, str]
) -> dict[str, float]:
    """AP of each backend on the set that the keys name."""
    found = {}
    for name in names:
        if name == "session":
            continue
        out = folder / "eval"
        shutil.rmtree(out, ignore_errors=True)
        command = [sys.executable, str(ROOT / "eval.py"), "--ckpt", str(files[FILES[name]]), *_chosen(name)]
        subprocess.run([*command, "--output", str(out), *keys], check=True, env=environment, stdout=subprocess.DEVNULL)
        found[name] = json.loads((out / "metrics.json").read_text(encoding="utf-8"))["AP"]
    return found


def _chosen(name: str) -> list[str]:
    """Keys that choose one of `FILES`."""
    backend, _, precision = name.partition("-")
    keys = [f"runtime.backend={backend}"]
    return keys + [f"runtime.precision={precision}"] * (precision in PRECISIONS)


def export(
    weights: str, folder: Path, environment: dict[str, str], keys: list[str] | None = None
) -> tuple[Any, dict[str, Path]]:
    """A network as checkpoint, MindIR, ONNX and ONNX in int8; made in a process of its own.

    Args:
        weights: a recipe, for random weights; or a checkpoint, where there are `keys`.
        keys: that name the set to calibrate int8 on.
    """
    from mspose.config.builder import load_config

    subprocess.run(
        [sys.executable, __file__, "make", weights, str(folder), "0", *(["--ckpt", *keys] if keys is not None else [])],
        check=True,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    endings = dict.fromkeys(FILES.values())
    return load_config(folder / "c.yaml"), {ending: folder / f"network.{ending}" for ending in endings}


def _make(weights: str, folder: Path, keys: list[str] | None) -> None:
    from mspose.config.text import save_config
    from mspose.export.command import export_checkpoint
    from mspose.resolve import resolve
    from mspose.runtime.device import start

    ckpt = folder / "network.ckpt"
    values: dict[str, object] = {
        "runtime.device": "CPU",
        "export.batch_size": None,
        "export.file_name": str(folder / "network"),
        "export.tolerance": 1e-3,
        **dict(key.split("=", 1) for key in keys or ()),
    }
    if keys is not None:
        shutil.copy(weights, ckpt)
        beside = Path(weights).with_suffix(".yaml")
        if beside.is_file():
            shutil.copy(beside, ckpt.with_suffix(".yaml"))
        config = resolve(None, {**values, "runtime.ckpt": str(ckpt)}, section="export")
        save_config(config, folder / "c.yaml")
    else:
        config = resolve(ROOT / f"configs/{weights}.yaml", values, section="export")
        save_config(config, folder / "c.yaml")
        config.runtime.ckpt = str(ckpt)
        start(config.runtime)
        import mindspore as ms

        from mspose.checkpoints.io import save
        from mspose.networks import build_model

        save({p.name: ms.Tensor(p.asnumpy()) for p in build_model(config).get_parameters()}, config.runtime.ckpt)
    for kind in ("MINDIR", "ONNX"):
        config.export.file_format = kind
        export_checkpoint(config)
    config.export.file_name = str(folder / "network.int8")
    if keys is not None:
        config.export.quantize = "int8"
        export_checkpoint(config)
        return
    from mspose.export.ascend import ONNX_INPUT
    from mspose.export.quantize import write_int8
    from mspose.networks import find_network

    # Random weights have no AP to keep: this is what `export.quantize=int8` writes, without its proof.
    width, height = config.data.input_size
    noise = np.random.default_rng(0).standard_normal((1, 3, height, width), np.float32)
    layers = find_network(config.model.name).float_layers
    write_int8(folder / "network.onnx", folder / "network.int8.onnx", 1, lambda _: [noise], ONNX_INPUT, layers)


def _runner(backend: str, file: str, config: str):  # a backend, or a bare session's run
    if backend == "session":
        import onnxruntime

        session = onnxruntime.InferenceSession(file)
        name = session.get_inputs()[0].name
        return lambda inputs: session.run(None, {name: inputs})
    from mspose.backends.open import open_backend
    from mspose.config.builder import load_config

    keys = {"runtime.ckpt": file, "runtime.device": "CPU", **dict(key.split("=") for key in _chosen(backend))}
    return open_backend(load_config(config, keys))


def main() -> None:
    """Answer each line on standard input with the milliseconds an image of so many runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backend", choices=(*FILES, "make"))
    parser.add_argument("file", help="weights to run; for make, a recipe or checkpoint")
    parser.add_argument("config", help="configuration of the weights; for make, the folder to write into")
    parser.add_argument("batch", type=int, help="images a run")
    parser.add_argument("--ckpt", nargs="*", metavar="KEY=VALUE", help="for make: a checkpoint, and keys of its data")
    arguments = parser.parse_args()
    if arguments.backend == "make":
        _make(arguments.file, Path(arguments.config), arguments.ckpt)
        return
    from mspose.config.builder import load_config

    with contextlib.redirect_stdout(sys.stderr):
        run = _runner(arguments.backend, arguments.file, arguments.config)
    width, height = load_config(arguments.config).data.input_size
    inputs = np.random.default_rng(0).standard_normal((arguments.batch, 3, height, width), np.float32)
    run(inputs)
    run(inputs)
    print("ready", flush=True)
    for line in sys.stdin:
        begin = time.perf_counter()
        for _ in range(int(line)):
            run(inputs)
        print((time.perf_counter() - begin) / int(line) / len(inputs) * 1e3, flush=True)


if __name__ == "__main__":
    main()
