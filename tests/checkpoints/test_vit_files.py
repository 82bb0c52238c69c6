"""Files that hold a ViTPose: every name of published ones, experts, positions, and the way to Hugging Face."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import yaml
from mindspore.nn.utils import no_init_parameters

from mspose.checkpoints import convert as module
from mspose.checkpoints.ckpt_file import read_ckpt
from mspose.checkpoints.initial import load_backbone, load_checkpoint
from mspose.checkpoints.origins import Recognised, read_weights, recognise
from mspose.checkpoints.safetensors_file import write_safetensors
from mspose.config.builder import default_config
from mspose.config.schema import Config
from mspose.errors import PoseError, UsageError
from mspose.networks import build_model
from mspose.networks.vit import (
    HEADS,
    chosen_expert,
    from_authors,
    from_hugging_face,
    positions_for,
    to_authors,
    to_hugging_face,
)
from tests.disk import contents, interrupt
from tests.golden.formula import parameter
from tests.graph import ms  # noqa: F401 (sets MindSpore up)
from tests.messages import naming, tells_of

HF, MMPOSE, AUTHORS = (f"ViTPose of {whose} (PyTorch)" for whose in ("Hugging Face", "MMPose 1.x", "its authors"))
PUBLISHED = {
    "vitpose_small": (HF, 384, "classic"),
    "vitpose_base_simple": (HF, 768, "simple"),
    "names/hf_vitpose-base-simple": (HF, 768, "simple"),
    "names/hf_vitpose-base": (HF, 768, "classic"),
    "names/hf_vitpose-small": (HF, 384, "classic"),
    "names/hf_vitpose-large": (HF, 1024, "classic"),
    "names/hf_vitpose-plus-small": (HF, 384, "classic"),
    "names/hf_vitpose-plus-base": (HF, 768, "classic"),
    "names/hf_vitpose-plus-large": (HF, 1024, "classic"),
    "names/mmpose1x_vitpose-small": (MMPOSE, 384, "classic"),
    "names/mmpose1x_vitpose-base": (MMPOSE, 768, "classic"),
    "names/mmpose1x_vitpose-large": (MMPOSE, 1024, "classic"),
}
TINY = {"model.width": 16, "model.depth": 2, "model.heads": 2, "data.input_size": [96, 128]}


def published(name: str, parity_dir: Path) -> dict[str, np.ndarray]:
    """The n-th parameter of a published network, filled with n."""
    keys = json.loads((parity_dir / f"{name}.keys.json").read_text())
    return {key: np.broadcast_to(np.float32(n), shape) for n, (key, shape) in enumerate(keys.items())}


def config_of(recognised: Recognised, **more: object) -> Config:
    values = {**recognised.model, **recognised.conventions, **more}
    return default_config(values.pop("model.name"), values)


def shapes_of(config: Config) -> dict[str, tuple[int, ...]]:
    with no_init_parameters():
        return {p.name: tuple(p.shape) for p in build_model(config).get_parameters()}


def tiny(experts: int = 0) -> dict[str, np.ndarray]:
    """A small file of Hugging Face's names with formula weights; with experts, a ViTPose++ whose parts are 4 wide."""
    own = {name: parameter(name, shape) for name, shape in shapes_of(default_config("vitpose", TINY)).items()}
    values = to_hugging_face(own)
    for name in [n for n in values if ".mlp.fc2." in n and experts]:
        values[name], rest = values[name][:12], values[name].shape[1:]
        for expert in range(experts):
            other = name.replace("fc2", f"experts.{expert}")
            values[other] = parameter(other, (4, *rest))
    return values


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_every_name_of_published_files_is_used_and_none_is_missing(name: str, prefix: str, parity_dir: Path) -> None:
    values = {prefix + key: value for key, value in published(name, parity_dir).items()}
    recognised = recognise({**values, "global_step": np.ones(1)}, "x")
    title, width, decoder = PUBLISHED[name]
    assert recognised.origin.title == title
    assert [recognised.model[f"model.{key}"] for key in ("width", "heads", "decoder")] == [
        width,
        HEADS[width],
        decoder,
    ]
    config = config_of(recognised)
    assert (config.data.color, config.data.unbiased) == ("rgb", True)
    assert config.model.norm_eps == (1e-12 if title == HF else 1e-6)
    fitting = chosen_expert(recognised.values, 5 if "plus" in name else 0)
    assert {key: value.shape for key, value in fitting.items()} == shapes_of(config)


