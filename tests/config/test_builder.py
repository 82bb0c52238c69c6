"""Configuration: inheritance, types, errors that name file and key, and the recipes that ship."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mspose.config.builder import ConfigBuilder, default_config, load_config
from mspose.config.describe import all_keys, describe_keys
from mspose.config.keys import default_of, keys_of
from mspose.config.recipes import find_recipe
from mspose.config.text import Text, parse_value, save_config
from mspose.errors import UsageError
from mspose.migrate.translate import read_values
from mspose.networks import networks
from mspose.skeleton import load_skeleton
from tests.conftest import ROOT
from tests.messages import naming, tells_of

CONFIGS = ROOT / "configs"
SKELETONS = sorted(CONFIGS.glob("skeletons/*.yaml"))
RECIPES = sorted(set(CONFIGS.rglob("*.yaml")) - set(SKELETONS))


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def complaint(path: Path, **overrides: object) -> str:
    with pytest.raises(UsageError) as caught:
        load_config(path, {key.replace("__", "."): value for key, value in overrides.items()})
    assert "\n" not in str(caught.value)
    return str(caught.value)


def set_here(key: str, value: object) -> None:
    builder = ConfigBuilder()
    builder.set(key, value, "here")
    builder.build()


def recipe_complaint(tmp_path: Path, text: str) -> str:
    path = write(tmp_path, "recipe.yaml", text)
    message = complaint(path)
    assert str(path) in message
    return message


@pytest.fixture
def messages(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """What the project's logger has said so far."""
    caplog.set_level(logging.INFO, logger="pose")
    return lambda: "\n".join(record.getMessage() for record in caplog.records)


class TestInheritance:
    def test_bases_merge_left_to_right_and_the_file_comes_last(self, tmp_path):
        write(tmp_path, "a.yaml", "train: {lr: 1, epochs: 1, keep: 1}")
        write(tmp_path, "b.yaml", "train: {lr: 2, epochs: 2}")
        config = load_config(write(tmp_path, "c.yaml", "base: [a.yaml, b.yaml]\ntrain: {lr: 3}"))
        assert (config.train.lr, config.train.epochs, config.train.keep) == (3, 2, 1)

    def test_a_single_base_needs_no_list(self, tmp_path):
        write(tmp_path, "a.yaml", "train: {epochs: 7}")
        assert load_config(write(tmp_path, "c.yaml", "base: a.yaml")).train.epochs == 7

    def test_base_paths_are_relative_to_the_file_that_names_them(self, tmp_path, monkeypatch):
        write(tmp_path, "base/deep/a.yaml", "train: {epochs: 7}")
        write(tmp_path, "base/b.yaml", "base: deep/a.yaml")
        path = write(tmp_path, "recipes/c.yaml", "base: ../base/b.yaml")
        monkeypatch.chdir("/")
        assert load_config(path).train.epochs == 7

    def test_skeleton_file_is_relative_to_the_file_that_names_it(self, tmp_path, monkeypatch):
        (tmp_path / "own" / "bones").mkdir(parents=True)
        shutil.copy(ROOT / "configs" / "skeletons" / "body14.yaml", tmp_path / "own" / "bones")
        write(tmp_path / "own", "c.yaml", "data: {skeleton: bones/body14.yaml}")
        (tmp_path / "elsewhere").mkdir()
        for folder in (tmp_path, tmp_path / "elsewhere"):
            monkeypatch.chdir(folder)
            assert load_skeleton(load_config(tmp_path / "own" / "c.yaml").data.skeleton).num_keypoints == 14

    def test_a_base_named_by_two_files_is_no_circle(self, tmp_path):
        write(tmp_path, "a.yaml", "train: {epochs: 7}")
        write(tmp_path, "b.yaml", "base: a.yaml")
        assert load_config(write(tmp_path, "c.yaml", "base: [a.yaml, b.yaml]")).train.epochs == 7

    def test_circle(self, tmp_path):
        write(tmp_path, "b.yaml", "base: recipe.yaml")
        path = write(tmp_path, "recipe.yaml", "base: b.yaml")
        assert tells_of(complaint(path), path, "base", "circle")

    def test_file_that_is_its_own_base(self, tmp_path):
        assert "circle" in recipe_complaint(tmp_path, "base: [recipe.yaml]")

    def test_missing_base_is_named(self, tmp_path):
        path = write(tmp_path, "recipe.yaml", "base: absent.yaml")
        assert tells_of(complaint(path), path, "base", "absent.yaml")

    @pytest.mark.parametrize("value", ["5", "{a: 1}", "[5]", "[[a.yaml]]"])
    def test_base_that_is_no_file_name(self, tmp_path, value):
        assert tells_of(recipe_complaint(tmp_path, f"base: {value}"), "base", repr(parse_value(value)))

    def test_an_error_in_a_base_names_the_base(self, tmp_path):
        base = write(tmp_path, "a.yaml", "train: {lrr: 1}")
        path = write(tmp_path, "recipe.yaml", "base: a.yaml")
        assert tells_of(complaint(path), base, "'train.lrr'")


