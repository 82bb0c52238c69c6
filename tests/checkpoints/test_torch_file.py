"""PyTorch's files: those that PyTorch wrote come back, ours have its form, broken and hostile ones are one line."""

from __future__ import annotations

import base64
import io
import json
import pickle
import struct
import tarfile
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from mspose.checkpoints import torch_file
from mspose.checkpoints.origins import read_weights
from mspose.checkpoints.torch_file import read_torch, write_torch
from mspose.errors import PoseError
from tests.messages import naming

GOLDEN = json.loads((Path(__file__).resolve().parents[1] / "golden" / "golden_torch_files.json").read_text())
VALUES = {
    "a.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "b": np.float32([0.1, -2]),
    "n": np.zeros((), np.int64),
}


def golden(name: str, path: Path) -> Path:
    path.write_bytes(zlib.decompress(base64.b64decode(GOLDEN[name]["file"])))
    return path


def rezip(source: Path, target: Path, changes: dict[str, bytes | None], compress: int = zipfile.ZIP_STORED) -> Path:
    """A zip file with other contents for some members (by the end of their name); None leaves one out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compress) as new:
        for info in old.infolist():
            change = [value for end, value in changes.items() if info.filename.endswith(end)]
            if change != [None]:
                new.writestr(info.filename, change[0] if change else old.read(info))
    return target


def refused(path: Path, match: str) -> None:
    with pytest.raises(PoseError, match=match) as caught:
        read_torch(path)
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", GOLDEN)
def test_files_that_pytorch_wrote(name: str, tmp_path: Path) -> None:
    values = read_torch(golden(name, tmp_path / "x.pth"))
    expected = GOLDEN[name]["values"]
    assert list(values) == list(expected)
    for key, value in values.items():
        assert list(value.shape) == expected[key]["shape"], key
        np.testing.assert_array_equal(value.astype(np.float64).reshape(-1), expected[key]["values"], err_msg=key)
    if "bfloat" in values:
        assert values["bfloat"].dtype == np.float32


@pytest.mark.parametrize("name", ["zip", "stream", "tar"])
def test_any_cut_is_one_line(name: str, tmp_path: Path) -> None:
    data = golden(name, tmp_path / "whole.pth").read_bytes()
    path = tmp_path / "cut.pth"
    # The tar file ends in padding, which nothing reads.
    end = data.rindex(b"OrderedDict") if name == "tar" else len(data)
    for size in [*range(0, min(end, 300), 7), *np.linspace(300, end - 1, 120).astype(int)]:
        path.write_bytes(data[:size])
        refused(path, "PyTorch")


@pytest.mark.parametrize("name", ["zip", "stream", "tar"])
def test_changed_bytes_raise_nothing_else(name: str, tmp_path: Path) -> None:
    data = golden(name, tmp_path / "whole.pth").read_bytes()
    rng, path = np.random.default_rng(1), tmp_path / "changed.pth"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(300):
            changed = bytearray(data)
            for position in rng.integers(len(data), size=4):
                changed[position] = rng.integers(256)
            path.write_bytes(changed)
            try:
                read_torch(path)
            except PoseError as error:
                assert "\n" not in str(error)  # noqa: PT017 (most of them are still readable)


def test_damaged_numbers_in_a_zip_are_noticed(tmp_path: Path) -> None:
    write_torch(VALUES, tmp_path / "a.pth")
    data = bytearray((tmp_path / "a.pth").read_bytes())
    at = data.index(VALUES["a.weight"].tobytes())
    data[at + 5] ^= 1
    (tmp_path / "b.pth").write_bytes(data)
    refused(tmp_path / "b.pth", naming("archive/data/0"))


def test_written_files_come_back_bit_for_bit(tmp_path: Path) -> None:
    values = {**VALUES, "t": np.float32([[np.nan, -0.0, np.inf]]).T, "none": np.zeros((0, 2), np.float32)}
    write_torch(values, tmp_path / "a.pth")
    result = read_torch(tmp_path / "a.pth")
    assert list(result) == list(values)
    for name, value in values.items():
        assert (result[name].dtype, result[name].shape) == (value.dtype, value.shape)
        assert result[name].tobytes() == value.tobytes()


def test_written_files_have_the_form_that_pytorch_reads(tmp_path: Path) -> None:
    """Names of members, and of the functions that the pickle calls, as in a file of PyTorch's."""
    write_torch(VALUES, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as archive:
        assert archive.testzip() is None
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.namelist() == [
            "archive/data.pkl",
            "archive/byteorder",
            "archive/data/0",
            "archive/data/1",
            "archive/data/2",
            "archive/version",
        ]
        assert archive.read("archive/version") == b"3\n"
        calls: list[tuple] = []

        class Reader(pickle.Unpickler):
            def find_class(self, module: str, name: str) -> object:
                return (
                    dict
                    if name == "OrderedDict"
                    else f"{module}.{name}"
                    if name.endswith("Storage")
                    else (lambda *arguments: calls.append((f"{module}.{name}", *arguments)))
                )

            def persistent_load(self, reference: tuple) -> tuple:
                return reference

        assert list(Reader(archive.open("archive/data.pkl")).load()) == list(VALUES)
    assert calls[0] == (
        "torch._utils._rebuild_tensor_v2",
        ("storage", "torch.FloatStorage", "0", "cpu", 12),
        0,
        (3, 4),
        (4, 1),
        False,
        {},
    )
    assert calls[2][1:4] == (("storage", "torch.LongStorage", "2", "cpu", 1), 0, ())


def test_equal_weights_make_equal_files(tmp_path: Path) -> None:
    for name in ("a.pth", "b.pth"):
        write_torch(VALUES, tmp_path / name)
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()


def test_compressed_members_and_other_roots_are_read(tmp_path: Path) -> None:
    write_torch(VALUES, tmp_path / "a.pth")
    path = rezip(tmp_path / "a.pth", tmp_path / "b.pth", {}, zipfile.ZIP_DEFLATED)
    np.testing.assert_array_equal(read_torch(path)["a.weight"], VALUES["a.weight"])
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "c.pth", "w") as new:
        for info in old.infolist():
            new.writestr(info.filename.replace("archive/", "../../evil/"), old.read(info))
    np.testing.assert_array_equal(read_torch(tmp_path / "c.pth")["a.weight"], VALUES["a.weight"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.pth", "b.pth", "c.pth"]


def test_big_endian_numbers(tmp_path: Path) -> None:
    write_torch({"b": VALUES["b"]}, tmp_path / "a.pth")
    big = {"byteorder": b"big", "data/0": VALUES["b"].astype(">f4").tobytes()}
    path = rezip(tmp_path / "a.pth", tmp_path / "b.pth", big)
    np.testing.assert_array_equal(read_torch(path)["b"].astype(np.float32), VALUES["b"])


def test_names_held_twice_are_refused(tmp_path: Path) -> None:
    write_torch(VALUES, tmp_path / "a.pth")
    with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "a.pth", "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("archive/data/0", b"other")
    refused(tmp_path / "a.pth", naming("twice"))


@pytest.mark.parametrize("length", [0, 1, 255, 256, 257, 600])
def test_names_as_lines_of_any_length(length: int, tmp_path: Path) -> None:
    write_torch({"a.weight": VALUES["b"]}, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as archive:
        data = archive.read("archive/data.pkl")
    name = b"x" * length
    changed = data.replace(b"X\x08\0\0\0a.weight", b"V" + name + b"\n")
    assert changed != data
    path = rezip(tmp_path / "a.pth", tmp_path / "b.pth", {"data.pkl": changed})
    assert list(read_torch(path)) == [name.decode()]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"data.pkl": None}, r"data\.pkl"),
        ({"data/0": None}, "archive/data/0"),
        ({"data/0": b"\0" * 40}, naming("'a.weight'", "beyond")),
        ({"data/0": b""}, naming("'a.weight'", "beyond")),
        ({"data.pkl": b"\x80\2cposix\nsystem\nX\2\0\0\0id\x85R."}, "'posix.system'"),
        ({"data.pkl": b"\x80\2K\1."}, "state dict"),
        ({"data.pkl": b"\x80\2}(X\1\0\0\0aK\1X\1\0\0\0bK\2u."}, naming("state dict", "a, b")),
        ({"data.pkl": b"\x80\2(X\6\0\0\0modulecmodels\nNet\nK\1K\2K\3tQ."}, "'models.Net'"),
    ],
)
def test_other_contents_are_refused(changes: dict, match: str, tmp_path: Path) -> None:
    write_torch(VALUES, tmp_path / "a.pth")
    refused(rezip(tmp_path / "a.pth", tmp_path / "b.pth", changes), match)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        (b"FloatStorage", b"ComplexFloatStorage", "torch.ComplexFloatStorage"),
        (b"FloatStorage", b"QInt8Storage", "torch.QInt8Storage"),
        (b"ctorch\nFloatStorage", b"cos\nFloatStorage", "os.FloatStorage"),
        (b"J\4\0\0\0J\1\0\0\0t", b"J\5\0\0\0J\1\0\0\0t", naming("'a.weight'", "beyond")),
        (b"J\4\0\0\0J\1\0\0\0t", b"J\xff\xff\xff\xffJ\1\0\0\0t", "shape"),
        (b"tQJ\0\0\0\0(J\3", b"tQJ\1\0\0\0(J\3", naming("'a.weight'", "beyond")),
        (b"J\x0c\0\0\0tQ", b"J\xff\xff\0\0tQ", naming("'a.weight'", "beyond")),
        (b"J\x0c\0\0\0tQ", b"J\xff\xff\xff\xfftQ", naming("damaged", "storage")),
        (b"_rebuild_tensor_v2", b"_rebuild_sparse_tensor", "torch._utils._rebuild_sparse_tensor"),
        (b"X\1\0\0\0b", b"X\x08\0\0\0a.weight", naming("'a.weight'", "twice")),
    ],
)
def test_impossible_tensors_are_refused(old: bytes, new: bytes, match: str, tmp_path: Path) -> None:
    write_torch(VALUES, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as archive:
        data = archive.read("archive/data.pkl")
    assert old in data
    refused(rezip(tmp_path / "a.pth", tmp_path / "b.pth", {"data.pkl": data.replace(old, new, 1)}), match)


def doublings(levels: int = 24) -> bytes:
    """Opcodes for a tuple that holds the one before twice: to print or to hash it takes 2 ** levels steps."""
    return b")q\0" + b"".join(b"0h%ch%c\x86q%c" % (i, i, i + 1) for i in range(levels))


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        (b"X\1\0\0\0" + b"0X", doublings() + b"X", naming("damaged", "storage")),
        (b"(J\3\0\0\0J\4\0\0\0t(J\4\0\0\0", b"(K\1J\4\0\0\0t(\x8a\x0b" + b"\x7f" * 11, "large"),
        (b"(J\3\0\0\0J\4\0\0\0t(J\4\0\0\0J\1\0\0\0t", b"(J\0\0\2\0J\0\0\2\0t(K\0K\0t", naming("65536 MB")),
        (b"a.weight", b"a.wei\x1bht", r"'a\.wei\\x1bht'"),
        (b"FloatStorage", b"Flo\x1btStorage", r"'torch\.Flo\\x1btStorage'"),
    ],
)
def test_hostile_values_do_no_harm(old: bytes, new: bytes, match: str, tmp_path: Path) -> None:
    write_torch(VALUES, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as archive:
        data = archive.read("archive/data.pkl")
    assert old in data
    path = rezip(tmp_path / "a.pth", tmp_path / "b.pth", {"data.pkl": data.replace(old, new, 1)})
    with pytest.raises(PoseError, match=match) as caught:
        read_weights(path)
    assert str(caught.value).isprintable()


def tar_file(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize(
    ("count", "view", "shape", "strides", "offset"),
    [
        (4, None, (2, 2), (2, 1), -1),
        (4, None, (2, 2), (2, 1), 1),
        (4, None, (2, 2), (2, 1), 1 << 60),
        (4, None, (2, 2), (-2, 1), 2),
        (4, None, (2,), (-1,), 3),
        (4, None, (2, 2), (1 << 62, 1), 0),
        (4, None, (-2, -2), (2, 1), 0),
        (4, None, (1 << 62, 1 << 62), (0, 0), 0),
        (-1, None, (1,), (1,), 0),
        (5, None, (4,), (1,), 0),
        (4, (-100, 4), (4,), (1,), 0),
        (4, (0, 5), (5,), (1,), 0),
        (4, (2, 3), (3,), (1,), 0),
        (4, (0, -1), (4,), (1,), -5),
        (4, (0.0, 4), (4,), (1,), 0),
        (4, (False, 4), (4,), (1,), 0),
        (4, ("0", 4), (4,), (1,), 0),
    ],
)
def test_nothing_outside_of_a_storage_of_an_old_file_is_read(
    count: int, view: tuple | None, shape: tuple, strides: tuple, offset: int, tmp_path: Path
) -> None:
    def file(count: int, view: tuple | None, shape: tuple, strides: tuple, offset: int) -> Path:
        kind = b"ctorch\nFloatStorage\n"
        views = [("v", "s", *view)] if view else []
        numbers = (*shape, *strides, offset)
        return tar_file(
            tmp_path / "a.pth.tar",
            {
                "storages": b"\x80\2K\1.\x80\2(U\1sU\3cpu"
                + kind
                + b"t."
                + struct.pack("<q4f", count, 1, 2, 3, 4)
                + pickle.dumps(views, 2),
                "tensors": b"\x80\2K\1."
                + pickle.dumps(("t", "v" if view else "s", None), 2)
                + struct.pack(f"<i4x{len(numbers)}q", len(shape), *numbers),
                "pickle": b"\x80\2}X\1\0\0\0aX\1\0\0\0tQs.",
            },
        )

    good = file(4, (1, 3), (2,), (2,), 0)
    assert read_torch(good)["a"].tolist() == [2, 4]
    refused(file(count, view, shape, strides, offset), "beyond|shape|damaged|short|repeat")


def test_headers_that_lead_backwards_end(tmp_path: Path) -> None:
    path = tar_file(tmp_path / "a.pth.tar", {"x": b""})
    data = bytearray(path.read_bytes())
    data[124:136] = b"\xff" * 10 + b"\xfe\x00"  # a size of -512
    data[148:156] = b"%06o\0 " % (sum(data[:148]) + 8 * 32 + sum(data[156:512]))
    path.write_bytes(data)
    refused(path, "short")


@pytest.mark.parametrize("name", ["storages", "tensors", "pickle"])
def test_hostile_keys_of_old_files_do_no_harm(name: str, tmp_path: Path) -> None:
    key = doublings()
    members = {"storages": b"\x80\2K\0.\x80\2].", "tensors": b"\x80\2K\0.", "pickle": b"\x80\2}."}
    members[name] = {
        "storages": b"\x80\2K\0.\x80\2](K\1" + key + b"K\0K\0te.",
        "tensors": b"\x80\2K\1.\x80\2(" + key + key + b"Nt.",
        "pickle": b"\x80\2" + key + b"Q.",
    }[name]
    refused(tar_file(tmp_path / "a.pth.tar", members), "short|damaged|object")


def test_archives_that_unpack_to_far_too_much_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_file, "_LARGEST_COMPRESSED", 2000)
    write_torch({"a": np.zeros(400, np.float32), "b": np.zeros(400, np.float32)}, tmp_path / "a.pth")
    rezip(tmp_path / "a.pth", tmp_path / "b.pth", {}, zipfile.ZIP_DEFLATED)
    np.savez_compressed(tmp_path / "b.npz", a=np.zeros(400, np.float32), b=np.zeros(400, np.float32))
    for path in (tmp_path / "b.pth", tmp_path / "b.npz"):
        with pytest.raises(PoseError, match=naming("0 MB")) as caught:
            read_weights(path)
        assert path.name in str(caught.value)
    assert len(read_torch(tmp_path / "a.pth")) == 2  # not compressed


def test_figures_beside_a_state_dict_are_not_taken_for_it(tmp_path: Path) -> None:
    """PyTorch's example trainer keeps the best accuracy as a tensor."""
    write_torch(VALUES, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as archive:
        data = archive.read("archive/data.pkl").removeprefix(b"\x80\2").removesuffix(b".")
    one = data[data.index(b"ctorch._utils") : data.index(b"tR") + 2]
    for name in (b"state_dict", b"my_network"):
        nested = b"\x80\2}(X\4\0\0\0best" + one + b"X\x0a\0\0\0" + name + data + b"u."
        path = rezip(tmp_path / "a.pth", tmp_path / "b.pth", {"data.pkl": nested})
        assert list(read_torch(path)) == list(VALUES)


def test_programs_and_other_archives_are_named(tmp_path: Path) -> None:
    write_torch(VALUES, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth", "a") as archive:
        archive.writestr("archive/constants.pkl", b"")
    refused(tmp_path / "a.pth", "TorchScript")


def test_other_pickles_are_no_pytorch_files(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(pickle.dumps({"a": 1}, 2))
    refused(tmp_path / "a.pth", "none that PyTorch wrote")
    head = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
    (tmp_path / "b.pth").write_bytes(head + b"\x80\2cnt\nsystem\nX\2\0\0\0id\x85R.")
    refused(tmp_path / "b.pth", "nt.system")
    # A storage that claims more than there is.
    tensor = (
        b"\x80\2}X\1\0\0\0actorch._utils\n_rebuild_tensor\n((X\7\0\0\0storagectorch\nFloatStorage\n"
        b"X\1\0\0\0kX\3\0\0\0cpuK\1NtQK\0K\1\x85K\1\x85tRs."
    )
    data = head + tensor + pickle.dumps(["k"], 2)
    # Before PyTorch 1, a storage could be a view of another: (its key, first element, number of elements).
    view = data.replace(b"K\1NtQ", b"K\4(X\1\0\0\0vK\2K\1ttQ")
    (tmp_path / "v.pth").write_bytes(view + struct.pack("<q4f", 4, 1, 2, 3, 4))
    assert read_torch(tmp_path / "v.pth")["a"].tolist() == [3.0]
    (tmp_path / "c.pth").write_bytes(data + struct.pack("<q", 1) + b"\0\0\x80?")
    assert read_torch(tmp_path / "c.pth")["a"].tolist() == [1.0]
    for count in (-1, 2, 1 << 61):
        (tmp_path / "c.pth").write_bytes(data + struct.pack("<q", count) + b"\0\0\x80?")
        refused(tmp_path / "c.pth", "cut short")
