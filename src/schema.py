"""The configuration schema: every key with its type, default, one line of help and what values it may have.

The sections are dataclasses; `src.config` fills them from YAML files and the command line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any


def key(default: Any, help: str, choices: tuple = ()) -> Any:
    """A dataclass field with a default, one line of help and, where given, the only values it may have."""
    metadata = {"help": help, "choices": choices}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class ModelConfig:
    """The network."""

    name: str = key("simplepose", "network", ("simplepose", "openpose"))
    depth: int = key(50, "layers of the ResNet backbone", (18, 34, 50, 101, 152))
    base_width: int = key(64, "channels of the first ResNet stage; the others are x2, x4, x8")
    deconv_filters: list[int] = key([256, 256, 256], "channels of each deconvolution layer")
    deconv_kernels: list[int] = key([4, 4, 4], "kernel of each deconvolution layer: 2, 3 or 4")
    deconv_bias: bool = key(False, "deconvolutions have a bias")
    final_kernel: int = key(1, "kernel of the last convolution", (1, 3))
    maxpool: str = key("torch", "stem pooling pads both sides (torch) or right and bottom (same)", ("torch", "same"))
    stages: int = key(6, "stages of OpenPose")
    stage_width: int = key(128, "channels of OpenPose's stages and of the features they read")
    norm: str = key("none", "batch norm in OpenPose: none as published, in the VGG19 backbone, or everywhere",
                    ("none", "backbone", "all"))
    init_std: float = key(0.01, "spread of OpenPose's first weights behind the backbone; 0: by their fan-in (He)")
    pretrained: str = key("", "ImageNet backbone to start from (resnet50.ckpt, vgg19.ckpt); empty: random weights")


@dataclass
class DataConfig:
    """Where the pictures and annotations are, and how they become network input."""

    root: str = key("data/coco", "folder with annotations/, train2017/ and val2017/")
    train_set: str = key("train2017", "name of the training set under root")
    val_set: str = key("val2017", "name of the evaluation set under root")
    train_annotations: str = key("", "training annotations; empty: root/annotations/person_keypoints_SET.json")
    val_annotations: str = key("", "evaluation annotations; empty: as above")
    train_images: str = key("", "folder of training pictures; empty: root/SET")
    val_images: str = key("", "folder of evaluation pictures; empty: root/SET")
    skeleton: str = key("coco17", "keypoint set: coco17 or a YAML file")
    input_size: list[int] = key([192, 256], "network input [width, height]")
    color: str = key("bgr", "channel order of the input", ("bgr", "rgb"))
    scale: float = key(255.0, "pixel values are divided by this")
    mean: list[float] = key([0.485, 0.456, 0.406], "then this is subtracted, channel by channel")
    std: list[float] = key([0.229, 0.224, 0.225], "then they are divided by this")
    flip: float = key(0.5, "probability of a horizontal flip in training")
    scale_factor: float = key(0.3, "standard deviation and bound of the random scale (top-down)")
    rotation_factor: float = key(40.0, "spread of the random rotation in degrees, at most twice this (openpose: bound)")
    rotation_prob: float = key(0.6, "probability of a rotation (top-down)")
    scale_range: list[float] = key([0.5, 2.0], "bounds of the random scale (openpose)")
    person_range: list[int] = key([64, 512], "smallest and largest size of people after scaling, in pixels (openpose)")
    crop_shift: int = key(40, "bound of the random shift of the crop in pixels (openpose)")
    color_jitter: bool = key(True, "random hue, saturation and brightness (openpose)")
    mask_dir: str = key("", "folder of written ignore masks for training; empty: made as needed (openpose)")
    half_body_prob: float = key(0.0, "probability of cropping to the upper or lower body; 0: never")
    half_body_joints: int = key(8, "half-body crops need more labelled keypoints than this")
    workers: int = key(0, "threads that read and crop; 0: one for each CPU core, 16 at most")
    prefetch: int = key(4, "batches prepared ahead")


@dataclass
class CodecConfig:
    """What the network's maps mean."""

    heatmap_size: list[int] = key([48, 64], "heat maps [width, height]")
    sigma: float = key(2.0, "standard deviation of the target Gaussian: heat-map cells (openpose: input pixels)")
    paf_width: float = key(8.0, "half width of part affinity fields in input pixels (openpose)")
    refine: str = key("quarter", "sub-cell decoding: quarter-pixel shift, DARK, or none", ("quarter", "dark", "none"))


