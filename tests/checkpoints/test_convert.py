"""Converting other people's weights and taking ours to PyTorch: the command, its checks, and the networks' outputs."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from mspose.backends.checkpoint import MindSporeBackend
from mspose.checkpoints import convert as module
from mspose.checkpoints import io
from mspose.checkpoints.ckpt_file import read_ckpt, write_ckpt
from mspose.checkpoints.foreign import resolve_checkpoint, write_weights
from mspose.checkpoints.initial import load_backbone, load_checkpoint, load_weights
from mspose.checkpoints.origins import read_weights, recognise
from mspose.checkpoints.safetensors_file import write_safetensors
from mspose.checkpoints.torch_file import read_torch, write_torch
from mspose.cli import parse
from mspose.config.builder import load_config, network_of
from mspose.errors import PoseError, UsageError
from mspose.models.fastpose import FastPose
from mspose.networks import build_model
from mspose.networks.fastpose import fastpose_to_torch
from mspose.runtime.results import locked
from tests.disk import contents, interrupt
from tests.golden.formula import parameter, picture
from tests.graph import ms, without_graph
from tests.messages import names, naming, tells_of

NARROW = {"model.depth": 18, "model.base_width": 8, "model.deconv_filters": [8, 8, 8]}


def recipe(folder: Path, overrides: dict | None = None, name: str = "simplepose") -> Path:
    """A small network's recipe."""
    values = {**(NARROW if name == "simplepose" else {}), "model.name": name, **(overrides or {})}
    content: dict = {}
    for key, value in values.items():
        content.setdefault(key.split(".")[0], {})[key.split(".")[1]] = value
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def state_dict(config: Path) -> dict[str, np.ndarray]:
    """PyTorch's state dict for the network of a recipe, with formula weights."""
    loaded = load_config(config)
    network = build_model(loaded)
    names = network_of(loaded).to_torch({p.name: p.asnumpy() for p in network.get_parameters()}, loaded.model)
    return {name: parameter(name, value.shape) for name, value in names.items()}