def test_numbers_of_hugging_face_go_where_their_names_say() -> None:
    values = tiny()
    own = from_hugging_face(values)
    at = "backbone.encoder.layer.1."
    np.testing.assert_array_equal(
        own["backbone.blocks.1.attn.qkv.weight"],
        np.concatenate([values[f"{at}attention.attention.{part}.weight"] for part in ("query", "key", "value")]),
    )
    for ours, theirs in (
        ("backbone.blocks.1.norm2.gamma", f"{at}layernorm_after.weight"),
        ("backbone.last_norm.beta", "backbone.layernorm.bias"),
        ("deconv_layers.4.moving_variance", "head.batchnorm2.running_var"),
        ("deconv_layers.3.weight", "head.deconv2.weight"),
    ):
        np.testing.assert_array_equal(own[ours], values[theirs])


def test_the_first_position_is_added_to_all_others() -> None:
    values = tiny()
    name = "backbone.embeddings.position_embeddings"
    values[name] = parameter("positions", values[name].shape)
    expected = values[name][0, 1:] + values[name][0, 0]
    np.testing.assert_array_equal(from_hugging_face(values)["backbone.pos_embed"].reshape(-1, 16), expected)


@pytest.mark.parametrize(
    ("there", "back"), [(to_hugging_face, from_hugging_face), (to_authors, from_authors)], ids=["hf", "authors"]
)
def test_there_and_back_is_the_same_bit_for_bit(there, back) -> None:
    own = from_hugging_face(tiny())
    theirs = there(own)
    result = back(theirs)
    assert result.keys() == own.keys()
    for name, value in own.items():
        np.testing.assert_array_equal(result[name], value, err_msg=name)
    assert sum(name.endswith("num_batches_tracked") for name in theirs) == 2
    (vectors,) = (value for name, value in theirs.items() if "position" in name or "pos_embed" in name)
    assert vectors.shape == (1, 49, 16)
    assert not vectors[0, 0].any()


@pytest.mark.parametrize("expert", [0, 2])
def test_a_merged_expert_gives_what_its_own_path_gives(expert: int) -> None:
    values = tiny(experts=3)
    merged = chosen_expert(from_hugging_face(values), expert)
    at = "backbone.encoder.layer.0.mlp."
    x = parameter("x", (7, 64))
    own = [x @ values[f"{at}{p}.weight"].T + values[f"{at}{p}.bias"] for p in ("fc2", f"experts.{expert}")]
    given = x @ merged["backbone.blocks.0.mlp.fc2.weight"].T + merged["backbone.blocks.0.mlp.fc2.bias"]
    np.testing.assert_allclose(given, np.concatenate(own, axis=1), atol=1e-6)
    assert merged.keys() == from_hugging_face(tiny()).keys()


def test_an_expert_brings_the_head_of_its_data_set() -> None:
    values = to_authors(from_hugging_face(tiny()))
    for name in [n for n in values if ".mlp.fc2." in n]:
        values[name], value = values[name][:12], values[name]
        values |= {name.replace("fc2", f"experts.{k}"): value[:4] + k for k in range(3)}
    for k, joints in enumerate((14, 16)):
        values |= {
            name.replace("keypoint_head.", f"associate_keypoint_heads.{k}."): value[:1].repeat(joints, 0)
            for name, value in values.items()
            if name.startswith("keypoint_head.final_layer.")
        }
    recognised = recognise(values, "x")
    assert recognised.origin.title == AUTHORS
    for expert, joints in enumerate((17, 14, 16)):
        assert chosen_expert(recognised.values, expert)["final_layer.weight"].shape[0] == joints
    left = [name for name in chosen_expert(recognised.values, 0) if name.startswith("associate_keypoint_heads.")]
    assert len(left) == 4


def test_an_expert_that_is_not_there_is_named(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UsageError, match=naming("model.expert=5", "0, 1, 2")):
        chosen_expert(from_hugging_face(tiny(experts=3)), 5)
    with caplog.at_level(logging.WARNING, "pose"):
        chosen_expert(from_hugging_face(tiny()), 5)
    assert tells_of(caplog.text, "model.expert=5")


