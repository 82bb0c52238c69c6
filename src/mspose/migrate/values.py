"""How values of the original systems' configuration files become values of ours (see `mspose.migrate.translate`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from mspose.config.describe import all_keys
from mspose.errors import UsageError

Values = dict[str, Any]


class Untranslatable(Exception):
    """A value that has no counterpart; the message says why, or where to put it instead."""


@dataclass(frozen=True)
class Old:
    """An original configuration file: the system it belongs to, and dotted key → value."""

    system: str
    values: Mapping[str, Any]

    def get(self, name: str, default: Any = None) -> Any:
        """Value of the first key that is `name` or ends with it behind a `.` or `_`."""
        ends = (f".{name}", f"_{name}")
        return next((value for key, value in self.values.items() if key == name or key.endswith(ends)), default)

    def beside(self, key: str, name: str, default: Any = None) -> Any:
        """Value of `name` in the section of `key`."""
        return self.values.get(f"{key.rpartition('.')[0]}.{name}", default)


def convert(key: str, value: Any, here: tuple[str, ...], old: Old) -> Values:
    """The keys and values of ours that an original key and its value stand for; none where ours need no saying.

    Args:
        here: the keys of ours that docs/keys.md names for `key`.

    Raises:
        Untranslatable: there is no counterpart.
    """
    name = max((n for n in BY_NAME if key == n or key.endswith((f".{n}", f"_{n}"))), key=len, default="")
    function = BY_NAME.get(name) or BY_KEY.get(here[0])
    values = function(key, value, old) if function else {here[0]: value}
    return {k: coerce(k, v) for k, v in values.items()}


def coerce(key: str, value: Any) -> Any:
    """`value` as the type that a key of ours has; `1e-4`, 'True' and '1, 2' are texts in the original files.

    Raises:
        Untranslatable: it has none of that type.
    """
    kind = str(all_keys()[key].type).removesuffix(" | None")
    try:
        if kind.startswith("list"):
            items = value.strip("[]() ").split(",") if isinstance(value, str) else value
            items = items if isinstance(items, (list, tuple)) else [items]
            return [_scalar(kind[5:-1], item) for item in items if item != ""]
        return _scalar(kind, value)
    except (TypeError, ValueError, OverflowError) as error:
        raise Untranslatable(f"{value!r} is no value for {key}") from error


def flag(value: Any) -> bool:
    """True and False, also as text and as numbers."""
    try:
        return bool(_scalar("bool", value))
    except ValueError as error:
        raise Untranslatable(f"{value!r} is neither True nor False") from error


def _scalar(kind: str, value: Any) -> Any:
    if kind == "bool":
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if str(value).strip().lower() not in words:
            raise ValueError
        return words[str(value).strip().lower()]
    if kind == "str":
        if isinstance(value, (list, dict)):
            raise ValueError
        return str(value)
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    if kind == "float":
        return number
    if number != int(number):
        raise ValueError
    return int(number)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise Untranslatable(f"{value!r} is not a number") from error


def _joints(key: str, value: Any, old: Old) -> Values:
    if _number(value) == 17:
        return {}
    raise Untranslatable(
        "describe these keypoints in a YAML file as configs/skeletons/body14.yaml does and name it as data.skeleton"
    )


def _flip(key: str, value: Any, old: Old) -> Values:
    return {"data.flip": 0.5 if flag(value) else 0.0}


def _refine(key: str, value: Any, old: Old) -> Values:
    return {"codec.refine": "quarter" if flag(value) else "none"}


def _size(key: str, value: Any, old: Old) -> Values:
    here = "codec.heatmap_size" if "HEATMAP" in key else "data.input_size"
    if old.system == "OpenPose":
        return {here: [value, value]}
    size = coerce(here, value)
    return {here: size[::-1] if key.startswith("DATA_PRESET") else size}


def _network(key: str, value: Any, old: Old) -> Values:
    networks = {
        "pose_resnet": {"model.name": "simplepose"},
        "SimplePose": {"model.name": "simplepose"},
        "FastPose": {"model.name": "fastpose", "model.upsampling": "shuffle"},
        "FastPose_DUC": {"model.name": "fastpose", "model.upsampling": "duc"},
    }
    if str(value) not in networks:  # it may be anything that YAML can hold
        raise UsageError(f"{key}: {value!r}: there is no such network here, only {', '.join(networks)}")
    return networks[str(value)]


def _pretrained(key: str, value: Any, old: Old) -> Values:
    if key.endswith("INIT_WEIGHTS"):
        flag(value)
        return {}
    if flag(old.get("RESUME", False)):
        return {}
    if not flag(old.get("INIT_WEIGHTS", True)):
        raise Untranslatable("not used there, since INIT_WEIGHTS is False")
    folder = PurePosixPath(str(old.get("TRAIN_CKPT_PATH", "") or old.get("TRAIN.CKPT_PATH", "")))
    return {"model.pretrained": str(folder / str(value)) if str(folder) != "." else value}


def _resume(key: str, value: Any, old: Old) -> Values:
    return {"train.resume": str(old.get("PRETRAINED", ""))} if flag(value) else {}


def _begin_epoch(key: str, value: Any, old: Old) -> Values:
    if _number(value) == 0:
        return {}
    raise Untranslatable("a run continues where its checkpoint was: train.resume=FILE")


def _load_pretrain(key: str, value: Any, old: Old) -> Values:
    flag(value)
    return {}


def _pretrained_path(key: str, value: Any, old: Old) -> Values:
    if not flag(old.get("load_pretrain", False)):
        raise Untranslatable("not used there, since load_pretrain is False")
    return {"train.init_from": value}


def _end_epoch(key: str, value: Any, old: Old) -> Values:
    # 0: not given on the command line of SimplePoseNet.
    return {"train.epochs": value} if _number(value) else {}


def _annotations(key: str, value: Any, old: Old) -> Values:
    """COCO's own file needs no saying; another one is relative to the root there."""
    here = "data.train_annotations" if "TRAIN" in key else "data.val_annotations"
    if key.endswith("ANN"):
        split, root = old.beside(key, "IMG_PREFIX", ""), old.beside(key, "ROOT", "")
    else:
        split = old.get("DATASET_TRAIN_SET" if "TRAIN" in key else "DATASET_TEST_SET") or old.get(
            "DATASET.TRAIN_SET" if "TRAIN" in key else "DATASET.TEST_SET"
        )
        root = old.get("DATASET_ROOT") or old.get("DATASET.ROOT") or ""
    if value == f"annotations/person_keypoints_{split}.json":
        return {}
    return {here: str(PurePosixPath(str(root)) / str(value))}


