"""Pickles are read as data: what they would run is refused by name, what is damaged in one line."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import pickle
import struct
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mspose.checkpoints.pickled import Refused, load


def nothing(reference: object) -> object:
    raise Refused("a reference")


def read(data: bytes) -> object:
    return load(io.BytesIO(data), nothing)


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: Callable, *arguments: object) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple:
        return self._call


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_plain_values_come_back(protocol: int) -> None:
    value = {
        "a": [1, -1, 2**40, -(2**70), 0.5, True, False, None],
        "ü\n": (1, (2,), ()),
        "s": {1, 2},
        3: b"\xff\0",
        "f": frozenset(["x"]),
        "o": OrderedDict(x=1),
        "n": np.float32(0.1),
        "i": np.int64(-3),
        "t": "x" * 300,
        "d": defaultdict(list),
        "c": Counter([90, 120, 120]),
    }
    result = read(pickle.dumps(value, protocol))
    assert result == value
    assert result["n"].dtype == np.float32


def test_shared_values_are_read_once() -> None:
    names = ["a"]
    result = read(pickle.dumps([names, names]))
    assert result[0] is result[1]


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Calls(os.system, "touch {}"), "posix.system"),
        (Calls(eval, "open('{}', 'w')"), "eval"),
        (Calls(exec, "open('{}', 'w')"), "exec"),
        (Calls(getattr, "text", "upper"), "getattr"),
        (Calls(os.open, "{}", 65), "posix.open"),
        (Calls(Path, "{}"), "pathlib.Path"),
        (Calls(print, "x"), "print"),
        (argparse.Namespace(a=1), "argparse.Namespace"),
        (ValueError("x"), "ValueError"),
        (1j, "complex"),
        (slice(1), "slice"),
    ],
)
def test_calls_are_refused_by_name(value: object, name: str, protocol: int, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    if isinstance(value, Calls):
        function, arguments = value._call
        value = Calls(function, *(a.format(victim) if isinstance(a, str) else a for a in arguments))
    data = pickle.dumps({"x": value}, protocol)
    with pytest.raises(Refused, match=name):
        read(data)
    assert not victim.exists()


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"(S'id'\nios\nsystem\n.", "os.system"),
        (b"(cos\nsystem\nS'id'\no.", "os.system"),
        (b"\x80\2cos\nsystem\n)\x81.", "os.system"),
        (b"\x80\4\x8c\2os\x8c\6system\x93)}\x92.", "os.system"),
        (b"\x80\4\x8c\x0bcollections\x8c\x14OrderedDict.__init__\x93)}\x92.", "OrderedDict.__init__"),
        (b"\x80\4\x8c\x05torch\x8c\x08hub.load\x93)R.", "torch.hub.load"),
        (b"\x80\2ccollections\nOrderedDict\n))\x92.", "OrderedDict"),
        (b"\x80\2}X\1\0\0\0acos\nsystem\ns.", "os.system"),
        (b"\x80\2\x82\1.", "extension"),
        (b"ccollections\nOrderedDict\n}b.", "OrderedDict"),
        (b"\x80\2]}b.", "list"),
        (b"\x80\2ctorch._utils\n_rebuild_tensor_v2\n}(X\1\0\0\0aK\1ub.", "_rebuild_tensor_v2"),
        (b"\x80\2cbuiltins\nset\n(]t\x85R.", "keys"),
        (b"\x80\2cnumpy\ndtype\nX\1\0\0\0O\x85R.", "type"),
        (b"\x80\2cnumpy\ndtype\nX\2\0\0\0f4\x85R.", ""),
        (b"cnumpy.core.multiarray\n_reconstruct\n)R.", "_reconstruct"),
    ],
)
def test_other_ways_to_make_objects_are_refused(data: bytes, name: str) -> None:
    if not name:
        assert read(data) == np.dtype("f4")
        return
    with pytest.raises(Refused, match=name):
        read(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b".",
        b"\x80\2",
        b"\x80\2N",
        b"\x80\2(.",
        b"0.",
        b"h\5.",
        b"\x80\2X\xff\xff\xff\xff.",
        b"\xff.",
        b"\x80\2]K\1K\2s.",
        b"\x80\2}K\1u.",
        b"\x80\2}(K\1u.",
        b"e.",
        b"t.",
        b"\x85.",
        b"R.",
        b"\x80\2NNR.",
        b"Ix\n.",
        b"\x80\2X\1\0\0\0\xff.",
        b"S'x\n.",
        b"\x8a\5\0.",
        b"Gxx",
        b"cx\n",
        b"\x93.",
        b"\x80\2K\1K\2\x93.",
        b"\x8e" + struct.pack("<Q", 1 << 62),
        b"\x80\2}}K\1s.",
        b"\x80\2}" + b")\x85" * 9 + b"K\1s.",
    ],
)
def test_damaged_pickles_are_one_line(data: bytes) -> None:
    with pytest.raises(Refused) as caught:
        read(data)
    assert "\n" not in str(caught.value)


def test_any_cut_is_noticed() -> None:
    data = pickle.dumps({"name": [1.5, "text", (2, 3)], "other": OrderedDict(a=np.float64(3))}, 2)
    for size in range(len(data)):
        with pytest.raises(Refused):
            read(data[:size])


def test_random_bytes_raise_nothing_else() -> None:
    rng = np.random.default_rng(0)
    whole = pickle.dumps({"name": [1.5, "text", (2, 3)], "other": OrderedDict(a=np.float64(3), b={1, 2})}, 2)
    for _ in range(3000):
        data = bytearray(whole)
        for position in rng.integers(len(data), size=3):
            data[position] = rng.integers(256)
        with contextlib.suppress(Refused):
            read(bytes(data))


@pytest.mark.parametrize(
    "hostile",
    [
        b"\x80\2}" + b")" + b"\x85" * 500_000 + b"K\1s.",  # a key that cannot be hashed without a deep stack
        b"\x80\2" + b")" + b"\x85" * 500_000 + b".",
        b"\x80\2r\xff\xff\xff\xff.",
        b"\x80\2X\0\0\x80\0" + b"x" * (1 << 23) + b"q\0" + b"c_codecs\nencode\nh\0\x85R" * 2000 + b".",  # copies
        b"\x80\2" + b"]q\0" + b"(h\0h\0e" * 60 + b".",  # a list that holds itself, again and again
        b"\x80\2(" + b"]" * (1 << 23) + b"t.",  # many small values
    ],
)
def test_hostile_shapes_do_no_harm(hostile: bytes) -> None:
    with contextlib.suppress(Refused):
        read(hostile)


def test_same_name_twice_is_refused() -> None:
    with pytest.raises(Refused, match="'a'"):
        read(b"\x80\2}(X\1\0\0\0aK\1X\1\0\0\0aK\2u.")


HASH = 2**61 - 1  # numbers that differ by multiples of it have one hash


@pytest.mark.parametrize(
    "value",
    [
        {HASH * n: 0 for n in range(1, 2000)},
        {-HASH * n: 0 for n in range(1, 2000)},
        {"a": [{HASH * n + m: 0 for n in range(1, 50)} for m in range(50)]},
        {HASH * n for n in range(1, 2000)},
        frozenset(HASH * n for n in range(1, 2000)),
        OrderedDict.fromkeys((HASH * n for n in range(1, 2000)), 0),
        {1.5 * 2.0**n for n in range(1000)},
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_many_keys_of_one_hash_are_refused(value: object, protocol: int) -> None:
    with pytest.raises(Refused, match="large"):
        read(pickle.dumps(value, protocol))


def test_large_numbers_are_keys_and_values() -> None:
    value = {
        **{2**40 + n: 0 for n in range(3000)},
        2**64: 1,
        -(2**70): 2,
        0.5: 3,
        "values": [2**64 + n for n in range(3000)],
    }
    assert read(pickle.dumps(value)) == value
