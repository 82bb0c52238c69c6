"""Results replace neither what is read nor what this program did not write."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mspose.checkpoints.card import card_path, is_exported
from mspose.config.builder import default_config
from mspose.config.text import save_config
from mspose.errors import UsageError
from mspose.outputs import check_targets, result_files
from tests.messages import naming


def symbolic(path: Path) -> Path:
    (path.parent / "link").symlink_to(path)
    return path.parent / "link"


def hard(path: Path) -> Path:
    os.link(path, path.parent / "link")
    return path.parent / "link"


NAMES: dict[str, Callable[[Path], Path]] = {
    "itself": lambda path: path,
    "dots": lambda path: path.parent / "x" / ".." / path.name,
    "symbolic link": symbolic,
    "hard link": hard,
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", ["demo.boxes", "runtime.ckpt", "eval.bbox_file", "data.val_annotations"])
def test_what_is_read_is_not_replaced(tmp_path: Path, key: str, name: str) -> None:
    path, record = tmp_path / "predictions.json", tmp_path / "demo_config.yaml"
    path.write_text("[]")
    (tmp_path / "x").mkdir()
    config = default_config("simplepose", {key: str(path)})
    save_config(config, record)  # results of an earlier run, which could be replaced if they were not read
    with pytest.raises(UsageError, match=naming(key)):
        check_targets(config, [NAMES[name](path)], [record])
    check_targets(default_config("simplepose"), [path], [record])


def test_a_file_that_is_named_to_be_written_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.touch()
    config = default_config("simplepose", {"export.file_name": str(path)})
    check_targets(config, [path], [card_path(path)], is_record=lambda card: True)


def test_detections_below_the_data_are_read(tmp_path: Path) -> None:
    path = tmp_path / "boxes.json"
    path.touch()
    config = default_config("simplepose", {"eval.bbox_file": "boxes.json", "data.root": str(tmp_path)})
    with pytest.raises(UsageError, match=r"eval\.bbox_file"):
        check_targets(config, [path], [path], is_record=lambda card: True)


def test_what_lies_beside_weights_is_read(tmp_path: Path) -> None:
    for name in ("m.onnx", "m.onnx.json", "w.ckpt", "w.yaml"):
        (tmp_path / name).write_text("weights: {}")
    for ckpt, beside in (("m.onnx", "m.onnx.json"), ("w.ckpt", "w.yaml")):
        config = default_config("simplepose", {"runtime.ckpt": str(tmp_path / ckpt)})
        with pytest.raises(UsageError, match=beside):
            check_targets(config, [tmp_path / beside], [tmp_path / beside], is_record=lambda path: True)


def test_annotations_of_the_standard_layout_and_pictures_are_read(tmp_path: Path) -> None:
    config = default_config("simplepose", {"data.root": str(tmp_path), "data.val_set": "mine"})
    path = tmp_path / "annotations" / "person_keypoints_mine.json"
    path.parent.mkdir()
    path.write_text("{}")
    picture = tmp_path / "a.jpg"
    picture.write_text("")
    for target in (path, picture):
        with pytest.raises(UsageError, match=target.name):
            check_targets(config, [target], [tmp_path / "r.yaml"], [picture], is_record=lambda path: True)


@pytest.mark.parametrize("text", ["", "format: 2\nmodel: {depth: 18}\n", "a list", "- 1", "{", None])
def test_what_no_run_wrote_is_not_replaced(tmp_path: Path, text: str | None) -> None:
    config, record = default_config("simplepose"), tmp_path / "eval_config.yaml"
    (tmp_path / "metrics.json").write_text("{}")
    if text is not None:
        record.write_text(text)
    with pytest.raises(UsageError, match=r"metrics\.json"):
        check_targets(config, [tmp_path / "metrics.json"], [record])


def test_results_of_an_earlier_run_are_replaced_and_not_its_neighbours(tmp_path: Path) -> None:
    config = default_config("simplepose")
    files, records = result_files(tmp_path, "eval_config.yaml")
    save_config(config, tmp_path / "postprocess_config.yaml")
    (tmp_path / "metrics.json").write_text("{}")
    check_targets(config, files, records)
    (tmp_path / "eval_config.yaml").write_text("format: 2\nmodel: {depth: 18}\n")  # a recipe of that name
    with pytest.raises(UsageError, match=r"eval_config\.yaml"):
        check_targets(config, files, records)


def test_a_model_beside_somebody_elses_card_is_not_ours(tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    assert not is_exported(card_path(model))
    card_path(model).write_text("{}")
    assert not is_exported(card_path(model))