class TestReading:
    @pytest.mark.parametrize(("text", "number"), [("1e-4", 1e-4), ("2E3", 2000.0), ("1.5e-3", 1.5e-3), ("3", 3.0)])
    def test_numbers_as_people_write_them(self, tmp_path, text, number):
        assert load_config(write(tmp_path, "c.yaml", f"train: {{lr: {text}}}")).train.lr == number

    def test_byte_order_mark(self, tmp_path):
        assert load_config(write(tmp_path, "c.yaml", "\ufefftrain:\n  epochs: 7\n")).train.epochs == 7

    def test_carriage_returns(self, tmp_path):
        (tmp_path / "c.yaml").write_bytes(b"train:\r\n  epochs: 7\r\n")
        assert load_config(tmp_path / "c.yaml").train.epochs == 7

    @pytest.mark.parametrize(
        ("value", "names"),
        [
            (Text("person"), ["person"]),
            (Text("3"), ["3"]),
            (Text("[person, 3]"), ["person", "3"]),
            (Text(""), []),
            (7, ["7"]),
            (["dog", 2], ["dog", "2"]),
            ("hot dog", ["hot dog"]),
        ],
    )
    def test_one_name_for_a_list_of_names(self, value, names):
        assert default_config(overrides={"data.category": value}).data.category == names

    @pytest.mark.parametrize("text", ["", "\n\n", "# nothing yet\n", "train:\n  # lr: 1\n", "base:\n"])
    def test_nothing_in_a_file_or_a_section_leaves_the_defaults(self, tmp_path, text):
        assert load_config(write(tmp_path, "c.yaml", text)) == default_config()

    def test_whole_number_for_a_float_and_text_for_a_path(self, tmp_path):
        config = load_config(write(tmp_path, "c.yaml", "train: {lr: 1}\ndata: {train_set: 2017}"))
        assert isinstance(config.train.lr, float)
        assert config.data.train_set == "2017"

    def test_missing_file(self, tmp_path):
        assert tells_of(complaint(tmp_path / "c.yaml"), tmp_path / "c.yaml", "found")

    def test_folder(self, tmp_path):
        assert tells_of(complaint(tmp_path), tmp_path, "folder")

    def test_binary_file(self, tmp_path):
        (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\x00PK")
        assert tells_of(complaint(tmp_path / "c.yaml"), tmp_path / "c.yaml", "not text")

    @pytest.mark.parametrize("text", ["train: [", "train:\n\tlr: 1\n", "train: {lr: !!python/name:os.system }"])
    def test_invalid_yaml(self, tmp_path, text):
        assert "YAML" in recipe_complaint(tmp_path, text)

    @pytest.mark.parametrize("text", ["train:\n  lr: 1\n  lr: 2\n", "train: {lr: 1}\ntrain: {lr: 2}\n"])
    def test_duplicate_key(self, tmp_path, text):
        assert tells_of(recipe_complaint(tmp_path, text), "duplicate")

    @pytest.mark.parametrize("text", ["- train\n", "5\n", "true\n"])
    def test_top_level_that_is_no_mapping(self, tmp_path, text):
        assert "sections" in recipe_complaint(tmp_path, text)


class TestUnknownAndWrong:
    def test_unknown_section(self, tmp_path):
        assert tells_of(recipe_complaint(tmp_path, "tran: {lr: 1}"), "'tran'", "'train'")

    @pytest.mark.parametrize(
        ("key", "nearest"),
        [
            ("train.lrr", "train.lr"),
            ("train.batchsize", "train.batch_size"),
            ("data.input_sise", "data.input_size"),
            ("eval.fliptest", "eval.flip_test"),
            ("model.depht", "model.depth"),
        ],
    )
    def test_misspelt_key(self, tmp_path, key, nearest):
        section, name = key.split(".")
        message = recipe_complaint(tmp_path, f"{section}: {{{name}: 1}}")
        assert tells_of(message, repr(key), repr(nearest))

    def test_key_of_another_section_is_found(self):
        with pytest.raises(UsageError, match=r"'model\.batch_size'.*'(train|eval)\.batch_size'"):
            set_here("model.batch_size", 1)

    @pytest.mark.parametrize(
        ("key", "named"),
        [
            ("TEST.MODEL_FILE", ("TEST.MODEL_FILE", "SimplePoseNet", "runtime.ckpt")),
            ("TEST.NMS_THRE", ("TEST.NMS_THRE", "SimplePoseNet", "no key")),
            ("heatmap_size", ("'codec.heatmap_size'",)),  # ours, though OpenPose had one too
        ],
    )
    def test_key_of_an_original_system(self, key, named):
        with pytest.raises(UsageError) as caught:
            set_here(key, 1)
        assert tells_of(str(caught.value), *named)

    @pytest.mark.parametrize(
        ("named", "meant"),
        [
            ("quickstart/simplepos", "quickstart/simplepose"),
            ("configs/fastpose_r50_256x19.yaml", "fastpose_r50_256x192"),
            ("openpose_vgg_368", "openpose_vgg19_368"),
            ("/elsewhere/simplepose_r50_256x129.yaml", "simplepose_r50_256x192"),
        ],
    )
    def test_misspelt_recipe(self, named, meant):
        with pytest.raises(UsageError, match=naming(meant)):
            find_recipe(named)

    def test_rank_table_in_the_place_of_a_recipe(self, tmp_path):
        message = recipe_complaint(tmp_path, '{"version": "1.0", "server_count": "1", "server_list": []}')
        assert tells_of(message, "rank table", "scripts/run_distribute_train.sh")

    def test_key_like_no_other(self):
        with pytest.raises(UsageError, match=naming("here", "'qqqq'", "--help")):
            set_here("qqqq", 1)

    def test_section_that_is_a_value(self, tmp_path):
        assert tells_of(recipe_complaint(tmp_path, "train: 5"), "train", 5)

    @pytest.mark.parametrize(
        ("key", "value", "kind"),
        [
            ("train.epochs", "many", "a whole number"),
            ("train.epochs", 1.5, "a whole number"),
            ("train.epochs", True, "a whole number"),
            ("train.epochs", None, "a whole number"),
            ("train.lr", "fast", "a number"),
            ("train.lr", [1], "a number"),
            ("train.lr", {"a": 1}, "a number"),
            ("train.shuffle", "maybe", "true or false"),
            ("train.milestones", 5, "a list of whole numbers"),
            ("train.milestones", [1.5], "a list of whole numbers"),
            ("data.mean", ["x", 1, 2], "a list of numbers"),
            ("data.mean", None, "a list of numbers"),
            ("data.mean", [{"a": 1}, 1, 2], "a list of numbers"),
            ("data.input_size", [32, {"a": 1}], "a list of whole numbers"),
            ("data.category", [["a"]], "a list of texts"),
            ("data.root", ["a"], "text"),
            ("data.root", None, "text"),
        ],
    )
    def test_wrong_type(self, key, value, kind):
        with pytest.raises(UsageError) as caught:
            set_here(key, value)
        assert tells_of(str(caught.value), "here", key, kind, repr(value))

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("data.mean", [float("nan"), 0, 0]),
            ("data.scale", float("inf")),
            ("runtime.seed", 2**32),
            ("train.log_steps", 10**400),
            ("train.milestones", [1, 2**63]),
        ],
    )
    def test_number_that_nothing_can_be_computed_with(self, key, value):
        with pytest.raises(UsageError, match=naming("here", key, "finite")):
            set_here(key, value)

    @pytest.mark.parametrize(("key", "value"), [("runtime.output", "a\0b"), ("data.category", ["a\0b"])])
    def test_text_that_no_path_holds(self, key, value):
        with pytest.raises(UsageError, match=naming("here", key, "null")):
            set_here(key, value)

    @pytest.mark.parametrize(("key", "value"), [("train.epochs", 10**6), ("train.warmup_steps", 2**31)])
    def test_counts_that_fill_the_memory(self, key, value):
        with pytest.raises(UsageError, match=naming(key, value)):
            load_config("quickstart/simplepose", {key: value})

    @pytest.mark.parametrize("name", ["../..", ".", "a..b", "..mspose", "os.path/x"])
    def test_network_that_is_no_module(self, tmp_path, name):
        assert tells_of(recipe_complaint(tmp_path, f"model: {{name: {name!r}}}"), "model.name", repr(name))

    @pytest.mark.parametrize("value", ["${data.root}", "${oc.env:HOME}", "???"])
    def test_omegaconf_has_no_magic_words(self, value):
        with pytest.raises(UsageError, match=naming("here", "data.root", repr(value))):
            set_here("data.root", value)
        with pytest.raises(UsageError, match=naming("here", "data.mean", repr(value))):
            set_here("data.mean", [value, 1, 2])

    def test_wrong_choice(self, tmp_path):
        message = recipe_complaint(tmp_path, "model: {depth: 51}")
        assert tells_of(message, "model.depth", 18, 34, 50, 101, 152, 51)

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("train.batch_size", 0),
            ("train.lr", 0),
            ("train.lr", float("nan")),
            ("train.warmup_steps", -1),
            ("train.ema", 1),
            ("train.ema_warmup_steps", -1),
            ("train.betas", [0.9]),
            ("train.betas", [0.9, 1]),
            ("train.layer_decay", 0),
            ("train.layer_decay", 1.1),
            ("train.warmup_factor", 1.5),
            ("train.flat_epochs", 1),
            ("train.end_factor", 0.5),
            ("data.flip", 1.5),
            ("data.scale_factor", 1),
            ("data.std", [1, 0, 1]),
            ("data.mean", [1, 2]),
            ("data.input_size", [192]),
            ("data.input_size", [190, 256]),
            ("data.input_size", [64, 2**63]),
            ("codec.heatmap_size", [64, 48]),
            ("codec.sigma", 1e18),
            ("model.deconv_kernels", [4, 4, 5]),
            ("model.deconv_filters", [256]),
            ("runtime.seed", -1),
            ("model.upsampling_width", 100),
            ("runtime.loss_scale", 0.5),
        ],
    )
    def test_impossible_value_names_the_key(self, tmp_path, key, value):
        section, name = key.split(".")
        text = f"{section}: {{{name}: {str(value).replace('nan', '.nan')}}}"
        # The key found wrong may be a default that this one contradicts, so the file is not always named.
        assert name in complaint(write(tmp_path, "recipe.yaml", text))

    def test_layer_decay_needs_a_network_in_layers(self, tmp_path):
        assert tells_of(
            recipe_complaint(tmp_path, "train: {layer_decay: 0.75}"), "train.layer_decay", "simplepose", 0.75
        )
        assert default_config("tests.toy.network", {"train.layer_decay": 0.75}).train.layer_decay == 0.75

    def test_impossible_value_names_the_file(self, tmp_path):
        assert tells_of(recipe_complaint(tmp_path, "train: {batch_size: 0}"), "train.batch_size", 0)

    def test_error_of_an_override_names_it(self, tmp_path):
        assert tells_of(complaint(write(tmp_path, "c.yaml", ""), train__lr="x"), "override", "train.lr", "'x'")


