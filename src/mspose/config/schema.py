"""The sections of the configuration that all networks share.

Every key has a type, a default, one line of help, what values it may have, and whether it belongs to weights. A
network, its codec and its method add their own keys by dataclasses that build on those here: see
`mspose.networks.base`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_type_hints

from mspose.config.keys import (
    ABOVE_0_TO_1,
    EPOCHS,
    FIXED,
    FRACTION,
    FREE,
    FROM_1,
    INPUT,
    INPUT_SIZE,
    LARGEST_SIDE,
    NOT_NEGATIVE,
    POSITIVE,
    THREADS,
    THREE,
    THREE_POSITIVE,
    WARMUP,
    Check,
    Section,
    key,
)


@dataclass
class ModelConfig(Section):
    """The network."""

    name: str = key("simplepose", "network: its name, or package.module of one outside this package", role=FIXED)
    pretrained: str = key(
        "", "ImageNet backbone to start from: a file, or the name of a published one (resnet50); empty: random weights"
    )


@dataclass
class DataConfig(Section):
    """Where the pictures and annotations are, and how they become network input."""

    root: str = key("data/coco", "folder with annotations/, train2017/ and val2017/")
    train_set: str = key("train2017", "name of the training set under root")
    val_set: str = key("val2017", "name of the evaluation set under root")
    train_annotations: str = key("", "training annotations; empty: root/annotations/person_keypoints_SET.json")
    val_annotations: str = key("", "evaluation annotations; empty: as above")
    train_images: str = key("", "folder of training pictures; empty: root/SET")
    val_images: str = key("", "folder of evaluation pictures; empty: root/SET")
    category: list[str] = key(
        [], "names or ids of the categories to look for; empty: the only one whose keypoints fit the skeleton"
    )
    check: bool = key(True, "look for what is implausible in annotations and detections; false: the impossible alone")
    exif: str = key(
        "auto",
        "pictures that are stored turned: as stored, turned as EXIF says, or as their annotated sizes say",
        ("ignore", "apply", "auto"),
    )
    skeleton: str = key("coco17", "keypoint set: coco17 or a YAML file", role=FIXED)
    input_size: list[int] = key([192, 256], "network input [width, height]", INPUT_SIZE, FIXED)
    color: str = key("bgr", "channel order of the input", ("bgr", "rgb"), INPUT)
    scale: float = key(255.0, "pixel values are divided by this", POSITIVE, INPUT)
    mean: list[float] = key([0.485, 0.456, 0.406], "then this is subtracted, channel by channel", THREE, INPUT)
    std: list[float] = key([0.229, 0.224, 0.225], "then they are divided by this", THREE_POSITIVE, INPUT)
    flip: float = key(0.5, "probability of a horizontal flip in training", FRACTION, staged=True)
    workers: int = key(0, "threads that read and crop; 0: one for each CPU core, 16 at most", THREADS)
    prefetch: int = key(4, "batches prepared ahead", POSITIVE)


@dataclass
class CodecConfig(Section):
    """What the network's maps mean."""

    def derive(self, data: DataConfig, stride: int) -> Iterator[tuple[str, str]]:
        """Fill in what follows from the input and the network's stride; problems as `Section.problems` gives them."""
        return iter(())


