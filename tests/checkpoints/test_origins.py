"""Whose weights a file holds is known by its names, whatever stands before them, and so is how they must be fed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from mindspore.nn.utils import no_init_parameters

from mspose.checkpoints.foreign import check_model, check_network
from mspose.checkpoints.origins import origins, read_weights, recognise
from mspose.config.builder import default_config, network_of
from mspose.config.describe import all_keys
from mspose.errors import PoseError
from mspose.networks import build_model
from mspose.networks.openpose import openpose_to_torch
from tests.graph import ms  # noqa: F401 (sets MindSpore up)
from tests.messages import naming

IMAGENET, ALPHAPOSE = [0.485, 0.456, 0.406], [0.406, 0.457, 0.480]
# File of names → title, max pool, shuffle, colour, scale, mean, rescoring (parity/README.md, design.md §3).
EXPECTED = {
    "pose_resnet_18": ("SimpleBaselines (PyTorch)", "torch", None, "bgr", 255, IMAGENET, "visible_mean"),
    "pose_resnet_50": ("SimpleBaselines (PyTorch)", "torch", None, "bgr", 255, IMAGENET, "visible_mean"),
    "fastpose_res50": ("FastPose of AlphaPose (PyTorch)", "torch", "channel", "rgb", 255, ALPHAPOSE, "alphapose"),
    "fastpose_duc_res50": ("FastPose of AlphaPose (PyTorch)", "torch", "channel", "rgb", 255, ALPHAPOSE, "alphapose"),
    "openpose_body_coco": (
        "OpenPose body network (PyTorch port of the Caffe model)",
        None,
        None,
        "bgr",
        256,
        [0.5] * 3,
        None,
    ),
    "mindspore_zoo_simplepose": ("MindSpore SimplePoseNet", "same", None, "bgr", 255, IMAGENET, "visible_mean"),
    "mindspore_zoo_simple_baselines": (
        "MindSpore simple_baselines",
        "torch",
        None,
        "bgr",
        255,
        IMAGENET,
        "visible_mean",
    ),
    "mindspore_zoo_fastpose": ("MindSpore FastPose", "torch", "block", "bgr", 255, IMAGENET, "visible_mean"),
    "mindspore_zoo_openpose": ("MindSpore OpenPose", None, None, "bgr", 255, [0.5] * 3, None),
    "hrnet_w32": ("HRNet (PyTorch)", None, None, "rgb", 255, IMAGENET, "visible_mean"),
    "names/hrnet-w48_leoxiaobin": ("HRNet (PyTorch)", None, None, "rgb", 255, IMAGENET, "visible_mean"),
    "names/mmpose1x_hrnet-w32": (
        "HRNet of MMPose 1.x (PyTorch)",
        None,
        None,
        "rgb",
        255,
        IMAGENET,
        "visible_mean",
    ),
    "mindpose_hrnet_w32": ("HRNet of mindpose (MindSpore)", None, None, "rgb", 255, IMAGENET, "visible_mean"),
    "mindpose_resnet50": (
        "SimpleBaselines of mindpose (MindSpore)",
        "same",
        None,
        "rgb",
        255,
        IMAGENET,
        "visible_mean",
    ),
    "rtmpose_t": ("RTMPose of MMPose (PyTorch)", None, None, "rgb", 255, IMAGENET, "visible_mean"),
    "names/rtmpose-s_256x192": ("RTMPose of MMPose (PyTorch)", None, None, "rgb", 255, IMAGENET, "visible_mean"),
    "names/rtmpose-m_256x192": ("RTMPose of MMPose (PyTorch)", None, None, "rgb", 255, IMAGENET, "visible_mean"),
    "names/rtmpose-l_256x192": ("RTMPose of MMPose (PyTorch)", None, None, "rgb", 255, IMAGENET, "visible_mean"),
    "mindspore_zoo_yolov3": ("MindSpore YOLOv3", *[None] * 6),
    "mindspore_zoo_resnet50": ("ImageNet ResNet (MindSpore)", "same", *[None] * 5),
    "mindspore_zoo_vgg19": ("ImageNet VGG19 (MindSpore)", *[None] * 6),
}


def values_of(name: str, parity_dir: Path) -> dict[str, np.ndarray]:
    """The n-th parameter of a published network, filled with n."""
    keys = json.loads((parity_dir / f"{name}.keys.json").read_text())
    return {key: np.broadcast_to(np.float32(n), shape) for n, (key, shape) in enumerate(keys.items())}


def small(torch: bool, blocks: tuple[int, ...] = (2, 2, 2, 2), bottleneck: bool = False) -> dict[str, np.ndarray]:
    """A SimpleBaselines of any depth, PyTorch's names or the zoo's."""
    norm = (
        ("weight", "bias", "running_mean", "running_var")
        if torch
        else ("gamma", "beta", "moving_mean", "moving_variance")
    )
    layers = ["bn1", "deconv_layers.1"] + [f"layer{i + 1}.{j}.bn1" for i, n in enumerate(blocks) for j in range(n)]
    shapes = {
        "conv1.weight": (8, 3, 7, 7),
        "deconv_layers.0.weight": (16, 4, 3, 3),
        "final_layer.weight": (17, 4, 1, 1),
    }
    for i, n in enumerate(blocks):
        convolutions = (1, 2, 3) if bottleneck else (1, 2)
        shapes |= {f"layer{i + 1}.{j}.conv{k}.weight": (8, 8, 3, 3) for j in range(n) for k in convolutions}
    shapes |= {f"{layer}.{name}": (4,) for layer in layers for name in norm}
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("prefix", ["", "module.", "network.", "train_net.network.backbone.", "module.module."])
@pytest.mark.parametrize("name", EXPECTED)
def test_published_files_are_recognised(name: str, prefix: str, parity_dir: Path) -> None:
    values = {prefix + key: value for key, value in values_of(name, parity_dir).items()}
    state = {f"moment1.{key}": value for key, value in values.items()} | {"global_step": np.ones(1)}
    recognised = recognise({**state, **values}, "x.pth")
    title, maxpool, shuffle, color, scale, mean, rescore = EXPECTED[name]
    assert recognised.origin.title == title
    given = recognised.conventions
    assert [
        given.get(key)
        for key in ("model.maxpool", "model.shuffle", "data.color", "data.scale", "data.mean", "eval.rescore")
    ] == [maxpool, shuffle, color, scale, mean, rescore]
    weights = [key for key in values if not key.endswith("num_batches_tracked")]
    assert len(recognised.values) == len(weights)


def test_conventions_are_keys_of_the_configuration() -> None:
    for origin, _ in origins():
        assert set(origin.conventions) <= set(all_keys())


@pytest.mark.parametrize(
    ("name", "model"),
    [
        (
            "pose_resnet_18",
            {
                "name": "simplepose",
                "depth": 18,
                "deconv_filters": [256] * 3,
                "deconv_kernels": [4] * 3,
                "deconv_bias": False,
                "final_kernel": 1,
                "base_width": 64,
            },
        ),
        ("mindspore_zoo_simplepose", {"name": "simplepose", "depth": 50, "deconv_filters": [256] * 3}),
        (
            "fastpose_res50",
            {"name": "fastpose", "depth": 50, "se": "first_block", "upsampling": "shuffle", "upsampling_width": 1024},
        ),
        (
            "fastpose_duc_res50",
            {"name": "fastpose", "depth": 50, "se": "first_block", "upsampling": "duc", "upsampling_width": 1024},
        ),
        ("mindspore_zoo_fastpose", {"name": "fastpose", "depth": 50, "se": "none", "upsampling": "shuffle"}),
        ("hrnet_w32", {"name": "hrnet", "width": 32, "stem_width": 64}),
        ("names/hrnet-w48_leoxiaobin", {"name": "hrnet", "width": 48}),
        ("mindpose_resnet50", {"name": "simplepose", "depth": 50, "deconv_filters": [256] * 3}),
        ("rtmpose_t", {"name": "rtmpose", "width": 384, "blocks": 1}),
        ("names/rtmpose-s_256x192", {"name": "rtmpose", "width": 512, "blocks": 2}),
        ("names/rtmpose-m_256x192", {"name": "rtmpose", "width": 768, "blocks": 4}),
        ("names/rtmpose-l_256x192", {"name": "rtmpose", "width": 1024, "blocks": 6}),
        ("openpose_body_coco", {"name": "openpose", "stages": 6, "stage_width": 128, "base_width": 64, "norm": "none"}),
    ],
)
def test_shapes_say_which_network_it_is(name: str, model: dict, parity_dir: Path) -> None:
    found = recognise(values_of(name, parity_dir), "x.pth").model
    assert {key: found[f"model.{key}"] for key in model} == model


@pytest.mark.parametrize("name", [name for name, row in EXPECTED.items() if row[3]])
def test_every_parameter_of_the_network_is_filled(name: str, parity_dir: Path) -> None:
    recognised = recognise(values_of(name, parity_dir), "x.pth")
    own = dict(recognised.model)
    with no_init_parameters():
        network = build_model(default_config(own.pop("model.name"), own))
    assert {p.name: tuple(p.shape) for p in network.get_parameters()} == {
        key: value.shape for key, value in recognised.values.items()
    }


@pytest.mark.parametrize(
    ("blocks", "bottleneck", "depth"),
    [
        ((2, 2, 2, 2), False, 18),
        ((3, 4, 6, 3), False, 34),
        ((3, 4, 6, 3), True, 50),
        ((3, 4, 23, 3), True, 101),
        ((3, 8, 36, 3), True, 152),
    ],
)
@pytest.mark.parametrize("torch", [True, False])
def test_depth_is_counted(torch: bool, blocks: tuple, bottleneck: bool, depth: int) -> None:
    recognised = recognise(small(torch, blocks, bottleneck), "x.pth")
    assert recognised.model["model.depth"] == depth
    assert recognised.model["model.deconv_kernels"] == [3]
    assert recognised.origin.title.startswith("SimpleBaselines" if torch else "MindSpore simple_baselines")


def test_shallow_zoo_resnets_number_their_batch_norms_otherwise() -> None:
    values = {
        name.replace(".bn1.", ".bn1d.") if name.startswith("layer") else name: value
        for name, value in small(False).items()
    }
    assert set(recognise(values, "x").values) == set(recognise(small(False), "x").values)


def test_caffe_names_without_stages_in_front_are_known(parity_dir: Path) -> None:
    values = values_of("openpose_body_coco", parity_dir)
    plain = {name.partition(".")[2]: value for name, value in values.items()}
    assert len(plain) == len(values)
    assert recognise(plain, "x").values == recognise(values, "x").values


def test_alphapose_simplepose_is_fed_as_alphapose_does() -> None:
    heads = ("deconv_layers.", "final_layer.")
    values = {name if name.startswith(heads) else f"preact.{name}": value for name, value in small(True).items()}
    recognised = recognise(values, "x")
    assert recognised.conventions["data.color"] == "rgb"
    assert set(recognised.values) == set(recognise(small(True), "x").values)


def test_averaged_weights_of_our_own_training_win() -> None:
    own = recognise(small(True), "x").values
    values = {**own, "ema.conv1.weight": np.ones(1), **{f"ema.{name}": value + 1 for name, value in own.items()}}
    del values["ema.conv1.weight"]
    recognised = recognise({**values, "moment1.final_layer.weight": np.zeros(1)}, "x")
    assert recognised.origin.is_own
    assert recognised.conventions == {}
    assert recognised.values["final_layer.weight"].max() == 1


def test_unknown_names_are_shown() -> None:
    with pytest.raises(PoseError, match=naming("x.pth", 2, "stem.weight", "head.bias")):
        recognise({"stem.weight": np.zeros(1), "head.bias": np.zeros(1)}, "x.pth")


def test_names_that_become_the_same_are_refused() -> None:
    values = {f"module.{name}": value for name, value in small(True).items()}
    with pytest.raises(PoseError, match=naming("x.pth", "'module.'")):
        recognise({**values, "final_layer.weight": np.zeros(1)}, "x.pth")


@pytest.mark.parametrize(
    "name",
    [
        "pose_resnet_18",
        "pose_resnet_50",
        "fastpose_res50",
        "fastpose_duc_res50",
        "hrnet_w32",
        "names/hrnet-w48_leoxiaobin",
        "rtmpose_t",
        "names/rtmpose-l_256x192",
        "openpose_body_coco",
    ],
)
def test_the_way_back_gives_the_original_names_in_their_order(name: str, parity_dir: Path) -> None:
    values = values_of(name, parity_dir)
    recognised = recognise(values, "x.pth")
    own = dict(recognised.model)
    config = default_config(own.pop("model.name"), own)
    back = network_of(config).to_torch(recognised.values, config.model)
    assert list(back) == list(values)
    for key, value in values.items():
        assert back[key].shape == value.shape
        assert key.endswith("num_batches_tracked") or back[key].flat[0] == value.flat[0], key


def test_openpose_with_batch_norm_has_no_original() -> None:
    with pytest.raises(PoseError, match=r"model\.norm=none"):
        openpose_to_torch({"backbone.layers.bn1_1.gamma": np.zeros(1)})


def mmpose(values: dict[str, np.ndarray], head: str) -> dict[str, np.ndarray]:
    """The same network under MMPose's names."""
    heads = ("deconv_layers.", "final_layer.")
    return {f"{head if name.startswith(heads) else 'backbone.'}{name}": value for name, value in values.items()}


