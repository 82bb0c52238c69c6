"""Translating configuration files of the original systems."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mspose.config.builder import load_config
from mspose.config.describe import all_keys
from mspose.config.originals import rows
from mspose.config.schema import Config
from mspose.errors import UsageError
from mspose.migrate.translate import main, read_values, translate
from mspose.migrate.values import BY_KEY, BY_NAME, Old, Untranslatable, convert
from tests.conftest import ROOT

SIMPLEPOSE = """\ufeff# values
enable_modelarts: False
train_url: ""
ckpt_save_dir: 'runs/one'
batch_size: 32
run_distribute: False
end_epoch: 0
POSE_RESNET:
    NUM_LAYERS: 101
    NUM_DECONV_LAYERS: 3
    NUM_DECONV_FILTERS: [256, 256, 256]
    HEATMAP_SIZE: [72, 96]
    SIGMA: 3
MODEL:
    NAME: 'pose_resnet'
    INIT_WEIGHTS: True
    PRETRAINED: './r101.ckpt'
    RESUME: False
    NUM_JOINTS: 17
    IMAGE_SIZE: [288, 384]
DATASET:
    ROOT: '../coco'
    FLIP: True
TRAIN:
    BATCH_SIZE: 16
    BEGIN_EPOCH: 0
    END_EPOCH: 140
    LR: 1e-4
    LR_STEP: [90, 120]
TEST:
    POST_PROCESS: False
    MODEL_FILE: 'best.ckpt'
    BBOX_THRE: 1.0
---
batch_size: "how many at once"
---
run_distribute: [True, False]
"""
ALPHAPOSE = """
DEVICE_TARGET: 'GPU'
MODEL_INIT_WEIGHTS: False
MODEL_PRETRAINED: 'r50.ckpt'
MODEL_IMAGE_SIZE: [192, 256]
NETWORK_NUM_LAYERS: 50
NETWORK_HEATMAP_SIZE: [48, 64]
DATASET_ROOT: '/coco'
DATASET_TRAIN_SET: 'train2017'
DATASET_TRAIN_JSON: 'annotations/person_keypoints_train2017.json'
DATASET_TEST_SET: 'val2017'
DATASET_TEST_JSON: 'mine/val.json'
DATASET_FLIP: False
TRAIN_BATCH_SIZE: 128
TRAIN_LR_STEP: [170, 200]
device_target: 'CPU'
yolo_image_size: [416, 608]
"""
OPENPOSE = """
'imgpath_train': '/coco/train2017'
'vgg_path': '/w/vgg19.ckpt'
'save_model_path': './ckpt'
'load_pretrain': 'False'
'pretrained_model_path': 'x.ckpt'
'lr': 1e-4
'lr_steps': '1000,2000'
'loss scale': 1024
'insize': 256
'optimizer': Momentum
'train_type': clip_grad
'GRADIENT_CLIP_VALUE': 10.0
'min_box_size': 32
'max_box_size': 256
'lr_steps_NP': '250000,300000'
"""
PYTORCH = """
DATASET:
  TRAIN: {TYPE: Mscoco, ROOT: ./coco/, IMG_PREFIX: train2017, ANN: annotations/person_keypoints_train2017.json,
          AUG: {FLIP: true, PROB_HALF_BODY: -1, NUM_JOINTS_HALF_BODY: 8}}
  VAL: {ROOT: ./coco/, IMG_PREFIX: val2017, ANN: annotations/other.json}
  TEST: {TYPE: Mscoco_det, DET_FILE: ./det.json}
  DEMO: {TYPE: Mscoco_Infer, ROOT: ./coco/, IMG_PREFIX: val2017, ANN: annotations/a.json}