class TestValues:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("1e-4", 1e-4),
            ("[192, 256]", [192, 256]),
            ("[192,256]", [192, 256]),
            ("true", True),
            ("null", None),
            ("", ""),
            ("a: b", "a: b"),
            ("[1, 2", "[1, 2"),
            ("*", "*"),
            ("!!python/name:os.system",) * 2,
        ],
    )
    def test_parse_value(self, text, value):
        assert parse_value(text) == value

    def test_lists_are_replaced_not_merged(self, tmp_path):
        config = load_config(write(tmp_path, "c.yaml", "train: {milestones: [1, 2, 3]}"), {"train.milestones": [9]})
        assert config.train.milestones == [9]

    def test_configurations_share_no_lists(self):
        default_config().train.milestones.append(1)
        assert default_config().train.milestones == [90, 120]


class TestSaving:
    def test_saved_configuration_reads_back_equal(self, tmp_path):
        overrides = {
            "data.root": "2017",
            "data.val_set": "1e5",
            "runtime.output": "true",
            "train.lr": 1e-4,
            "train.init_from": "C:\\x: #y",
            "data.train_set": "ünï 'q' \"d\"",
            "train.milestones": [],
            "data.mean": [0.1, 0.2, 1 / 3],
        }
        config = load_config(write(tmp_path, "c.yaml", ""), overrides)
        save_config(config, tmp_path / "out" / "config.yaml")
        assert load_config(tmp_path / "out" / "config.yaml") == config

    def test_saved_configuration_says_its_format_and_what_wrote_it(self, tmp_path):
        save_config(default_config(), tmp_path / "config.yaml")
        first, second = (tmp_path / "config.yaml").read_text().splitlines()[:2]
        assert first.startswith("# mspose ")
        assert second == "format: 2"

    @pytest.mark.parametrize("name", networks())
    def test_every_network_reads_back(self, tmp_path, name):
        config = default_config(name)
        save_config(config, tmp_path / "config.yaml")
        assert load_config(tmp_path / "config.yaml") == config


