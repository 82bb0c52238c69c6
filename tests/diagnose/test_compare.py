"""`mspose compare` finds what was changed, and agrees where nothing was."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from mspose.checkpoints.beside import save_description
from mspose.checkpoints.card import file_hash
from mspose.checkpoints.io import save
from mspose.diagnose.compare import main
from mspose.diagnose.differences import Step, first_parting, paired, share_of
from mspose.export.command import export_checkpoint
from tests.conftest import ROOT
from tests.export.networks import build, small_config
from tests.graph import ms
from tests.messages import tells_of

onnx = pytest.importorskip("onnx")

CHANGED = "backbone.layer1.0.conv1.weight"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds a.ckpt; b.ckpt, in which one layer's weights are 1 % larger; a.onnx, of the first; b.onnx likewise."""
    path = tmp_path_factory.mktemp("compare")
    keys = {"export__file_format": "ONNX", "export__file_name": str(path / "a.onnx"), "export__fold_batch_norm": False}
    config = small_config("simplepose", path, runtime__ckpt=str(path / "a.ckpt"), **keys)
    values = {p.name: p.asnumpy() for p in build(config).get_parameters()}
    for name, factor in (("a", 1.0), ("b", 1.01)):
        changed = values | {CHANGED: values[CHANGED] * np.float32(factor)}
        save({key: ms.Tensor(value) for key, value in changed.items()}, str(path / f"{name}.ckpt"))
        save_description(config, path / f"{name}.yaml")
    export_checkpoint(config)
    model = onnx.load(str(path / "a.onnx"))
    weight = next(one for one in model.graph.initializer if CHANGED in one.name)
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * np.float32(1.01), weight.name))
    onnx.save(model, str(path / "b.onnx"))
    card = (path / "a.onnx.json").read_text().replace(file_hash(path / "a.onnx"), file_hash(path / "b.onnx"))
    (path / "b.onnx.json").write_text(card)
    return path


def test_layer_whose_weights_changed_is_found(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert main([str(folder / "a.ckpt"), str(folder / "b.ckpt")]) == 1
    out = capsys.readouterr().out
    assert "first layer that differs: backbone.layer1.0.conv1 (Conv2d), by 9.9e-03" in out
    assert "before it agree, backbone.maxpool the last" in out
    assert f"its parameters: {CHANGED} differs by 9.9e-03" in out
    assert "DIFFERS" in out
    assert out.endswith("not the same\n")


def test_copy_is_the_same(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for ending in ("ckpt", "yaml"):
        shutil.copyfile(folder / f"a.{ending}", tmp_path / f"copy.{ending}")
    assert main([str(folder / "a.ckpt"), str(tmp_path / "copy.ckpt")]) == 0
    out = capsys.readouterr().out
    assert "layers that both have agree" in out
    assert out.endswith("the same\n")


def test_export_agrees_with_its_checkpoint_and_not_with_another(folder: Path) -> None:
    assert main([str(folder / "a.ckpt"), str(folder / "a.onnx")]) == 0
    assert main([str(folder / "b.ckpt"), str(folder / "a.onnx")]) == 1


def test_node_whose_weights_changed_is_found(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert main([str(folder / "a.onnx"), str(folder / "b.onnx")]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if "first node" in line]
    assert len(lines) == 1
    assert f"(Conv with {CHANGED}), by 9." in lines[0]


def test_two_backends_of_one_file(folder: Path, capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("openvino")
    arguments = [str(folder / "a.onnx"), "--backend", "onnx,openvino"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "tolerance 0.03" in out  # OpenVINO may compute in bf16
    assert "nodes that both have agree" in out


def test_picture_is_what_both_see(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = [str(folder / "a.ckpt"), str(folder / "a.onnx"), "--input"]
    assert main([*arguments, str(ROOT / "docs/quickstart.jpg")]) == 0
    assert "quickstart.jpg" in capsys.readouterr().out
    assert main([*arguments, str(tmp_path / "none.jpg")]) == 1
    assert "none.jpg" in capsys.readouterr().err


def test_pixels_fed_differently_are_said(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for name in ("a.onnx", "a.onnx.json"):
        shutil.copyfile(folder / name, tmp_path / name)
    card = (tmp_path / "a.onnx.json").read_text()
    (tmp_path / "a.onnx.json").write_text(card.replace('"bgr"', '"rgb"'))
    assert main([str(folder / "a.onnx"), str(tmp_path / "a.onnx")]) == 1
    assert "note: data.color is bgr for a.onnx, rgb for a.onnx: each is fed as its own" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a.ckpt"], ("compared with itself",)),
        (["a.ckpt", "b.ckpt", "a.onnx"], ("3 files",)),
        (["a.ckpt", "b.ckpt", "--backend", "a,b,c"], ("--backend=a,b,c",)),
        (["a.ckpt", "b.ckpt", "--tolerance", "-1"], ("--tolerance", "-1")),
        (["a.ckpt", "a.onnx", "data.input_size=[64,64]"], ("a.onnx", "64x64")),
    ],
)
def test_wrong_usage(arguments: list[str], said: tuple[str, ...], folder: Path, capsys: pytest.CaptureFixture) -> None:
    given = [str(folder / text) if text.endswith((".ckpt", ".onnx")) else text for text in arguments]
    assert main([*given]) == 2
    error = capsys.readouterr().err
    assert all(part in error for part in said), error
    assert tells_of(error)


def test_share_of_the_largest_value() -> None:
    assert share_of(np.array([1.0, -4.0]), np.array([1.0, -3.0])) == 0.25
    assert share_of(np.zeros(2), np.zeros(2)) == 0
    assert share_of(np.zeros(2), np.zeros(3)) == np.inf
    assert share_of(np.array([np.nan, 1]), np.array([0.0, 1])) == np.inf
    assert share_of(np.array([np.nan, 1]), np.array([np.nan, 1])) == 0


def test_steps_of_other_graphs_are_paired_by_name() -> None:
    first = [Step(name, kind, np.array([value])) for name, kind, value in (("a", "x", 1.0), ("b", "y", 2.0))]
    second = [Step("c", "z", np.array([9.0])), Step("b", "y", np.array([2.2]))]
    ours, theirs = paired(first, second)
    assert [step.name for step in ours] == ["b"]
    parting = first_parting(ours, theirs, 0.01)
    assert parting is not None
    assert (parting.step.name, parting.agreeing, parting.before) == ("b", 0, "")
