"""Writing results: whole or not at all, and errors that name the path."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mspose.errors import PoseError
from mspose.filenames import short_name
from mspose.files import (
    atomic_group,
    atomic_path,
    check_writable,
    read_json,
    remove_abandoned,
    utf8_path,
    write_json,
    write_text,
)
from tests.messages import naming, tells_of


def test_the_file_appears_only_when_the_block_ends(tmp_path):
    target = tmp_path / "new" / "result.png"
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        assert not target.exists()
        assert temporary.parent == target.parent
        assert temporary.suffix == ".png"
    assert target.read_text() == "half"
    assert os.listdir(target.parent) == ["result.png"]


def test_an_error_in_the_block_keeps_the_old_file_and_leaves_nothing_behind(tmp_path):
    target = write_text(tmp_path / "result.txt", "old")
    with pytest.raises(ZeroDivisionError), atomic_path(target) as temporary:  # noqa: PT012
        temporary.write_text("new")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["result.txt"]


@pytest.mark.parametrize(
    "name", ["x" * 250 + ".json", "写" * 83 + ".json", "x" * 255, "a.png", ".json", "ü" * 126 + ".a"]
)
def test_names_as_long_as_they_may_be(tmp_path, name):
    write_text(tmp_path / name, "text")
    assert os.listdir(tmp_path) == [name]


def test_names_that_are_not_utf8(tmp_path):
    name = os.fsdecode(b"caf\xe9.json")
    write_text(tmp_path / name, f"says {name}")
    assert (tmp_path / name).read_text(encoding="utf-8").startswith("says caf")
    with utf8_path(tmp_path / name) as path:
        assert path.encode().endswith(b".json")
        assert Path(path).read_text() == (tmp_path / name).read_text()
    assert not Path(path).exists()
    with utf8_path(tmp_path / "写.json") as path:
        assert path == str(tmp_path / "写.json")


def test_short_names_are_distinct_and_as_they_were():
    assert short_name("café") == "café"
    long = [short_name("写" * 70 + letter) for letter in "ab"]
    assert len({*long}) == 2
    assert all(len(os.fsencode(name)) <= 195 for name in long)


def test_permissions_are_those_of_any_new_file(tmp_path):
    (tmp_path / "plain").touch()
    written = write_text(tmp_path / "written", "")
    assert written.stat().st_mode == (tmp_path / "plain").stat().st_mode


def killed_while_writing(path: Path) -> Path:
    """The temporary file that a process has left which was killed while it wrote `path`."""
    code = (
        "import os, sys; from mspose.files import atomic_path\n"
        "with atomic_path(sys.argv[1]) as path: print(path, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True, check=False)
    left = Path(done.stdout.strip())
    assert done.returncode == -9
    assert left.is_file()
    return left


def test_what_a_killed_process_was_writing_goes_with_the_next_file(tmp_path: Path) -> None:
    left = killed_while_writing(tmp_path / "movie.mp4")
    write_text(tmp_path / "other.txt", "")
    assert not left.exists()


def test_what_a_living_process_is_writing_stays(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a") as temporary:
        remove_abandoned(tmp_path)
        assert temporary.exists()


def test_the_number_of_a_killed_process_that_another_has_now(tmp_path: Path) -> None:
    left = killed_while_writing(tmp_path / "a.txt")
    pid = left.name.split("-")[2]
    left = left.rename(tmp_path / left.name.replace(f"-{pid}-", f"-{os.getpid()}-"))
    remove_abandoned(tmp_path)
    assert left.exists() is not Path("/proc").is_dir()


def test_temporary_files_of_another_host_go_after_a_day(tmp_path: Path) -> None:
    left = killed_while_writing(tmp_path / "a.txt")
    host = left.name.split("-")[1]
    left = left.rename(tmp_path / left.name.replace(host, "0" * 6))
    remove_abandoned(tmp_path)
    assert left.exists()
    os.utime(left, (time.time() - 100_000,) * 2)
    remove_abandoned(tmp_path)
    assert not left.exists()


def test_hidden_files_of_others_stay(tmp_path: Path) -> None:
    gone = killed_while_writing(tmp_path / "a.ckpt")
    kept = {f"a{gone.name}", gone.name.replace("mspose", "tmp"), gone.name[:-6], ".a.mspose-1.ckpt", ".train.lock"}
    for name in kept:
        (tmp_path / name).touch()
    remove_abandoned(tmp_path)
    assert set(os.listdir(tmp_path)) == kept


@pytest.mark.parametrize("moves", [0, 1, 2])
@pytest.mark.parametrize("earlier", [False, True])
def test_a_pair_that_is_interrupted_is_never_of_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moves: int, earlier: bool
) -> None:
    model, card = tmp_path / "m.onnx", tmp_path / "m.onnx.json"
    if earlier:
        model.write_text("old")
        card.write_text("old")
    done, replace = [], Path.replace

    def stop(path: Path, target: Path) -> None:
        if len(done) == moves:
            raise KeyboardInterrupt
        done.append(target)
        replace(path, target)

    monkeypatch.setattr(Path, "replace", stop)
    try:
        with atomic_group(model, card) as (file, record):
            file.write_text("new")
            record.write_text("new")
    except KeyboardInterrupt:
        assert moves < 2
    assert not model.exists() or model.read_text() == card.read_text()


def test_a_disk_too_full_for_one_of_a_pair_names_that_one(tmp_path: Path) -> None:
    model, card = tmp_path / "m.onnx", tmp_path / "m.onnx.json"
    for full in (model, card):
        named = naming(full, "No space left on device")
        with pytest.raises(PoseError, match=named), atomic_group(model, card) as pair, atomic_path(pair[full == card]):
            raise OSError(28, os.strerror(28))
        assert os.listdir(tmp_path) == []


def test_a_pair_that_fails_keeps_the_old_one(tmp_path: Path) -> None:
    model, card = write_text(tmp_path / "m.onnx", "old"), write_text(tmp_path / "m.onnx.json", "old")
    with pytest.raises(ZeroDivisionError), atomic_group(model, card) as (file, _):  # noqa: PT012
        file.write_text("new")
        raise ZeroDivisionError
    assert [model.read_text(), card.read_text(), len(os.listdir(tmp_path))] == ["old", "old", 2]


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_umask_is_kept_and_never_lifted(tmp_path, umask, monkeypatch):
    before = os.umask(umask)
    monkeypatch.setattr(os, "umask", None)  # it belongs to all threads
    try:
        with atomic_path(tmp_path / "written") as temporary:
            temporary.unlink()
            temporary.touch(0o400)  # as MindSpore leaves its checkpoints
    finally:
        monkeypatch.undo()
        os.umask(before)
    assert (tmp_path / "written").stat().st_mode & 0o777 == 0o666 & ~umask


def test_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").touch()
    target = tmp_path / "file" / "result.txt"
    with pytest.raises(PoseError, match=naming(target)):
        write_text(target, "")


def test_target_that_is_a_folder(tmp_path):
    (tmp_path / "result.txt" / "x").mkdir(parents=True)
    with pytest.raises(PoseError, match=naming(tmp_path / "result.txt")):
        write_text(tmp_path / "result.txt", "")
    assert os.listdir(tmp_path) == ["result.txt"]


def test_full_disk(tmp_path):
    named = naming(tmp_path / "result.txt", "No space left on device")
    with pytest.raises(PoseError, match=named), atomic_path(tmp_path / "result.txt"):
        raise OSError(28, os.strerror(28))
    assert os.listdir(tmp_path) == []


def test_text_is_utf8(tmp_path):
    assert write_text(tmp_path / "t", "σ×").read_bytes() == "σ×".encode()


def test_numpy_becomes_json(tmp_path):
    value = {"a": np.arange(3), "b": np.float32(0.5), "c": np.bool_(True), "d": Path("x/y"), "e": [np.int64(7)]}
    path = write_json(tmp_path / "v.json", value)
    assert json.loads(path.read_text()) == {"a": [0, 1, 2], "b": 0.5, "c": True, "d": "x/y", "e": [7]}


def test_value_that_json_has_no_form_for(tmp_path):
    with pytest.raises(TypeError):
        write_json(tmp_path / "v.json", {"a": object()})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a":' * 100_000, '{"a": [' * 50_000, "9" * 5000])
def test_json_bombs_are_one_line(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(PoseError, match=naming("annotation file", tmp_path / "x.json")) as caught:
        read_json(tmp_path / "x.json", "annotation file")
    assert "\n" not in str(caught.value)


class TestReadJson:
    def message(self, path: Path) -> str:
        with pytest.raises(PoseError) as caught:
            read_json(path, "detection file")
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def test_reads(self, tmp_path):
        assert read_json(write_json(tmp_path / "v.json", [1, "ü"]), "file") == [1, "ü"]

    def test_byte_order_mark(self, tmp_path):
        (tmp_path / "v.json").write_bytes(b"\xef\xbb\xbf[1]")
        assert read_json(tmp_path / "v.json", "file") == [1]

    def test_missing(self, tmp_path):
        assert tells_of(self.message(tmp_path / "v.json"), "detection file", tmp_path / "v.json", "found")

    def test_folder(self, tmp_path):
        assert tells_of(self.message(tmp_path), "detection file", tmp_path, "folder")

    @pytest.mark.parametrize("content", [b"", b'{"images": [{"id": 1}', b"\xff\xd8\xff\xe0", b"<html>"])
    def test_not_json(self, tmp_path, content):
        (tmp_path / "v.json").write_bytes(content)
        assert tells_of(self.message(tmp_path / "v.json"), "detection file", tmp_path / "v.json", "JSON")

    @pytest.mark.parametrize(
        ("content", "things"),
        [
            ('{"images": [], "annotations": [1], "annotations": []}', ("'annotations'",)),
            ('[{"id": 12, "bbox": [1], "bbox": [1]}]', ("'bbox'", "id", 12)),
            ('{"config": {"data": {"scale": 1, "scale": 255}}}', ("'scale'",)),
        ],
    )
    def test_a_key_twice(self, tmp_path, content, things):
        (tmp_path / "v.json").write_text(content)
        assert tells_of(self.message(tmp_path / "v.json"), "detection file", tmp_path / "v.json", "twice", *things)


class TestCheckWritable:
    def test_makes_the_folder_and_leaves_it_empty(self, tmp_path):
        assert os.listdir(check_writable(tmp_path / "a" / "b")) == []

    def test_a_file_in_its_place(self, tmp_path):
        (tmp_path / "a").touch()
        with pytest.raises(PoseError, match=naming(tmp_path / "a", "output=DIR")):
            check_writable(tmp_path / "a" / "b")

    @pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that nobody can write to")
    def test_a_folder_nobody_can_write_to(self):
        with pytest.raises(PoseError, match=naming("/proc", "output=DIR")):
            check_writable("/proc/results")


@pytest.mark.parametrize("start", [b"\xff\xd8\xff\xe0\x00\x10JFIF", b"\x00\x00\x00\x1cftypisom", b"\x89PNG\r\n\x1a\n"])
def test_a_picture_or_a_video_is_not_taken_for_json_that_was_cut_short(tmp_path: Path, start: bytes) -> None:
    path = tmp_path / "photo.json"
    path.write_bytes(start + bytes(range(256)))
    with pytest.raises(PoseError) as caught:
        read_json(path, "annotation file")
    assert str(caught.value) == f"annotation file is not JSON in UTF-8, but perhaps a picture or a video: {path}"
