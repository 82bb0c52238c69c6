"""Raw inputs and results: complete or absent, never of another run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mspose.config.builder import load_config
from mspose.config.schema import Config
from mspose.deploy import bins
from mspose.deploy.bins import Manifest, read_bin, read_manifest, write_bin, write_manifest
from mspose.errors import PoseError, UsageError
from tests.conftest import ROOT
from tests.messages import naming


def config(**overrides: object) -> Config:
    keys = {key.replace("__", "."): value for key, value in overrides.items()}
    return load_config(ROOT / "configs/quickstart/simplepose.yaml", keys)


def manifest(run: str = "a", **overrides: object) -> Manifest:
    return Manifest(run, [3, 4, 4], "float32", bins.input_settings(config(**overrides)), 1, [{"image_id": 7}] * 2)


RUN = {"run": "r", "inputs": "a", "outputs": [[17, 64, 48]], "model": "m.onnx"}
OURS = ("inputs/000000.bin", "inputs/000001_flip.bin", "results/000000_0.bin")
FOREIGN = ("inputs/notes.txt", "inputs/lidar.bin", "inputs/000002.bin", "results/weights.bin", "results/000000_1.bin")


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"old")


def fill(folder: Path) -> None:
    write(folder, *OURS, *FOREIGN)
    (folder / "results/run.json").write_text(json.dumps(RUN))


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_manifest_is_read_back(tmp_path: Path) -> None:
    write_manifest(tmp_path, manifest())
    assert read_manifest(tmp_path, config()) == manifest()


def test_mirrored_copies_are_named_behind_their_originals() -> None:
    assert manifest().names() == ["000000", "000000_flip", "000001", "000001_flip"]
    assert manifest(eval__flip_test=False).names() == ["000000", "000001"]


def test_files_of_the_same_run_stay(tmp_path: Path) -> None:
    write_manifest(tmp_path, manifest())
    fill(tmp_path)
    write_manifest(tmp_path, manifest())
    assert (tmp_path / "inputs/000000.bin").exists()


def test_files_of_another_run_are_removed_and_nothing_else(tmp_path: Path) -> None:
    write_manifest(tmp_path, manifest("a"))
    fill(tmp_path)
    write_manifest(tmp_path, manifest("b"))
    assert files(tmp_path) == {"manifest.json", *FOREIGN}


@pytest.mark.parametrize("name", ["inputs/000000.bin", "inputs/000001_flip.bin", "manifest.json"])
def test_files_that_no_manifest_lists_are_in_the_way(tmp_path: Path, name: str) -> None:
    write(tmp_path, name, "results/000000_0.bin")
    with pytest.raises(UsageError, match=naming(tmp_path / name, "output=DIR")):
        write_manifest(tmp_path, manifest())
    assert (files(tmp_path), (tmp_path / name).read_bytes()) == ({name, "results/000000_0.bin"}, b"old")


def test_a_larger_set_does_not_replace_what_the_smaller_one_did_not_write(tmp_path: Path) -> None:
    write_manifest(tmp_path, manifest("a"))
    fill(tmp_path)
    larger = replace(manifest("b"), samples=[{"image_id": 7}] * 3)
    with pytest.raises(UsageError, match=naming(tmp_path / "inputs" / "000002.bin")):
        write_manifest(tmp_path, larger)
    assert files(tmp_path) == {"manifest.json", "results/run.json", *OURS, *FOREIGN}


@pytest.mark.parametrize("name", ["run.json", "000000_0.bin"])
def test_results_that_no_record_lists_are_in_the_way(tmp_path: Path, name: str) -> None:
    write(tmp_path, f"results/{name}")
    with pytest.raises(UsageError, match=naming(tmp_path / "results" / name)):
        bins.clear_results(tmp_path / "results", manifest())
    assert files(tmp_path) == {f"results/{name}"}


def test_inputs_that_were_being_replaced_do_not_count_and_are_still_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_manifest(tmp_path, manifest("a"))
    write(tmp_path, *OURS[:2])
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            write_manifest(tmp_path, manifest("b"))
    with pytest.raises(PoseError, match=naming(tmp_path / "manifest.json", "data_to_bin.py again")):
        read_manifest(tmp_path, config())
    write_manifest(tmp_path, manifest("b"))
    assert files(tmp_path) == {"manifest.json"}


def test_missing_manifest(tmp_path: Path) -> None:
    with pytest.raises(PoseError, match=naming("not found", tmp_path / "manifest.json", "data_to_bin.py")):
        read_manifest(tmp_path, config())


@pytest.mark.parametrize("content", ["{}", "[]", '{"run": "a"}'])
def test_other_files_called_manifest(content: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(PoseError, match=naming(tmp_path / "manifest.json", "data_to_bin.py")):
        read_manifest(tmp_path, config())


@pytest.mark.parametrize(
    ("name", "value"),
    [("shape", "big"), ("shape", [3, -4, 4]), ("dtype", "object"), ("samples", [1]), ("settings", []), ("run", None)],
)
def test_manifests_that_nothing_can_be_computed_with(tmp_path: Path, name: str, value: object) -> None:
    write_manifest(tmp_path, manifest())
    content = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**content, name: value}))
    with pytest.raises(PoseError, match=naming(tmp_path / "manifest.json", "data_to_bin.py")):
        read_manifest(tmp_path, config())


def test_inputs_of_another_configuration_are_refused(tmp_path: Path) -> None:
    write_manifest(tmp_path, manifest())
    with pytest.raises(UsageError, match=r"eval\.flip_test=True.*\bFalse\b"):
        read_manifest(tmp_path, config(eval__flip_test=False))


def test_inputs_of_another_geometry_are_refused(tmp_path: Path) -> None:
    write_manifest(tmp_path, manifest())
    with pytest.raises(UsageError, match=r"data\.unbiased"):
        read_manifest(tmp_path, config(data__unbiased=True))


def test_bin_is_raw_bytes_and_read_back(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)[..., ::-1]
    write_bin(tmp_path / "x.bin", values)
    assert (tmp_path / "x.bin").read_bytes() == np.ascontiguousarray(values).tobytes()
    np.testing.assert_array_equal(read_bin(tmp_path / "x.bin", [2, 3, 4], "float32", ""), values)


@pytest.mark.parametrize("length", [0, 95, 97])
def test_bin_of_another_length(length: int, tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"\0" * length)
    with pytest.raises(PoseError, match=naming(tmp_path / "x.bin", f"{length} bytes", "96", "run it again")):
        read_bin(tmp_path / "x.bin", [2, 3, 4], "float32", "run it again")


def test_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: memoryview) -> None:
        with path.open("wb") as file:
            file.write(content[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(PoseError, match=naming(tmp_path / "x.bin", "No space left on device")):
        write_bin(tmp_path / "x.bin", np.zeros(4))
    assert list(tmp_path.iterdir()) == []


def test_hash_depends_on_every_part() -> None:
    assert len({bins.run_hash(*parts) for parts in ((1, "a"), (1, "b"), ("1", "a"), (1,))}) == 4
    assert json.dumps(bins.run_hash({"a": 1, "b": 2})) == json.dumps(bins.run_hash({"b": 2, "a": 1}))
