"""Safetensors, MindSpore and NumPy files, and which of them a file is."""

from __future__ import annotations

import json
import random
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mspose.checkpoints import io
from mspose.checkpoints.ckpt_file import read_ckpt, write_ckpt
from mspose.checkpoints.origins import read_weights
from mspose.checkpoints.protobuf import encode
from mspose.checkpoints.safetensors_file import read_safetensors, write_safetensors
from mspose.checkpoints.torch_file import write_torch
from mspose.errors import PoseError
from tests.graph import ms
from tests.messages import naming

VALUES = {
    "a.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "b": np.float32([0.1, -2]),
    "none": np.zeros((0, 2), np.float32),
    "scalar": np.array(0.5, np.float32),
}


def check(values: dict[str, np.ndarray]) -> None:
    assert list(values) == list(VALUES)
    for name, value in VALUES.items():
        assert values[name].shape == value.shape
        np.testing.assert_array_equal(values[name], value)


def safetensors(path: Path, header: object, data: bytes = b"\0" * 16) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def test_safetensors_come_back(tmp_path: Path) -> None:
    write_safetensors({**VALUES, "n": np.zeros((), np.int64)}, tmp_path / "a.safetensors")
    values = read_safetensors(tmp_path / "a.safetensors")
    assert values.pop("n").dtype == np.int64
    check(values)


def test_safetensors_are_those_of_the_format(tmp_path: Path) -> None:
    official = pytest.importorskip("safetensors.numpy")
    write_safetensors(VALUES, tmp_path / "a.safetensors")
    assert {name: value.tolist() for name, value in official.load_file(tmp_path / "a.safetensors").items()} == {
        name: value.tolist() for name, value in VALUES.items()
    }
    official.save_file(VALUES, tmp_path / "b.safetensors", {"format": "pt"})
    assert {name: value.tolist() for name, value in read_safetensors(tmp_path / "b.safetensors").items()} == {
        name: value.tolist() for name, value in VALUES.items()
    }


def test_safetensors_of_half_the_width(tmp_path: Path) -> None:
    header = {
        "b": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]},
        "h": {"dtype": "F16", "shape": [1], "data_offsets": [4, 6]},
    }
    path = safetensors(tmp_path / "a.safetensors", header, b"\x80\x3f\x20\xc0" + np.float16([0.5]).tobytes())
    assert {name: value.tolist() for name, value in read_safetensors(path).items()} == {"b": [1.0, -2.5], "h": [0.5]}


@pytest.mark.parametrize(
    ("header", "named"),
    [
        ({"w.bias": {"dtype": "F32", "shape": [5], "data_offsets": [0, 20]}}, ("w.bias", "beyond")),
        ({"w.bias": {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]}}, ("w.bias", "beyond")),
        ({"a": {"dtype": "F32", "shape": [4], "data_offsets": [16, 0]}}, ("short",)),
        ({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 16]}}, ("short",)),
        (
            {
                "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
                "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
            },
            ("overlap",),
        ),
        ({"w.bias": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}, ("w.bias", "F8_E4M3")),
        ({"a": {"dtype": "F32"}}, ("short",)),
        ({"a": 1}, ("short",)),
        ([], ("short",)),
        (b'{"a":1,"a":2}', ("twice", "'a'")),
        (b"{" * 5000, ("short",)),
        (b'{"a"', ("short",)),
    ],
)
def test_broken_safetensors_are_one_line(header: object, named: tuple[str, ...], tmp_path: Path) -> None:
    path = safetensors(tmp_path / "a.safetensors", header)
    with pytest.raises(PoseError, match=naming(path, *named)) as caught:
        read_safetensors(path)
    assert "\n" not in str(caught.value)