@dataclass
class TrainConfig:
    """Training."""

    batch_size: int = key(64, "instances a step and device")
    epochs: int = key(140, "passes over the training set")
    shuffle: bool = key(True, "new order every epoch")
    optimizer: str = key("adam", "optimizer", ("adam", "momentum"))
    lr: float = key(1e-3, "learning rate")
    backbone_lr: float = key(1.0, "learning rate of the backbone, as a multiple of lr")
    clip_norm: float = key(0.0, "largest norm of each parameter's gradient; 0: no clipping")
    weight_decay: float = key(0.0, "L2 penalty added to the gradients of convolution weights")
    schedule: str = key("multistep", "learning-rate schedule", ("multistep", "cosine"))
    milestones: list[int] = key([90, 120], "epochs after which the rate drops (multistep)")
    milestone_steps: list[int] = key([], "steps after which the rate drops, instead of milestones (multistep)")
    gamma: float = key(0.1, "factor of each drop (multistep)")
    warmup_steps: int = key(0, "steps over which the rate rises linearly from 0")
    ema: float = key(0.0, "decay of an exponential moving average of the weights, used for evaluation; 0: off")
    log_steps: int = key(100, "steps between two log lines")
    save_epochs: int = key(5, "epochs between two checkpoints")
    save_steps: int = key(0, "steps between two checkpoints, besides; 0: none")
    keep: int = key(5, "numbered checkpoints kept; last.ckpt and best.ckpt always are")
    eval_epochs: int = key(5, "epochs between two evaluations on the evaluation set; 0: never")
    init_from: str = key("", "checkpoint whose weights start the run")
    resume: str = key("", "checkpoint of a run to continue (weights, optimizer, schedule, position); auto: last.ckpt")


@dataclass
class EvalConfig:
    """Evaluation."""

    batch_size: int = key(32, "people a step (top-down)")
    flip_test: bool = key(True, "average with the maps of the mirrored input")
    shift_heatmap: bool = key(True, "shift the mirrored maps by one cell before averaging")
    use_gt_bbox: bool = key(False, "annotated boxes instead of bbox_file")
    bbox_file: str = key("", "person detections as JSON (image_id, category_id, bbox, score)")
    image_threshold: float = key(0.0, "detections with a lower score are left out")
    rescore: str = key("visible_mean", "person score from joint and box scores", ("visible_mean", "alphapose"))
    visible_threshold: float = key(0.2, "joints above this score count for visible_mean and are drawn")
    nms: str = key("oks", "suppression of duplicates", ("oks", "soft_oks", "none"))
    oks_threshold: float = key(0.9, "people more alike than this are duplicates")
    resize: str = key("short_side", "whole images: short side to input_size, or into a canvas of input_size (openpose)",
                      ("short_side", "canvas"))
    short_side: int = key(0, "short side of whole images with short_side; 0: that of input_size (openpose)")
    scales: list[float] = key([1.0], "sizes at which whole images are seen and averaged (openpose)")
    draw: int = key(0, "pictures to draw: prediction beside annotation")


@dataclass
class RuntimeConfig:
    """Device, precision, files."""

    device: str = key("auto", "where to compute; auto takes Ascend, GPU or CPU, whichever is there first",
                       ("auto", "CPU", "GPU", "Ascend"))
    device_id: int = key(0, "which card")
    seed: int = key(1, "seed of every random draw")
    amp: str = key("O0", "mixed precision: O0 float32, O1 float16 where safe, O2 float16 but batch norm, O3 all",
                    ("O0", "O1", "O2", "O3"))
    loss_scale: float = key(0.0, "fixed loss scale for amp O1 to O3; 0: adapted while training")
    ckpt: str = key("", "checkpoint to load")
    output: str = key("", "folder for results; empty: outputs/RECIPE")