def _boxes(key: str, value: Any, old: Old) -> Values:
    kinds = {"Mscoco_det": False, "Mscoco": True}
    if str(value) not in kinds:
        raise Untranslatable("neither Mscoco (annotated boxes) nor Mscoco_det (detections)")
    return {"eval.use_gt_bbox": kinds[str(value)]}


def _half_body(key: str, value: Any, old: Old) -> Values:
    return {"data.half_body_prob": max(0.0, _number(value))}


def _deconv_count(key: str, value: Any, old: Old) -> Values:
    filters = old.get("NUM_DECONV_FILTERS")
    if filters is not None and len(coerce("model.deconv_filters", filters)) != _number(value):
        raise Untranslatable("NUM_DECONV_FILTERS has another length, and that one counts")
    return {}


def _deconv_filters(key: str, value: Any, old: Old) -> Values:
    # AlphaPose's files for FastPose hold a list that its network never reads.
    return {} if str(old.get("MODEL.TYPE", "")).startswith("FastPose") else {"model.deconv_filters": value}


def _checkpoint(key: str, value: Any, old: Old) -> Values:
    raise Untranslatable(f"no part of a training configuration: give it to the command that reads it, --ckpt {value}")


def _output(key: str, value: Any, old: Old) -> Values:
    if str(PurePosixPath(str(value))) == ".":
        raise Untranslatable("results get a folder of their own: outputs/NAME unless output=DIR is given")
    return {"runtime.output": value}


def _drawn(key: str, value: Any, old: Old) -> Values:
    raise Untranslatable(f"give them to the evaluation: eval.py ... output={value} eval.draw=50")


def _optimizer(key: str, value: Any, old: Old) -> Values:
    return {"train.optimizer": str(value).lower()}


def _schedule(key: str, value: Any, old: Old) -> Values:
    return {"train.schedule": "multistep" if value == "default" else value}