@dataclass
class TrainConfig(Section):
    """Training."""

    batch_size: int = key(64, "instances a step and device", POSITIVE)
    epochs: int = key(140, "passes over the training set", EPOCHS)
    shuffle: bool = key(True, "new order every epoch")
    optimizer: str = key("adam", "optimizer; adamw: Adam with decoupled weight decay", ("adam", "adamw", "momentum"))
    betas: list[float] = key(
        [0.9, 0.999],
        "decays of the mean gradient and of the mean square (adam, adamw)",
        Check(lambda v: len(v) == 2 and all(0 < beta < 1 for beta in v), "be two numbers between 0 and 1"),
    )
    lr: float = key(1e-3, "learning rate", POSITIVE)
    scale_lr: bool = key(False, "multiply lr by the number of devices")
    sync_batch_norm: bool = key(False, "batch norm sees the batches of all devices")
    backbone_lr: float = key(1.0, "learning rate of the backbone, as a multiple of lr", POSITIVE)
    layer_decay: float = key(
        1.0,
        "learning rate of each layer, as a multiple of that of the next one (networks of layers)",
        ABOVE_0_TO_1,
    )
    clip_norm: float = key(0.0, "largest norm of a gradient; 0: no clipping", NOT_NEGATIVE)
    clip_scope: str = key(
        "parameter", "clip_norm bounds each parameter's gradient, or all of them as one vector", ("parameter", "global")
    )
    weight_decay: float = key(
        0.0,
        "weight decay, of kernels but not of norms and biases: an L2 penalty; with adamw decoupled",
        NOT_NEGATIVE,
    )
    schedule: str = key("multistep", "learning-rate schedule", ("multistep", "cosine"))
    milestones: list[int] = key([90, 120], "epochs after which the rate drops (multistep)", FROM_1)
    milestone_steps: list[int] = key([], "steps after which the rate drops, instead of milestones (multistep)", FROM_1)
    gamma: float = key(0.1, "factor of each drop (multistep)", POSITIVE)
    restart_epoch: int = key(
        0, "epochs after which the rate is lr again, to drop anew (multistep); 0: never", NOT_NEGATIVE
    )
    flat_epochs: int = key(0, "epochs at lr before the fall begins (cosine)", NOT_NEGATIVE)
    end_factor: float = key(0.0, "where the fall ends, as a multiple of lr (cosine)", FRACTION)
    warmup_steps: int = key(0, "steps over which the rate rises linearly", WARMUP)
    warmup_factor: float = key(
        0.0, "where the rise begins, as a multiple of what it ends at; 0: 1 / warmup_steps", FRACTION
    )
    ema: float = key(
        0.0,
        "decay of an exponential moving average of the weights, used for evaluation; 0: off",
        Check(lambda v: 0 <= v < 1, "be 0 or a decay below 1"),
    )
    ema_warmup_steps: int = key(
        0, "N: the decay rises as ema * (1 - exp(-step / N)); 0: as (1 + step) / (10 + step), up to ema", NOT_NEGATIVE
    )
    log_steps: int = key(100, "steps between two log lines", POSITIVE)
    save_epochs: int = key(5, "epochs between two checkpoints", POSITIVE)
    save_steps: int = key(0, "steps between two checkpoints, besides; 0: none", NOT_NEGATIVE)
    keep: int = key(5, "numbered checkpoints kept; last.ckpt and best.ckpt always are", POSITIVE)
    eval_epochs: int = key(5, "epochs between two evaluations on the evaluation set; 0: never", NOT_NEGATIVE)
    init_from: str = key("", "checkpoint, or published network, whose weights start the run")
    resume: str = key("", "checkpoint of a run to continue (weights, optimizer, schedule, position); auto: the newest")
    performance_steps: int = key(
        0,
        "only measure the speed of so many steps, the first ones left out as warm-up; 0: train",
        Check(lambda v: v == 0 or v >= 2, "be 0 or at least 2"),
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Some keys belong to one schedule."""
        for name, schedule in (("restart_epoch", "multistep"), ("flat_epochs", "cosine"), ("end_factor", "cosine")):
            if getattr(self, name) and self.schedule != schedule:
                yield name, f"be 0 unless train.schedule is {schedule}"


@dataclass
class EvalConfig(Section):
    """Evaluation."""

    flip_test: bool = key(True, "average with the maps of the mirrored input", role=FREE)
    visible_threshold: float = key(0.2, "joints above this score are drawn, and count in a person's score", role=FREE)
    draw: int = key(0, "pictures to draw: prediction beside annotation", NOT_NEGATIVE)


@dataclass
class DemoConfig(Section):
    """Pictures and video: what to look at, what is drawn and written."""

    input: list[str] = key(
        [],
        "pictures, videos, folders, globs, addresses (https://…, rtsp://…), camera numbers; empty: serve the web page",
    )
    start: float = key(0.0, "second at which the part of a video begins that is looked at", NOT_NEGATIVE)
    end: float = key(0.0, "second at which it ends; 0: where the video does", NOT_NEGATIVE)
    person_threshold: float = key(0.1, "people with a lower score are left out", NOT_NEGATIVE)
    keypoint_threshold: float = key(
        0.2, "keypoints with a lower score are not drawn, and 0 in OpenPose's JSON", NOT_NEGATIVE
    )
    flip_test: bool = key(
        False,
        "average with the maps of the mirrored picture: slightly better, takes twice as long (not eval.flip_test)",
    )
    track: bool = key(False, "give people numbers that stay theirs from picture to picture")
    line_width: int = key(0, "width of drawn limbs in pixels; 0: by the size of the person", NOT_NEGATIVE)
    draw_boxes: bool = key(False, "draw the boxes in which people were looked for (bottom-up: around their keypoints)")
    heatmaps: bool = key(False, "lay the network's heat maps over the picture")
    black_background: bool = key(False, "draw people on black instead of the picture")
    side_by_side: bool = key(False, "put the input beside what is drawn")
    show: bool = key(False, "show what is drawn in a window")
    serve: bool = key(False, "serve a web page instead of reading demo.input")
    networks: list[str] = key([], "further networks for the web page, each CONFIG:CKPT, or the name of a published one")
    host: str = key("127.0.0.1", "address of the web page; 0.0.0.0 lets other machines reach it")
    max_pixels: int = key(
        50_000_000,
        "pictures of more pixels are refused by the web page",
        Check(lambda v: 0 < v <= 178_000_000, "lie between 1 and 178000000, which Pillow takes at most"),
    )
    max_seconds: float = key(30.0, "the web page looks at so many seconds of a video, from its beginning", POSITIVE)
    port: int = key(7860, "port of the web page", Check(lambda v: 0 < v < 65536, "lie between 1 and 65535"))

    def problems(self) -> Iterator[tuple[str, str]]:
        """A part of a video ends behind its beginning."""
        if self.end and not self.end > self.start:
            yield "end", f"be greater than demo.start, {self.start:g}, or 0"


@dataclass
class ExportConfig(Section):
    """Files for deployment."""

    file_name: str = key("", "file to write, with or without its ending; empty: runtime.output/NETWORK")
    file_format: str = key("MINDIR", "format (AIR needs an Ascend device)", ("MINDIR", "ONNX", "AIR"))
    batch_size: int | None = key(
        1,
        "inputs a run of the exported network; null: any number",
        Check(lambda v: v is None or v > 0, "be greater than 0, or null"),
    )
    size: list[int] | None = key(
        None,
        "input [width, height]; null: data.input_size, and any size for networks that take any",
        Check(
            lambda v: v is None or INPUT_SIZE.holds(v),
            f"be null, or [width, height], multiples of 8 from 32 to {LARGEST_SIDE}",
        ),
    )
    fold_batch_norm: bool = key(True, "fold batch norm into the convolutions before it")
    preprocess: bool = key(False, "take uint8 pixels (batch, height, width, BGR) and normalise them in the graph")
    half: bool = key(False, "store the weights of convolutions and transformers as float16; the file is half as large")
    tolerance: float = key(
        0.0,
        "largest difference from the checkpoint's outputs, as a share of the largest output; 0: 1e-4, with half 1e-2",
        NOT_NEGATIVE,
    )
    quantize: str = key(
        "none", "compute most layers in integers of 8 bits (ONNX), if the evaluation set's AP stays", ("none", "int8")
    )
    calibration: int = key(
        100,
        "pictures of the evaluation set that int8 is fitted to",
        Check(lambda v: 1 <= v <= 2000, "be from 1 to 2000"),
    )
    max_ap_drop: float = key(0.005, "AP on the evaluation set that int8 may lose, or nothing is written", FRACTION)


@dataclass
class RuntimeConfig(Section):
    """Device, precision, files."""

    device: str = key(
        "auto",
        "where to compute; auto takes Ascend, GPU or CPU, whichever is there first",
        ("auto", "CPU", "GPU", "Ascend"),
    )
    device_id: int = key(0, "which card", NOT_NEGATIVE)
    seed: int = key(1, "seed of every random draw", NOT_NEGATIVE)
    amp: str = key(
        "O0",
        "mixed precision: O0 float32, O1 float16 where safe, O2 float16 but batch norm, O3 all",
        ("O0", "O1", "O2", "O3"),
    )
    loss_scale: float = key(
        0.0,
        "fixed loss scale for amp O1 to O3; 0: adapted while training",
        Check(lambda v: v == 0 or v >= 1, "be 0 (adapting) or at least 1"),
    )
    ckpt: str = key("", "checkpoint to load, an exported model, or the name of a published one (mspose models)")
    backend: str = key(
        "auto",
        "what runs the network: MindSpore with a checkpoint, MindSpore with a MindIR, ONNX Runtime or OpenVINO with "
        "ONNX, MindSpore Lite; auto: by the ending of runtime.ckpt, ONNX in ONNX Runtime",
        ("auto", "mindspore", "mindir", "onnx", "openvino", "lite"),
    )
    precision: str = key(
        "auto",
        "what OpenVINO computes in; auto: bf16 where the processor has it, else f32",
        ("auto", "f32", "bf16", "f16"),
    )
    output: str = key("", "folder for results; empty: outputs/RECIPE")
    offline: bool = key(False, "fetch no published file: those that are named must be in the cache")
    mirror: list[str] = key(
        [], "where to fetch published files instead, each HOST=URL: huggingface.co=https://hf-mirror.com"
    )


@dataclass
class ModelArtsConfig(Section):
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
    """A whole run. Which dataclasses the sections are is the network's affair: here stand those that all build on."""

    model: ModelConfig
    data: DataConfig
    codec: CodecConfig
    train: TrainConfig
    eval: EvalConfig
    demo: DemoConfig
    export: ExportConfig
    runtime: RuntimeConfig
    modelarts: ModelArtsConfig


# Sections, in order, and the dataclass that each builds on.
SECTIONS: dict[str, type[Section]] = get_type_hints(Config)

# Keys that name what is read. A relative path in a recipe is looked for beside it, then from the current folder.
PATHS = (
    "model.pretrained",
    "data.root",
    "data.train_annotations",
    "data.val_annotations",
    "data.train_images",
    "data.val_images",
    "data.mask_dir",
    "data.skeleton",
    "train.init_from",
    "train.resume",
    "eval.bbox_file",
    "demo.boxes",
    "demo.detector_file",
    "runtime.ckpt",
)

# Command-line flags of the original systems that stand for a key.
FLAGS = {
    "ckpt": "runtime.ckpt",
    "ckpt_url": "runtime.ckpt",
    "network": "runtime.ckpt",
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


def get(config: Config, key: str) -> Any:
    """Value of a dotted key."""
    section, _, name = key.partition(".")
    return getattr(getattr(config, section), name)