@pytest.mark.parametrize(("head", "version"), [("head.", "1.x"), ("keypoint_head.", "0.x")])
def test_mmpose_names_are_no_backbone(head: str, version: str, parity_dir: Path) -> None:
    for plain in (small(True), values_of("hrnet_w32", parity_dir)):
        recognised = recognise(mmpose(plain, head), "x.pth")
        assert recognised.origin.title.endswith(f"of MMPose {version} (PyTorch)")
        assert (recognised.origin.part, recognised.conventions["data.color"]) == ("network", "rgb")
        assert set(recognised.values) == set(recognise(plain, "x.pth").values)


def test_mindpose_weights_keep_the_deviation_they_were_trained_with(parity_dir: Path) -> None:
    for name in ("mindpose_hrnet_w32", "mindpose_resnet50"):
        assert recognise(values_of(name, parity_dir), "x").conventions["data.std"] == [0.229, 0.224, 0.255]


@pytest.mark.parametrize(
    ("source", "title"), [("hrnet_w32", "(PyTorch)"), ("mindpose_hrnet_w32", "of mindcv (MindSpore)")]
)
def test_imagenet_hrnets_are_backbones(source: str, title: str, parity_dir: Path) -> None:
    values = values_of(source, parity_dir)
    values = {n.removeprefix("backbone."): v for n, v in values.items() if "final_layer" not in n and "head." not in n}
    values |= {"classifier.weight": np.zeros((1000, 2048)), "incre_modules.0.0.conv1.weight": np.zeros((32, 32, 1, 1))}
    recognised = recognise(values, "x")
    assert (recognised.origin.title, recognised.origin.part) == (f"ImageNet HRNet {title}", "backbone")
    assert recognised.model == {"model.width": 32, "model.stem_width": 64}
    assert "backbone.layer1.0.downsample.0.weight" in recognised.values


