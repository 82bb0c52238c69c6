"""One side of a comparison: a file of weights or an exported model, run on a picture."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mspose.backends.exported import ExportedBackend
from mspose.backends.open import backend_name, open_backend
from mspose.config.schema import Config
from mspose.data.topdown import Normalizer
from mspose.diagnose.differences import Step
from mspose.errors import PoseError, UsageError
from mspose.networks import find_network, method_of

log = logging.getLogger("pose")

# Backends that compute in MindSpore, of which a process has one device.
_MINDSPORE = ("mindspore", "mindir")
# Those that run ONNX files, whose nodes can be looked at.
_ONNX = ("onnx", "openvino")


@dataclass(frozen=True)
class Side:
    """What is compared.

    Attributes:
        config: with `runtime.ckpt`, backend and device.
        backend: the name of what runs it.
    """

    config: Config
    backend: str

    @staticmethod
    def of(config: Config) -> Side:
        """The side that a configuration names.

        Raises:
            UsageError: its backend does not run such a file.
        """
        return Side(config, backend_name(config))

    def __str__(self) -> str:
        runtime = self.config.runtime
        device = "" if runtime.device == "auto" else f" on {runtime.device}"
        return f"{runtime.ckpt} ({self.config.model.name}, {self.backend}{device})"

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of its input."""
        return self.config.data.input_size[0], self.config.data.input_size[1]

    @property
    def is_rounded(self) -> bool:
        """Whether it may compute in fewer bits than float32 has."""
        runtime = self.config.runtime
        return (
            runtime.device in ("GPU", "Ascend")
            or runtime.amp != "O0"
            or (self.backend == "openvino" and runtime.precision != "f32")
            or self.backend == "lite"
        )


@dataclass(frozen=True)
class Result:
    """What a side gave.

    Attributes:
        outputs: its maps, each (1, …).
        steps: its layers or nodes in the order in which they ran; empty where there are none to look at.
        parameters: of a checkpoint, by name.
    """

    outputs: tuple[np.ndarray, ...]
    steps: Sequence[Step] = ()
    parameters: dict[str, np.ndarray] = field(default_factory=dict)


def run_both(first: Side, second: Side, picture: np.ndarray) -> tuple[Result, Result]:
    """Run a picture (H, W, 3) uint8 BGR through both, with what happens inside where both show it.

    Raises:
        PoseError, UsageError: a side cannot be run.
    """
    inside = all(side.backend == "mindspore" for side in (first, second)) or all(
        side.backend in _ONNX for side in (first, second)
    )
    result = run(first, picture, inside)
    devices = {side.config.runtime.device for side in (first, second) if side.backend in _MINDSPORE}
    if len(devices) < 2:
        return result, run(second, picture, inside)
    # MindSpore computes on one device a process.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return result, pool.submit(run, second, picture, inside).result()
        except BrokenProcessPool as error:
            raise PoseError(f"the process that ran {second} died: mspose doctor says what works here") from error


def run(side: Side, picture: np.ndarray, inside: bool) -> Result:
    """Run a picture through a side.

    Args:
        inside: look at its layers or nodes too.
    """
    if side.backend == "mindspore" and inside:
        from mspose.diagnose.layers import run_layers

        return Result(*run_layers(side.config, _inputs(side, picture)))
    backend = open_backend(side.config, any_size=find_network(side.config.model.name).takes_any_size)
    inputs = _inputs(side, picture)
    outputs = tuple(maps[:1] for maps in backend(inputs))
    if not inside or not isinstance(backend, ExportedBackend):
        return Result(outputs)
    from mspose.diagnose.nodes import run_nodes

    return Result(outputs, run_nodes(side.config.runtime, backend, inputs))


def _inputs(side: Side, picture: np.ndarray) -> np.ndarray:
    return Normalizer(side.config.data)(picture)[None]


def check_comparable(first: Side, second: Side) -> list[str]:
    """What the two are fed differently, a line each.

    Raises:
        UsageError: they take other inputs or give other maps.
    """
    if first.size != second.size:
        raise UsageError(
            f"{first} takes inputs of {'x'.join(map(str, first.size))}, {second} of {'x'.join(map(str, second.size))}: "
            "only networks of one input size can be compared; set data.input_size for both"
        )
    outputs = [[spec.shape for spec in method_of(side.config).codec.outputs(side.size)] for side in (first, second)]
    if outputs[0] != outputs[1]:
        raise UsageError(f"{first} gives maps of {outputs[0]}, {second} of {outputs[1]}: there is nothing to compare")
    values = [{name: getattr(side.config.data, name) for name in _FED} for side in (first, second)]
    return [
        f"data.{name} is {values[0][name]} for {Path(first.config.runtime.ckpt).name}, {values[1][name]} for "
        f"{Path(second.config.runtime.ckpt).name}: each is fed as its own"
        for name in _FED
        if values[0][name] != values[1][name]
    ]


# How pixels become input.
_FED = ("color", "scale", "mean", "std")
