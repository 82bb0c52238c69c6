"""The entry point of MindSpore Hub."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mspose.errors import PoseError, UsageError
from mspose.networks import networks
from tests.graph import ms
from tests.messages import naming

from mindspore_hub_conf import create_network  # isort: skip

SMALL = {"depth": 18, "base_width": 8, "deconv_filters": [16, 16, 16]}


@pytest.mark.parametrize("name", ["openpose", "openposenet"])
def test_openpose_by_both_names(name):
    network = create_network(name, base_width=8, stage_width=8)
    assert type(network).__name__ == "OpenPose"
    assert network.get_parameters()


def test_every_network_goes_by_its_name(monkeypatch):
    monkeypatch.setattr("mindspore_hub_conf.create_model", lambda model, *_, **__: model)
    assert [create_network(name) for name in networks()] == list(networks())
    with pytest.raises(UsageError, match=naming("lost", *networks())):
        create_network("lost")


def test_recipe_by_its_name():
    assert type(create_network("simplepose_r18_256x192")).__name__ == "SimplePose"


def test_recipe_for_published_weights():
    assert create_network("simple_res50_256x192", base_width=8).backbone.conv1.weight.shape[0] == 8


def test_output_of_a_network_with_weights(tmp_path):
    network = create_network("simplepose", **SMALL)
    path = tmp_path / "w.ckpt"
    ms.save_checkpoint(network, str(path))
    again = create_network("simplepose", ckpt=path, **SMALL)
    image = ms.Tensor(np.random.default_rng(0).normal(size=(1, 3, 64, 64)).astype(np.float32))
    outputs = [net.set_train(False)(image).asnumpy() for net in (network, again)]
    assert outputs[0].shape == (1, 17, 16, 16)
    np.testing.assert_array_equal(*outputs)


def test_conventions_beside_the_weights_set_the_variant(tmp_path):
    path = tmp_path / "w.ckpt"
    ms.save_checkpoint(create_network("simplepose", **SMALL), str(path))
    path.with_suffix(".yaml").write_text("model: {maxpool: same}\n")
    plain, same = (create_network("simplepose", ckpt=ckpt, **SMALL) for ckpt in ("", path))
    assert str(plain.backbone) != str(same.backbone)


def test_own_keypoints():
    root = Path(__file__).resolve().parents[1]
    network = create_network("simplepose", skeleton=str(root / "configs" / "skeletons" / "body14.yaml"), **SMALL)
    assert network.final_layer.weight.shape[0] == 14


@pytest.mark.parametrize("name", ["resnet", "../base/coco", "base/coco"])
def test_unknown_name(name):
    with pytest.raises(UsageError, match=naming(name, "openposenet")):
        create_network(name)


def test_unknown_option():
    with pytest.raises(UsageError, match=naming("'model.layers'")):
        create_network("simplepose", layers=5)


def test_weights_that_are_not_there():
    with pytest.raises(PoseError, match=naming("absent.ckpt")):
        create_network("simplepose", ckpt="absent.ckpt")
