"""Reading and writing MindSpore checkpoints: atomically, and with errors that name the file and the parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import nn
from mindspore.train import serialization

from mspose.errors import PoseError
from mspose.files import atomic_path, file_fault
from mspose.runtime.logs import mindspore_silent


@dataclass(frozen=True)
class LoadReport:
    """What loading weights did: names that matched, and that the network lacks."""

    matched: list[str]
    unused: list[str]

    def __str__(self) -> str:
        text = f"{len(self.matched)} parameters matched"
        if self.unused:
            more = ", …" if len(self.unused) > 3 else ""
            text += f"; {len(self.unused)} not used ({', '.join(self.unused[:3])}{more})"
        return text


def save(values: Mapping[str, ms.Tensor], path: str | Path) -> None:
    """Write named tensors as a MindSpore checkpoint, atomically.

    Raises:
        PoseError: the file cannot be written.
    """
    entries = [{"name": name, "data": value} for name, value in values.items()]
    with atomic_path(path, durable=True) as temporary:
        try:
            with mindspore_silent():  # it reports a failure itself, over many lines
                ms.save_checkpoint(entries, str(temporary))
        except (RuntimeError, ValueError, OSError) as error:
            raise PoseError(f"cannot write {path}: {_first_line(error)} (disk full?)") from error
        finally:
            temporary.with_suffix(".tmp").unlink(missing_ok=True)  # MindSpore's own temporary file


def available_memory() -> int | None:
    """Bytes that processes may still take on this host; None where the system does not tell.

    Linux counts what it keeps of files apart from free memory, although it gives that back when asked.
    """
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    told = next((line for line in lines if line.startswith("MemAvailable:")), None)
    return int(told.split()[1]) * 1024 if told else None


@contextmanager
def _memory_told_right() -> Iterator[None]:
    """Let MindSpore refuse a checkpoint only where memory is short.

    MindSpore 2.10 compares the file with memory that holds nothing at all. On a host that has read many files this is
    close to none, and a whole checkpoint is refused while gigabytes may be had.
    """
    name = "_get_available_memory"
    before = getattr(serialization, name, None)
    if before is None:  # older ones do not ask
        yield
        return
    setattr(serialization, name, available_memory)
    try:
        yield
    finally:
        setattr(serialization, name, before)


def load(path: str | Path) -> dict[str, np.ndarray]:
    """Read the tensors of a MindSpore checkpoint into named arrays; what else it may hold, such as text, is left out.

    Raises:
        PoseError: missing file, not a MindSpore checkpoint, or one that memory does not hold.
    """
    path = Path(path)
    fault = file_fault(path)
    if fault:
        raise PoseError(f"checkpoint {fault}: {path}")
    memory, size = available_memory(), path.stat().st_size
    if memory is not None and size > memory:
        raise PoseError(f"checkpoint of {size:,} bytes, but {memory:,} of memory are left: {path}")
    try:
        with _memory_told_right():
            parameters = ms.load_checkpoint(str(path))
        return {name: value.asnumpy() for name, value in parameters.items() if isinstance(value, ms.Tensor)}
    except Exception as error:  # MindSpore raises various types for a broken file
        raise PoseError(f"not a readable MindSpore checkpoint (cut short?): {path}: {_first_line(error)}") from error


def assign(network: nn.Cell, values: Mapping[str, np.ndarray], source: str | Path) -> LoadReport:
    """Put named arrays into a network's parameters.

    Args:
        source: named in errors.

    Raises:
        PoseError: a parameter has no value, or one of another shape: the network is unchanged.
    """
    parameters = {parameter.name: parameter for parameter in network.get_parameters()}
    matched = [name for name in parameters if name in values]
    missing = [name for name in parameters if name not in values]
    unused = [name for name in values if name not in parameters]
    other = [name for name in matched if tuple(parameters[name].shape) != tuple(values[name].shape)]
    if other or missing:
        if other:
            name = other[0]
            detail = (
                f"{len(other)} of {len(parameters)} parameters have another shape, such as {name}: "
                f"{tuple(values[name].shape)} in the file, {tuple(parameters[name].shape)} in the network"
            )
        else:
            detail = f"{len(missing)} of {len(parameters)} parameters are missing, such as {', '.join(missing[:2])}"
            if unused:
                detail += f", and {len(unused)} are of no use, such as {unused[0]} (names of two kinds of file?)"
        raise PoseError(f"checkpoint does not fit the network of the configuration: {source}: {detail}")
    for name in matched:
        # A copy: MindSpore 2.7 takes no views into files, which are read-only.
        parameters[name].set_data(ms.Tensor(np.array(values[name], np.float32)))
    return LoadReport(matched, unused)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__