@dataclass
class Config:
    """A whole run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    codec: CodecConfig = field(default_factory=CodecConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)


# Command-line flags of the original systems that stand for a key.
FLAGS = {
    "ckpt": "runtime.ckpt",
    "ckpt_url": "runtime.ckpt",
    "device_target": "runtime.device",
    "device_id": "runtime.device_id",
    "output": "runtime.output",
}

# How images must be fed to given weights: stored beside every checkpoint, obeyed by whatever loads it.
CONVENTIONS = ("model.maxpool", "data.color", "data.scale", "data.mean", "data.std")


def schema_fields() -> dict[str, Any]:
    """All keys of the schema in order: dotted key → dataclass field."""
    return {f"{section.name}.{f.name}": f for section in fields(Config) for f in fields(section.default_factory)}


SCHEMA = schema_fields()


def problems(config: Config) -> Iterator[tuple[str, str]]:
    """Pairs of a key and what its value must be instead."""
    positive = ("model.base_width", "data.scale", "codec.sigma", "train.batch_size", "train.epochs", "train.lr",
                "train.backbone_lr", "train.gamma", "train.log_steps", "train.save_epochs", "train.keep",
                "eval.batch_size", "data.prefetch", "codec.paf_width", "model.stages", "model.stage_width")
    not_negative = ("data.workers", "train.weight_decay", "train.warmup_steps", "train.save_steps", "train.eval_epochs",
                    "train.clip_norm", "data.crop_shift", "model.init_std",
                    "eval.draw", "eval.short_side",
                    "runtime.device_id", "runtime.seed", "runtime.loss_scale", "data.rotation_factor",
                    "data.half_body_joints")
    bottom_up = config.model.name == "openpose"
    multiple = 8 if bottom_up else 32
    fractions = ("data.flip", "data.rotation_prob", "data.half_body_prob")
    for keys, holds, what in (
        (positive, lambda v: v > 0, "must be greater than 0"),
        (not_negative, lambda v: v >= 0, "must not be negative"),
        (fractions, lambda v: 0 <= v <= 1, "must lie between 0 and 1"),
        (("data.scale_factor",), lambda v: 0 <= v < 1, "must be 0 or more, and below 1"),
        (("eval.oks_threshold",), lambda v: 0 < v <= 1, "must be above 0 and at most 1"),
        (("train.ema",), lambda v: 0 <= v < 1, "must be 0 or a decay below 1"),
        (("data.input_size",), lambda v: len(v) == 2 and min(v) >= 32 and all(n % multiple == 0 for n in v),
         f"must be [width, height], multiples of {multiple}"),
        (("data.scale_range",), lambda v: len(v) == 2 and 0 < v[0] <= 1 <= v[1], "must be [low, high] around 1"),
        (("data.person_range",), lambda v: len(v) == 2 and 0 < v[0] <= v[1], "must be [low, high]"),
        (("eval.scales",), lambda v: len(v) > 0 and min(v) > 0, "must be positive numbers"),
        (("codec.heatmap_size",), lambda v: len(v) == 2 and min(v) > 0, "must be [width, height]"),
        (("data.mean",), lambda v: len(v) == 3, "must be three numbers"),
        (("data.std",), lambda v: len(v) == 3 and min(v) > 0, "must be three positive numbers"),
        (("model.deconv_kernels",), lambda v: all(k in (2, 3, 4) for k in v), "must be kernels of 2, 3 or 4"),
        (("model.deconv_filters",), lambda v: 1 <= len(v) <= 4 and min(v) > 0, "must be one to four positive numbers"),
        (("train.milestones", "train.milestone_steps"), lambda v: all(n > 0 for n in v),
         "must be numbers from 1 on"),
    ):
        for key in keys:
            section, name = key.split(".")
            if not holds(getattr(getattr(config, section), name)):
                yield key, what
    if bottom_up:
        return
    if len(config.model.deconv_filters) != len(config.model.deconv_kernels):
        yield "model.deconv_kernels", "must be as many as model.deconv_filters"
    stride = 2 ** (5 - len(config.model.deconv_filters))
    expected = [size // stride for size in config.data.input_size]
    if config.codec.heatmap_size != expected:
        yield "codec.heatmap_size", f"must be {expected}, data.input_size / {stride}"
