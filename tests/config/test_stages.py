"""`data.stages`: keys of augmentation that change in the course of training, checked as those of `data` are."""

from __future__ import annotations

from pathlib import Path

import pytest

from mspose.config.builder import default_config, load_config
from mspose.config.keys import keys_of
from mspose.config.text import Text, save_config
from mspose.config.topdown import TopDownData
from mspose.errors import UsageError
from mspose.networks import networks
from tests.messages import tells_of

STAGES = [{"epoch": 100, "scale_factor": 0.25}, {"epoch": 120, "cutout_prob": 0.5, "scale_factor": 0.1}]


def stages(value: object) -> list:
    data = default_config(overrides={"data.stages": value}).data
    assert isinstance(data, TopDownData)
    return data.stages


def complaint(value: object) -> str:
    with pytest.raises(UsageError) as caught:
        stages(value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestValues:
    def test_none_by_default(self):
        assert default_config().data.stages == []

    def test_typed_as_the_keys_are(self):
        typed = stages([{"epoch": 3, "rotation_factor": 60, "crop_draws": "Truncated", "hsv_jitter": [5, 30, 30]}])
        assert typed == [{"epoch": 3, "rotation_factor": 60.0, "crop_draws": "truncated", "hsv_jitter": [5, 30, 30]}]
        assert isinstance(typed[0]["rotation_factor"], float)

    def test_from_a_command_line(self):
        assert stages(Text("[{epoch: 3, flip: 0}]")) == [{"epoch": 3, "flip": 0.0}]
        assert stages(Text("[]")) == []

    def test_saved_and_read_back(self, tmp_path: Path):
        config = default_config(overrides={"data.stages": STAGES})
        save_config(config, tmp_path / "config.yaml")
        assert load_config(tmp_path / "config.yaml") == config

    def test_a_recipe_replaces_those_of_its_base(self, tmp_path: Path):
        (tmp_path / "base.yaml").write_text(f"format: 2\ndata: {{stages: {STAGES}}}\n")
        path = tmp_path / "recipe.yaml"
        path.write_text("format: 2\nbase: base.yaml\ndata: {stages: [{epoch: 9, flip: 0}]}\n")
        assert load_config(path).data.stages == [{"epoch": 9, "flip": 0.0}]

    def test_every_key_of_augmentation_and_no_other_may_change(self):
        keys = keys_of({"data": TopDownData})
        staged = {name for name, f in keys.items() if f.metadata["staged"]}
        first = list(keys).index("data.crop_draws")
        assert staged == {"data.flip", *list(keys)[first:]} - {"data.stages"}


class TestAfter:
    DATA = TopDownData(scale_factor=0.4, stages=STAGES)

    @pytest.mark.parametrize(
        ("epochs", "scale", "cutout"), [(0, 0.4, 0), (99, 0.4, 0), (100, 0.25, 0), (119, 0.25, 0), (120, 0.1, 0.5)]
    )
    def test_values_hold_from_the_epoch_on_until_they_change_again(self, epochs, scale, cutout):
        data = self.DATA.after(epochs)
        assert (data.scale_factor, data.cutout_prob) == (scale, cutout)

    def test_what_a_later_stage_leaves_out_stays_as_it_was(self):
        data = TopDownData(stages=[{"epoch": 1, "flip": 0.1}, {"epoch": 2, "scale_factor": 0.2}])
        assert data.after(2).flip == 0.1
        assert data.changes(2) == {"flip": 0.1, "scale_factor": 0.2}


class TestRefused:
    @pytest.mark.parametrize(
        ("value", "things"),
        [
            ("soon", ("data.stages", "'soon'")),
            ({"epoch": 3}, ("data.stages",)),
            ([3], ("data.stages", "[3]")),
            (None, ("data.stages", "None")),
            ([{"flip": 0}], ("data.stages[0].epoch",)),
            ([{"epoch": 0, "flip": 0}], ("data.stages[0].epoch", 0)),
            ([{"epoch": 2.5, "flip": 0}], ("data.stages[0].epoch", "2.5")),
            ([{"epoch": True, "flip": 0}], ("data.stages[0].epoch", "True")),
            ([{"epoch": "late", "flip": 0}], ("data.stages[0].epoch", "'late'")),
            ([{"epoch": 3}], ("data.stages[0]", "flip")),
            ([{"epoch": 3, "flip": 0}, {"epoch": 3, "flip": 1}], ("data.stages[1].epoch", 3)),
            ([{"epoch": 3, "flip": 0}, {"epoch": 2, "flip": 1}], ("data.stages[1].epoch", 3)),
            ([{"epoch": 3, "flip": 0}, {"epoch": 4, "flip": 2}], ("data.stages[1].flip", 2)),
            ([{"epoch": 3, "scale_factor": 1}], ("data.stages[0].scale_factor", 1)),
            ([{"epoch": 3, "scale_factor": "small"}], ("data.stages[0].scale_factor", "a number", "'small'")),
            ([{"epoch": 3, "scale_factor": None}], ("data.stages[0].scale_factor", "a number", "None")),
            ([{"epoch": 3, "crop_draws": "uniform"}], ("data.stages[0].crop_draws", "clipped", "truncated")),
            ([{"epoch": 3, "hsv_jitter": [5, 30]}], ("data.stages[0].hsv_jitter", "[5, 30]")),
            ([{"epoch": 3, "hsv_jitter": [91, 0, 0]}], ("data.stages[0].hsv_jitter", 91)),
            ([{"epoch": 3, "scale_fctor": 0.3}], ("data.stages[0].scale_fctor", "'scale_factor'")),
            ([{"epoch": 3, "input_size": [256, 256]}], ("data.stages[0].input_size",)),
            ([{"epoch": 3, "root": "elsewhere"}], ("data.stages[0].root", "cutout_prob")),
            ([{"epoch": 3, "lr": 1}], ("data.stages[0].lr", "cutout_prob")),
            ([{"epoch": 3, "stages": []}], ("data.stages[0].stages",)),
            ([{"epoch": 3, 7: 1}], ("data.stages[0].7",)),
        ],
    )
    def test_one_line_names_the_stage_and_the_key(self, value, things):
        assert tells_of(complaint(value), "override", *things)

    def test_the_file_is_named(self, tmp_path: Path):
        path = tmp_path / "recipe.yaml"
        path.write_text("format: 2\ndata: {stages: [{epoch: 3, flip: 7}]}\n")
        with pytest.raises(UsageError) as caught:
            load_config(path)
        assert tells_of(str(caught.value), path, "data.stages[0].flip", 7)

    @pytest.mark.parametrize("name", [n for n, entry in networks().items() if entry.schema["data"] is not TopDownData])
    def test_networks_without_it_say_whose_it_is(self, name):
        with pytest.raises(UsageError) as caught:
            default_config(name, {"data.stages": []})
        assert tells_of(str(caught.value), "data.stages", name, "simplepose")
