"""What all exported models share, whatever runs them: sizes, batches and pixels."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mspose.checkpoints.card import ModelCard, card_path, file_hash, read_card
from mspose.checkpoints.mmdeploy import DETECTIONS
from mspose.codecs.base import Codec, Maps
from mspose.errors import PoseError, UsageError
from mspose.files import file_fault

log = logging.getLogger("pose")

# Where Linux tells a container how much of the CPU it may use.
CGROUP = Path("/sys/fs/cgroup")
# Where Linux says what the processor can do, and the instructions that multiply integers of 8 bits: x86-64's, ARM's.
CPU_INFO = Path("/proc/cpuinfo")
INT8_FLAGS = {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"}
# What oneDNN may be limited to by ONEDNN_MAX_CPU_ISA, without such instructions.
WITHOUT_INT8 = ("SSE41", "AVX", "AVX2", "AVX512_CORE")
# Numbers of inputs that MindSpore is to compile a network for where people come picture by picture; another number is
# made up of these.
COMPILED = (4, 1)
# Runs a model once: one input array → all outputs, in the model's order.
Run = Callable[[np.ndarray], Sequence[np.ndarray]]


class ExportedBackend:
    """A model file behind the interface of `mspose.backends.open`.

    A model of a fixed batch is fed slices of that batch, the last one filled up. A model that takes pixels gets back
    the whole numbers that the normalised input was made of.

    Args:
        path: of the model, named in errors.
        run: runs it once.
        shape: of the model's input, None where it takes any size; from the card, or the file itself.
        card: the model's card, if it has one.
        batches: see `mspose.backends.open.Backend`; of a model of a fixed batch it is that one.

    Attributes:
        batch: inputs that it takes at a time, None: any number.
        codec: knows which maps the configured network gives; None: not checked.
    """

    codec: Codec | None = None

    def __init__(
        self,
        path: Path,
        run: Run,
        shape: Sequence[int | None],
        card: ModelCard | None,
        batches: Sequence[int] | None = None,
    ) -> None:
        self.path, self.card, self.batch = path, card, shape[0]
        self.batches = batches if shape[0] is None else (shape[0],)
        self._run, self._shape = run, tuple(shape)
        self._pixels = card if card is not None and card.input["dtype"] == "uint8" else None

    def __call__(self, inputs: np.ndarray) -> Maps:
        """(B, 3, H, W) float32 → maps, each (B, …) float32.

        Raises:
            UsageError: the model takes another size.
            PoseError: it cannot run such inputs, or gives other maps than the configured network.
        """
        if self._pixels is not None:
            inputs = to_pixels(inputs, self._pixels)
        return self.run_raw(inputs)

    def run_raw(self, inputs: np.ndarray) -> Maps:
        """As calling it, but with inputs in the model's own dtype and layout (B, …)."""
        for has, takes in zip(inputs.shape[1:], self._shape[1:]):
            if takes not in (None, has):
                raise UsageError(
                    f"{self.path} takes inputs of {_text(self._shape)}, not {_text(inputs.shape)}: set "
                    "data.input_size (openpose: and eval.resize=canvas), or export with export.size"
                )
        try:
            outputs = in_batches(self._run, np.ascontiguousarray(inputs), self._shape[0])
        except Exception as error:  # each runtime has its own classes
            reason = " ".join(str(error).split())[:160]
            raise PoseError(
                f"{self.path} cannot run inputs of {_text(inputs.shape)} (a model of another network, "
                f"size or batch?): {reason}"
            ) from error
        if self.codec is not None:
            found, expected = [maps.shape[1:] for maps in outputs], [spec.shape for spec in self.codec.outputs(None)]
            if not all(map(_fits, found, expected)) or len(found) != len(expected):
                raise PoseError(
                    f"{self.path} gives {_maps(found)}, the configuration's network {_maps(expected)}: a model of "
                    "another network or skeleton?"
                )
        return tuple(outputs)


def in_batches(run: Run, inputs: np.ndarray, batch: int | None) -> list[np.ndarray]:
    """Run inputs (B, …) through a model that takes `batch` of them at a time (None: any number), as float32."""
    if batch in (None, len(inputs)):
        return [np.asarray(output, np.float32) for output in run(inputs)]
    parts = []
    for start in range(0, len(inputs), batch):
        part = inputs[start : start + batch]
        rows = len(part)
        if rows < batch:
            part = np.concatenate([part, np.repeat(part[-1:], batch - rows, axis=0)])
        parts.append([np.asarray(output[:rows], np.float32) for output in run(part)])
    return [np.concatenate(outputs) for outputs in zip(*parts)]