class TestNetworks:
    """Keys of other networks: an error, but for what old files hold without meaning it."""

    @pytest.mark.parametrize("name", networks())
    def test_every_key_is_read_or_refused(self, name):
        own = keys_of(networks()[name].schema)
        default_config(name, {key: default_of(field) for key, field in own.items()} | {"model.name": name})
        for key, field in all_keys().items():
            if key not in own:
                with pytest.raises(UsageError, match=re.escape(key)):
                    default_config(name, {key: default_of(field)})

    @pytest.mark.parametrize(
        ("key", "value", "network", "owner"),
        [
            ("model.stages", 3, "simplepose", "openpose"),
            ("data.color_jitter", True, "simplepose", "openpose"),
            ("eval.nms", "soft_oks", "openpose", "simplepose"),
            ("train.proposals_epoch", 0, "openpose", "fastpose"),
            ("model.se", "none", "simplepose", "fastpose"),
            ("demo.detector", "hog", "openpose", "simplepose"),
        ],
    )
    @pytest.mark.parametrize("how", ["command line", "format 2"])
    def test_foreign_key_says_whose_it_is_even_at_its_default(self, tmp_path, key, value, network, owner, how):
        section, name = key.split(".")
        text = f"format: 2\nmodel: {{name: {network}}}\n"
        overrides = {}
        if how == "command line":
            overrides[key] = value
        elif section == "model":
            text = f"format: 2\nmodel: {{name: {network}, {name}: {value}}}\n"
        else:
            text += f"{section}: {{{name}: {str(value).lower()}}}\n"
        with pytest.raises(UsageError, match=naming(key, owner, network)):
            load_config(write(tmp_path, "c.yaml", text), overrides)

    def test_old_file_may_name_keys_of_others_at_their_defaults(self, tmp_path, messages):
        text = "model: {name: openpose, depth: 50, se: none}\neval: {nms: oks, bbox_file: boxes.json}\n"
        load_config(write(tmp_path, "c.yaml", text))
        assert tells_of(messages(), 4, "model.depth", "model.se", "eval.nms", "eval.bbox_file")

    def test_old_file_may_not_set_them_otherwise(self, tmp_path):
        text = "model: {name: openpose, depth: 101}"
        assert tells_of(recipe_complaint(tmp_path, text), "model.depth", "fastpose", "simplepose", "openpose")

    def test_old_names_of_keys_are_known_in_old_files_only(self, tmp_path):
        text = "model: {name: openpose}\ndata: {rotation_factor: 7}\ncodec: {sigma: 5}\n"
        config = load_config(write(tmp_path, "c.yaml", text))
        assert (config.data.max_rotation, config.codec.joint_sigma) == (7, 5)
        message = recipe_complaint(tmp_path, f"format: 2\n{text}")
        assert tells_of(message, "data.rotation_factor", "data.max_rotation", "openpose")

    def test_what_an_old_partial_recipe_leaves_out_is_what_it_was(self, tmp_path):
        old = load_config(write(tmp_path, "c.yaml", "model: {name: openpose}"))
        new = load_config(write(tmp_path, "d.yaml", "format: 2\nmodel: {name: openpose}"))
        assert (old.data.input_size, old.data.mean, old.codec.joint_sigma) == ([192, 256], [0.485, 0.456, 0.406], 2)
        assert (new.data.input_size, new.data.mean, new.codec.joint_sigma) == ([368, 368], [0.5] * 3, 7)

    def test_order_of_keys_plays_no_part(self, tmp_path):
        path = write(tmp_path, "c.yaml", "format: 2\ndata: {crop_shift: 3}\nmodel: {stages: 2, name: openpose}")
        assert load_config(path).model.stages == 2

    def test_other_network_than_the_recipe_names_both(self, tmp_path):
        path = write(tmp_path, "c.yaml", "format: 2\nmodel: {name: openpose}")
        with pytest.raises(UsageError, match=naming("model.name", "simplepose", path, "openpose")):
            load_config(path, {"model.name": "simplepose"})

    def test_unknown_network_lists_what_there_is(self, tmp_path):
        assert ", ".join(networks()) in recipe_complaint(tmp_path, "model: {name: posenet}")

    def test_size_of_the_maps_follows_and_must_agree(self, tmp_path):
        path = write(tmp_path, "c.yaml", "format: 2\ndata: {input_size: [96, 128]}")
        assert load_config(path).codec.heatmap_size == [24, 32]
        with pytest.raises(UsageError, match=naming("codec.heatmap_size", "[24, 32]")):
            load_config(path, {"codec.heatmap_size": [48, 64]})

    def test_newer_format_is_refused(self, tmp_path):
        assert tells_of(recipe_complaint(tmp_path, "format: 3"), "format", 2, 3)

    def test_network_from_outside_the_package(self, tmp_path, monkeypatch):
        write(
            tmp_path,
            "outside/nets.py",
            "from dataclasses import replace\nfrom mspose.networks.simplepose import NETWORK as N\n"
            "NETWORK = replace(N, name='mine')\n",
        )
        monkeypatch.chdir(tmp_path)
        assert default_config("outside.nets", {"model.deconv_filters": [8, 8, 8]}).model.name == "outside.nets"
        for name, word in (("outside.gone", "imported"), ("json.decoder", "NETWORK")):
            with pytest.raises(UsageError, match=naming(name, word)):
                default_config(name)


