"""MindSpore set up as the scripts do: `from tests.graph import ms` in tests that need it."""

from mspose.runtime.device import prepare_environment, without_graph

prepare_environment()

import mindspore as ms  # noqa: E402

ms.set_context(mode=ms.GRAPH_MODE)

__all__ = ["ms", "without_graph"]
