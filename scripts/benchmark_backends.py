"""The part `backends` of benchmark.py, and the process that measures one backend of it. benchmark.py starts it:

python scripts/benchmark_backends.py BACKEND FILE CONFIG BATCH
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
# OpenVINO's; where a processor lacks one, its figure is float32's.
PRECISIONS = ("f32", "bf16")
# What each backend's time is divided by.
AGAINST = {
    "mindspore": "PyTorch",
    "mindir": "PyTorch",
    "onnx": "session",
    "openvino-f32": "onnx",
    "openvino-bf16": "onnx",
    "onnx-int8": "onnx",
    "openvino-int8": "onnx",
}
sys.path.insert(0, str(ROOT / "src"))


def backends(arguments: argparse.Namespace, worker: type) -> None:
    """Milliseconds an image of each network in each backend, and the ratios that matter."""
    from mspose.networks import method_of

    environment = {name: value for name, value in os.environ.items() if not name.startswith("ONEDNN_")}
    torch = [arguments.torch_python, "-c", "import torch"]
    has_torch = not subprocess.run(torch, capture_output=True, check=False).returncode
    print(f"ms/image, median of {arguments.rounds} alternating rounds, batch {arguments.batch} (whole pictures: 1)")
    for recipe in arguments.recipes:
        with tempfile.TemporaryDirectory() as folder:
            config, files = export(recipe, Path(folder), environment)
            width, height = config.data.input_size
            batch = arguments.batch if method_of(config).needs_boxes else 1
            commands = {
                backend: [
                    sys.executable,
                    __file__,
                    backend,
                    str(files[ending]),
                    str(Path(folder) / "c.yaml"),
                    str(batch),
                ]
                for backend, ending in (
                    ("mindspore", "ckpt"),
                    ("mindir", "mindir"),
                    ("onnx", "onnx"),
                    ("session", "onnx"),
                    ("onnx-int8", "int8.onnx"),
                    *((f"openvino-{precision}", "onnx") for precision in PRECISIONS if find_spec("openvino")),
                    *([("openvino-int8", "int8.onnx")] if find_spec("openvino") else []),
                )
            }
            if has_torch:
                commands["PyTorch"] = [
                    arguments.torch_python,
                    str(ROOT / "scripts/torch_baseline.py"),
                    "forward",
                    json.dumps(asdict(config.model)),
                    str(batch),
                    str(width),
                    str(height),
                ]
            workers = {backend: worker(command, environment) for backend, command in commands.items()}
            rounds = [
                {backend: process.measure(4) for backend, process in workers.items()} for _ in range(arguments.rounds)
            ]
        _report(recipe, f"batch {batch}", rounds)


def _report(recipe: str, batch: str, rounds: list[dict[str, float]]) -> None:
    def ratio(a: str, b: str) -> str:
        if b not in rounds[0]:
            return ""
        return f"  {statistics.median(r[a] / r[b] for r in rounds):.2f} x {b}"

    print(f"{recipe}, {batch}")
    for backend in rounds[0]:
        median = statistics.median(r[backend] for r in rounds)
        print(f"  {backend:13} {median:8.1f}{ratio(backend, AGAINST.get(backend, ''))}", flush=True)


def export(recipe: str, folder: Path, environment: dict[str, str]) -> tuple[object, dict[str, Path]]:
    """Random weights of a recipe as checkpoint, MindIR, ONNX and ONNX in int8; made in a process of its own."""
    from mspose.config.builder import load_config

    config = load_config(ROOT / f"configs/{recipe}.yaml")
    files = {ending: folder / f"network.{ending}" for ending in ("ckpt", "mindir", "onnx", "int8.onnx")}
    subprocess.run(
        [sys.executable, __file__, "make", str(folder), recipe, "0"],
        check=True,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    return config, files


def _make(folder: Path, recipe: str) -> None:
    from mspose.config.builder import load_config
    from mspose.config.text import save_config
    from mspose.export.ascend import ONNX_INPUT
    from mspose.export.command import export_checkpoint
    from mspose.export.quantize import write_int8
    from mspose.networks import find_network
    from mspose.runtime.device import start

    config = load_config(
        ROOT / f"configs/{recipe}.yaml",
        {
            "runtime.device": "CPU",
            "runtime.ckpt": str(folder / "network.ckpt"),
            "export.batch_size": None,
            "export.file_name": str(folder / "network"),
            "export.tolerance": 1e-3,
        },
    )
    start(config.runtime)
    import mindspore as ms

    from mspose.checkpoints.io import save
    from mspose.networks import build_model

    save(
        {p.name: ms.Tensor(p.asnumpy()) for p in build_model(config).get_parameters()},
        config.runtime.ckpt,
    )
    for kind in ("MINDIR", "ONNX"):
        config.export.file_format = kind
        export_checkpoint(config)
    save_config(config, folder / "c.yaml")
    # Random weights have no AP to keep: this is what `export.quantize=int8` writes, without its proof.
    width, height = config.data.input_size
    noise = np.random.default_rng(0).standard_normal((1, 3, height, width), np.float32)
    layers = find_network(config.model.name).float_layers
    write_int8(folder / "network.onnx", folder / "network.int8.onnx", 1, lambda _: [noise], ONNX_INPUT, layers)


def _runner(backend: str, file: str, recipe: str):  # a backend, or a bare session's run
    if backend == "session":
        import onnxruntime

        session = onnxruntime.InferenceSession(file)
        name = session.get_inputs()[0].name
        return lambda inputs: session.run(None, {name: inputs})
    from mspose.backends.open import open_backend
    from mspose.config.builder import load_config

    name, _, precision = backend.partition("-")
    precision = precision if precision in PRECISIONS else "auto"
    keys = {"runtime.ckpt": file, "runtime.backend": name, "runtime.precision": precision}
    config = load_config(recipe, {**keys, "runtime.device": "CPU"})
    return open_backend(config)


def main() -> None:
    """Answer each line on standard input with the milliseconds an image of so many runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backend", choices=(*AGAINST, "session", "make"))
    parser.add_argument("file", help="weights to run; for make the folder to write them into")
    parser.add_argument("config", help="recipe of the weights")
    parser.add_argument("batch", type=int, help="images a run")
    arguments = parser.parse_args()
    if arguments.backend == "make":
        _make(Path(arguments.file), arguments.config)
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
