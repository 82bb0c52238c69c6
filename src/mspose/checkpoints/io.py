"""Writing MindSpore checkpoints atomically, and putting values into networks, with errors that name the parameters.

They are read by `mspose.checkpoints.ckpt_file`: of a damaged one, MindSpore's own reader copies whatever length it says
over other memory, and the process crashes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import nn

from mspose.errors import PoseError
from mspose.files import atomic_path
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