def test_checkpoints_are_read_as_mindspore_reads_them(tmp_path: Path) -> None:
    values = {
        "a": ms.Tensor(VALUES["a.weight"]),
        "h": ms.Tensor(np.float16([[0.5]])),
        "n": ms.Tensor(np.int64([1, 2])),
        "s": ms.Tensor(3.0),
        "bf": ms.Tensor([1.5, -2.5], ms.bfloat16),
        "t": ms.Tensor([True]),
    }
    io.save(values, tmp_path / "a.ckpt")
    result = read_ckpt(tmp_path / "a.ckpt")
    assert {name: (value.dtype.name, value.tolist()) for name, value in result.items()} == {
        "a": ("float32", VALUES["a.weight"].tolist()),
        "h": ("float16", [[0.5]]),
        "n": ("int64", [1, 2]),
        "s": ("float32", 3.0),
        "bf": ("float32", [1.5, -2.5]),
        "t": ("bool", [True]),
    }


def test_mindspore_reads_written_checkpoints(tmp_path: Path) -> None:
    values = {name: value for name, value in VALUES.items() if value.ndim and value.size}
    write_ckpt({**values, "half": np.float16([0.5])}, tmp_path / "a.ckpt")
    loaded = {name: value.asnumpy() for name, value in ms.load_checkpoint(str(tmp_path / "a.ckpt")).items()}
    assert list(loaded) == [*values, "half"]
    for name, value in values.items():
        np.testing.assert_array_equal(loaded[name], value)
    assert (loaded["half"].dtype, loaded["half"].tolist()) == (np.float32, [0.5])
    np.testing.assert_array_equal(read_ckpt(tmp_path / "a.ckpt")["a.weight"], VALUES["a.weight"])


def test_a_checkpoint_with_a_checksum_is_read_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    entries = [{"name": "a", "data": ms.Tensor(np.float32([1, 2]))}]
    ms.save_checkpoint(entries, str(path), append_dict={"note": "text"}, crc_check=True)
    assert {name: value.tolist() for name, value in read_ckpt(path).items()} == {"a": [1, 2]}
    data = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(data.replace(np.float32([1, 2]).tobytes(), np.float32([1, 3]).tobytes()))
    with pytest.raises(PoseError, match=naming(path, "checksum")):
        read_ckpt(path)


@pytest.mark.parametrize("sides", [(3,), (1,), (2, 2**40), (2**62, 4), (0,), (2**64 - 1, 2)])
def test_a_shape_of_other_numbers_is_refused(tmp_path: Path, sides: tuple[int, ...]) -> None:
    """MindSpore's own reader writes them beyond the array: the process crashes, now or later."""
    dims = [(1, side) for side in sides]
    tensor = encode([*dims, (2, "Float32"), (3, np.float32([1, 2]).tobytes())])
    (tmp_path / "a.ckpt").write_bytes(encode([(1, encode([(1, "a"), (2, tensor)]))]))
    with pytest.raises(PoseError, match=naming(tmp_path / "a.ckpt")):
        read_ckpt(tmp_path / "a.ckpt")


def test_any_cut_of_a_checkpoint_is_one_line(tmp_path: Path) -> None:
    write_ckpt({"a": np.ones(3), "b": np.ones(2)}, tmp_path / "a.ckpt")
    data = (tmp_path / "a.ckpt").read_bytes()
    whole = 2 + data[1]  # after the first value, nothing says that another was to come
    for size in range(1, len(data)):
        if size == whole:
            continue
        (tmp_path / "cut.ckpt").write_bytes(data[:size])
        with pytest.raises(PoseError, match=r"cut\.ckpt") as caught:
            read_ckpt(tmp_path / "cut.ckpt")
        assert "\n" not in str(caught.value)