@pytest.mark.parametrize(("split", "size"), [(2, [192, 256]), (2, [288, 384]), (3, [192, 256]), (1, [96, 64])])
def test_rtmpose_shows_the_input_that_it_is_for(split: int, size: list[int], parity_dir: Path) -> None:
    recognised = recognise(rtmpose(parity_dir, size, split), "x.pth")
    shown = {key: value for key, value in recognised.model.items() if not key.startswith("model.")}
    assert shown == {"codec.split": split, "data.input_size": size}
    for check in (check_model, check_network):
        with pytest.raises(PoseError, match=naming("x.pth", f"data.input_size={size}".replace(" ", ""))):
            check(recognised, default_config("rtmpose", {"data.input_size": [256, 256]}), "x.pth")
        own = {"model.width": 384, "model.blocks": 1, **shown}
        check(recognised, default_config("rtmpose", own), "x.pth")


@pytest.mark.parametrize(
    ("prefix", "head", "title"),
    [
        ("backbone.", ("head.deconv_layers.0.weight", "head.final_layer.weight"), "CSPNeXt of MMPose with heat maps"),
        ("module.backbone.", ("module.head.final_layer.weight",), "CSPNeXt of MMPose with heat maps"),
        ("backbone.", ("head.fc.weight",), "ImageNet CSPNeXt"),
        ("", ("fc.weight",), "ImageNet CSPNeXt"),
    ],
)
def test_backbones_of_rtmpose_may_have_another_head(prefix: str, head: tuple, title: str, parity_dir: Path) -> None:
    values = {name: value for name, value in rtmpose(parity_dir).items() if "head." not in name}
    backbone = {prefix + name.removeprefix("backbone."): value for name, value in values.items()}
    recognised = recognise(backbone | {name: np.zeros(2) for name in head}, "x")
    assert (recognised.origin.title, recognised.origin.part) == (f"{title} (PyTorch)", "backbone")
    assert recognised.model == {"model.width": 384, "model.blocks": 1}
    assert "backbone.stage4.2.blocks.0.conv2.depthwise_conv.bn.gamma" in recognised.values


