"""MindSpore set up as the scripts do: `from tests.graph import ms` in tests that need it."""

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, suppress

from mspose.runtime.device import prepare_environment

prepare_environment()

import mindspore as ms  # noqa: E402

ms.set_context(mode=ms.GRAPH_MODE)


@contextmanager
def without_graph() -> Iterator[None]:
    """Run networks operator by operator: the same numbers where a test would compile a large graph to run it once."""
    ms.set_context(mode=ms.PYNATIVE_MODE)
    try:
        # MindSpore 2.10 looks for NumPy 1's interface once: under NumPy 2 an operator fails of it, over many lines.
        with redirect_stderr(io.StringIO()), suppress(SystemError):
            ms.ops.zeros((1,), ms.float32)
        yield
    finally:
        ms.set_context(mode=ms.GRAPH_MODE)


__all__ = ["ms", "without_graph"]