DATA_PRESET: {SIGMA: 2, NUM_JOINTS: 17, IMAGE_SIZE: [256, 192], HEATMAP_SIZE: [64, 48]}
MODEL: {TYPE: FastPose, NUM_LAYERS: 50, NUM_DECONV_FILTERS: [256, 256, 256]}
TRAIN: {WORLD_SIZE: 4, BATCH_SIZE: 32, END_EPOCH: 200, OPTIMIZER: adam, LR: 0.002, LR_STEP: [80, 110],
        DPG_MILESTONE: 150, DPG_STEP: [170, 180]}
"""
BASELINES = '''
"""Settings."""
from easydict import EasyDict as edict
import os

raise SystemExit("this file must not be executed")
config = edict()
config.MODEL = edict()
config.MODEL.INIT_WEIGHTS = True
config.MODEL.PRETRAINED = 'resnet50.ckpt'
config.MODEL.IMAGE_SIZE = [192, 256]
config.NETWORK = edict()
config.NETWORK.NUM_LAYERS = 50
config.NETWORK.HEATMAP_SIZE = [48, 64]
config.TRAIN = edict()
config.TRAIN.LR = 5e-4
config.TRAIN.CKPT_PATH = "/home/model/"
config.DATASET = edict()
config.DATASET.ROOT = os.path.join("a", "b")
config.batch_size = "training batch size"
'''
FILES = {
    "SimplePoseNet": SIMPLEPOSE,
    "AlphaPose": ALPHAPOSE,
    "OpenPose": OPENPOSE,
    "AlphaPose (Ascend-PyTorch)": PYTORCH,
    "simple_baselines": BASELINES,
}


def save(folder: Path, system: str, text: str = "") -> Path:
    path = folder / ("config.py" if system == "simple_baselines" else "old.yaml")
    path.write_text(text or FILES[system], encoding="utf-8")
    return path


def imported(folder: Path, system: str, text: str = "") -> Config:
    """The configuration that the translation of a file makes."""
    path = folder / "new.yaml"
    path.write_text(translate(save(folder, system, text)).text("old.yaml"), encoding="utf-8")
    return load_config(path)


def left(folder: Path, system: str, text: str = "") -> dict[str, str]:
    return translate(save(folder, system, text)).left


def complaint(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        translate(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestSystems:
    @pytest.mark.parametrize("system", FILES)
    def test_recognised(self, tmp_path, system):
        assert translate(save(tmp_path, system)).system == system

    @pytest.mark.parametrize(
        ("system", "base"),
        [
            ("SimplePoseNet", "simplepose_r101_384x288"),
            ("AlphaPose", "fastpose_r50_256x192"),
            ("OpenPose", "openpose_vgg19_368"),
            ("AlphaPose (Ascend-PyTorch)", "fastpose_r50_256x192_alphapose"),
            ("simple_baselines", "simplepose_r50_256x192"),
        ],
    )
    def test_base_that_fits(self, tmp_path, system, base):
        assert translate(save(tmp_path, system)).base == [base]

    def test_parts_are_the_base_where_no_recipe_fits(self, tmp_path):
        text = SIMPLEPOSE.replace("[288, 384]", "[256, 256]").replace("[72, 96]", "[64, 64]")
        assert translate(save(tmp_path, "SimplePoseNet", text)).base == [
            "base/coco",
            "base/detections",
            "base/simplepose_140e",
        ]
        assert imported(tmp_path, "SimplePoseNet", text).data.input_size == [256, 256]

    def test_simplepose(self, tmp_path):
        config = imported(tmp_path, "SimplePoseNet")
        assert (config.model.name, config.model.depth, config.model.maxpool) == ("simplepose", 101, "same")
        assert (config.model.pretrained, config.runtime.output) == ("./r101.ckpt", "runs/one")
        assert (config.data.input_size, config.codec.heatmap_size) == ([288, 384], [72, 96])
        assert config.data.root == "../coco"
        assert (config.train.lr, config.train.batch_size, config.train.epochs) == (1e-4, 32, 140)
        assert (config.codec.refine, config.data.flip) == ("none", 0.5)

    def test_alphapose(self, tmp_path):
        config = imported(tmp_path, "AlphaPose")
        assert (config.model.name, config.model.shuffle, config.model.pretrained) == ("fastpose", "block", "")
        assert (config.runtime.device, config.train.batch_size, config.data.flip) == ("GPU", 128, 0)
        assert (config.data.train_annotations, config.data.val_annotations) == ("", "/coco/mine/val.json")
        assert (config.train.milestones, config.demo.detector_size) == ([170, 200], [608, 416])

    def test_openpose(self, tmp_path):
        config = imported(tmp_path, "OpenPose")
        assert (config.model.name, config.model.pretrained) == ("openpose", "/w/vgg19.ckpt")
        assert (config.data.input_size, config.data.person_range) == ([256, 256], [32, 256])
        assert (config.train.lr, config.train.milestone_steps) == (1e-4, [1000, 2000])
        assert config.train.optimizer == "momentum"
        assert (config.train.clip_norm, config.runtime.loss_scale, config.train.init_from) == (10, 1024, "")

    def test_alphapose_on_pytorch(self, tmp_path):
        config = imported(tmp_path, "AlphaPose (Ascend-PyTorch)")
        assert (config.model.se, config.data.color, config.eval.rescore) == ("first_block", "rgb", "alphapose")
        assert (config.data.input_size, config.codec.heatmap_size) == ([192, 256], [48, 64])
        assert (config.data.half_body_prob, config.data.root) == (0, "./coco/")
        assert (config.data.train_annotations, config.data.val_annotations) == ("", "coco/annotations/other.json")
        assert (config.demo.input, config.demo.boxes) == (["coco/val2017"], "coco/annotations/a.json")
        assert config.train.milestones == [80, 110, 170, 180]
        assert (config.train.proposals_epoch, config.train.restart_epoch, config.train.lr) == (150, 150, 0.002)

    def test_duc_network(self, tmp_path):
        text = PYTORCH.replace("FastPose,", "FastPose_DUC,").replace("NUM_LAYERS: 50", "NUM_LAYERS: 152")
        translation = translate(save(tmp_path, "AlphaPose (Ascend-PyTorch)", text))
        assert translation.base == ["fastpose_duc_r152_256x192"]

    def test_simple_baselines(self, tmp_path):
        config = imported(tmp_path, "simple_baselines")
        assert (config.train.lr, config.model.pretrained) == (5e-4, "/home/model/resnet50.ckpt")
        assert config.runtime.output == "/home/model/"


class TestWhatIsLeft:
    def test_reason_of_the_table(self, tmp_path):
        assert left(tmp_path, "SimplePoseNet")["TEST.BBOX_THRE"].startswith("1.0: the document shows nothing")

    def test_unknown_key(self, tmp_path):
        text = SIMPLEPOSE.replace("TRAIN:\n", "TRAIN:\n    WARP: 9\n")
        assert left(tmp_path, "SimplePoseNet", text)["TRAIN.WARP"] == "9: SimplePoseNet is not known to have this key"

    def test_names_that_disagree(self, tmp_path):
        assert left(tmp_path, "SimplePoseNet")["TRAIN.BATCH_SIZE"] == (
            "16: train.batch_size is 32 already, from batch_size"
        )

    def test_checkpoint_belongs_to_a_command(self, tmp_path):
        assert "--ckpt best.ckpt" in left(tmp_path, "SimplePoseNet")["TEST.MODEL_FILE"]

    def test_device_of_export_is_not_that_of_training(self, tmp_path):
        assert "--device_target CPU" in left(tmp_path, "AlphaPose")["device_target"]

    def test_weights_that_were_not_used(self, tmp_path):
        assert "INIT_WEIGHTS is False" in left(tmp_path, "AlphaPose")["MODEL_PRETRAINED"]
        assert "load_pretrain is False" in left(tmp_path, "OpenPose")["pretrained_model_path"]

    def test_expression(self, tmp_path):
        assert left(tmp_path, "simple_baselines") == {
            "config.DATASET.ROOT": "os.path.join('a', 'b'): an expression, and nothing of the file is executed"
        }

    def test_other_numbers_of_keypoints(self, tmp_path):
        text = SIMPLEPOSE.replace("NUM_JOINTS: 17", "NUM_JOINTS: 14")
        assert "data.skeleton" in left(tmp_path, "SimplePoseNet", text)["MODEL.NUM_JOINTS"]

    @pytest.mark.parametrize(
        ("old", "new", "key", "part"),
        [
            ("LR: 1e-4", "LR: fast", "TRAIN.LR", "'fast' is no value for train.lr"),
            ("LR: 1e-4", "LR: -1", "TRAIN.LR", "train.lr must be greater than 0"),
            ("LR: 1e-4", "LR: .nan", "TRAIN.LR", "is no value for train.lr"),
            ("NUM_LAYERS: 101", "NUM_LAYERS: 26", "POSE_RESNET.NUM_LAYERS", "must be one of 18, 34"),
            ("LAYERS: 3", "LAYERS: 2", "POSE_RESNET.NUM_DECONV_LAYERS", "another length"),
            ("BEGIN_EPOCH: 0", "BEGIN_EPOCH: 7", "TRAIN.BEGIN_EPOCH", "train.resume=FILE"),
            ("'runs/one'", "'./'", "ckpt_save_dir", "output=DIR"),
            ("FLIP: True", "FLIP: often", "DATASET.FLIP", "neither True nor False"),
        ],
    )
    def test_value_that_no_configuration_has(self, tmp_path, old, new, key, part):
        text = SIMPLEPOSE.replace(old, new)
        assert part in left(tmp_path, "SimplePoseNet", text)[key]
        imported(tmp_path, "SimplePoseNet", text)

    def test_empty_values_are_listed(self, tmp_path):
        assert translate(save(tmp_path, "SimplePoseNet")).empty == ["train_url"]


class TestValues:
    def one(self, key: str, value: object, *here: str, **others: object) -> dict:
        return convert(key, value, here, Old("SimplePoseNet", {key: value, **others}))

    @pytest.mark.parametrize("value", [True, "True", "true", 1, "1"])
    def test_flags_as_people_write_them(self, value):
        assert self.one("TEST.FLIP_TEST", value, "eval.flip_test") == {"eval.flip_test": True}

    def test_resumed_run(self):
        assert self.one("MODEL.RESUME", True, "train.resume", **{"MODEL.PRETRAINED": "last.ckpt"}) == {
            "train.resume": "last.ckpt"
        }
        assert self.one("MODEL.PRETRAINED", "last.ckpt", "model.pretrained", **{"MODEL.RESUME": True}) == {}

    def test_half_a_number_for_a_count(self):
        with pytest.raises(Untranslatable):
            self.one("TRAIN.END_EPOCH", 1.5, "train.epochs")

    def test_size_without_maps_gets_its_maps(self, tmp_path):
        text = SIMPLEPOSE.replace("    HEATMAP_SIZE: [72, 96]\n", "").replace("[288, 384]", "[256, 256]")
        assert imported(tmp_path, "SimplePoseNet", text).codec.heatmap_size == [64, 64]

    @pytest.mark.parametrize("size", ["[192]", "[192, 256, 3]"])
    def test_size_of_other_than_two_sides(self, tmp_path, size):
        text = ALPHAPOSE.replace("MODEL_IMAGE_SIZE: [192, 256]", f"MODEL_IMAGE_SIZE: {size}")
        assert size in left(tmp_path, "AlphaPose", text)["MODEL_IMAGE_SIZE"]

    def test_a_list_where_a_name_belongs(self, tmp_path):
        text = PYTORCH.replace("TYPE: Mscoco_det", "TYPE: [Mscoco_det]")
        assert "Mscoco" in left(tmp_path, "AlphaPose (Ascend-PyTorch)", text)["DATASET.TEST.TYPE"]
        text = PYTORCH.replace("TYPE: FastPose", "TYPE: [FastPose]")
        assert "MODEL.TYPE" in complaint(save(tmp_path, "AlphaPose (Ascend-PyTorch)", text))

    def test_converters_belong_to_keys(self):
        there = {row.name for row in rows()}
        assert set(BY_KEY) <= set(all_keys())
        assert [name for name in BY_NAME if not any(key.endswith(name) for key in there)] == []


class TestErrors:
    def test_missing_file(self, tmp_path):
        assert complaint(tmp_path / "x.yaml") == f"configuration file not found: {tmp_path / 'x.yaml'}"

    def test_folder(self, tmp_path):
        assert "folder" in complaint(tmp_path)

    @pytest.mark.parametrize("text", ["a: [", "a:\n\tb: 1\n", "a: !!python/name:os.system x"])
    def test_not_yaml(self, tmp_path, text):
        assert "not valid YAML" in complaint(save(tmp_path, "", text))

    @pytest.mark.parametrize("text", ["- a\n", "5", "# nothing\n"])
    def test_no_keys(self, tmp_path, text):
        assert "holds no keys" in complaint(save(tmp_path, "", text))

    @pytest.mark.parametrize("text", ["a: 1\nb: 2\n", "batch_size: 3\n", "{}", "SOLVER: {LR: 1}\nbatch_size: 3\n"])
    def test_another_program(self, tmp_path, text):
        assert "not recognised as a configuration of SimplePoseNet" in complaint(save(tmp_path, "", text))

    def test_ours(self):
        assert "needs no translation" in complaint(ROOT / "configs" / "simplepose_r50_256x192.yaml")

    def test_not_python(self, tmp_path):
        assert "not valid Python" in complaint(save(tmp_path, "simple_baselines", "config.A.B = ["))

    def test_network_that_is_not_here(self, tmp_path):
        text = PYTORCH.replace("FastPose,", "HighResolutionNet,")
        assert "'HighResolutionNet': there is no such network" in complaint(
            save(tmp_path, "AlphaPose (Ascend-PyTorch)", text)
        )


class TestCommand:
    def test_printed_file_loads(self, tmp_path, capsys, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert main([str(save(tmp_path, "SimplePoseNet"))]) == 0
        (tmp_path / "new.yaml").write_text(capsys.readouterr().out, encoding="utf-8")
        assert load_config(tmp_path / "new.yaml").train.batch_size == 32

    def test_written_file_loads_from_anywhere(self, tmp_path, capsys):
        new = tmp_path / "a folder" / "new.yaml"
        assert main([str(save(tmp_path, "OpenPose")), "--output", str(new)]) == 0
        assert load_config(new).model.name == "openpose"
        assert new.read_text(encoding="utf-8") in capsys.readouterr().out

    def test_nothing_is_overwritten(self, tmp_path, capsys):
        path = save(tmp_path, "OpenPose")
        assert main([str(path), "--output", str(path)]) == 2
        assert capsys.readouterr().err == (
            f"error: {path} exists already: remove it or choose another name for --output\n"
        )

    def test_as_a_program(self, tmp_path):
        path = save(tmp_path, "OpenPose")
        command = [sys.executable, "-X", "importtime", "-m", "mspose", "import-config", str(path)]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert result.returncode == 0
        assert "base: openpose_vgg19_368\n" in result.stdout
        assert "mindspore" not in result.stderr


def test_missing_space_of_the_openpose_document(tmp_path):
    assert read_values(save(tmp_path, "", "'a':''\n'b': x:'y'\n")) == {"a": "", "b": "x:'y'"}


def test_only_the_first_document_counts(tmp_path):
    values = read_values(save(tmp_path, "SimplePoseNet"))
    assert values["batch_size"] == 32
    assert values["run_distribute"] is False