def test_a_detector_around_cspnext_is_no_backbone(parity_dir: Path) -> None:
    values = {name: value for name, value in rtmpose(parity_dir).items() if "head." not in name}
    for other in ("bbox_head.rtm_cls.0.weight", "neck.out_convs.0.conv.weight"):
        with pytest.raises(PoseError, match=naming("rtmdet.pth", "CSPNeXt", other)):
            recognise({**values, other: np.zeros(2)}, "rtmdet.pth")


def rtmpose(parity_dir: Path, size: Sequence[int] = (192, 256), split: int = 2) -> dict[str, np.ndarray]:
    """RTMPose-t under MMPose's names, for an input size."""
    shapes = {
        "head.mlp.1.weight": (256, size[0] * size[1] // 1024),
        "head.cls_x.weight": (split * size[0], 256),
        "head.cls_y.weight": (split * size[1], 256),
    }
    changed = {name: np.broadcast_to(np.float32(1), shape) for name, shape in shapes.items()}
    return values_of("rtmpose_t", parity_dir) | changed


def around(prefix: str, *others: str) -> dict[str, np.ndarray]:
    """Names of a ResNet behind a prefix, and others."""
    anchors = ("conv1.weight", "bn1.running_mean", "layer4.0.conv1.weight")
    return {name: np.zeros((1, 1), np.float32) for name in (*(f"{prefix}{anchor}" for anchor in anchors), *others)}


@pytest.mark.parametrize(
    ("prefix", "other"),
    [
        ("backbone.", "head.final_layer.weight"),
        ("backbone.", "neck.convs.0.weight"),
        ("module.backbone.", "module.keypoint_head.final_layer.weight"),
        ("", "keypoint_head.final_layer.weight"),
    ],
)
def test_a_backbone_within_a_larger_network_is_no_imagenet_network(prefix: str, other: str) -> None:
    with pytest.raises(PoseError, match=naming("mmpose.pth", "ImageNet ResNet", other)):
        recognise(around(prefix, other), "mmpose.pth")


@pytest.mark.parametrize("head", ["fc.weight", "head.fc.weight", "module.head.fc.bias", "classifier.weight"])
def test_what_classifies_pictures_belongs_to_an_imagenet_network(head: str) -> None:
    assert recognise(around("backbone.", head), "r50.pth").origin.title == "ImageNet ResNet (PyTorch)"


def test_a_darknet_file_is_a_detectors(tmp_path: Path) -> None:
    (tmp_path / "yolov3.weights").write_bytes(b"\0\0\0\0\2\0\0\0" * 8)
    with pytest.raises(PoseError, match=naming(f"demo.detector_file={tmp_path / 'yolov3.weights'}")):
        read_weights(tmp_path / "yolov3.weights")
