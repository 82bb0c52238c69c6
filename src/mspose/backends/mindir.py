"""MindIR models in MindSpore itself."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mspose.backends.checkpoint import RUNNING
from mspose.backends.exported import COMPILED, ExportedBackend, model_file
from mspose.config.schema import RuntimeConfig
from mspose.errors import PoseError
from mspose.files import is_utf8
from mspose.runtime.device import start
from mspose.runtime.logs import mindspore_silent


def open_mindir(path: str | Path, runtime: RuntimeConfig) -> ExportedBackend:
    """Open a MindIR model on the device of `runtime`.

    Raises:
        PoseError: no such file, or not a MindIR.
        UsageError: the device is not there.
    """
    path, card = model_file(path)
    if not is_utf8(path.absolute()):
        raise PoseError(f"MindSpore takes paths in UTF-8 only: rename {path}, or its folder")
    start(runtime)
    import mindspore as ms
    from mindspore import nn

    try:
        with _silent():
            graph = nn.GraphCell(ms.load(str(path)))
    except Exception as error:  # of various types
        reason = " ".join(str(error).split())[:160]
        raise PoseError(f"not a readable MindIR (damaged or cut short?): {path}: {reason}") from error

    def run(inputs: np.ndarray) -> Sequence[np.ndarray]:
        with RUNNING:
            outputs = graph(ms.Tensor.from_numpy(inputs))
            outputs = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
            return [output.asnumpy() for output in outputs]

    return ExportedBackend(path, run, card.input["shape"] if card else [None] * 4, card, COMPILED)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """MindSpore reports a broken file itself, over many lines, from Python and from C++."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        with mindspore_silent():
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