def run(capsys: pytest.CaptureFixture, *arguments: object) -> tuple[int, str, str]:
    code = module.main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("pose_resnet_18", {"model.depth": 18}),
        ("pose_resnet_50", {}),
        ("fastpose_res50", {"model.name": "fastpose"}),
        ("fastpose_duc_res50", {"model.name": "fastpose", "model.upsampling": "duc"}),
        ("openpose_body_coco", {"model.name": "openpose", "data.input_size": [368, 368]}),
    ],
)
def test_published_networks_give_the_reference_outputs(
    name: str, overrides: dict, parity_dir: Path, tmp_path: Path
) -> None:
    """From a file with PyTorch's names to the network's maps, and back to the file, bit for bit."""
    keys = json.loads((parity_dir / f"{name}.keys.json").read_text())
    values = {key: parameter(key, tuple(shape)) for key, shape in keys.items()}
    source = tmp_path / "weights.pth"
    write_torch(values, source)
    config = parse(
        [
            "--config",
            str(recipe(tmp_path, overrides, overrides.get("model.name", "simplepose"))),
            "--ckpt",
            str(source),
            f"output={tmp_path / 'out'}",
            *(["model.base_width=64", "model.deconv_filters=[256,256,256]"] if "pose_resnet" in name else []),
            *(["model.depth=50"] if name == "pose_resnet_50" else []),
        ]
    )
    network = build_model(config)
    load_checkpoint(network, config)
    back = network_of(config).to_torch(read_ckpt(tmp_path / "weights.pth.converted.ckpt"), config.model)
    assert list(back) == list(values)
    assert all(back[key].tobytes() == values[key].tobytes() for key in values)
    fixture = np.load(parity_dir / f"{name}.npz")
    with without_graph():
        maps = MindSporeBackend(network)(picture(int(fixture["seed"]), tuple(fixture["shape"])))
    for i, result in enumerate(maps):
        expected = fixture[f"output{i}"]
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_command_converts_and_goes_back_bit_for_bit(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = recipe(tmp_path)
    values = state_dict(config)
    write_torch({f"module.{name}": value for name, value in values.items()}, tmp_path / "a.pth.tar")
    code, out, err = run(capsys, "--config", config, "--src", tmp_path / "a.pth.tar", "--dst", tmp_path / "b.ckpt")
    assert (code, err) == (0, "")
    assert "SimpleBaselines (PyTorch)" in out
    weights = [name for name in values if not name.endswith("num_batches_tracked")]
    assert f"matched:     {len(weights)}\nleft:        0\nmissing:     0\n" in out
    stored = yaml.safe_load((tmp_path / "b.yaml").read_text())
    assert stored["model"]["maxpool"] == "torch"
    assert stored["weights"]["source"]["file"] == "a.pth.tar"
    assert len(stored["weights"]["source"]["sha256"]) == 64
    ms.load_checkpoint(str(tmp_path / "b.ckpt"))  # MindSpore reads it too
    for ending, read in ((".pth", read_torch), (".safetensors", read_weights)):
        code, _, err = run(
            capsys, "--config", config, "--src", tmp_path / "b.ckpt", "--dst", tmp_path / f"c{ending}", "--to", "torch"
        )
        assert (code, err) == (0, "")
        back = read(tmp_path / f"c{ending}")
        assert list(back) == list(values)
        assert all(back[name].tobytes() == value.tobytes() for name, value in values.items())


def test_a_file_that_another_conversion_writes_is_left_to_it(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config, target = recipe(tmp_path), tmp_path / "b.ckpt"
    write_torch(state_dict(config), tmp_path / "a.pth")
    with locked(tmp_path, "convert", target):
        code, _, err = run(capsys, "--config", config, "--src", tmp_path / "a.pth", "--dst", target)
    assert (code, tells_of(err, target, os.getpid())) == (1, True)
    assert not target.exists()
    assert run(capsys, "--config", config, "--src", tmp_path / "a.pth", "--dst", target)[0] == 0


def test_conventions_follow_the_origin(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The zoo's SimplePose is known by its names; what they do not show goes into the file beside."""
    config = recipe(tmp_path, {"data.color": "rgb"})
    own = recognise(state_dict(config), "x").values
    numbers = {
        "0": "deconv_0.deconv",
        "1": "deconv_0.bn",
        "3": "deconv_1.deconv",
        "4": "deconv_1.bn",
        "6": "deconv_2.deconv",
        "7": "deconv_2.bn",
    }
    zoo = {}
    for name, value in own.items():
        parts = name.removeprefix("backbone.").replace(".downsample.", ".down_sample_layer.").split(".")
        zoo[".".join([parts[0], numbers[parts[1]], *parts[2:]] if parts[0] == "deconv_layers" else parts)] = value
    write_ckpt({**zoo, "moment1.conv1.weight": zoo["conv1.weight"], "global_step": np.ones(1)}, tmp_path / "zoo.ckpt")
    code, out, _ = run(capsys, "--config", config, "--src", tmp_path / "zoo.ckpt", "--dst", tmp_path / "b.ckpt")
    assert code == 0
    assert f"note: data.color=bgr from {tmp_path / 'zoo.ckpt'} overrides rgb" in out
    stored = yaml.safe_load((tmp_path / "b.yaml").read_text())
    assert (stored["model"]["maxpool"], stored["data"]["color"]) == ("same", "bgr")
    converted = read_ckpt(tmp_path / "b.ckpt")
    assert set(converted) == set(own)
    assert all(converted[name].tobytes() == value.tobytes() for name, value in own.items())


def test_what_goes_to_pytorch_remembers_how_it_is_fed(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Our FastPose has the names of AlphaPose's, but not its input."""
    small = {"model.depth": 18, "model.base_width": 8, "model.upsampling_width": 32}
    config = recipe(tmp_path, {**small, "model.shuffle": "block", "eval.rescore": "visible_mean"}, "fastpose")
    loaded = load_config(config)
    network = build_model(loaded)
    write_ckpt({p.name: p.asnumpy() for p in network.get_parameters()}, tmp_path / "own.ckpt")
    arguments = ("--config", config, "--src", tmp_path / "own.ckpt", "--to", "torch", "--dst")
    assert run(capsys, *arguments, tmp_path / "theirs.pth")[0] == 0
    back = parse(["--config", str(config), "--ckpt", str(tmp_path / "theirs.pth"), f"output={tmp_path}"])
    assert (back.data.color, back.eval.rescore, back.model.shuffle) == ("bgr", "visible_mean", "channel")
    resolve_checkpoint(tmp_path / "theirs.pth", back)
    kept = yaml.safe_load((tmp_path / "theirs.pth.converted.yaml").read_text())
    assert (kept["data"]["color"], kept["model"]["shuffle"]) == ("bgr", "channel")


def test_a_failure_leaves_neither_weights_nor_their_description(tmp_path: Path) -> None:
    config = load_config(recipe(tmp_path))

    def full(values: dict, path: Path) -> None:
        raise PoseError("disk full")

    with pytest.raises(PoseError, match="disk full"):
        write_weights(full, {}, tmp_path / "a.ckpt", config, {})
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.yaml"]


@pytest.mark.parametrize(
    ("to", "dst", "moment", "earlier"),
    [
        ("mindspore", "b.ckpt", "amid", True),
        ("mindspore", "b.ckpt", "between", False),
        ("torch", "b.pth", "amid", False),
        ("torch", "b.safetensors", "between", True),
    ],
)
def test_ctrl_c_leaves_nothing_half_written(
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    to: str,
    dst: str,
    moment: str,
    earlier: bool,
) -> None:
    config = recipe(tmp_path)
    write_torch(state_dict(config), tmp_path / "a.pth")
    arguments = ("--config", config, "--src", tmp_path / "a.pth", "--dst", tmp_path / dst, "--to", to)
    if earlier:
        assert run(capsys, *arguments)[0] == 0
    before = contents(tmp_path)
    with monkeypatch.context() as patch:
        interrupt(patch, moment)
        with pytest.raises(KeyboardInterrupt):
            run(capsys, *arguments)
    if moment == "between":  # the description is there already, and says that the rest was to come
        assert not (tmp_path / dst).exists()
    else:
        assert contents(tmp_path) == before
    assert all(".mspose-" not in path.name for path in tmp_path.iterdir())
    assert run(capsys, *arguments)[0] == 0
    assert read_weights(tmp_path / dst)


def test_missing_and_other_parameters_stop_the_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = recipe(tmp_path)
    values = state_dict(config)
    del values["layer1.0.conv2.weight"]
    values["final_layer.weight"] = np.zeros((14, 8, 1, 1), np.float32)
    values["extra.weight"] = np.zeros(2, np.float32)
    write_torch(values, tmp_path / "a.pth")
    arguments = ("--config", config, "--src", tmp_path / "a.pth", "--dst", tmp_path / "b.ckpt")
    code, out, err = run(capsys, *arguments)
    assert code == 1
    assert "left:        1 (backbone.extra.weight)" in out
    assert "missing:     1 (backbone.layer1.0.conv2.weight)" in out
    assert "other shape: 1 (final_layer.weight (14, 8, 1, 1) for (17, 8, 1, 1))" in out
    assert tells_of(err, tmp_path / "a.pth", "final_layer.weight", "--partial")
    assert err.count("\n") == 1
    assert not (tmp_path / "b.ckpt").exists()
    assert not (tmp_path / "b.yaml").exists()
    code, out, err = run(capsys, *arguments, "--partial")
    assert (code, err) == (0, "")
    assert "random start values, to be trained: 2 (final_layer.weight, backbone.layer1.0.conv2.weight)" in out
    assert read_ckpt(tmp_path / "b.ckpt")["final_layer.weight"].shape == (17, 8, 1, 1)


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["--dst", "b.pth"], 2, ("--to mindspore", ".ckpt", "b.pth")),
        (["--dst", "b.ckpt", "--to", "torch"], 2, ("--to torch", ".pth", "b.ckpt")),
        (["--dst", "b.ckpt", "model.depth=34"], 1, ("a.pth", "model.depth=18")),
        (["--dst", "b.ckpt", "model.name=openpose"], 2, ("model.name", "openpose", "recipe.yaml", "simplepose")),
        (["--dst", "b.ckpt", "--src", "none.pth"], 1, ("none.pth",)),
        (["--dst", "b.ckpt", "model.dept=1"], 2, ("'model.dept'",)),
        (["--dst", "b.ckpt", "word"], 2, ("'word'", "section.key=value")),
        (["--dst", "taken/b.ckpt"], 1, ("taken/b.",)),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str],
    code: int,
    named: tuple[str, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = recipe(tmp_path)
    write_torch(state_dict(config), tmp_path / "a.pth")
    monkeypatch.chdir(tmp_path)
    Path("taken").write_text("a file")
    result = run(capsys, "--config", "recipe.yaml", "--src", "a.pth", *arguments)
    assert result[0] == code
    assert tells_of(result[2], *named)
    assert result[2].count("\n") == 1
    assert not Path("b.ckpt").exists()


def test_the_source_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = recipe(tmp_path)
    write_torch(state_dict(config), tmp_path / "a.pth")
    run(capsys, "--config", config, "--src", tmp_path / "a.pth", "--dst", tmp_path / "a.ckpt")
    code, _, err = run(capsys, "--config", config, "--src", tmp_path / "a.ckpt", "--dst", tmp_path / "a.ckpt")
    assert (code, tells_of(err, tmp_path / "a.ckpt", "--src")) == (2, True)


@pytest.mark.parametrize("name", ["b.ckpt", "b.yaml", "b.pth", "b.pth.yaml"])
@pytest.mark.parametrize("content", ["model: {depth: 18}\n", "format: 2\nweights: {network: simplepose}\n", "{"])
def test_what_no_conversion_wrote_is_not_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture, name: str, content: str
) -> None:
    """A recipe, weights that were trained, anything else."""
    config = recipe(tmp_path)
    write_torch(state_dict(config), tmp_path / "a.pth")
    (tmp_path / name).write_text(content)
    dst, to = ("b.ckpt", "mindspore") if "pth" not in name else ("b.pth", "torch")
    code, _, err = run(capsys, "--config", config, "--src", tmp_path / "a.pth", "--dst", tmp_path / dst, "--to", to)
    assert (code, name in err, (tmp_path / name).read_text()) == (2, True, content)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["a.pth", "recipe.yaml", name])


def test_a_description_of_the_source_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Earlier versions described a.pth in a.yaml, where that of a.ckpt lies."""
    config = recipe(tmp_path)
    write_torch(state_dict(config), tmp_path / "a.pth")
    text = yaml.safe_dump({"source": {"sha256": "0"}, "data": {"color": "rgb"}})
    (tmp_path / "a.yaml").write_text(text)
    code, _, err = run(capsys, "--config", config, "--src", tmp_path / "a.pth", "--dst", tmp_path / "a.ckpt")
    assert (code, "a.yaml" in err, (tmp_path / "a.yaml").read_text()) == (2, True, text)


def test_a_conversion_is_replaced_by_the_next(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = recipe(tmp_path)
    write_torch(state_dict(config), tmp_path / "a.pth")
    for dst in ("b.ckpt", "b.ckpt"):
        assert run(capsys, "--config", config, "--src", tmp_path / "a.pth", "--dst", tmp_path / dst)[0] == 0


def test_a_file_with_the_name_of_a_conversion_stays(tmp_path: Path) -> None:
    """The conversion goes to the output folder then."""
    recipe(tmp_path)
    config = load_config(tmp_path / "recipe.yaml", {"runtime.output": str(tmp_path / "out")})
    write_torch(state_dict(tmp_path / "recipe.yaml"), tmp_path / "a.pth")
    mine = tmp_path / "a.pth.converted.ckpt"
    mine.write_text("mine")
    assert resolve_checkpoint(tmp_path / "a.pth", config) == tmp_path / "out" / mine.name
    assert mine.read_text() == "mine"


def test_weights_that_can_be_kept_nowhere_are_loaded_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe(tmp_path)
    (tmp_path / "file").touch()
    options = {"runtime.output": str(tmp_path / "file" / "out"), "runtime.ckpt": str(tmp_path / "a.pth")}
    config = load_config(tmp_path / "recipe.yaml", options)
    values = state_dict(tmp_path / "recipe.yaml")
    write_torch(values, tmp_path / "a.pth")
    (tmp_path / "a.pth.converted.ckpt").write_text("mine")
    network = build_model(config)
    load_checkpoint(network, config)
    loaded = {p.name: p.asnumpy() for p in network.get_parameters()}
    np.testing.assert_array_equal(loaded["final_layer.bias"], values["final_layer.bias"])
    assert names(caplog.text, tmp_path / "a.pth.converted.ckpt", tmp_path / "file" / "out")


def test_another_file_of_the_same_size_and_time_is_converted_anew(tmp_path: Path) -> None:
    config = load_config(recipe(tmp_path))
    values, path = state_dict(tmp_path / "recipe.yaml"), tmp_path / "a.pth"
    write_torch(values, path)
    then = path.stat()
    kept = resolve_checkpoint(path, config)
    write_torch({**values, "final_layer.bias": values["final_layer.bias"] + 1}, path)
    os.utime(path, ns=(then.st_atime_ns, then.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (then.st_size, then.st_mtime_ns)
    assert resolve_checkpoint(path, config) == kept
    np.testing.assert_array_equal(read_ckpt(kept)["final_layer.bias"], values["final_layer.bias"] + 1)


@pytest.mark.parametrize(("dtype", "fits"), [(np.float16, True), (np.float64, True), (np.int64, False)])
def test_other_types_become_float32_or_are_refused(dtype: type, fits: bool, tmp_path: Path) -> None:
    config = load_config(recipe(tmp_path))
    values = state_dict(tmp_path / "recipe.yaml")
    values["layer1.0.conv1.weight"] = values["layer1.0.conv1.weight"].astype(dtype)
    np.savez(tmp_path / "a.npz", **values)
    if not fits:
        with pytest.raises(PoseError, match=naming("a.npz", "backbone.layer1.0.conv1.weight", "int64")):
            module.convert(config, tmp_path / "a.npz", tmp_path / "b.ckpt")
        return
    module.convert(config, tmp_path / "a.npz", tmp_path / "b.ckpt")
    result = read_ckpt(tmp_path / "b.ckpt")["backbone.layer1.0.conv1.weight"]
    np.testing.assert_array_equal(result, values["layer1.0.conv1.weight"].astype(np.float32))


@pytest.mark.parametrize("number", [np.nan, np.inf, 1e300])
def test_weights_that_are_not_finite_are_refused(number: float, tmp_path: Path) -> None:
    config = load_config(recipe(tmp_path))
    values = state_dict(tmp_path / "recipe.yaml")
    values["final_layer.bias"] = np.full(len(values["final_layer.bias"]), number)
    np.savez(tmp_path / "a.npz", **values)
    with pytest.raises(PoseError, match=naming("a.npz", "final_layer.bias", "finite")):
        module.convert(config, tmp_path / "a.npz", tmp_path / "b.ckpt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "recipe.yaml"]
    with np.errstate(over="ignore"):
        write_ckpt(recognise(values, "x").values, tmp_path / "own.ckpt")
    config.runtime.ckpt = str(tmp_path / "own.ckpt")
    with pytest.raises(PoseError, match=naming("own.ckpt", "final_layer.bias", "finite")):
        load_checkpoint(build_model(config), config)


def test_imagenet_backbones_are_converted_alone(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = recipe(tmp_path)
    heads = ("deconv_layers", "final_layer")
    values = {name: value for name, value in state_dict(config).items() if not name.startswith(heads)}
    values["fc.weight"] = np.zeros((10, 64), np.float32)
    write_safetensors(values, tmp_path / "resnet18.safetensors")
    code, out, err = run(
        capsys, "--config", config, "--src", tmp_path / "resnet18.safetensors", "--dst", tmp_path / "b.ckpt"
    )
    assert (code, err) == (0, "")
    assert "left:        1 (backbone.fc.weight)\nmissing:     0" in out
    loaded = load_config(config)
    for name in ("resnet18.safetensors", "b.ckpt"):
        network = build_model(loaded)
        line = load_backbone(network, tmp_path / name, loaded)
        assert "100 parameters matched" in line
        np.testing.assert_array_equal(network.backbone.conv1.weight.asnumpy(), values["conv1.weight"])
    with pytest.raises(UsageError, match=naming(f"model.pretrained={tmp_path / 'resnet18.safetensors'}")):
        resolve_checkpoint(tmp_path / "resnet18.safetensors", loaded)


def test_block_order_is_turned_into_channel_order_for_pytorch() -> None:
    arguments = {"depth": 18, "num_keypoints": 5, "base_width": 8, "width": 32}
    image = picture(5, (1, 3, 64, 64))
    for variant in ({"upsampling": "shuffle"}, {"upsampling": "duc", "se": "first_block"}):
        block = FastPose(**arguments, **variant, shuffle="block")
        names = {p.name: parameter(p.name, p.shape) for p in block.get_parameters()}
        names = {name: np.abs(value) if name.endswith("variance") else value for name, value in names.items()}
        io.assign(block, names, "x")
        channel = FastPose(**arguments, **variant, shuffle="channel")
        io.assign(channel, recognise(fastpose_to_torch(names, "block"), "x").values, "x")
        expected = MindSporeBackend(block)(image)
        np.testing.assert_allclose(
            MindSporeBackend(channel)(image), expected, rtol=0, atol=1e-5 * np.abs(expected).max()
        )


def test_resolved_files_are_kept_until_they_change(tmp_path: Path) -> None:
    config = load_config(recipe(tmp_path))
    values = state_dict(tmp_path / "recipe.yaml")
    source = tmp_path / "a.pth"
    write_torch(values, source)
    overridden = replace(config, data=replace(config.data, color="rgb"))  # as a command line may say
    target = resolve_checkpoint(source, overridden)
    assert target == tmp_path / "a.pth.converted.ckpt"
    assert yaml.safe_load(target.with_suffix(".yaml").read_text())["data"]["color"] == "bgr"
    before = target.stat().st_mtime_ns
    assert resolve_checkpoint(source, config) == target
    assert target.stat().st_mtime_ns == before
    assert resolve_checkpoint(target, config) == target
    values["final_layer.bias"] += 1
    write_torch(values, source)
    os.utime(source, ns=(before + 10**9, before + 10**9))
    np.testing.assert_array_equal(
        read_ckpt(resolve_checkpoint(source, config))["final_layer.bias"], values["final_layer.bias"]
    )


def test_resolved_files_go_to_the_output_folder_where_theirs_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(recipe(tmp_path), {"runtime.output": str(tmp_path / "out")})
    write_torch(state_dict(tmp_path / "recipe.yaml"), tmp_path / "a.pth")
    real = write_ckpt

    def closed(values: dict, path: Path) -> None:
        if path.parent == tmp_path:
            raise PoseError("cannot write")
        real(values, path)

    monkeypatch.setattr("mspose.checkpoints.foreign.write_ckpt", closed)
    target = resolve_checkpoint(tmp_path / "a.pth", config)
    assert target == tmp_path / "out" / "a.pth.converted.ckpt"
    assert resolve_checkpoint(tmp_path / "a.pth", config) == target


def test_our_own_checkpoints_are_taken_as_they_are(tmp_path: Path) -> None:
    config = load_config(recipe(tmp_path))
    write_ckpt(recognise(state_dict(tmp_path / "recipe.yaml"), "x").values, tmp_path / "own.ckpt")
    assert resolve_checkpoint(tmp_path / "own.ckpt", config) == tmp_path / "own.ckpt"
    wrong = replace(config, model=replace(config.model, depth=34))
    with pytest.raises(PoseError, match=naming(tmp_path / "own.ckpt", "SimplePose", "model.depth=18")):
        resolve_checkpoint(tmp_path / "own.ckpt", wrong)


def test_training_starts_from_other_peoples_weights(tmp_path: Path) -> None:
    config = load_config(recipe(tmp_path), {"train.init_from": str(tmp_path / "a.pth")})
    values = state_dict(tmp_path / "recipe.yaml")
    write_torch({"state": np.zeros(1, np.float32), **values}, tmp_path / "a.pth")
    network = build_model(config)
    line = load_weights(network, config)
    assert "SimpleBaselines (PyTorch)" in line
    np.testing.assert_array_equal(network.final_layer.bias.asnumpy(), values["final_layer.bias"])


def test_the_configuration_obeys_the_file(tmp_path: Path) -> None:
    """Conventions stand between the recipe and the command line, without anything being converted yet."""
    config = recipe(tmp_path, {"data.color": "rgb", "data.mean": [0.1, 0.1, 0.1]})
    write_torch(state_dict(config), tmp_path / "a.pth")
    result = parse(["--config", str(config), "--ckpt", str(tmp_path / "a.pth"), "data.mean=[0,0,0]"])
    assert (result.data.color, result.data.mean) == ("bgr", [0, 0, 0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pth", "recipe.yaml"]
    (tmp_path / "a.pth.yaml").write_text("data: {color: rgb}")
    assert parse(["--config", str(config), "--ckpt", str(tmp_path / "a.pth")]).data.color == "rgb"


def test_deformable_convolutions_are_refused(tmp_path: Path) -> None:
    """AlphaPose's `fast_dcn_*`: without its offsets the rest would fit, and compute something else."""
    config = parse(["--config", str(recipe(tmp_path, {"model.depth": 18, "model.base_width": 8}, "fastpose"))])
    values = state_dict(tmp_path / "recipe.yaml") | {
        "preact.layer2.0.conv2_offset.weight": np.zeros((18, 16, 3, 3), np.float32)
    }
    write_torch(values, tmp_path / "fast_dcn.pth")
    config.runtime.ckpt = str(tmp_path / "fast_dcn.pth")
    with pytest.raises(PoseError, match=naming(tmp_path / "fast_dcn.pth", "conv2_offset.weight", "out of scope")):
        load_checkpoint(build_model(config), config)


def test_what_the_network_has_no_place_for_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = load_config(recipe(tmp_path))
    write_torch(state_dict(tmp_path / "recipe.yaml") | {"extra.weight": np.zeros(2, np.float32)}, tmp_path / "a.pth")
    config.runtime.ckpt = str(tmp_path / "a.pth")
    load_checkpoint(build_model(config), config)
    assert names(caplog.text, tmp_path / "a.pth", "backbone.extra.weight")
