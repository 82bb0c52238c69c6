"""Exported files give the checkpoint's outputs, for every network, format, batch and size."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from mspose.backends.checkpoint import MindSporeBackend
from mspose.backends.mindir import open_mindir
from mspose.backends.onnx_runtime import open_onnx
from mspose.backends.open import open_backend
from mspose.checkpoints.card import ModelCard, card_path, read_card
from mspose.checkpoints.initial import load_checkpoint
from mspose.config.schema import Config, RuntimeConfig
from mspose.data.topdown import Normalizer
from mspose.errors import PoseError, UsageError
from mspose.export import command
from mspose.export.ascend import kit_paths
from mspose.export.command import export_checkpoint
from mspose.networks import build_model
from mspose.skeleton import COCO17, load_skeleton
from tests.export.networks import build, small_config
from tests.messages import naming

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

FORMATS = ("ONNX", "MINDIR")


def picture(batch: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (batch, height, width, 3), np.uint8)


def normalized(config: Config, pixels: np.ndarray) -> np.ndarray:
    return np.stack([Normalizer(config.data)(p) for p in pixels])


def opened(config: Config, path: Path):
    return open_onnx(path, config.runtime) if path.suffix == ".onnx" else open_mindir(path, config.runtime)


_REFERENCES: dict[str, MindSporeBackend] = {}


def reference_of(config: Config) -> MindSporeBackend:
    """The network in MindSpore, compiled once for all tests of it."""
    key = json.dumps(asdict(config.model))
    if key not in _REFERENCES:
        _REFERENCES[key] = MindSporeBackend(build(config), any_size=True)
    return _REFERENCES[key]


def assert_same(config: Config, path: Path, sizes: list[tuple[int, int, int]], share: float = 1e-4) -> None:
    backend, reference = opened(config, path), reference_of(config)
    for size in sizes:
        inputs = normalized(config, picture(*size))
        given, expected = backend(inputs), reference(inputs)
        for a, b in zip(*((m if isinstance(m, tuple) else (m,)) for m in (given, expected))):
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=0, atol=share * np.abs(b).max())


@pytest.fixture(scope="module")
def any_batch(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Path]:
    name, kind = request.param
    folder = tmp_path_factory.mktemp(name)
    config = small_config(name, folder, export__file_format=kind, export__batch_size=None)
    return config, export_checkpoint(config)


@pytest.mark.parametrize(
    "any_batch",
    [
        ("simplepose", "MINDIR"),
        ("fastpose", "ONNX"),
        ("openpose", "MINDIR"),
        ("openpose", "ONNX"),
        ("rtmpose", "MINDIR"),
        ("rtmpose", "ONNX"),
        ("vitpose", "ONNX"),
    ],
    indirect=True,
    ids="-".join,
)
def test_any_batch(any_batch: tuple[Config, Path]) -> None:
    config, path = any_batch
    width, height = config.data.input_size
    sizes = [(1, height, width), (5, height, width)]
    if config.model.name == "openpose":  # any size too
        sizes.append((2, height + 8, width + 40))
    assert_same(config, path, sizes)


def test_what_ascend_needs_lies_beside_and_leaves_with_what_needed_it(tmp_path: Path) -> None:
    keys = {"export__file_format": "MINDIR", "export__preprocess": True}
    path = export_checkpoint(small_config("simplepose", tmp_path, **keys))
    script, _, aipp, _ = kit_paths(path)
    assert "1,96,64,3" in script.read_text()
    assert aipp.exists()
    config = small_config("simplepose", tmp_path, **{**keys, "export__preprocess": False})
    export_checkpoint(config)
    assert "--inputShape=x:1,3,96,64" in script.read_text()
    assert not aipp.exists()


@pytest.mark.parametrize(("name", "kind"), [("simplepose", "ONNX"), ("fastpose", "MINDIR")])
def test_fixed_batch_is_filled_up(name: str, kind: str, tmp_path: Path) -> None:
    config = small_config(name, tmp_path, export__file_format=kind, export__batch_size=2, export__size=[64, 96])
    path = export_checkpoint(config)
    assert_same(config, path, [(2, 96, 64), (3, 96, 64), (1, 96, 64)])


@pytest.mark.parametrize("kind", FORMATS)
def test_pixels_half_weights_and_batch_norms_left_alone(kind: str, tmp_path: Path) -> None:
    config = small_config(
        "fastpose",
        tmp_path,
        export__file_format=kind,
        export__preprocess=True,
        export__half=True,
        export__fold_batch_norm=False,
        model__shuffle="block",
        data__color="rgb",
    )
    path = export_checkpoint(config)
    assert_same(config, path, [(2, 96, 64)], share=1e-2)
    pixels = picture(1, 96, 64)
    raw = opened(config, path).run_raw(pixels)
    np.testing.assert_allclose(raw, opened(config, path)(normalized(config, pixels)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", FORMATS)
def test_vitpose_of_another_size_and_any_batch(kind: str, tmp_path: Path) -> None:
    config = small_config(
        "vitpose",
        tmp_path,
        model__decoder="simple",
        export__file_format=kind,
        export__batch_size=None,
        export__size=[96, 128],
        export__half=True,
    )
    path = export_checkpoint(config)
    config.data.input_size = [96, 128]
    network = build_model(config)
    load_checkpoint(network, config)
    inputs = normalized(config, picture(3, 128, 96))
    (expected,), (given,) = MindSporeBackend(network)(inputs), opened(config, path)(inputs)
    np.testing.assert_allclose(given, expected, rtol=0, atol=1e-2 * np.abs(expected).max())
    if kind == "ONNX":
        kinds = [node.op_type for node in onnx.load(path).graph.node]
        assert (kinds.count("Erf"), kinds.count("Softsign")) == (2, 0)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Path]:
    folder = tmp_path_factory.mktemp("exported")
    config = small_config("simplepose", folder, export__file_format="ONNX", export__file_name=str(folder / "pose"))
    return config, export_checkpoint(config)


def test_the_file_gets_the_ending_of_its_format(exported: tuple[Config, Path]) -> None:
    assert exported[1].name == "pose.onnx"


def test_card_says_what_the_model_is(exported: tuple[Config, Path]) -> None:
    config, path = exported
    card = read_card(path)
    assert card.input["shape"] == [1, 3, 96, 64]
    assert card.input["name"] == onnx.load(path).graph.input[0].name
    assert card.outputs == [
        {"name": onnx.load(path).graph.output[0].name, "shape": [1, 17, 24, 16], "meaning": card.outputs[0]["meaning"]}
    ]
    assert (card.input["mean"], card.input["color"]) == (config.data.mean, "bgr")
    assert card.config["model"]["base_width"] == 8
    assert max(card.source["difference"].values()) < 1e-4


def test_card_holds_a_skeleton_that_loads(exported: tuple[Config, Path]) -> None:
    assert load_skeleton(str(card_path(exported[1]))) == COCO17


@pytest.mark.parametrize("any_batch", [("fastpose", "ONNX")], indirect=True, ids="-".join)
def test_graph_has_symbolic_axes_and_no_batch_norm(any_batch: tuple[Config, Path]) -> None:
    graph = onnx.load(any_batch[1]).graph
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param
    assert graph.output[0].type.tensor_type.shape.dim[0].dim_param
    assert "BatchNormalization" not in {node.op_type for node in graph.node}


def test_a_difference_above_tolerance_leaves_no_file(tmp_path: Path) -> None:
    config = small_config("simplepose", tmp_path, export__tolerance=1e-12)
    with pytest.raises(PoseError, match=naming("export.tolerance", "1e-12")):
        export_checkpoint(config)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_wrong_network_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_config("simplepose", tmp_path)
    monkeypatch.setattr(command, "prepare", lambda network, config: build(config, seed=1))
    with pytest.raises(PoseError, match=naming("export.tolerance")):
        export_checkpoint(config)


@pytest.mark.parametrize("name", ["pose.onnx", "pose.zip", "pose.MINDIR", "pose.air"])
def test_what_is_exported_is_not_exported_again(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"model")
    with pytest.raises(UsageError, match=naming(path, "exported")):
        export_checkpoint(small_config("simplepose", tmp_path, runtime__ckpt=str(path)))


def test_air_needs_ascend(tmp_path: Path) -> None:
    config = small_config("simplepose", tmp_path, export__file_format="AIR")
    with pytest.raises(UsageError, match=naming("export.file_format=AIR", "Ascend")):
        export_checkpoint(config)


def test_air_has_a_fixed_input(tmp_path: Path) -> None:
    assert command.form_of(small_config("openpose", tmp_path, export__file_format="AIR")).shape == [1, 3, 64, 96]
    with pytest.raises(UsageError, match=naming("export.batch_size=null", "AIR")):
        command.form_of(small_config("openpose", tmp_path, export__file_format="AIR", export__batch_size=None))


def test_nothing_runs_air(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=naming("AIR", tmp_path / "x.air")):
        open_backend(small_config("simplepose", tmp_path, runtime__ckpt=str(tmp_path / "x.air")))


def test_onnx_runs_in_one_process(exported: tuple[Config, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK_SIZE", "2")
    config = copy.deepcopy(exported[0])
    config.runtime.ckpt = str(exported[1])
    with pytest.raises(UsageError, match=naming("runtime.backend=onnx", "RANK_SIZE", 2)):
        open_backend(config)


@pytest.mark.parametrize("kind", FORMATS)
def test_folder_with_a_space_and_letters_beyond_ascii(kind: str, tmp_path: Path) -> None:
    name = str(tmp_path / "a b 姿态" / "p")
    config = small_config("simplepose", tmp_path, export__file_format=kind, export__file_name=name)
    path = export_checkpoint(config)
    beside = ["", ".ascend.ini", ".ascend.sh", ".json"]
    assert sorted(p.name for p in path.parent.iterdir()) == [f"{path.name}{ending}" for ending in beside]


def test_recipe_of_another_network(exported: tuple[Config, Path], tmp_path: Path) -> None:
    config = small_config("openpose", tmp_path, runtime__ckpt=str(exported[1]))
    with pytest.raises(UsageError, match=naming(exported[1], "simplepose", "model.name", "openpose")):
        open_backend(config)


def test_ending_of_another_format(tmp_path: Path) -> None:
    config = small_config("simplepose", tmp_path, export__file_name="pose.onnx")
    with pytest.raises(UsageError, match=naming("export.file_name", "pose.onnx")):
        export_checkpoint(config)


def test_model_that_its_card_does_not_describe(exported: tuple[Config, Path], tmp_path: Path) -> None:
    path = tmp_path / "pose.onnx"
    content = exported[1].read_bytes()
    card_path(path).write_bytes(card_path(exported[1]).read_bytes())
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(PoseError, match=naming(path, card_path(path))):
        open_onnx(path, RuntimeConfig())


@pytest.mark.parametrize("ending", [".onnx", ".mindir"])
def test_broken_file_without_card(ending: str, tmp_path: Path) -> None:
    config = small_config("simplepose", tmp_path)
    path = tmp_path / f"broken{ending}"
    path.write_bytes(b"\x08\x04broken" * 100)
    with pytest.raises(PoseError, match=naming(path)) as error:
        opened(config, path)
    assert "\n" not in str(error.value)


def test_an_operator_whose_name_is_no_text_is_one_line(
    exported: tuple[Config, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "odd.onnx"
    path.write_bytes(exported[1].read_bytes().replace(b"MaxPool", b"MaxPo\xe7l"))
    with pytest.raises(PoseError, match=naming(path)):
        open_onnx(path, RuntimeConfig())
    assert capfd.readouterr().out == ""


def test_backend_that_does_not_run_such_files(exported: tuple[Config, Path], tmp_path: Path) -> None:
    config = small_config("simplepose", tmp_path, runtime__ckpt=str(exported[1]), runtime__backend="mindir")
    with pytest.raises(UsageError, match=naming("runtime.backend=mindir", ".mindir", exported[1])):
        open_backend(config)


def test_other_sizes_are_refused(exported: tuple[Config, Path]) -> None:
    with pytest.raises(UsageError, match=naming("1x3x96x64", "1x3x64x64")):
        open_onnx(exported[1], RuntimeConfig())(np.zeros((1, 3, 64, 64), np.float32))


@pytest.mark.parametrize(
    "change",
    [{"format": None}, {"model": []}, {"input": {}}, {"config": None}, {"outputs": {}}, {"config": {"data": 3}}],
)
def test_cards_of_others_are_refused(change: dict, exported: tuple[Config, Path], tmp_path: Path) -> None:
    content = json.loads(card_path(exported[1]).read_text())
    card = card_path(tmp_path / "x.onnx")
    card.write_text(json.dumps(content))
    assert isinstance(read_card(tmp_path / "x.onnx"), ModelCard)
    card.write_text(json.dumps(content | change))
    with pytest.raises(PoseError, match=naming(card)):
        read_card(tmp_path / "x.onnx")


def test_no_room_for_the_card_leaves_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_config("simplepose", tmp_path, export__file_format="ONNX", export__file_name=str(tmp_path / "pose"))
    monkeypatch.setattr(command, "output_shapes", lambda *_: [[1, 17, 24, 16]])
    monkeypatch.setattr(command, "write", lambda *given: given[-1].write_bytes(b"model"))
    monkeypatch.setattr(command, "compare", lambda *_: {})

    def full(self: ModelCard, path: Path) -> None:
        raise PoseError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr(ModelCard, "save", full)
    with pytest.raises(PoseError, match="No space left"):
        export_checkpoint(config)
    assert not list(tmp_path.glob("*pose*"))


def test_mindspore_reports_a_broken_file_in_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = small_config("simplepose", tmp_path)
    (tmp_path / "broken.mindir").write_bytes(b"")
    with pytest.raises(PoseError, match=naming(tmp_path / "broken.mindir")):
        open_mindir(tmp_path / "broken.mindir", config.runtime)
    assert "ERROR" not in capfd.readouterr().err


def test_random_weights_are_not_quantised_without_proof(sample_dir: Path, tmp_path: Path) -> None:
    config = small_config(
        "simplepose",
        tmp_path,
        data__root=str(sample_dir),
        eval__use_gt_bbox=True,
        export__file_format="ONNX",
        export__quantize="int8",
        export__file_name=str(tmp_path / "x" / "int8.onnx"),
        export__calibration=2,
        export__max_ap_drop=0.0,
    )
    with pytest.raises(PoseError, match=naming("int8", "float32", "person_keypoints_val2017.json")):
        export_checkpoint(config)
    assert [path.name for path in (tmp_path / "x").iterdir() if not path.name.endswith(".lock")] == []
