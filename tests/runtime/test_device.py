"""What the environment is set to before MindSpore is imported, and what is said where it is absent."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mspose.config.schema import RuntimeConfig
from mspose.errors import PoseError
from mspose.runtime import device
from tests.messages import naming


@pytest.mark.parametrize(
    ("generated", "needed"),
    [
        ("DESCRIPTOR = _descriptor.FileDescriptor(\n", "python"),  # MindSpore 2.7's, which today's protobuf refuses
        ("DESCRIPTOR = _descriptor_pool.Default().AddSerializedFile(b'')\n", None),
        (None, None),
    ],
)
def test_protobuf_runs_in_python_where_mindspore_needs_it(
    generated: str | None, needed: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"
    monkeypatch.setattr(os, "environ", {k: v for k, v in os.environ.items() if k != variable})
    monkeypatch.setattr(device, "find_spec", lambda name: SimpleNamespace(origin=str(tmp_path / "__init__.py")))
    if generated is not None:
        (tmp_path / "train").mkdir()
        (tmp_path / "train/mind_ir_pb2.py").write_text(generated)
    device.prepare_environment()
    assert os.environ.get(variable) == needed


def test_absent_mindspore_is_one_line_that_says_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mindspore", None)
    with pytest.raises(PoseError, match=naming("mindspore", "pip install 'mspose[train]'", "--backend onnx")):
        device.start(RuntimeConfig())