class TestSchema:
    @pytest.mark.parametrize("name", networks())
    def test_every_key_is_described_once_with_its_default(self, name):
        entry = networks()[name]
        text = describe_keys(entry)
        described = [line.split("=")[0].strip() for line in text.splitlines() if line.startswith("  ")]
        assert described == list(keys_of(entry.schema))

    def test_help_without_a_recipe_shows_the_keys_of_all(self):
        text = describe_keys()
        assert all(f"\n  {key}=" in text for key in all_keys())
        assert "train.lr=0.001 " in text
        assert re.search(r"data\.input_size=\[368,368\] +openpose: ", text)

    def test_every_section_has_a_title(self):
        assert all(kind.__doc__ for entry in networks().values() for kind in entry.schema.values())

    @pytest.mark.parametrize("name", networks())
    def test_defaults_pass_their_checks(self, name):
        for key, field in keys_of(networks()[name].schema).items():
            check = field.metadata["check"]
            assert check is None or check.holds(default_of(field)), key


class TestShipped:
    @pytest.mark.parametrize("path", RECIPES, ids=lambda p: str(p.relative_to(CONFIGS)))
    def test_recipe_loads(self, path):
        load_config(path)

    @pytest.mark.parametrize("path", SKELETONS, ids=lambda p: p.stem)
    def test_skeleton_loads(self, path):
        assert load_skeleton(str(path)).num_keypoints > 1

    @pytest.mark.parametrize("size", [(192, 256), (288, 384)])
    @pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
    def test_simplepose_is_there_in_every_published_form(self, depth, size):
        width, height = size
        config = load_config(CONFIGS / f"simplepose_r{depth}_{height}x{width}.yaml")
        assert (config.model.depth, config.data.input_size) == (depth, [width, height])
        assert config.codec.heatmap_size == [width // 4, height // 4]
        # SimpleBaselines: a Gaussian of 2 cells, 3 for the larger input.
        assert config.codec.sigma == (2 if height == 256 else 3)
        assert (config.train.lr, config.train.batch_size, config.train.epochs) == (1e-3, 64, 140)
        assert config.train.milestones == [90, 120]

    @pytest.mark.parametrize("depth", [50, 101, 152])
    def test_fastpose_is_there_in_every_published_form(self, depth):
        config = load_config(CONFIGS / f"fastpose_r{depth}_256x192.yaml")
        assert (config.model.depth, config.model.se, config.model.upsampling) == (depth, "none", "shuffle")
        assert (config.train.lr, config.train.batch_size, config.train.epochs) == (1e-3, 64, 270)
        assert config.train.milestones == [170, 200]

    @pytest.mark.parametrize(
        ("name", "depth", "upsampling"),
        [("fastpose_r50_256x192_alphapose", 50, "shuffle"), ("fastpose_duc_r152_256x192", 152, "duc")],
    )
    def test_alphapose_feeds_its_networks_its_own_way(self, name, depth, upsampling):
        config = load_config(CONFIGS / f"{name}.yaml")
        assert (config.model.depth, config.model.se, config.model.upsampling) == (depth, "first_block", upsampling)
        assert (config.data.color, config.data.mean, config.data.std) == ("rgb", [0.406, 0.457, 0.480], [1, 1, 1])
        assert (config.train.lr, config.train.batch_size, config.train.epochs) == (1e-3, 32, 200)
        assert config.train.milestones[:2] == [90, 120]
        assert (config.eval.rescore, config.runtime.amp) == ("alphapose", "O2")


LAUGHS = "a: &a {k: v}\n" + "".join(
    f"{after}: &{after} {{{', '.join(f'k{i}: *{before}' for i in range(9))}}}\n"
    for before, after in zip("abcdefgh", "bcdefghi")
)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (LAUGHS, ()),
        ("a: &a [*a]\n", ()),
        ("data: " + "[" * 3000 + "]" * 3000, ()),
        ("data: " + "{a: " * 3000, ()),
        ("".join(" " * i + "a:\n" for i in range(1200)), ()),
        ("a: " + "9" * 5000, ()),
        ("data:\n  root: x\n\tval_set: y\n", ("line 3", "tab")),
        ("data:\n  root: x\n  \tval_set: y\n", ("line 3", "tab")),
    ],
)
@pytest.mark.parametrize("read", [load_config, load_skeleton, read_values])
def test_hostile_yaml_is_one_line_in_every_reader(read, text, named, tmp_path):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(UsageError, match=naming(tmp_path / "x.yaml", *named)) as caught:
        read(tmp_path / "x.yaml" if read is not load_skeleton else str(tmp_path / "x.yaml"))
    assert "\n" not in str(caught.value)
