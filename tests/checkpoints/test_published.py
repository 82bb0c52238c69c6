"""Pose networks of others as they were published: an archive of MMDeploy, or the bare end2end.onnx."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mspose import PoseEstimator
from mspose.checkpoints.card import read_card
from mspose.checkpoints.convert import main
from mspose.checkpoints.published import published_layer
from mspose.codecs.heatmap import HeatmapKeys
from mspose.codecs.simcc import SimCCKeys
from mspose.config.keys import section_as
from mspose.config.schema import Config
from mspose.config.topdown import HeatmapEval, TopDownData
from mspose.errors import PoseError, UsageError
from mspose.export.ascend import ONNX_INPUT
from mspose.resolve import resolve
from tests.checkpoints.mmpose_graph import FOLDER, HEIGHT, WIDTH, pipeline, write_heatmaps, write_vectors
from tests.detection.mmdet_graph import write_zip
from tests.messages import naming, tells_of
from tests.toy.network import VectorKeys

TOY = "tests.toy.network"
HEATMAPS = "TopdownHeatmapSimpleHeadDecode"
IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def archive(folder: Path, content: object, write: Callable[..., Path] = write_vectors) -> Path:
    return write_zip(folder / "x.zip", write(folder / "in.onnx"), content, FOLDER)


def resolved(path: Path, **overrides: object) -> Config:
    keys = {key.replace("__", "."): value for key, value in overrides.items()}
    return resolve(None, {"runtime.ckpt": str(path), **keys})


def with_(content: dict[str, Any], index: int, **arguments: object) -> dict[str, Any]:
    content["pipeline"]["tasks"][0]["transforms"][index].update(arguments)
    return content


def test_the_archive_says_how_it_is_run(tmp_path: Path) -> None:
    config = resolved(archive(tmp_path, pipeline()), model__name=TOY)
    data = config.data
    assert (config.model.name, data.input_size, data.color, data.scale) == (TOY, [WIDTH, HEIGHT], "rgb", 255)
    assert (data.mean, data.std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert section_as(config.codec, VectorKeys).spread == 2.5


def test_a_bare_file_is_fed_as_its_form_says(tmp_path: Path) -> None:
    config = resolved(write_vectors(tmp_path / "any name.onnx"), model__name=TOY)
    assert (config.data.input_size, config.data.color) == ([WIDTH, HEIGHT], "bgr")
    assert section_as(config.codec, VectorKeys).spread == 2.0


def test_the_pipeline_beside_an_unzipped_file_counts(tmp_path: Path) -> None:
    write_vectors(tmp_path / "end2end.onnx")
    (tmp_path / "pipeline.json").write_text(json.dumps(pipeline()))
    assert resolved(tmp_path / "end2end.onnx", model__name=TOY).data.color == "rgb"


@pytest.mark.parametrize("batch", [1, "batch"])
def test_poses_come_out_of_the_archive(tmp_path: Path, batch: int | str) -> None:
    model = write_vectors(tmp_path / "in.onnx", batch)
    path = write_zip(tmp_path / "x.zip", model, with_(pipeline(), 3, mean=[0, 0, 0], std=[9, 9, 9]), FOLDER)
    # 1.25 times this box is the input; red in one cell of it, blue in another that must not count.
    picture = np.zeros((200, 200, 3), np.uint8)
    box = np.array([100 - WIDTH / 2.5, 100 - HEIGHT / 2.5, WIDTH / 1.25, HEIGHT / 1.25])
    corner = np.array([100 - WIDTH // 2, 100 - HEIGHT // 2])
    red, blue = corner + 4 * np.array([9, 15]), corner + 4 * np.array([3, 2])
    picture[red[1] : red[1] + 4, red[0] : red[0] + 4, 2] = 255
    picture[blue[1] : blue[1] + 4, blue[0] : blue[0] + 4, 0] = 255
    estimator = PoseEstimator(None, path, {"model.name": TOY, "eval.nms": "none"})
    people = estimator(picture, np.stack([box, box]))
    assert len(people) == 2
    np.testing.assert_allclose(people.keypoints[0], np.tile(red, (17, 1)), atol=0.01)


def write_simcc(path: Path, batch: int | str = "batch") -> Path:
    return write_vectors(path, batch, ("simcc_x", "simcc_y"), 1)


SIMCC = {"type": "SimCCLabel", "simcc_split_ratio": 1.0, "sigma": [4.9, 5.66], "normalize": False, "use_dark": False}


def test_rtmpose_needs_no_recipe(tmp_path: Path) -> None:
    path = archive(
        tmp_path, with_(pipeline("SimCCLabelDecode", **SIMCC), 3, mean=[0, 0, 0], std=[1, 1, 1]), write_simcc
    )
    config = resolved(path)
    codec = section_as(config.codec, SimCCKeys)
    assert (config.model.name, codec.split, codec.sigma) == ("rtmpose", 1, [4.9, 5.66])
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[31, 12] = 0, 0, 255
    box = np.array([[WIDTH * 0.1, HEIGHT * 0.1, WIDTH * 0.8, HEIGHT * 0.8]])
    people = PoseEstimator(None, path)(picture, box)
    np.testing.assert_allclose(people.keypoints, np.tile([12, 31], (1, 17, 1)), atol=0.01)


def test_a_bare_file_of_rtmpose_is_fed_as_its_authors_do(tmp_path: Path) -> None:
    config = resolved(write_simcc(tmp_path / "rtmpose-m.onnx"))
    assert (config.model.name, config.data.input_size, config.data.color) == ("rtmpose", [WIDTH, HEIGHT], "rgb")
    assert (config.data.mean, config.data.std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert section_as(config.codec, SimCCKeys).split == 1


def test_an_export_of_ours_without_its_card_is_not_taken_for_theirs(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(write_simcc(tmp_path / "x.onnx")))
    model.graph.input[0].name = model.graph.node[0].input[0] = ONNX_INPUT
    onnx.save(model, str(tmp_path / "x.onnx"))
    assert published_layer(tmp_path / "x.onnx") is None


@pytest.mark.parametrize(
    ("parameters", "things"),
    [
        ({"simcc_split_ratio": 2.0}, ("2.0", "[64, 96]")),
        ({"simcc_split_ratio": 1.5}, ("1.5",)),
        ({"simcc_split_ratio": "1"}, ("1",)),
        ({"use_dark": True}, ("use_dark",)),
        ({"sigma": [1]}, ("codec.sigma",)),
    ],
)
def test_vectors_of_another_codec_are_refused(tmp_path: Path, parameters: dict, things: tuple) -> None:
    path = archive(tmp_path, pipeline("SimCCLabelDecode", **{**SIMCC, **parameters}), write_simcc)
    with pytest.raises(PoseError, match=naming(path, *things)):
        resolved(path)


@pytest.mark.parametrize("name", ["hrnet", "simplepose"])
def test_heat_maps_of_a_pipeline_are_those_of_the_network_that_is_named(tmp_path: Path, name: str) -> None:
    path = archive(tmp_path, pipeline(HEATMAPS, type="MSRAHeatmap", shift_heatmap=True), write_heatmaps)
    config = resolved(path, model__name=name)
    codec = section_as(config.codec, HeatmapKeys)
    assert (config.model.name, codec.sigma, codec.refine, config.data.color) == (name, 2.5, "quarter", "rgb")
    assert section_as(config.eval, HeatmapEval).shift_heatmap
    with pytest.raises(UsageError, match=naming("hrnet", "simplepose", "model.name", "--config", path)):
        resolved(path)


def test_a_kept_model_has_a_card_and_gives_the_same_poses(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path, kept = archive(tmp_path, with_(pipeline(), 3, mean=[0, 0, 0])), tmp_path / "kept.onnx"
    assert main(["--src", str(path), "--dst", str(kept), "--to", "onnx", f"model.name={TOY}"]) == 0
    assert kept.read_bytes() == (tmp_path / "in.onnx").read_bytes()
    card = read_card(kept)
    assert card is not None
    assert (card.network, card.input["name"], card.input["shape"]) == (TOY, "input", [None, 3, HEIGHT, WIDTH])
    assert [output["name"] for output in card.outputs] == ["along_x", "along_y"]
    assert [list(maps.keys()) for maps in card.outputs] == [["name", "shape", "meaning"]] * 2
    picture = np.random.default_rng(0).integers(0, 256, (120, 80, 3), np.uint8)
    both = [
        PoseEstimator(None, file, {"model.name": TOY, "demo.detector": "whole"})(picture).triplets
        for file in (path, kept)
    ]
    np.testing.assert_array_equal(*both)
    assert both[0].shape == (1, 17, 3)


@pytest.mark.parametrize(
    ("options", "things"),
    [
        (["--dst", "kept.ckpt", "--to", "onnx"], ("kept.ckpt", ".onnx")),
        (["--dst", "there.onnx", "--to", "onnx"], ("there.onnx",)),
        (["--dst", "x.zip.onnx", "--to", "onnx", "--partial"], ("--partial", "--to onnx")),
        (["--dst", "kept.ckpt"], ("x.zip", "--to onnx")),
    ],
)
def test_models_that_are_not_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, options: list, things: tuple
) -> None:
    archive(tmp_path, pipeline())
    (tmp_path / "there.onnx").write_text("somebody's")
    monkeypatch.chdir(tmp_path)
    assert main(["--src", "x.zip", *options, f"model.name={TOY}"]) == 2
    assert tells_of(capsys.readouterr().err, *things)
    assert (tmp_path / "there.onnx").read_text() == "somebody's"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.onnx", "there.onnx", "x.zip"]


def test_a_model_of_other_maps_is_not_kept(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = archive(tmp_path, pipeline(HEATMAPS, type="MSRAHeatmap"), write_heatmaps)
    skeleton = tmp_path / "two.yaml"
    skeleton.write_text(
        "name: two\nkeypoints: [left, right]\nflip_pairs: [[left, right]]\nlimbs: [[left, right]]\nsigmas: [0.1, 0.1]\n"
    )
    options = ["--dst", str(tmp_path / "kept.onnx"), "--to", "onnx", "model.name=hrnet", f"data.skeleton={skeleton}"]
    assert main(["--src", str(path), *options]) == 1
    assert tells_of(capsys.readouterr().err, "17x24x16", "2xanyxany")
    assert not (tmp_path / "kept.onnx").exists()


def test_heat_maps_of_dark_and_udp(tmp_path: Path) -> None:
    kind = {"type": "MSRAHeatmap", "unbiased": True, "blur_kernel_size": 17}
    path = archive(tmp_path, pipeline(HEATMAPS, **kind), write_heatmaps)
    codec = section_as(resolved(path, model__name="hrnet").codec, HeatmapKeys)
    assert (codec.targets, codec.refine, codec.blur) == ("exact", "dark", 17)
    content = with_(pipeline(HEATMAPS, type="UDPHeatmap"), 2, use_udp=True)
    config = resolved(archive(tmp_path, content, write_heatmaps), model__name="hrnet")
    assert section_as(config.data, TopDownData).unbiased
    assert (section_as(config.codec, HeatmapKeys).refine, section_as(config.codec, HeatmapKeys).blur) == (
        "dark_udp",
        11,
    )


def test_a_recipe_names_the_network_and_its_input_gives_way(tmp_path: Path) -> None:
    path = archive(tmp_path, pipeline(HEATMAPS, type="MSRAHeatmap"), write_heatmaps)
    config = resolve("hrnet_w32_256x192", {"runtime.ckpt": str(path)})
    assert (config.model.name, config.data.input_size) == ("hrnet", [WIDTH, HEIGHT])


def test_heat_maps_run(tmp_path: Path) -> None:
    content = with_(pipeline(HEATMAPS, type="MSRAHeatmap"), 3, mean=[0, 0, 0])
    path = archive(tmp_path, content, write_heatmaps)
    picture = np.random.default_rng(0).integers(0, 256, (120, 80, 3), np.uint8)
    people = PoseEstimator(None, path, {"model.name": "hrnet", "demo.detector": "whole"})(picture)
    assert people.keypoints.shape == (1, 17, 2)


def test_a_bare_file_of_heat_maps_tells_nothing(tmp_path: Path) -> None:
    path = write_heatmaps(tmp_path / "end2end.onnx")
    assert published_layer(path) is None
    with pytest.raises(UsageError, match=naming(path, "--config", "model.name", "data.mean", "codec")):
        resolved(path)


def test_another_network_than_the_configured_one_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path, pipeline(HEATMAPS, type="MSRAHeatmap"), write_heatmaps)
    with pytest.raises(UsageError, match=naming("hrnet", "simplepose")):
        resolved(path, model__name="openpose")


def test_a_detector_is_sent_where_it_belongs(tmp_path: Path) -> None:
    from tests.detection.mmdet_graph import write_detector

    path = write_detector(tmp_path / "x.onnx", (0.5,) * 4)
    with pytest.raises(UsageError, match=naming(f"demo.detector_file={path}")):
        resolved(path, model__name=TOY)


def test_an_affine_of_another_size_is_noted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = archive(tmp_path, with_(pipeline(), 2, image_size=[192, 256]))
    assert resolved(path, model__name=TOY).data.input_size == [WIDTH, HEIGHT]
    assert "TopDownAffine.image_size" in caplog.text


@pytest.mark.parametrize(
    ("content", "things"),
    [
        (pipeline("DeepposeRegressionHeadDecode"), ("DeepposeRegressionHeadDecode", "along_x")),
        (pipeline(input_size=[192, 256]), ("input_size", "[192, 256]", "[64, 96]")),
        (pipeline(sigma="x"), ("codec.spread", "'x'")),
        (with_(pipeline(), 1, padding=1.1), ("padding", "1.1", "1.25")),
        (with_(pipeline(), 2, use_udp=True), ("TopDownAffine.use_udp", "AlongDecode")),
        (with_(pipeline(), 2, image_size="x"), ("TopDownAffine.image_size",)),
        (with_(pipeline(), 3, std=[0, 1, 1]), ("Normalize.std",)),
        (with_(pipeline(), 3, type="Normalise"), ("Normalise",)),
        (with_(pipeline(), 4, type="Resize"), ("Resize",)),
    ],
)
def test_a_pipeline_that_cannot_be_followed_is_refused(tmp_path: Path, content: dict, things: tuple) -> None:
    path = archive(tmp_path, content)
    with pytest.raises(PoseError, match=naming(path, *things)):
        resolved(path, model__name=TOY)


@pytest.mark.parametrize(
    "parameters",
    [
        {"type": "MegviiHeatmap"},
        {"type": "UDPHeatmap", "heatmap_type": "combined"},
        {"type": "MSRAHeatmap", "sigma": []},
    ],
)
def test_heat_maps_of_another_codec_are_refused(tmp_path: Path, parameters: dict) -> None:
    path = archive(tmp_path, pipeline(HEATMAPS, **parameters), write_heatmaps)
    with pytest.raises(PoseError, match=naming(path, "pipeline.json")):
        resolved(path, model__name="hrnet")


def test_shapes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", write_vectors(tmp_path / "m.onnx"), pipeline(), FOLDER)
    wrong = write_vectors(tmp_path / "wrong.onnx", names=("along_y", "along_x"))
    assert published_layer(wrong, TOY) is None
    assert published_layer(path, TOY) is not None


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    whole = write_vectors(tmp_path / "m.onnx").read_bytes()
    (tmp_path / "x.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PoseError, match=naming("readable", tmp_path / "x.onnx")):
        resolved(tmp_path / "x.onnx", model__name=TOY)