def to_pixels(inputs: np.ndarray, card: ModelCard) -> np.ndarray:
    """The BGR pixels (B, H, W, 3) uint8 that normalised inputs (B, 3, H, W) were made of, exactly."""
    scale, mean, std = (np.asarray(card.input[name], np.float32) for name in ("scale", "mean", "std"))
    pixels = (inputs.transpose(0, 2, 3, 1) * std + mean) * scale
    pixels = pixels if card.input["color"] == "bgr" else pixels[..., ::-1]
    return np.rint(pixels).astype(np.uint8)


def model_file(path: str | Path, converted: bool = False) -> tuple[Path, ModelCard | None]:
    """Check that an exported model is there and is the one its card describes.

    Args:
        converted: it may also be what a device's converter made of that file, which nothing can prove.

    Raises:
        PoseError: it is not.
    """
    path = Path(path)
    fault = file_fault(path)
    if fault:
        raise PoseError(f"model {fault}: {path}")
    card = read_card(path)
    if card is not None and file_hash(path) != card.model["sha256"]:
        if not converted:
            raise PoseError(
                f"{path} is not the model that {card_path(path)} describes (damaged, cut short, or another "
                "export): export it again, or bring the card that belongs to it"
            )
        log.warning(
            f"note: {path} is not the file that export.py wrote: taken to be converted from it, as its card "
            "says it must be run"
        )
    return path, card


def check_maps(
    path: Path,
    card: ModelCard | None,
    inputs: Sequence[Sequence[int | None]],
    outputs: Sequence[Sequence[int | None]],
    names: Sequence[str],
) -> None:
    """Refuse an ONNX model that does not map pictures to maps, by the shapes of its inputs and outputs.

    Args:
        names: of the outputs.

    Raises:
        PoseError: it is something else.
        UsageError: it is a detector.
    """
    # N boxes, each with its classes, where no card says otherwise
    if card is None and (tuple(names) == DETECTIONS or (len(outputs) == 1 and len(outputs[0]) == 3)):
        raise UsageError(f"{path} gives boxes, as a detector does, no maps: use it with demo.detector_file={path}")
    if len(inputs) != 1 or len(inputs[0]) != 4:
        raise PoseError(f"not a pose network: {path} takes {len(inputs)} inputs, the first of shape {_text(inputs[0])}")


def note_int8(path: Path, card: ModelCard | None, limit: str = "") -> bool:
    """Whether a model is an int8 file of ours; a processor that has no instructions for it is told of.

    The weights of such files have 7 bits, so that other instructions do not overflow: the maps are the same.

    Args:
        limit: to what the runtime's instructions are limited, as oneDNN calls it.
    """
    if card is None or "int8" not in card.source:
        return False
    try:
        flags = set(CPU_INFO.read_text(encoding="ascii", errors="replace").split())
    except OSError:  # no Linux
        flags = INT8_FLAGS
    if limit.upper() in WITHOUT_INT8 or not flags & INT8_FLAGS:
        log.warning(
            f"note: {path} computes in int8, for which this processor has no instructions (VNNI): its results are "
            "right, but it gains less"
        )
    return True


def first_line(error: Exception) -> str:
    """A runtime's message on one line, without its tail of source positions."""
    return " ".join(str(error).split())[:200]


def cpu_threads() -> int:
    """Cores that this process may use: its affinity, and the quota of its container (cgroup v2 or v1)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for files in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            quota, period = " ".join((CGROUP / file).read_text(encoding="ascii") for file in files).split()
            if int(quota) > 0:
                return max(1, min(cores, -(-int(quota) // int(period))))
        except (OSError, ValueError):
            continue  # no limit here: "max", or no such file
    return cores


def _text(shape: Sequence[int | None]) -> str:
    return "x".join("any" if side is None else str(side) for side in shape)


def _fits(shape: Sequence[int], expected: Sequence[int | None]) -> bool:
    return len(shape) == len(expected) and all(b in (None, a) for a, b in zip(shape, expected))


def _maps(shapes: Sequence[Sequence[int | None]]) -> str:
    return " and ".join(map(_text, shapes)) + " maps"
