"""PyTorch's files without PyTorch: reading `.pth`, `.pt`, `.pth.tar` of all its formats, writing the present one.

- zip (PyTorch 1.6 and later): `NAME/data.pkl`, a pickle, and `NAME/data/KEY`, the numbers of each storage;
- a stream of pickles, then the storages one after the other (0.1.10 to 1.5);
- a tar file of `storages`, `tensors` and `pickle` (before that).

The pickles are read by `mspose.checkpoints.pickled`, which runs nothing. Tensors are views into the mapped file, so
that reading costs no memory of its own.
"""

from __future__ import annotations

import math
import mmap
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mspose.checkpoints.pickled import Global, Refused, Stream, Tensor, load
from mspose.errors import PoseError, one_line
from mspose.files import atomic_path

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_LARGEST_PICKLE, _LARGEST_COMPRESSED = 1 << 26, 1 << 30
_LINE = 256  # bytes among which the end of a line is looked for
# Bytes of all tensors for each of all storages: views that repeat their numbers would fill memory and disk.
_MOST_SHARING = 4
# PyTorch's types by the name of their storage and by their own; bfloat16 is the upper half of a float32.
_BFLOAT16 = "bfloat16"
_DTYPES = {
    "Double": "f8",
    "Float": "f4",
    "Half": "f2",
    "BFloat16": _BFLOAT16,
    "Long": "i8",
    "Int": "i4",
    "Short": "i2",
    "Char": "i1",
    "Byte": "u1",
    "Bool": "?",
    "float64": "f8",
    "float32": "f4",
    "float16": "f2",
    "bfloat16": _BFLOAT16,
    "int64": "i8",
    "int32": "i4",
    "int16": "i2",
    "int8": "i1",
    "uint8": "u1",
    "bool": "?",
    "uint16": "u2",
    "uint32": "u4",
    "uint64": "u8",
}
# Where training checkpoints keep the network among other things.
_USUAL_KEYS = ("state_dict", "model_state_dict", "model", "network", "net", "weights")


@dataclass(frozen=True)
class _Storage:
    """Numbers that tensors are views of: `count` elements from `start` on of what lies under `key`."""

    key: str
    dtype: str
    count: int
    start: int = 0


def read_torch(path: Path) -> dict[str, np.ndarray]:
    """Read the state dict of a PyTorch file, alone or within a training checkpoint.

    Returns:
        Arrays by name, most of them views into the mapped file; bfloat16 as float32.

    Raises:
        PoseError: not a PyTorch file, damaged, cut short, or holding anything but data.
    """
    try:
        with path.open("rb") as file:
            head = file.read(265)
            file.seek(0)
            reader = _read_zip if head[:4] == b"PK\3\4" else _read_tar if head[257:262] == b"ustar" else _read_stream
            tree, buffer, order = reader(file)
            return _Arrays(buffer, order).views(_state_dict(tree))
    except Refused as error:
        raise PoseError(f"not a readable PyTorch file: {path}: {one_line(error, 400)}") from error
    except (
        OSError,
        EOFError,
        struct.error,
        zipfile.BadZipFile,
        zlib.error,
        tarfile.TarError,
        NotImplementedError,
        RuntimeError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        OverflowError,
    ) as error:
        reason = one_line(error) or type(error).__name__
        raise PoseError(f"not a readable PyTorch file (cut short?): {path}: {reason}") from error


def check_compressed(archive: zipfile.ZipFile) -> None:
    """Refuse an archive that unpacks to more than any weights have.

    Raises:
        Refused: it does.
    """
    size = sum(info.file_size for info in archive.infolist() if info.compress_type != zipfile.ZIP_STORED)
    if size > _LARGEST_COMPRESSED:
        raise Refused(f"its compressed members would unpack to {size >> 20} MB")


# What lies under the key of a storage.
Buffer = Callable[[str], memoryview]


