"""Networks by name, from Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mspose import create_model, list_models
from mspose.checkpoints.beside import save_description
from mspose.config.builder import default_config
from mspose.errors import PoseError, UsageError
from tests.conftest import ROOT
from tests.graph import ms

SMALL = {"depth": 18, "base_width": 8}


def test_networks_and_recipes_are_listed() -> None:
    names = list_models()
    assert {"fastpose", "openpose", "simplepose", "simplepose_r50_256x192", "pose_resnet_50_256x192"} <= set(names)
    assert len(names) == len(set(names))
    assert list_models("simplepose_r101*") == ["simplepose_r101_256x192", "simplepose_r101_384x288"]


def test_every_listed_name_is_one_of_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    monkeypatch.setattr("mspose.networks.build_model", lambda config: built.append(config.model.name))
    for name in list_models():
        create_model(name)
    assert len(built) == len(list_models())


@pytest.mark.parametrize(
    "model", ["simplepose", "simplepose_r50_256x192", ROOT / "configs/simplepose_r18_256x192.yaml"]
)
def test_output(model: str | Path) -> None:
    network = create_model(model, deconv_filters=[16, 16, 16], **SMALL)
    image = ms.Tensor(np.zeros((2, 3, 64, 64), np.float32))
    assert network.set_train(False)(image).shape == (2, 17, 16, 16)


def test_network_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    network = create_model("tests.toy.network")
    assert type(network).__module__.startswith("tests.toy")


def test_weights_set_the_variant(tmp_path: Path) -> None:
    keys = {"upsampling": "duc", "upsampling_width": 32, **SMALL}
    saved = create_model("fastpose", **keys)
    ms.save_checkpoint(saved, str(tmp_path / "w.ckpt"))
    config = default_config("fastpose", {f"model.{key}": value for key, value in keys.items()})
    save_description(config, tmp_path / "w.yaml")
    loaded = create_model("fastpose", tmp_path / "w.ckpt")
    for one, other in zip(saved.get_parameters(), loaded.get_parameters(), strict=True):
        np.testing.assert_array_equal(one.asnumpy(), other.asnumpy())


@pytest.mark.parametrize(
    ("arguments", "keys", "named"),
    [
        (("simplpose",), {}, "simplepose"),
        (("simplepose",), {"stages": 3}, "model.stages"),
        (("simplepose", "absent.ckpt"), {}, "absent.ckpt"),
        (("no.such.module",), {}, "no.such.module"),
        (("absent.yaml",), {}, "absent.yaml"),
    ],
)
def test_mistakes_are_named(arguments: tuple[str, ...], keys: dict, named: str) -> None:
    with pytest.raises((PoseError, UsageError), match=named.replace(".", r"\.")):
        create_model(*arguments, **keys)
