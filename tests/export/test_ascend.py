"""Command lines and configurations for Ascend's converters equal the documented forms, and the scripts run them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from mspose.checkpoints.protobuf import encode
from mspose.config.builder import load_config
from mspose.config.schema import DataConfig
from mspose.data.topdown import Normalizer
from mspose.errors import PoseError
from mspose.export.ascend import Kit, aipp_text, kit_paths, mindir_input
from tests.conftest import ROOT
from tests.messages import naming

SIZE = (192, 256)


def data(**keys: object) -> DataConfig:
    config = load_config(
        ROOT / "configs/quickstart/simplepose.yaml", {f"data.{key}": value for key, value in keys.items()}
    )
    return config.data


def written(folder: Path, kind: str = "MINDIR", batch: int | None = 1, pixels: bool = False) -> Path:
    """A kit on the disk; the path of its model."""
    model = folder / f"my pose.{kind.lower()}"
    model.touch()
    model.with_name(f"{model.name}.json").write_text("card")
    kit = Kit(model, kind, "x" if kind == "MINDIR" else "image", batch, SIZE, pixels, data())
    for path, text in kit.texts().items():
        path.write_text(text)
    return model


def run(model: Path, *arguments: str, code: int = 0) -> list[str]:
    """Run a kit's script with tools that write down their arguments, one a line; what they wrote."""
    tools, log = model.parent / "tools", model.parent / "arguments"
    tools.mkdir(exist_ok=True)
    log.write_text("")
    for tool in ("converter_lite", "atc"):
        (tools / tool).write_text(f'#!/bin/sh\nprintf "%s\\n" {tool} "$@" >> "{log}"\n')
        (tools / tool).chmod(0o755)
    script = kit_paths(model)[0]
    done = subprocess.run(
        ["bash", str(script), *arguments],
        env={"PATH": f"{tools}:/usr/bin:/bin"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return log.read_text().splitlines() if not code else done.stderr.splitlines()


def settings(path: Path) -> dict[str, str]:
    lines = path.read_text().splitlines()
    assert lines[0] == "[ascend_context]"
    return dict(line.split("=", 1) for line in lines[1:])


def test_lite_with_a_fixed_batch(tmp_path: Path) -> None:
    model = written(tmp_path, batch=4)
    assert run(model, "lite") == [
        "converter_lite",
        "--fmk=MINDIR",
        "--saveType=MINDIR",
        "--optimize=ascend_oriented",
        "--modelFile=my pose.mindir",
        "--outputFile=my pose_ascend",
        "--inputShape=x:4,3,256,192",
        "--configFile=my pose.mindir.ascend.ini",
    ]
    assert settings(kit_paths(model)[1]) == {
        "input_format": "NCHW",
        "precision_mode": "enforce_fp16",
        "output_type": "FP32",
    }
    assert (tmp_path / "my pose_ascend.mindir.json").read_text() == "card"


def test_lite_with_gears(tmp_path: Path) -> None:
    model = written(tmp_path, batch=None)
    assert not any(argument.startswith("--inputShape") for argument in run(model, "lite"))
    found = settings(kit_paths(model)[1])
    assert (found["input_shape"], found["dynamic_dims"]) == ("x:[-1,3,256,192]", "[1],[2],[4],[8]")


def test_atc_with_a_fixed_batch(tmp_path: Path) -> None:
    assert run(written(tmp_path, "ONNX"), "atc") == [
        "atc",
        "--framework=5",
        "--model=my pose.onnx",
        "--output=my pose_ascend",
        "--input_format=NCHW",
        "--input_shape=image:1,3,256,192",
        "--precision_mode=force_fp16",
        "--output_type=FP32",
        "--soc_version=Ascend310P3",
    ]


def test_atc_with_gears(tmp_path: Path) -> None:
    found = run(written(tmp_path, "ONNX", batch=None), "atc")
    assert "--input_shape=image:-1,3,256,192" in found
    assert "--dynamic_batch_size=1,2,4,8" in found


def test_atc_beside_a_mindir_needs_the_onnx_file(tmp_path: Path) -> None:
    model = written(tmp_path)
    assert "my pose.onnx" in run(model, "atc", code=1)[0]
    written(tmp_path, "ONNX")
    assert "--model=my pose.onnx" in run(model, "atc")


@pytest.mark.parametrize("kind", ["MINDIR", "ONNX"])
def test_pixels_come_through_the_graph_or_through_aipp(kind: str, tmp_path: Path) -> None:
    model = written(tmp_path, kind, pixels=True)
    name = "x" if kind == "MINDIR" else "image"
    assert f"--inputShape={name}:1,256,192,3" in run(model, "lite")
    assert settings(kit_paths(model)[1])["input_format"] == "NHWC"
    through = run(model, "lite", "float.onnx")
    for argument in ("--fmk=ONNX", "--modelFile=float.onnx", "--inputShape=image:1,3,256,192"):
        assert argument in through
    assert f"--configFile={model.name}.aipp.ini" in through
    found = settings(kit_paths(model)[3])
    assert (found["input_format"], found["insert_op_config_file_path"]) == ("NCHW", f"{model.name}.aipp.cfg")
    compiled = run(model, "atc", "float.onnx")
    assert f"--insert_op_conf={model.name}.aipp.cfg" in compiled
    assert "--input_shape=image:1,3,256,192" in compiled
    assert "usage" in run(model, "atc", code=2)[0]  # ATC's documentation knows pixels only through AIPP


@pytest.mark.parametrize("color", ["bgr", "rgb"])
def test_aipp_computes_what_the_normaliser_does(color: str) -> None:
    """By the formula of its documentation, on the bytes of a BGR picture."""
    keys = data(color=color, mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6])
    lines = [line.strip() for line in aipp_text(SIZE, keys).splitlines() if ":" in line]
    values = dict(line.split(": ") for line in lines)
    assert (values["aipp_mode"], values["input_format"]) == ("static", "RGB888_U8")
    assert (values["src_image_size_w"], values["src_image_size_h"]) == ("192", "256")
    picture = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    channels = picture[..., ::-1] if values["rbuv_swap_switch"] == "true" else picture
    found = np.stack(
        [
            (channels[..., i] - float(values[f"mean_chn_{i}"]) - float(values[f"min_chn_{i}"]))
            * float(values[f"var_reci_chn_{i}"])
            for i in range(3)
        ]
    )
    np.testing.assert_allclose(found, Normalizer(keys)(picture), atol=1e-5)


def test_mean_that_aipp_cannot_subtract_leaves_it_out(tmp_path: Path) -> None:
    keys = data(mean=[-0.1, 0, 0])
    assert aipp_text(SIZE, keys) == ""
    kit = Kit(tmp_path / "a.onnx", "ONNX", "image", 1, SIZE, True, keys)
    assert list(kit.texts()) == list(kit_paths(kit.model)[:2])


def test_scripts_are_clean_shell(tmp_path: Path) -> None:
    for kind, pixels in (("MINDIR", False), ("ONNX", True)):
        script = kit_paths(written(tmp_path, kind, None, pixels))[0]
        subprocess.run(["bash", "-n", str(script)], check=True)
        assert "not yet run on a card" in script.read_text()


def test_name_of_a_mindirs_input(tmp_path: Path) -> None:
    path = tmp_path / "a.mindir"
    graph = encode([(2, "12_Net_3"), (5, encode([(1, "12_Net_3:pixels")])), (5, encode([(1, "12_Net_3:other")]))])
    path.write_bytes(encode([(1, "1.1"), (7, graph)]))
    assert mindir_input(path) == "pixels"
    path.write_bytes(b"\x0a")
    with pytest.raises(PoseError, match=naming("a.mindir")):
        mindir_input(path)


@pytest.mark.parametrize(
    ("environment", "code", "said"),
    [
        ({"INFER_CONVERT": "y"}, 0, ("my pose_ascend.mindir",)),
        ({}, 0, ("my pose.mindir", "INFER_CONVERT=y")),
        ({"INFER_CONVERT": "y", "INFER_BACKEND": "mindir"}, 2, ("INFER_CONVERT=y", "lite")),
        ({"INFER_CONVERT": "maybe"}, 2, ("INFER_CONVERT", "maybe")),
    ],
)
def test_310_script_converts_where_it_is_asked_to(
    environment: dict[str, str], code: int, said: tuple[str, ...], tmp_path: Path
) -> None:
    model = written(tmp_path)
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool, text in (("converter_lite", "touch 'my pose_ascend.mindir'"), ("python", 'printf "%s\\n" "$@"')):
        (tools / tool).write_text(f"#!/bin/sh\n{text}\n")
        (tools / tool).chmod(0o755)
    done = subprocess.run(
        ["bash", str(ROOT / "scripts/run_infer_310.sh"), str(model), str(tmp_path), "n"],
        env={"PATH": f"{tools}:/usr/bin:/bin", "PYTHON": str(tools / "python"), **environment},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert all(part in done.stdout + done.stderr for part in said)
    if code == 0:
        run_model = "my pose_ascend.mindir" if environment else "my pose.mindir"
        assert str(tmp_path / run_model) in done.stdout.splitlines()
        assert (tmp_path / "my pose_ascend.mindir").exists() == bool(environment)