def test_parts_that_are_missing_or_of_other_shapes_are_named() -> None:
    name = "backbone.encoder.layer.1.attention.attention.key.weight"
    values = tiny()
    with pytest.raises(PoseError, match=name.removeprefix("backbone.encoder.layer.1.")):
        recognise({n: value for n, value in values.items() if n != name}, "x")
    with pytest.raises(PoseError, match=r"attention\.key"):
        recognise({**values, name: values[name][:, :3]}, "x")
    plus = from_hugging_face(tiny(experts=2))
    del plus["backbone.blocks.0.mlp.experts.1.bias"]
    with pytest.raises(PoseError, match=r"experts\.1\.bias"):
        chosen_expert(plus, 1)


# What PyTorch's interpolate gives (bicubic, corners not aligned), the first of two channels.
BICUBIC = {
    (3, 2): [[0.15373, 0.62255], [-0.11714, 0.00199], [0.16942, -0.62803]],
    (6, 4): [
        [-0.08349, 0.61255, 1.12213, 1.07802],
        [0.12435, -0.00519, -0.15446, -0.21588],
        [0.13504, -0.38567, -0.80319, -0.81665],
        [-0.33458, 0.20461, 0.73437, 0.87292],
        [0.01529, 0.1319, 0.20262, 0.1765],
        [0.55257, -0.18692, -0.96034, -1.21032],
    ],
}


@pytest.mark.parametrize("grid", BICUBIC)
def test_positions_are_interpolated_as_by_pytorch(grid: tuple[int, int]) -> None:
    places = np.arange(12, dtype=np.float32).reshape(1, 4, 3)
    given = positions_for(np.stack([np.sin(places), np.cos(2 * places)], -1), grid)
    assert given.shape == (1, *grid, 2)
    np.testing.assert_allclose(given[0, ..., 0], BICUBIC[grid], atol=2e-5)


def test_positions_of_an_unknown_grid_fit_their_own_input_alone() -> None:
    vectors = parameter("positions", (1, 24, 8))
    np.testing.assert_array_equal(positions_for(vectors, (6, 4)).reshape(1, 24, 8), vectors)
    with pytest.raises(PoseError, match=naming("backbone.pos_embed", 24, "data.input_size", 16, 12)):
        positions_for(vectors, (16, 12))


def test_a_file_loads_at_another_input_size(tmp_path: Path) -> None:
    write_safetensors(tiny(), tmp_path / "a.safetensors")
    grids = []
    for size in ([96, 128], [192, 256]):
        overrides = {**TINY, "data.input_size": size, "runtime.ckpt": str(tmp_path / "a.safetensors")}
        config = default_config("vitpose", overrides)
        network = build_model(config)
        load_checkpoint(network, config)
        grids.append(network.backbone.pos_embed.asnumpy())
    assert [grid.shape for grid in grids] == [(1, 8, 6, 16), (1, 16, 12, 16)]
    np.testing.assert_allclose(positions_for(grids[0], (16, 12)), grids[1])


@pytest.mark.parametrize("names", ["MAE", "MMPretrain"])
def test_a_transformer_alone_starts_the_backbone(names: str, tmp_path: Path) -> None:
    values = {
        n.removeprefix("backbone."): v for n, v in to_authors(from_hugging_face(tiny())).items() if "head" not in n
    }
    values["pos_embed"] = parameter("pos_embed", (1, 197, 16))
    renamed = (("last_norm.", "norm."),)
    if names == "MMPretrain":
        renamed = (
            ("last_norm.", "ln1."),
            ("blocks.", "layers."),
            ("norm", "ln"),
            ("mlp.fc1.", "ffn.layers.0.0."),
            ("mlp.fc2.", "ffn.layers.1."),
            ("patch_embed.proj.", "patch_embed.projection."),
        )
    for ours, theirs in renamed:
        values = {name.replace(ours, theirs): value for name, value in values.items()}
    values |= {"cls_token": parameter("cls_token", (1, 1, 16)), "mask_token": parameter("mask_token", (1, 1, 16))}
    write_safetensors(values, tmp_path / "vit.safetensors")
    config = default_config("vitpose", TINY)
    network = build_model(config)
    line = load_backbone(network, tmp_path / "vit.safetensors", config)
    assert tells_of(line, names, "cls_token", "mask_token")
    own = {p.name: p.asnumpy() for p in network.get_parameters()}
    expected = from_hugging_face(tiny())
    for name in ("blocks.1.norm2.gamma", "blocks.0.mlp.fc2.weight", "last_norm.gamma", "patch_embed.proj.bias"):
        np.testing.assert_array_equal(own[f"backbone.{name}"], expected[f"backbone.{name}"])
    assert own["backbone.pos_embed"].shape == (1, 8, 6, 16)


