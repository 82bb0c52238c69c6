"""The configuration schema: every key with its type, default, one line of help and what values it may have.

The sections are dataclasses; `mspose.config.builder` fills them from YAML files and the command line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, get_type_hints


def key(default: Any, help: str, choices: tuple = ()) -> Any:
    """A dataclass field with a default, one line of help and, where given, the only values it may have."""
    metadata = {"help": help, "choices": choices}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class ModelConfig:
    """The network."""

    name: str = key("simplepose", "network", ("simplepose", "fastpose", "openpose"))
    depth: int = key(50, "layers of the ResNet backbone", (18, 34, 50, 101, 152))
    base_width: int = key(64, "channels of the first ResNet stage; the others are x2, x4, x8")
    deconv_filters: list[int] = key([256, 256, 256], "channels of each deconvolution layer")
    deconv_kernels: list[int] = key([4, 4, 4], "kernel of each deconvolution layer: 2, 3 or 4")
    deconv_bias: bool = key(False, "deconvolutions have a bias")
    final_kernel: int = key(1, "kernel of the last convolution", (1, 3))
    maxpool: str = key("torch", "stem pooling pads both sides (torch) or right and bottom (same)", ("torch", "same"))
    se: str = key(
        "none",
        "squeeze and excitation in FastPose's ResNet: none, or in the first block of each stage",
        ("none", "first_block"),
    )
    shuffle: str = key(
        "channel",
        "channel order of FastPose's pixel shuffles: as PyTorch's PixelShuffle (channel) or as DepthToSpace (block)",
        ("channel", "block"),
    )
    upsampling: str = key(
        "shuffle", "FastPose behind the ResNet: as published (shuffle), or its DUC variant", ("shuffle", "duc")
    )
    upsampling_width: int = key(1024, "channels after FastPose's first doubling; half as many after each further one")
    stages: int = key(6, "stages of OpenPose")
    stage_width: int = key(128, "channels of OpenPose's stages and of the features they read")
    norm: str = key(
        "none",
        "batch norm in OpenPose: none as published, in the VGG19 backbone, or everywhere",
        ("none", "backbone", "all"),
    )
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
    skeleton: str = key("coco17", "keypoint set: coco17 or a YAML file (in a recipe: relative to it)")
    input_size: list[int] = key([192, 256], "network input [width, height]")
    color: str = key("bgr", "channel order of the input", ("bgr", "rgb"))
    scale: float = key(255.0, "pixel values are divided by this")
    mean: list[float] = key([0.485, 0.456, 0.406], "then this is subtracted, channel by channel")
    std: list[float] = key([0.229, 0.224, 0.225], "then they are divided by this")
    flip: float = key(0.5, "probability of a horizontal flip in training")
    scale_factor: float = key(0.3, "standard deviation and bound of the random scale (top-down)")
    rotation_factor: float = key(40.0, "spread of the random rotation in degrees, at most twice this (openpose: bound)")
    rotation_prob: float = key(0.6, "probability of a rotation (top-down)")
    crop: str = key(
        "person",
        "training input: around one of the people, or the whole picture, fitted into input_size (openpose)",
        ("person", "picture"),
    )
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
    peak_threshold: float = key(0.1, "lowest value of a joint in its heat map (openpose)")
    limb_threshold: float = key(
        0.05, "lowest value of the part affinity field at a point that supports a limb (openpose)"
    )
    limb_support: float = key(0.8, "fraction of the points along a limb that must support it (openpose)")
    min_joints: int = key(3, "people of fewer joints are left out (openpose)")
    min_score: float = key(0.4, "people of a lower score are left out (openpose)")
    upsample: int = key(
        1,
        "enlarge and smooth whole maps this many times before people are found: 8 as published, far "
        "slower and no better (openpose)",
    )
    refine: str = key("quarter", "sub-cell decoding: quarter-pixel shift, DARK, or none", ("quarter", "dark", "none"))


@dataclass
class TrainConfig:
    """Training."""

    batch_size: int = key(64, "instances a step and device")
    epochs: int = key(140, "passes over the training set")
    shuffle: bool = key(True, "new order every epoch")
    optimizer: str = key("adam", "optimizer", ("adam", "momentum"))
    lr: float = key(1e-3, "learning rate")
    scale_lr: bool = key(False, "multiply lr by the number of devices")
    sync_batch_norm: bool = key(False, "batch norm sees the batches of all devices")
    backbone_lr: float = key(1.0, "learning rate of the backbone, as a multiple of lr")
    clip_norm: float = key(0.0, "largest norm of each parameter's gradient; 0: no clipping")
    weight_decay: float = key(0.0, "L2 penalty added to the gradients of convolution weights")
    schedule: str = key("multistep", "learning-rate schedule", ("multistep", "cosine"))
    milestones: list[int] = key([90, 120], "epochs after which the rate drops (multistep)")
    milestone_steps: list[int] = key([], "steps after which the rate drops, instead of milestones (multistep)")
    gamma: float = key(0.1, "factor of each drop (multistep)")
    restart_epoch: int = key(0, "epochs after which the rate is lr again, to drop anew (multistep); 0: never")
    warmup_steps: int = key(0, "steps over which the rate rises linearly from 0")
    proposals_epoch: int = key(
        0,
        "epochs after which boxes are moved as a detector errs: AlphaPose's pose-guided proposals (top-down); 0: never",
    )
    ema: float = key(0.0, "decay of an exponential moving average of the weights, used for evaluation; 0: off")
    log_steps: int = key(100, "steps between two log lines")
    save_epochs: int = key(5, "epochs between two checkpoints")
    save_steps: int = key(0, "steps between two checkpoints, besides; 0: none")
    keep: int = key(5, "numbered checkpoints kept; last.ckpt and best.ckpt always are")
    eval_epochs: int = key(5, "epochs between two evaluations on the evaluation set; 0: never")
    init_from: str = key("", "checkpoint whose weights start the run")
    resume: str = key("", "checkpoint of a run to continue (weights, optimizer, schedule, position); auto: last.ckpt")
    performance_steps: int = key(
        0, "only measure the speed of so many steps, the first ones left out as warm-up; 0: train"
    )


@dataclass
class EvalConfig:
    """Evaluation."""

    batch_size: int = key(32, "people a step (top-down)")
    flip_test: bool = key(True, "average with the maps of the mirrored input")
    shift_heatmap: bool = key(True, "shift the mirrored maps by one cell before averaging")
    use_gt_bbox: bool = key(False, "annotated boxes instead of bbox_file")
    bbox_file: str = key(
        "", "person detections as JSON (image_id, category_id, bbox, score), a path from here or from data.root"
    )
    image_threshold: float = key(0.0, "detections with a lower score are left out")
    rescore: str = key("visible_mean", "person score from joint and box scores", ("visible_mean", "alphapose"))
    visible_threshold: float = key(0.2, "joints above this score count for visible_mean and are drawn")
    nms: str = key(
        "oks",
        "duplicates: OKS-NMS, its soft variant, AlphaPose's parametric pose NMS, or all kept",
        ("oks", "soft_oks", "parametric", "none"),
    )
    oks_threshold: float = key(0.9, "people more alike than this are duplicates (oks, soft_oks)")
    resize: str = key(
        "short_side",
        "whole images: short side to input_size, or into a canvas of input_size (openpose)",
        ("short_side", "canvas"),
    )
    short_side: int = key(0, "short side of whole images with short_side; 0: that of input_size (openpose)")
    scales: list[float] = key([1.0], "sizes at which whole images are seen and averaged (openpose)")
    draw: int = key(0, "pictures to draw: prediction beside annotation")


@dataclass
class DemoConfig:
    """Pictures and video: what to look at, who finds the people, what is drawn and written."""

    input: str = key("", "picture, folder, glob, video file, or camera number")
    detector: str = key(
        "auto",
        "who finds people for top-down networks: auto (by the file's kind; hog without one), "
        "the whole picture, OpenCV's HOG, YOLOv3, an ONNX detector, or demo.boxes",
        ("auto", "whole", "hog", "yolov3", "onnx", "boxes"),
    )
    detector_file: str = key("", "weights of the detector: yolo.ckpt, yolov3.weights, or X.onnx (YOLOX, YOLOv8)")
    detector_size: list[int] = key([416, 416], "input of YOLOv3 [width, height], and of ONNX files that leave it open")
    detector_threshold: float = key(0.3, "boxes with a lower score are left out")
    detector_nms: float = key(0.45, "boxes that overlap a better one by more than this IoU are duplicates")
    boxes: str = key("", "COCO JSON of person boxes, used instead of a detector")
    person_threshold: float = key(0.1, "people with a lower score are left out")
    keypoint_threshold: float = key(0.2, "keypoints with a lower score are not drawn, and 0 in OpenPose's JSON")
    track: bool = key(False, "give people numbers that stay theirs from picture to picture")
    line_width: int = key(0, "width of drawn limbs in pixels; 0: by the size of the person")
    heatmaps: bool = key(False, "lay the network's heat maps over the picture")
    black_background: bool = key(False, "draw people on black instead of the picture")
    show: bool = key(False, "show what is drawn in a window")
    serve: bool = key(False, "serve a web page instead of reading demo.input")
    networks: list[str] = key([], "further networks for the web page, each CONFIG:CKPT")
    host: str = key("127.0.0.1", "address of the web page; 0.0.0.0 lets other machines reach it")
    port: int = key(7860, "port of the web page")


@dataclass
class ExportConfig:
    """Files for deployment."""

    file_name: str = key("", "file to write, with or without its ending; empty: runtime.output/NETWORK")
    file_format: str = key("MINDIR", "format (AIR needs an Ascend device)", ("MINDIR", "ONNX", "AIR"))
    batch_size: int | None = key(1, "inputs a run of the exported network; null: any number")
    size: list[int] | None = key(None, "input [width, height]; null: data.input_size, and any size for openpose")
    fold_batch_norm: bool = key(True, "fold batch norm into the convolutions before it")
    preprocess: bool = key(False, "take uint8 pixels (batch, height, width, BGR) and normalise them in the graph")
    half: bool = key(False, "store convolution weights as float16; the file is half as large")
    tolerance: float = key(
        0.0,
        "largest difference from the checkpoint's outputs, as a share of the largest output; 0: 1e-4, with half 1e-2",
    )


@dataclass
class RuntimeConfig:
    """Device, precision, files."""

    device: str = key(
        "auto",
        "where to compute; auto takes Ascend, GPU or CPU, whichever is there first",
        ("auto", "CPU", "GPU", "Ascend"),
    )
    device_id: int = key(0, "which card")
    seed: int = key(1, "seed of every random draw")
    amp: str = key(
        "O0",
        "mixed precision: O0 float32, O1 float16 where safe, O2 float16 but batch norm, O3 all",
        ("O0", "O1", "O2", "O3"),
    )
    loss_scale: float = key(0.0, "fixed loss scale for amp O1 to O3; 0: adapted while training")
    ckpt: str = key("", "checkpoint to load, or an exported model")
    backend: str = key(
        "auto",
        "what runs the network: MindSpore with a checkpoint, MindSpore with a MindIR, ONNX "
        "Runtime, MindSpore Lite; auto: by the ending of runtime.ckpt",
        ("auto", "mindspore", "mindir", "onnx", "lite"),
    )
    output: str = key("", "folder for results; empty: outputs/RECIPE")


@dataclass
class ModelArtsConfig:
    """Runs on Huawei Cloud's ModelArts: data from object storage, results to it."""

    enable: bool = key(False, "fetch the data first; copy results to train_url while the run goes on and at its end")
    data_url: str = key("", "data set: folder or zip archive in OBS (obs://...), or a local folder")
    train_url: str = key("", "where results go: folder in OBS, or a local one")
    checkpoint_url: str = key("", "folder in OBS with weights, copied to load_path")
    data_path: str = key("/cache/data", "local folder for the data; data.root is found in it")
    output_path: str = key("/cache/train", "local folder for results, instead of runtime.output")
    load_path: str = key("/cache/checkpoint_path", "local folder for what checkpoint_url holds")