def _read_zip(file: BinaryIO) -> tuple[Any, Buffer, str]:
    """PyTorch 1.6 and later. Members are looked up by name and never extracted."""
    archive = zipfile.ZipFile(file)
    members = {info.filename: info for info in archive.infolist()}
    if len(members) != len(archive.infolist()):
        raise Refused("the archive holds a name twice")
    check_compressed(archive)
    roots = [name.removesuffix("data.pkl") for name in members if name == "data.pkl" or name.endswith("/data.pkl")]
    if not roots:
        raise Refused("a zip archive, but not PyTorch's (no data.pkl)")
    root = min(roots, key=len)
    if f"{root}constants.pkl" in members:
        raise Refused("a TorchScript program; save its state_dict instead")
    mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def content(info: zipfile.ZipInfo) -> memoryview:
        if info.compress_type != zipfile.ZIP_STORED:  # not by PyTorch
            return memoryview(archive.read(info))
        name, extra = struct.unpack_from("<HH", mapped, info.header_offset + 26)
        start = info.header_offset + 30 + name + extra
        data = mapped[start : start + info.file_size]
        # A checksum of 0: PyTorch was told to compute none.
        if len(data) != info.file_size or (info.CRC and zlib.crc32(data) != info.CRC):
            raise Refused(f"{info.filename} is damaged")
        return data

    byte_order = members.get(f"{root}byteorder")
    order = ">" if byte_order and bytes(content(byte_order)).strip() == b"big" else "<"
    info = members[f"{root}data.pkl"]
    if info.file_size > _LARGEST_PICKLE:
        raise Refused("data.pkl is too large")
    tree = load(_Bytes(content(info)), _storage)
    return tree, lambda key: content(members[f"{root}data/{key}"]), order