def test_checkpoint_with_a_name_twice_is_refused(tmp_path: Path) -> None:
    write_ckpt({"a": np.ones(1), "b": np.ones(1)}, tmp_path / "a.ckpt")
    data = (tmp_path / "a.ckpt").read_bytes()
    (tmp_path / "a.ckpt").write_bytes(data + data[: len(data) // 2])
    with pytest.raises(PoseError, match=naming(tmp_path / "a.ckpt", "twice")):
        read_ckpt(tmp_path / "a.ckpt")


def test_large_tensors_come_in_pieces(tmp_path: Path) -> None:
    def value(part: bytes) -> bytes:
        tensor = b"\x08\x04\x12\x07Float32\x1a" + bytes([len(part)]) + part
        body = b"\x0a\x01a\x12" + bytes([len(tensor)]) + tensor
        return b"\x0a" + bytes([len(body)]) + body

    data = np.arange(4, dtype="<f4").tobytes()
    (tmp_path / "a.ckpt").write_bytes(value(data[:8]) + value(data[8:]))
    assert read_ckpt(tmp_path / "a.ckpt")["a"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("kind", ["pth", "safetensors", "ckpt", "npz"])
def test_the_content_says_what_a_file_is(kind: str, tmp_path: Path) -> None:
    path, values = tmp_path / "weights.bin", {"a": np.float32([1, 2])}
    if kind == "npz":
        with path.open("wb") as file:
            np.savez(file, **values)
    else:
        {"pth": write_torch, "safetensors": write_safetensors, "ckpt": write_ckpt}[kind](values, path)
    assert read_weights(path)["a"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "empty"),
        (b"just text", "PyTorch.*safetensors.*npz"),
        (b"\ntext after a line", "readable MindSpore"),
        (b"\x80\2text", "readable PyTorch"),
        (b"PK\3\4", "readable PyTorch"),
        (b"<html>", "PyTorch.*safetensors.*npz"),
        (b"PK\3\4" + b"\0" * 22 + b"\5\0\0\0a.npy", "readable .npz"),
        (b"\x1f\x8b\x08", "PyTorch.*safetensors.*npz"),
        (b"\xff\xff\xff\xff\xff\0\0\0{", "readable safetensors"),
    ],
)
def test_other_files_are_one_line(content: bytes, match: str, tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(PoseError, match=match) as caught:
        read_weights(tmp_path / "x.pth")
    assert "x.pth" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    for path, word in ((tmp_path / "none.pth", "found"), (tmp_path, "folder")):
        with pytest.raises(PoseError, match=naming(path, word)):
            read_weights(path)


def test_pickled_objects_in_npz_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.array([{}], dtype=object))
    with pytest.raises(PoseError, match=naming(tmp_path / "a.npz", "allow_pickle")):
        read_weights(tmp_path / "a.npz")


def test_what_is_no_number_in_npz_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.ones(1), other=np.array(["text"]))
    np.savez(tmp_path / "b.npz", a=np.ones(1))
    with zipfile.ZipFile(tmp_path / "b.npz", "a") as archive:
        archive.writestr("other", b"text")
    for name in ("a.npz", "b.npz"):
        with pytest.raises(PoseError, match=naming(tmp_path / name, "other")):
            read_weights(tmp_path / name)


def save_npz(values: dict[str, np.ndarray], path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, **values)


def mutated(data: bytes, chance: random.Random) -> bytes:
    """A few bytes changed, removed, repeated, or replaced by a number that is too large or negative."""
    changed = bytearray(data)
    for _ in range(chance.choice([1, 2, 4])):
        at, kind = chance.randrange(len(changed)), chance.randrange(4)
        if kind == 0:
            changed[at] = chance.randrange(256)
        elif kind == 1:
            del changed[at : at + chance.randrange(1, 9)]
        elif kind == 2:
            changed[at:at] = changed[at : at + chance.randrange(1, 40)]
        else:
            changed[at : at + 8] = struct.pack("<q", chance.choice([-1, 1 << 31, 1 << 61, -(1 << 63), (1 << 63) - 1]))
    return bytes(changed)


@pytest.mark.parametrize("write", [write_torch, write_safetensors, write_ckpt, save_npz])
def test_changed_files_are_read_or_one_line(write: Callable, tmp_path: Path) -> None:
    whole, path, chance = tmp_path / "whole", tmp_path / "changed.bin", random.Random(0)
    write({"a.weight": VALUES["a.weight"], "b": VALUES["b"]}, whole)
    for _ in range(60):
        path.write_bytes(mutated(whole.read_bytes(), chance))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                assert all(
                    value.dtype.kind in "biuf" and np.sum(value) is not None for value in read_weights(path).values()
                )
            except PoseError as error:
                assert str(error).isprintable()  # noqa: PT017 (some are still readable)
                assert path.name in str(error)  # noqa: PT017