def _clipping(key: str, value: Any, old: Old) -> Values:
    clips = old.get("train_type", "clip_grad") == "clip_grad"
    return {"train.clip_norm": (old.get("GRADIENT_CLIP_VALUE") or 1.0) if clips else 0.0}


def _backbone_rate(key: str, value: Any, old: Old) -> Values:
    return {"train.backbone_lr": 0.25 if flag(value) else 1.0}


def _vgg_norm(key: str, value: Any, old: Old) -> Values:
    return {"model.norm": "backbone" if flag(value) else "none"}


def _person_range(key: str, value: Any, old: Old) -> Values:
    return {"data.person_range": [old.get("min_box_size", 64), old.get("max_box_size", 512)]}


def _scale_range(key: str, value: Any, old: Old) -> Values:
    return {"data.scale_range": [old.get("min_scale", 0.5), old.get("max_scale", 2.0)]}


def _proposals(key: str, value: Any, old: Old) -> Values:
    return {"train.proposals_epoch": value, "train.restart_epoch": value}


def _milestones(key: str, value: Any, old: Old) -> Values:
    first, second = old.get("LR_STEP", []), old.get("DPG_STEP", [])
    return {"train.milestones": [*coerce("train.milestones", first), *coerce("train.milestones", second)]}


def _exported(key: str, value: Any, old: Old) -> Values:
    if old.system == "AlphaPose":
        raise Untranslatable(f"of export.py alone there: give it --{key} {value}")
    return {"runtime.device" if key == "device_target" else "runtime.device_id": value}


def _demo_type(key: str, value: Any, old: Old) -> Values:
    if value != "Mscoco_Infer":
        raise Untranslatable("only Mscoco_Infer, the pictures and boxes of a COCO file, is known")
    return {"demo.detector": "boxes"}


def _demo_path(key: str, value: Any, old: Old) -> Values:
    root = PurePosixPath(str(old.beside(key, "ROOT", "")))
    if key.endswith("ANN"):
        return {"demo.boxes": str(root / str(value))}
    return {"demo.input": str(root / str(old.beside(key, "IMG_PREFIX", "")))}


def _detector_size(key: str, value: Any, old: Old) -> Values:
    return {"demo.detector_size": coerce("demo.detector_size", value)[::-1]}


Converter = Callable[[str, Any, Old], Values]

# By the end of the original key; these come first.
BY_NAME: dict[str, Converter] = {
    "NUM_DECONV_LAYERS": _deconv_count,
    "NUM_DECONV_FILTERS": _deconv_filters,
    "BEGIN_EPOCH": _begin_epoch,
    "RESUME": _resume,
    "load_pretrain": _load_pretrain,
    "pretrained_model_path": _pretrained_path,
    "DATASET.TEST.TYPE": _boxes,
    "output_img_path": _drawn,
    "min_box_size": _person_range,
    "max_box_size": _person_range,
    "min_scale": _scale_range,
    "max_scale": _scale_range,
    "train_type": _clipping,
    "GRADIENT_CLIP_VALUE": _clipping,
    "DPG_MILESTONE": _proposals,
    "DPG_STEP": _milestones,
    "LR_STEP": _milestones,
    "ANN": _annotations,
    "TRAIN_JSON": _annotations,
    "TEST_JSON": _annotations,
    "DATASET.DEMO.TYPE": _demo_type,
    "DATASET.DEMO.ROOT": _demo_path,
    "DATASET.DEMO.IMG_PREFIX": _demo_path,
    "DATASET.DEMO.ANN": _demo_path,
    "yolo_image_size": _detector_size,
    "device_target": _exported,
    "device_id": _exported,
}
# By the key of ours.
BY_KEY: dict[str, Converter] = {
    "data.skeleton": _joints,
    "data.flip": _flip,
    "codec.refine": _refine,
    "data.input_size": _size,
    "codec.heatmap_size": _size,
    "model.name": _network,
    "model.pretrained": _pretrained,
    "train.epochs": _end_epoch,
    "data.half_body_prob": _half_body,
    "runtime.ckpt": _checkpoint,
    "runtime.output": _output,
    "train.optimizer": _optimizer,
    "train.schedule": _schedule,
    "train.backbone_lr": _backbone_rate,
    "model.norm": _vgg_norm,
}