def _read_stream(file: BinaryIO) -> tuple[Any, Buffer, str]:
    """PyTorch 0.1.10 to 1.5: five pickles, then each storage as its count (int64) and its numbers."""

    def nothing(reference: Any) -> Any:
        raise Refused("a reference where none belongs")

    if file.read(1) != b"\x80":
        raise Refused("it is none of PyTorch's formats")
    stream = _Bytes(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
    if load(stream, nothing) != _MAGIC or load(stream, nothing) != _PROTOCOL:
        raise Refused("it is a pickle, but none that PyTorch wrote")
    system = load(stream, nothing)
    if not isinstance(system, dict):
        raise Refused("it is a pickle, but none that PyTorch wrote")
    order = "<" if system.get("little_endian", True) else ">"
    found: dict[str, _Storage] = {}

    def storage(reference: Any) -> _Storage:
        result = _storage(reference)
        found.setdefault(result.key, result)
        return result

    tree = load(stream, storage)
    keys = load(stream, nothing)
    buffers = {}
    for key in map(_key, keys):
        buffers[key] = _next_storage(stream, found[key].dtype, order)
    return tree, buffers.__getitem__, order


def _read_tar(file: BinaryIO) -> tuple[Any, Buffer, str]:
    """PyTorch before 0.1.10: storages, tensors (by the address they had) and the pickle are members of a tar file."""
    members = _tar_members(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))

    def nothing(reference: Any) -> Any:
        raise Refused("a reference where none belongs")

    stream = _Bytes(members["storages"])
    storages, buffers = {}, {}
    for _ in range(load(stream, nothing)):
        key, _location, kind = load(stream, nothing)
        key, dtype = _key(key), _dtype(kind)
        buffers[key] = data = _next_storage(stream, dtype, "<")
        storages[key] = _Storage(key, dtype, len(data) // _itemsize(dtype))
    for key, root, offset, count in load(stream, nothing):
        base = storages[_key(root)]
        storages[_key(key)] = _Storage(base.key, base.dtype, _natural(count), base.start + _natural(offset))
    stream = _Bytes(members["tensors"])
    tensors = {}
    for _ in range(load(stream, nothing)):
        key, storage, _kind = load(stream, nothing)
        dimensions = struct.unpack("<ixxxx", stream.read(8))[0]
        if not 0 <= dimensions <= 16:
            raise Refused("a tensor with an impossible shape")
        numbers = struct.unpack(f"<{2 * dimensions + 1}q", stream.read(8 * (2 * dimensions + 1)))
        tensors[_key(key)] = Tensor(storages[_key(storage)], numbers[-1], numbers[:dimensions], numbers[dimensions:-1])

    def persistent(reference: Any) -> Any:
        if isinstance(reference, tuple):
            raise Refused("it holds an object, which is refused: save the state_dict instead")
        return tensors[_key(reference)]

    return load(_Bytes(members["pickle"]), persistent), buffers.__getitem__, "<"


def _tar_members(data: memoryview) -> dict[str, memoryview]:
    """Contents of the plain files in a tar file. `tarfile` itself follows headers that send it backwards, for ever."""
    members, at = {}, 0
    while any(header := bytes(data[at : at + tarfile.BLOCKSIZE])):
        info = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        at += tarfile.BLOCKSIZE
        if not 0 <= info.size <= len(data) - at:
            raise Refused("cut short")
        if info.type in (tarfile.REGTYPE, tarfile.AREGTYPE):
            members[info.name] = data[at : at + info.size]
        at += -(-info.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    return members


def _next_storage(stream: _Bytes, dtype: str, order: str) -> memoryview:
    """The storage that comes next in a stream: its count of numbers, and these."""
    count = struct.unpack(f"{order}q", stream.read(8))[0]
    return stream.view(count * _itemsize(dtype))


class _Bytes(Stream):
    """Reads a memoryview as a file, without copying it first."""

    def __init__(self, data: memoryview) -> None:
        self._data, self._at = data, 0

    def read(self, size: int = -1, /) -> bytes:
        data = bytes(self._data[self._at : self._at + size])
        self._at += len(data)
        return data

    def readline(self, size: int = -1, /) -> bytes:
        end = min(len(self._data), self._at + size)
        for at in range(self._at, end, _LINE):
            found = bytes(self._data[at : min(at + _LINE, end)]).find(b"\n")
            if found >= 0:
                return self.read(at + found + 1 - self._at)
        return self.read(end - self._at)

    def view(self, size: int) -> memoryview:
        """The next `size` bytes, not copied."""
        if not 0 <= size <= len(self._data) - self._at:
            raise Refused("cut short")
        self._at += size
        return self._data[self._at - size : self._at]


def _dtype(kind: Any) -> str:
    """NumPy's code for `torch.FloatStorage`, `torch.cuda.HalfStorage` and the like; empty for an untyped storage."""
    if not isinstance(kind, Global) or kind.module not in ("torch", "torch.cuda", "torch.storage"):
        raise Refused(f"it holds a storage of {kind}" if isinstance(kind, Global) else "it holds a damaged storage")
    name = kind.name.removesuffix("Storage")
    if name == "Untyped":
        return ""
    if name not in _DTYPES:
        raise Refused(f"it holds numbers of type {kind}; convert them to float32 in PyTorch")
    return _DTYPES[name]


def _key(value: Any) -> str:
    """The name of a storage or tensor. Anything else, of which a pickle can nest much in little, is not looked into."""
    if type(value) not in (str, int):
        raise Refused("it holds a damaged storage")
    return str(value)


def _natural(number: Any) -> int:
    """A number of elements, or the place of one."""
    if type(number) is not int or number < 0:
        raise Refused("it holds a damaged storage")
    return number


def _itemsize(dtype: str) -> int:
    return 1 if not dtype else 2 if dtype == _BFLOAT16 else np.dtype(dtype).itemsize


def _storage(reference: Any) -> _Storage:
    """What a pickle's external reference (kind, type, key, device, count[, view]) means."""
    if not isinstance(reference, tuple) or len(reference) < 5 or reference[0] != "storage":
        what = reference[1] if isinstance(reference, tuple) and len(reference) > 1 else None
        what = str(what) if isinstance(what, Global) else "an object"
        raise Refused(f"it holds {what}, which is refused: save the state_dict instead")
    _, kind, key, _, count, *view = reference
    start = 0
    if view and view[0] is not None:  # of old files: (key of the view, first element, number of elements)
        _, start, count = view[0]
    return _Storage(_key(key), _dtype(kind), _natural(count), _natural(start))


class _Arrays:
    """Tensors as views into the storages of a file."""

    def __init__(self, buffer: Buffer, order: str) -> None:
        self._buffer, self._order = buffer, order
        self._flat: dict[tuple[str, str], np.ndarray] = {}

    def views(self, tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
        """The arrays of all tensors."""
        checked = {name: (self._numbers(tensor, name), tensor) for name, tensor in tensors.items()}
        size = sum(flat.itemsize * math.prod(tensor.shape) for flat, tensor in checked.values())
        if size > _MOST_SHARING * sum(flat.nbytes for flat in self._flat.values()):
            raise Refused(f"its tensors repeat their numbers to {size >> 20} MB")
        return {
            name: np.lib.stride_tricks.as_strided(
                flat, tensor.shape, [stride * flat.itemsize for stride in tensor.strides], writeable=False
            )
            for name, (flat, tensor) in checked.items()
        }

    def _numbers(self, tensor: Tensor, name: str) -> np.ndarray:
        """The part of a storage that a tensor is a view of, from its first element to its last.

        A view is not checked again by NumPy: an index beyond would read whatever lies there in memory.
        """
        storage = tensor.storage
        if not isinstance(storage, _Storage):
            raise Refused(f"{name!r} has no storage")
        if tensor.dtype and tensor.dtype not in _DTYPES:
            raise Refused(f"{name!r} holds numbers of type torch.{tensor.dtype}; convert them to float32 in PyTorch")
        dtype = _DTYPES.get(tensor.dtype, storage.dtype)
        if not dtype or len(tensor.shape) != len(tensor.strides):
            raise Refused(f"{name!r} has no type or a damaged shape")
        if min((tensor.offset, *tensor.shape, *tensor.strides)) < 0:
            raise Refused(f"{name!r} has an impossible shape")
        flat = self._elements(storage.key, dtype)
        count = storage.count if storage.dtype else storage.count // _itemsize(dtype)
        if 0 in tensor.shape:
            return flat[:0]
        last = tensor.offset + sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides))
        if last >= count or storage.start + count > len(flat):
            raise Refused(f"{name!r} reaches beyond its storage (cut short?)")
        return flat[storage.start + tensor.offset : storage.start + last + 1]

    def _elements(self, key: str, dtype: str) -> np.ndarray:
        """All numbers of a storage, in one row."""
        if (key, dtype) not in self._flat:
            data, size = self._buffer(key), _itemsize(dtype)
            data = data[: len(data) // size * size]
            if dtype == _BFLOAT16:
                flat = bfloat16(np.frombuffer(data, f"{self._order}u2"))
            else:
                flat = np.frombuffer(data, self._order + dtype)
            self._flat[key, dtype] = flat
        return self._flat[key, dtype]


def bfloat16(halves: np.ndarray) -> np.ndarray:
    """bfloat16 numbers, given as uint16, as float32: they are its upper halves."""
    words = halves.astype(np.uint32)
    words <<= 16  # in place: all weights of a file may be in memory at once
    return words.view(np.float32)


def _state_dict(tree: Any) -> dict[str, Tensor]:
    """The tensors of the network: the file itself, or the entry of a training checkpoint that holds them."""

    def tensors(value: Any) -> dict[str, Tensor]:
        items = value.items() if isinstance(value, dict) else ()
        return {name: v for name, v in items if isinstance(name, str) and isinstance(v, Tensor)}

    entries = {name: tensors(value) for name, value in tree.items()} if isinstance(tree, dict) else {}
    entries = {name: value for name, value in entries.items() if value}
    for name in _USUAL_KEYS:
        if name in entries:
            return entries[name]
    found = tensors(tree)  # beside a state dict, figures such as the best accuracy may be tensors too
    if len(found) > max(map(len, entries.values()), default=0):
        return found
    if len(entries) != 1:
        names = ", ".join(map(str, list(entries or (tree if isinstance(tree, dict) else ()))[:8])) or "nothing"
        raise Refused(f"it holds no state dict of tensors by name, but {names[:200]}")
    return next(iter(entries.values()))


# Pickle opcodes of the few things that a state dict is made of.
_ORDERED_DICT = b"ccollections\nOrderedDict\n)R"
_STORAGES = {np.dtype(np.float32): b"FloatStorage", np.dtype(np.int64): b"LongStorage"}


def write_torch(values: Mapping[str, np.ndarray], path: Path) -> None:
    """Write float32 and int64 arrays as a state dict that `torch.load(weights_only=True)` reads.

    Raises:
        PoseError: the file cannot be written.
    """
    arrays = [np.require(value, requirements="C") for value in values.values()]
    parts = [b"\x80\2", _ORDERED_DICT, b"("]
    for i, (name, array) in enumerate(zip(values, arrays)):
        strides = [stride // array.itemsize for stride in array.strides]
        parts += [
            _text(name),
            b"ctorch._utils\n_rebuild_tensor_v2\n((",
            _text("storage"),
            b"ctorch\n" + _STORAGES[array.dtype] + b"\n",
            _text(str(i)),
            _text("cpu"),
            _integer(array.size),
            b"tQ",
            _integer(0),
            _integers(array.shape),
            _integers(strides),
            b"\x89",
            _ORDERED_DICT,
            b"tR",
        ]
    parts += [b"u."]
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:

        def member(name: str) -> zipfile.ZipInfo:
            return zipfile.ZipInfo(f"archive/{name}")  # with a fixed date: equal weights make equal files

        archive.writestr(member("data.pkl"), b"".join(parts))
        archive.writestr(member("byteorder"), sys.byteorder)
        for i, array in enumerate(arrays):
            with archive.open(member(f"data/{i}"), "w", force_zip64=array.nbytes > 1 << 31) as file:
                file.write(array.reshape(-1).data.cast("B"))
        archive.writestr(member("version"), "3\n")


def _text(text: str) -> bytes:
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _integer(number: int) -> bytes:
    if number < 1 << 31:
        return b"J" + struct.pack("<i", number)
    return b"\x8a\x08" + struct.pack("<q", number)


def _integers(numbers: Any) -> bytes:
    return b"(" + b"".join(map(_integer, numbers)) + b"t"