def run(capsys: pytest.CaptureFixture, *arguments: object) -> tuple[int, str, str]:
    code = module.main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def recipe(folder: Path, **keys: object) -> Path:
    values: dict = {"format": 2, "model": {"name": "vitpose"}, "data": {}}
    for key, value in {**TINY, **keys}.items():
        section, _, name = key.replace("__", ".").partition(".")
        values[section][name] = value
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_command_takes_an_expert_out_and_goes_back_to_hugging_face(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    config, values = recipe(tmp_path), tiny(experts=3)
    write_safetensors(values, tmp_path / "plus.safetensors")
    options = ("--config", config, "--src", tmp_path / "plus.safetensors", "--dst", tmp_path / "b.ckpt")
    code, out, err = run(capsys, *options, "model.expert=2")
    assert (code, err) == (0, "")
    assert "left:        0\nmissing:     0" in out
    stored = yaml.safe_load((tmp_path / "b.yaml").read_text())
    assert (stored["model"]["norm_eps"], stored["data"]["unbiased"]) == (1e-12, True)
    own = read_ckpt(tmp_path / "b.ckpt")
    np.testing.assert_array_equal(
        own["backbone.blocks.1.mlp.fc2.bias"][12:], values["backbone.encoder.layer.1.mlp.experts.2.bias"]
    )
    target = tmp_path / "hf/model.safetensors"
    target.parent.mkdir()
    for _ in range(2):  # its own earlier result is replaced
        code, _, err = run(capsys, "--config", config, "--src", tmp_path / "b.ckpt", "--dst", target, "--to", "hf")
        assert (code, err) == (0, "")
    back = read_weights(target)
    assert {key: value.shape for key, value in back.items()} == {key: v.shape for key, v in tiny().items()}
    built = json.loads((target.parent / "config.json").read_text())
    backbone = built["backbone_config"]
    assert (backbone["image_size"], backbone["layer_norm_eps"]) == ([128, 96], 1e-12)
    assert (backbone["hidden_size"], backbone["num_hidden_layers"], backbone["num_attention_heads"]) == (16, 2, 2)
    assert (len(built["id2label"]), built["use_simple_decoder"]) == (17, False)


@pytest.mark.parametrize("moment", ["amid", "between"])
def test_ctrl_c_leaves_nothing_in_the_way_of_hugging_face(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    write_safetensors(tiny(), tmp_path / "a.safetensors")
    target = tmp_path / "hf/model.safetensors"
    target.parent.mkdir()
    arguments = ("--config", recipe(tmp_path), "--src", tmp_path / "a.safetensors", "--to", "hf", "--dst", target)
    with monkeypatch.context() as patch:
        interrupt(patch, moment)
        with pytest.raises(KeyboardInterrupt):
            run(capsys, *arguments)
    assert not target.exists()
    assert not (target.parent / "config.json").exists()
    assert run(capsys, *arguments)[0] == 0
    assert len(contents(target.parent)) == 3


def test_what_stands_in_the_way_of_hugging_face_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write_safetensors(tiny(), tmp_path / "a.safetensors")
    options = ("--config", recipe(tmp_path), "--src", tmp_path / "a.safetensors", "--to", "hf", "--dst")
    (tmp_path / "config.json").write_text("{}")
    code, _, err = run(capsys, *options, tmp_path / "model.safetensors")
    assert code == 2
    assert tells_of(err, tmp_path / "config.json")
    assert not (tmp_path / "model.safetensors").exists()
    code, _, err = run(capsys, *options, tmp_path / "other.safetensors")
    assert code == 2
    assert tells_of(err, "model.safetensors", "--to hf")


def test_heads_divide_the_width() -> None:
    with pytest.raises(UsageError, match=naming("model.heads", 5, 768)):
        default_config("vitpose", {"model.heads": 5})
