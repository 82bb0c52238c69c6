"""What lies beside weights: which keys of it count, which are refused, and weights that need no recipe."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from mspose.checkpoints.beside import description_file, read_description, save_description
from mspose.checkpoints.ckpt_file import write_ckpt
from mspose.config.builder import default_config, load_config
from mspose.config.describe import all_keys
from mspose.config.keys import NEVER, default_of, keys_of
from mspose.config.schema import get
from mspose.demo.page import Page
from mspose.errors import PoseError, UsageError
from mspose.estimator import PoseEstimator
from mspose.networks import networks
from mspose.resolve import resolve
from mspose.skeleton import load_skeleton
from tests.conftest import ROOT
from tests.messages import naming, tells_of

BODY14 = str(ROOT / "configs/skeletons/body14.yaml")


def store(folder: Path, network: str = "simplepose", **overrides: object) -> str:
    """An empty checkpoint with the description of a configuration; its path."""
    config = default_config(network, {key.replace("__", "."): value for key, value in overrides.items()})
    path = folder / "w.ckpt"
    write_ckpt({"x": np.zeros(1, np.float32)}, path)
    save_description(config, description_file(path))
    return str(path)


def changed(path: str, section: str, key: str, value: object) -> None:
    file = description_file(path)
    content = yaml.safe_load(file.read_text())
    content.setdefault(section, {})[key] = value
    file.write_text(yaml.safe_dump(content))


def recipe(folder: Path, text: str) -> str:
    (folder / "recipe.yaml").write_text(f"format: 2\n{text}")
    return str(folder / "recipe.yaml")


@pytest.mark.parametrize("value", [{"a": 1}, [], None, 5])
def test_a_description_that_holds_its_skeleton_and_names_none(tmp_path: Path, value: object) -> None:
    path = store(tmp_path, data__skeleton=BODY14)
    changed(path, "data", "skeleton", value)
    assert load_skeleton(resolve(None, {"runtime.ckpt": path}).data.skeleton) == load_skeleton(BODY14)


@pytest.mark.parametrize("network", networks())
def test_weights_that_know_their_network_need_no_recipe(tmp_path: Path, network: str) -> None:
    given = {"data__color": "rgb", "data__skeleton": BODY14} if network != "openpose" else {"eval__resize": "canvas"}
    stored = default_config(network, {key.replace("__", "."): value for key, value in given.items()})
    config = resolve(None, {"runtime.ckpt": store(tmp_path, network, **given)})
    for key, field in keys_of(networks()[network].schema).items():
        if field.metadata["role"] != NEVER and key != "data.skeleton":
            assert get(config, key) == get(stored, key), key
    assert load_skeleton(config.data.skeleton) == load_skeleton(stored.data.skeleton)
    assert config.runtime.output == "outputs/w"


def test_fixed_keys_stand_above_a_recipe_and_free_ones_do_not_count(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ckpt = store(tmp_path, data__input_size=[96, 128], eval__nms="none", codec__refine="dark", model__depth=18)
    file = recipe(tmp_path, "model: {depth: 50}\neval: {rescore: alphapose}\n")
    config = resolve(file, {"runtime.ckpt": ckpt, "eval.flip_test": False})
    assert (config.model.depth, config.data.input_size, config.codec.heatmap_size) == (18, [96, 128], [24, 32])
    assert (config.eval.nms, config.codec.refine, config.eval.rescore) == ("oks", "quarter", "alphapose")
    assert tells_of(caplog.text, "model.depth=18", tmp_path / "w.yaml")
    alone = resolve(None, {"runtime.ckpt": ckpt, "codec.refine": "none"})
    assert (alone.eval.nms, alone.codec.refine) == ("none", "none")


def test_geometry_belongs_to_weights_and_its_refinement_does_not(tmp_path: Path) -> None:
    ckpt = store(tmp_path, data__unbiased=True, codec__refine="dark_udp", codec__blur=15)
    alone = resolve(None, {"runtime.ckpt": ckpt})
    assert (alone.data.unbiased, alone.codec.refine, alone.codec.blur) == (True, "dark_udp", 15)
    config = resolve(recipe(tmp_path, "codec: {refine: dark}\n"), {"runtime.ckpt": ckpt})
    assert (config.data.unbiased, config.codec.refine, config.codec.blur) == (True, "dark", None)
    assert not resolve(recipe(tmp_path, ""), {"train.init_from": ckpt}).data.unbiased


def test_a_refinement_of_another_geometry_than_the_weights_have(tmp_path: Path) -> None:
    ckpt = store(tmp_path)
    file = recipe(tmp_path, "data: {unbiased: true}\ncodec: {refine: dark_udp}\n")
    with pytest.raises(UsageError, match=naming("recipe.yaml", "codec.refine", "data.unbiased")):
        resolve(file, {"runtime.ckpt": ckpt})


def test_a_new_run_starts_from_input_conventions_only(tmp_path: Path) -> None:
    ckpt = store(tmp_path, data__input_size=[96, 128], data__color="rgb", model__depth=18)
    config = resolve(recipe(tmp_path, ""), {"train.init_from": ckpt})
    assert (config.data.color, config.data.input_size, config.model.depth) == ("rgb", [192, 256], 50)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("modelarts", "enable", True),
        ("train", "epochs", 999),
        ("data", "root", "/"),
        ("model", "pretrained", "x.ckpt"),
        ("runtime", "output", "/"),
        ("eval", "bbox_file", "/"),
        ("demo", "host", "0.0.0.0"),
        ("model", "stages", 6),
        ("model", "nothing", 6),
    ],
)
@pytest.mark.parametrize("with_recipe", [True, False])
def test_what_does_not_belong_to_weights_is_refused_by_name(
    tmp_path: Path, section: str, key: str, value: object, with_recipe: bool
) -> None:
    ckpt = store(tmp_path)
    changed(ckpt, section, key, value)
    with pytest.raises(UsageError, match=naming(tmp_path / "w.yaml", f"{section}.{key}")):
        resolve(recipe(tmp_path, "") if with_recipe else None, {"runtime.ckpt": ckpt})


# A value of each key that nothing beside weights may set: its default, but for texts, which name a place to go to.
FORBIDDEN = {
    key: "/elsewhere" if field.type == "str" and not field.metadata["choices"] else default_of(field)
    for key, field in all_keys().items()
    if field.metadata["role"] == NEVER
}


@pytest.mark.parametrize("key", FORBIDDEN)
@pytest.mark.parametrize(("stamped", "ending"), [(True, ".ckpt"), (False, ".pth")])
def test_no_key_of_a_run_counts_beside_weights(tmp_path: Path, key: str, stamped: bool, ending: str) -> None:
    """Loaded or started from, with a recipe or without; files of earlier versions have no stamp."""
    ckpt = tmp_path / f"w{ending}"
    write_ckpt({"x": np.zeros(1, np.float32)}, ckpt)
    section, _, name = key.partition(".")
    content: dict = {"data": {"color": "rgb"}}
    if stamped:
        content |= {"format": 2, "weights": {"network": "simplepose"}, "model": {"name": "simplepose"}}
    content.setdefault(section, {})[name] = FORBIDDEN[key]
    description_file(ckpt).write_text(yaml.safe_dump(content))
    if not stamped and section in ("train", "runtime"):  # a recipe, which counts as a whole or not at all
        assert read_description(ckpt) is None
        return
    for named in ("runtime.ckpt", "train.init_from"):
        with pytest.raises(UsageError, match=naming(description_file(ckpt), key)):
            resolve(recipe(tmp_path, ""), {named: str(ckpt)})


def test_everything_that_loads_weights_asks_the_same(tmp_path: Path) -> None:
    import mindspore_hub_conf

    ckpt = store(tmp_path)
    changed(ckpt, "modelarts", "data_url", "/elsewhere")
    with pytest.raises(UsageError, match=naming(tmp_path / "w.yaml", "modelarts.data_url")):
        mindspore_hub_conf.create_network("simplepose", ckpt)
    for given in (None, "simplepose_r50_256x192"):
        with pytest.raises(UsageError, match=naming(tmp_path / "w.yaml", "modelarts.data_url")):
            PoseEstimator(given, ckpt)
    (tmp_path / "first.ckpt").touch()
    overrides = {"runtime.ckpt": str(tmp_path / "first.ckpt"), "demo.networks": [f"simplepose_r50_256x192:{ckpt}"]}
    page = Page(default_config("simplepose", overrides), tmp_path)
    with pytest.raises(UsageError, match=naming(tmp_path / "w.yaml", "modelarts.data_url")):
        page.networks.get(page.networks.names[1], page.networks.detectors[0])


def test_a_conversion_of_our_own_keeps_its_skeleton(tmp_path: Path) -> None:
    ckpt = store(tmp_path, data__skeleton=BODY14)
    layer = read_description(ckpt)
    (tmp_path / "moved").mkdir()
    config = default_config(overrides={"data.skeleton": layer.values["data.skeleton"]})
    save_description(config, tmp_path / "moved" / "w.yaml", {"sha256": ""}, layer.values)
    description_file(ckpt).unlink()
    moved = read_description(tmp_path / "moved" / "w.ckpt")
    assert load_skeleton(moved.values["data.skeleton"]) == load_skeleton(BODY14)


def test_another_network_than_the_recipe_names_both(tmp_path: Path) -> None:
    ckpt = store(tmp_path, "openpose")
    with pytest.raises(
        UsageError, match=naming(tmp_path / "w.yaml", "model.name", "openpose", "recipe.yaml", "simplepose")
    ):
        resolve(recipe(tmp_path, "model: {name: simplepose}"), {"runtime.ckpt": ckpt})


def test_code_from_outside_is_not_imported_because_a_file_says_so(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil/code.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    ckpt = store(tmp_path)
    changed(ckpt, "model", "name", "evil.code")
    with pytest.raises(UsageError, match=naming(tmp_path / "w.yaml", "model.name=evil.code")):
        resolve(None, {"runtime.ckpt": ckpt})
    with pytest.raises(UsageError, match=naming("model.name", "evil.code", "recipe.yaml", "simplepose")):
        resolve(recipe(tmp_path, "model: {name: simplepose}"), {"runtime.ckpt": ckpt})


@pytest.mark.parametrize("text", ["base: x.yaml\n", "train: {epochs: 3}\n", "runtime: {seed: 3}\n"])
def test_a_recipe_beside_weights_does_not_count(tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str) -> None:
    ckpt = store(tmp_path)
    description_file(ckpt).write_text(f"{text}data: {{color: rgb}}\n")
    assert read_description(ckpt) is None
    assert "w.yaml" in caplog.text


def test_descriptions_of_earlier_versions(tmp_path: Path) -> None:
    """They hold keys of all networks and count in full."""
    ckpt = store(tmp_path)
    description_file(ckpt).write_text(
        "model: {maxpool: same, se: none, shuffle: channel}\ndata: {color: rgb, input_size: [96, 128]}\n"
        "codec: {heatmap_size: [24, 32], sigma: 1.0}\neval: {rescore: alphapose}\n"
    )
    config = resolve(recipe(tmp_path, "model: {name: simplepose}"), {"runtime.ckpt": ckpt})
    assert (config.model.maxpool, config.data.color, config.data.input_size) == ("same", "rgb", [96, 128])
    assert (config.codec.sigma, config.eval.rescore) == (1.0, "alphapose")
    bottom_up = resolve("openpose_vgg19_368", {"runtime.ckpt": ckpt.replace("w.ckpt", "v.ckpt")})
    assert bottom_up.model.name == "openpose"


def test_other_endings_have_a_description_of_their_own(tmp_path: Path) -> None:
    assert description_file(tmp_path / "a.ckpt").name == "a.yaml"
    assert description_file(tmp_path / "a.pth").name == "a.pth.yaml"
    assert description_file(tmp_path / "a.pth.tar").name == "a.pth.tar.yaml"


def test_a_description_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=naming(tmp_path / "w.yaml", "recipe")):
        load_config(description_file(store(tmp_path)))


class TestCards:
    """Model cards, also those of earlier versions."""

    def card(self, folder: Path, version: int, **sections: object) -> str:
        config = default_config(overrides={"data.input_size": [96, 128], "eval.nms": "none"})
        keys = {"model": {}, "data": {}, "codec": {}, "eval": {}}
        for key, field in keys_of(networks()["simplepose"].schema).items():
            if field.metadata["role"] != NEVER:
                section, _, name = key.partition(".")
                keys[section][name] = get(config, key)
        if version == 1:  # the keys of all networks
            keys["model"] |= {"stages": 6, "init_std": 0.01, "se": "none", "norm": "none"}
            keys["codec"] |= {"paf_width": 8.0, "min_joints": 3}
            keys["eval"] |= {"resize": "short_side", "scales": [1.0], "short_side": 0}
        inputs = {"name": "image", "dtype": "float32", "shape": [1, 3, 128, 96], "size": [96, 128]}
        card = {
            "format": f"pose-model-card-{version}",
            "model": {"sha256": ""},
            "network": "simplepose",
            "input": {**inputs, "color": "bgr", "scale": 255, "mean": [0] * 3, "std": [1] * 3},
            "outputs": [],
            **{name: {} for name in ("skeleton", "decode", "source", "versions")},
            "config": {**keys, **sections},
        }
        (folder / "x.onnx.json").write_text(json.dumps(card))
        return str(folder / "x.onnx")

    @pytest.mark.parametrize("version", [1, 2])
    def test_a_card_is_enough(self, tmp_path: Path, version: int) -> None:
        config = resolve(None, {"runtime.ckpt": self.card(tmp_path, version)})
        assert (config.model.name, config.data.input_size, config.eval.nms) == ("simplepose", [96, 128], "none")

    @pytest.mark.parametrize("version", [1, 2])
    def test_with_a_recipe_only_what_is_fixed_counts(self, tmp_path: Path, version: int) -> None:
        config = resolve(recipe(tmp_path, ""), {"runtime.ckpt": self.card(tmp_path, version)})
        assert (config.data.input_size, config.eval.nms) == ([96, 128], "oks")

    @pytest.mark.parametrize("version", [1, 2])
    @pytest.mark.parametrize("key", FORBIDDEN)
    def test_no_key_of_a_run_counts(self, tmp_path: Path, version: int, key: str) -> None:
        section, _, name = key.partition(".")
        model = self.card(tmp_path, version)
        card = json.loads(Path(f"{model}.json").read_text())
        card["config"].setdefault(section, {})[name] = FORBIDDEN[key]
        Path(f"{model}.json").write_text(json.dumps(card))
        if version == 1 and key == "model.init_std":  # they all held it, and it has no effect
            resolve(None, {"runtime.ckpt": model})
            return
        with pytest.raises(UsageError, match=naming(f"{model}.json", key)):
            resolve(None, {"runtime.ckpt": model})

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("scale", "255"),
            ("scale", 0),
            ("std", [1, 1]),
            ("std", [1, 1, 0]),
            ("mean", ["a", 0, 0]),
            ("shape", [1, 3, "x", 4]),
            ("size", [0, 128]),
            ("dtype", "int64"),
            ("color", "gray"),
            ("scale", float("nan")),
        ],
    )
    def test_an_input_that_cannot_be_computed_with(self, tmp_path: Path, name: str, value: object) -> None:
        model = self.card(tmp_path, 2)
        card = json.loads(Path(f"{model}.json").read_text())
        card["input"][name] = value
        Path(f"{model}.json").write_text(json.dumps(card))
        with pytest.raises(PoseError, match=naming(f"{model}.json")):
            resolve(None, {"runtime.ckpt": model})

    @pytest.mark.parametrize("version", [1, 2])
    @pytest.mark.parametrize("with_recipe", [True, False])
    def test_what_does_not_belong_to_a_model_is_refused(self, tmp_path: Path, version: int, with_recipe: bool) -> None:
        model = self.card(tmp_path, version, modelarts={"enable": True, "data_url": "/", "data_path": str(tmp_path)})
        with pytest.raises(UsageError, match=r"x\.onnx\.json.*modelarts\.\w+"):
            resolve(recipe(tmp_path, "") if with_recipe else None, {"runtime.ckpt": model})