@dataclass
class Config:
    """A whole run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    codec: CodecConfig = field(default_factory=CodecConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    demo: DemoConfig = field(default_factory=DemoConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    modelarts: ModelArtsConfig = field(default_factory=ModelArtsConfig)


# Command-line flags of the original systems that stand for a key.
FLAGS = {
    "ckpt": "runtime.ckpt",
    "ckpt_url": "runtime.ckpt",
    "device_target": "runtime.device",
    "device_id": "runtime.device_id",
    "data_url": "modelarts.data_url",
    "train_url": "modelarts.train_url",
    "enable_modelarts": "modelarts.enable",
    "runtime.modelarts": "modelarts.enable",
    "output": "runtime.output",
    "backend": "runtime.backend",
    "file_name": "export.file_name",
    "file_format": "export.file_format",
    "result_path": "runtime.output",
    "input": "demo.input",
    "serve": "demo.serve",
}

# How images must be fed to given weights: stored beside every checkpoint, obeyed by whatever loads it.
CONVENTIONS = (
    "model.maxpool",
    "model.se",
    "model.shuffle",
    "data.color",
    "data.scale",
    "data.mean",
    "data.std",
    "eval.rescore",
)
# Stored besides for top-down networks, whose layers fit any size while their weights do not: obeyed, all or none, by
# what evaluates a checkpoint or continues its run. A new run may start from the weights at another size.
SIZES = ("data.input_size", "codec.heatmap_size", "codec.sigma")


SECTIONS: dict[str, type] = get_type_hints(Config)


def schema_fields() -> dict[str, Any]:
    """All keys of the schema in order: dotted key → dataclass field."""
    return {f"{name}.{f.name}": f for name, section in SECTIONS.items() for f in fields(section)}


SCHEMA = schema_fields()


def problems(config: Config) -> Iterator[tuple[str, str]]:
    """Pairs of a key and what its value must be instead."""
    positive = (
        "model.base_width",
        "data.scale",
        "codec.sigma",
        "train.batch_size",
        "train.epochs",
        "train.lr",
        "train.backbone_lr",
        "train.gamma",
        "train.log_steps",
        "train.save_epochs",
        "train.keep",
        "eval.batch_size",
        "data.prefetch",
        "codec.paf_width",
        "model.stages",
        "model.stage_width",
    )
    not_negative = (
        "data.workers",
        "train.weight_decay",
        "train.warmup_steps",
        "train.save_steps",
        "train.eval_epochs",
        "train.clip_norm",
        "train.restart_epoch",
        "train.proposals_epoch",
        "data.crop_shift",
        "model.init_std",
        "eval.draw",
        "eval.short_side",
        "demo.person_threshold",
        "demo.keypoint_threshold",
        "demo.line_width",
        "runtime.device_id",
        "runtime.seed",
        "data.rotation_factor",
        "data.half_body_joints",
    )
    bottom_up = config.model.name == "openpose"
    multiple = 8 if bottom_up else 32
    fractions = ("data.flip", "data.rotation_prob", "data.half_body_prob")
    for keys, holds, what in (
        (positive, lambda v: v > 0, "must be greater than 0"),
        (not_negative, lambda v: v >= 0, "must not be negative"),
        (fractions, lambda v: 0 <= v <= 1, "must lie between 0 and 1"),
        (("data.scale_factor",), lambda v: 0 <= v < 1, "must be 0 or more, and below 1"),
        (("eval.oks_threshold",), lambda v: 0 < v <= 1, "must be above 0 and at most 1"),
        (("train.performance_steps",), lambda v: v == 0 or v >= 2, "must be 0 or at least 2"),
        (("runtime.loss_scale",), lambda v: v == 0 or v >= 1, "must be 0 (adapting) or at least 1"),
        (("train.ema",), lambda v: 0 <= v < 1, "must be 0 or a decay below 1"),
        (
            ("data.input_size",),
            lambda v: len(v) == 2 and min(v) >= 32 and all(n % multiple == 0 for n in v),
            f"must be [width, height], multiples of {multiple}",
        ),
        (("data.scale_range",), lambda v: len(v) == 2 and 0 < v[0] <= 1 <= v[1], "must be [low, high] around 1"),
        (("data.person_range",), lambda v: len(v) == 2 and 0 < v[0] <= v[1], "must be [low, high]"),
        (("eval.scales",), lambda v: len(v) > 0 and min(v) > 0, "must be positive numbers"),
        (("export.batch_size",), lambda v: v is None or v > 0, "must be greater than 0, or null"),
        (
            ("export.size",),
            lambda v: v is None or (len(v) == 2 and min(v) >= 32 and all(n % multiple == 0 for n in v)),
            f"must be null, or [width, height], multiples of {multiple}",
        ),
        (("export.tolerance",), lambda v: v >= 0, "must not be negative"),
        (("codec.heatmap_size",), lambda v: len(v) == 2 and min(v) > 0, "must be [width, height]"),
        (("data.mean",), lambda v: len(v) == 3, "must be three numbers"),
        (("data.std",), lambda v: len(v) == 3 and min(v) > 0, "must be three positive numbers"),
        (("model.upsampling_width",), lambda v: v > 0 and v % 8 == 0, "must be a multiple of 8"),
        (
            ("demo.detector_size",),
            lambda v: len(v) == 2 and all(n > 0 and n % 32 == 0 for n in v),
            "must be [width, height], multiples of 32",
        ),
        (("demo.detector_threshold",), lambda v: 0 <= v < 1, "must be 0 or more, and below 1"),
        (("demo.detector_nms",), lambda v: 0 < v <= 1, "must be above 0 and at most 1"),
        (("demo.port",), lambda v: 0 < v < 65536, "must lie between 1 and 65535"),
        (("model.deconv_kernels",), lambda v: all(k in (2, 3, 4) for k in v), "must be kernels of 2, 3 or 4"),
        (("model.deconv_filters",), lambda v: 1 <= len(v) <= 4 and min(v) > 0, "must be one to four positive numbers"),
        (("train.milestones", "train.milestone_steps"), lambda v: all(n > 0 for n in v), "must be numbers from 1 on"),
    ):
        for key in keys:
            section, name = key.split(".")
            if not holds(getattr(getattr(config, section), name)):
                yield key, what
    if config.train.restart_epoch and config.train.schedule != "multistep":
        yield "train.restart_epoch", "must be 0 unless train.schedule is multistep"
    if bottom_up:
        return
    doublings = 3
    if config.model.name == "simplepose":
        if len(config.model.deconv_filters) != len(config.model.deconv_kernels):
            yield "model.deconv_kernels", "must be as many as model.deconv_filters"
        doublings = len(config.model.deconv_filters)
    stride = 2 ** (5 - doublings)
    expected = [size // stride for size in config.data.input_size]
    if config.codec.heatmap_size != expected:
        yield "codec.heatmap_size", f"must be {expected}, data.input_size / {stride}"
