"""Reading pickles as data: a machine for the pickle opcodes that can build values, and call nothing.

Python's own unpickler imports whatever a file names and calls it. Here a global name stays a `Global`, a pair of
strings; where a file asks to call one, a table of a dozen harmless constructions answers (a tensor from a storage, an
ordered dict, a NumPy number), and every other name ends the reading. No code of the file, and none that it names, runs.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import numpy as np

LARGEST_TEXT = 1 << 24  # bytes; state dicts hold names and numbers, their tensors lie elsewhere
MOST_DIMENSIONS = 16
LARGEST_WORK = 1 << 26  # elements that calls may copy, lest a small file fills the memory
# Python's hash of a number is its remainder by 2 ** 61 - 1: where many have the same, a dict compares each with all.
MOST_ODD_KEYS = 256
LARGEST_INTEGER = 1 << 10  # bytes
MOST_STEPS = 1 << 22  # opcodes; the largest training checkpoints of pose networks have some 200,000


class Refused(Exception):
    """A pickle that is damaged, or holds something other than data; the message says what."""


@dataclass(frozen=True)
class Global:
    """What a pickle means by `module.name`; never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True)
class Opaque:
    """A value that no tensor depends on, such as a device: kept as text."""

    text: str


@dataclass(frozen=True)
class Tensor:
    """A tensor as the file describes it: a view into a storage, in elements.

    Attributes:
        storage: what `persistent` gave for it.
        dtype: name of PyTorch's type where the tensor, not its storage, knows it; else empty.
    """

    storage: Any
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str = ""


class Stream(Protocol):
    """A file, or what reads like one."""

    def read(self, size: int = -1, /) -> bytes: ...

    def readline(self, size: int = -1, /) -> bytes: ...


_MARK = object()


def load(stream: Stream, persistent: Callable[[Any], Any]) -> Any:
    """Read one pickle; the stream stands behind it afterwards.

    Args:
        persistent: gives the storage that an external reference means.

    Returns:
        Dicts, lists, tuples, sets, numbers, strings, bytes, None, NumPy numbers, `Tensor`, `Opaque`, `Global`.

    Raises:
        Refused: the pickle asks for an object other than those, is damaged, or cut short.
    """
    return _Machine(stream, persistent).run()


def _plain_ints(values: Any) -> tuple[int, ...]:
    if (
        not isinstance(values, (tuple, list))
        or len(values) > MOST_DIMENSIONS
        or not all(type(v) is int and v >= 0 for v in values)
    ):
        raise Refused("a tensor with an impossible shape")
    return tuple(values)


def _tensor(storage: Any, offset: int, shape: Any, strides: Any, *_: Any) -> Tensor:
    return Tensor(storage, _plain_ints((offset,))[0], _plain_ints(shape), _plain_ints(strides))


def _tensor_v3(
    storage: Any, offset: int, shape: Any, strides: Any, _grad: Any, _hooks: Any, dtype: Any, *_: Any
) -> Tensor:
    if not isinstance(dtype, Global):
        raise Refused("a tensor without a type")
    return Tensor(storage, _plain_ints((offset,))[0], _plain_ints(shape), _plain_ints(strides), dtype.name)


def _parameter(data: Any, *_: Any) -> Any:
    return data


def _numpy_dtype(code: Any, *_: Any) -> np.dtype:
    if not isinstance(code, str) or not re.fullmatch(r"[<>=|]?[biuf][1248]", code):
        raise Refused("it holds numbers of an unknown type")
    return np.dtype(code)


def _numpy_scalar(dtype: np.dtype, data: bytes) -> np.generic:
    data = data.encode("latin-1") if isinstance(data, str) else data
    if not isinstance(dtype, np.dtype) or len(data) != dtype.itemsize:
        raise Refused("a damaged number")
    return np.frombuffer(data, dtype)[0]


def _encode(text: str, encoding: str = "latin-1") -> bytes:
    """How Python 3 writes bytes into protocol 2."""
    if encoding not in ("latin1", "latin-1"):
        raise Refused("it holds text in an unknown encoding")
    return text.encode("latin-1")


def _is_odd(key: Any) -> bool:
    """Whether a key is a number that may have the hash of another."""
    if key is None or isinstance(key, (str, bytes)):
        return False
    return isinstance(key, (float, np.floating)) or abs(int(key)) >= 2**61 - 1


def _opaque(*arguments: Any) -> Opaque:
    return Opaque(":".join(str(a) for a in arguments if isinstance(a, (str, int))))


# What a pickle may call, and what is done instead. Nothing outside of this module can be reached from here.
_CALLS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch.nn.parameter.Parameter": _parameter,
    "torch.Size": lambda values=(): _plain_ints(values),
    "torch.device": _opaque,
    "collections.defaultdict": lambda *_: {},
    "numpy.dtype": _numpy_dtype,
    "numpy.core.multiarray.scalar": _numpy_scalar,
    "numpy._core.multiarray.scalar": _numpy_scalar,
    "_codecs.encode": _encode,
    "builtins.bytearray": lambda data=b"", *_: data if isinstance(data, bytes) else b"",
    "__builtin__.bytearray": lambda data=b"", *_: data if isinstance(data, bytes) else b"",
}


# What may be mentioned besides: types, such as `list` in a `defaultdict`, PyTorch's storages and dtypes, and the helper
# that names the class of an object next, which is then refused by that name.
_MENTIONED = {
    f"{module}.{name}"
    for module in ("builtins", "__builtin__")
    for name in ("bool", "dict", "float", "int", "list", "object", "set", "str", "tuple")
}
_MENTIONED |= {"copyreg._reconstructor", "copy_reg._reconstructor"}
_TORCH = ("torch", "torch.cuda", "torch.storage")


class _Machine:
    """Stack, marks and memo of one pickle; `run` goes through its opcodes (protocols 0 to 5)."""

    def __init__(self, stream: Stream, persistent: Callable[[Any], Any]) -> None:
        self._stream, self._persistent = stream, persistent
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._work, self._odd_keys = 0, 0

    def run(self) -> Any:
        """The value before the STOP opcode."""
        try:
            for _ in range(MOST_STEPS):
                code = self._bytes(1)
                if code == b".":
                    return self._pop()
                step = _STEPS.get(code)
                if step is None:
                    raise Refused(f"damaged: no pickle has the code {code!r}")
                step(self)
            raise Refused("far too many names and numbers for a state dict")
        except (
            IndexError,
            KeyError,
            ValueError,
            TypeError,
            AttributeError,
            struct.error,
            OverflowError,
            RecursionError,
        ) as error:
            raise Refused(f"damaged pickle ({type(error).__name__})") from error

    def _bytes(self, size: int, largest: int = LARGEST_TEXT) -> bytes:
        if size > largest:
            raise Refused(f"a value of {size} bytes among the names")
        data = self._stream.read(size)
        if len(data) != size:
            raise Refused("cut short")
        return data

    def _line(self) -> bytes:
        line = self._stream.readline(LARGEST_TEXT)
        if not line.endswith(b"\n"):
            raise Refused("cut short")
        return line[:-1]

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._bytes(struct.calcsize(form)))[0]

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        value = self._stack.pop()
        if value is _MARK:
            raise Refused("damaged pickle")
        return value

    def _pop_mark(self) -> list[Any]:
        at = len(self._stack) - 1
        while self._stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise Refused("damaged pickle")
        values = self._stack[at + 1 :]
        del self._stack[at:]
        return values

    def _top(self, kind: type) -> Any:
        if not isinstance(self._stack[-1], kind):
            raise Refused(f"an object where a {kind.__name__} belongs")
        return self._stack[-1]

    def _call(self, function: Any, arguments: Any) -> None:
        if not isinstance(function, Global) or not isinstance(arguments, tuple):
            raise Refused("damaged pickle")
        name = str(function)
        if name in ("copyreg._reconstructor", "copy_reg._reconstructor") and arguments:
            self._refuse(arguments[0])  # an object of this class
        if name not in _CALLS and name not in _CONTAINERS:
            self._refuse(function)
        self._work += sum(len(a) for a in arguments if hasattr(a, "__len__"))
        if self._work > LARGEST_WORK:
            raise Refused("far too many names and numbers for a state dict")
        self._push(_CALLS[name](*arguments) if name in _CALLS else _CONTAINERS[name](self, *arguments))

    @staticmethod
    def _refuse(what: Any) -> NoReturn:
        what = what if isinstance(what, (Global, str)) else f"an object ({type(what).__name__})"
        raise Refused(
            f"it holds {str(what)[:200]!r}, which is refused: only tensors, dicts, numbers and strings are "
            "read (in PyTorch, save the state_dict alone)"
        )

    def _append(self, values: list[Any]) -> None:
        self._top(list).extend(values)

    def _set_items(self, values: list[Any]) -> None:
        self._fill(self._top(dict), values[::2], values[1::2])

    def _fill(self, target: dict, names: list[Any], values: list[Any]) -> None:
        for name, value in zip(self._keys(names), values, strict=True):
            if name in target:
                raise Refused(f"it holds {str(name)[:100]!r} twice")
            target[name] = value

    def _keys(self, values: Any) -> Any:
        """The values, if they may be hashed: deeply nested tuples take too much stack, and see `MOST_ODD_KEYS`."""
        if not all(value is None or isinstance(value, (str, int, float, bytes, np.generic)) for value in values):
            raise Refused("it holds a dict or set with keys other than names and numbers")
        self._odd_keys += sum(map(_is_odd, values))
        if self._odd_keys > MOST_ODD_KEYS:
            raise Refused("it holds dicts or sets of far too many large numbers")
        return values

    def _new_dict(self, pairs: Any = ()) -> dict:
        result: dict = {}
        items = list(pairs.items()) if isinstance(pairs, dict) else pairs
        self._fill(result, [name for name, _ in items], [value for _, value in items])
        return result

    def _new_set(self, values: Any = ()) -> set:
        return set(self._keys(values))

    def _new_frozenset(self, values: Any = ()) -> frozenset:
        return frozenset(self._keys(values))

    def _dict(self) -> None:
        values = self._pop_mark()
        self._push({})
        self._set_items(values)

    def _add(self, values: list[Any]) -> None:
        self._top(set).update(self._keys(values))

    def _build(self) -> None:
        # The state of an object. That of a state dict is metadata; a dtype's is its byte order.
        state = self._pop()
        target = self._stack[-1]
        if isinstance(target, np.dtype):
            order: Any = state[1] if isinstance(state, tuple) and len(state) > 1 else "="
            self._stack[-1] = target.newbyteorder(order if order in "<>" else "=")
        elif not isinstance(target, (dict, Tensor)):
            self._refuse(target)

    def _global(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise Refused("damaged pickle")
        named = Global(module, name)
        is_torch = module in _TORCH and name.isidentifier()
        if not is_torch and not any(str(named) in known for known in (_CALLS, _CONTAINERS, _MENTIONED)):
            self._refuse(named)
        self._push(named)

    def _put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def _reduce(self) -> None:
        arguments = self._pop()
        self._call(self._pop(), arguments)

    def _new(self) -> None:
        arguments = self._pop()
        function = self._pop()
        if isinstance(function, Global) and str(function) not in ("collections.OrderedDict", "torch.Size"):
            self._refuse(function)
        self._call(function, arguments)

    def _new_extended(self) -> None:
        self._pop(), self._pop()
        self._refuse(self._pop())

    def _instance(self) -> None:
        module, name = self._text(self._line()), self._text(self._line())
        self._refuse(Global(module, name))

    def _object(self) -> None:
        self._refuse(self._pop_mark()[0])

    def _extension(self) -> None:
        self._refuse("a registered extension")

    @staticmethod
    def _text(data: bytes) -> str:
        """Text of Python 2, whose strings are bytes."""
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return data.decode("latin-1")

    def _quoted(self) -> None:
        line = self._line().strip()
        if len(line) < 2 or line[:1] not in b"'\"" or line[-1:] != line[:1]:
            raise Refused("damaged pickle")
        self._push(line[1:-1].decode("unicode_escape"))

    def _integer(self) -> None:
        line = self._line()
        self._push(line == b"01" if line in (b"00", b"01") else int(line[:400]))

    def _tuple(self, size: int) -> None:
        values = [self._pop() for _ in range(size)]
        self._push(tuple(reversed(values)))

    def _stack_global(self) -> None:
        name = self._pop()
        self._global(self._pop(), name)


# Calls that make what has keys.
_CONTAINERS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _Machine._new_dict,
    "collections.Counter": _Machine._new_dict,  # the milestones of PyTorch's schedules
}
for _module in ("builtins", "__builtin__"):
    _CONTAINERS |= {
        f"{_module}.dict": _Machine._new_dict,
        f"{_module}.set": _Machine._new_set,
        f"{_module}.frozenset": _Machine._new_frozenset,
    }


def _pair(machine: _Machine) -> list[Any]:
    value = machine._pop()
    return [machine._pop(), value]


_STEPS: dict[bytes, Callable[[_Machine], Any]] = {
    # Framing.
    b"\x80": lambda m: m._number("<B"),
    b"\x95": lambda m: m._number("<Q"),
    b"(": lambda m: m._push(_MARK),
    b"0": lambda m: m._stack.pop(),
    b"1": lambda m: m._pop_mark(),
    b"2": lambda m: m._push(m._stack[-1]),
    # Numbers.
    b"N": lambda m: m._push(None),
    b"\x88": lambda m: m._push(True),
    b"\x89": lambda m: m._push(False),
    b"I": lambda m: m._integer(),
    b"J": lambda m: m._push(m._number("<i")),
    b"K": lambda m: m._push(m._number("<B")),
    b"M": lambda m: m._push(m._number("<H")),
    b"L": lambda m: m._push(int(m._line()[:400].rstrip(b"L"))),
    b"\x8a": lambda m: m._push(int.from_bytes(m._bytes(m._number("<B")), "little", signed=True)),
    b"\x8b": lambda m: m._push(int.from_bytes(m._bytes(m._number("<I"), LARGEST_INTEGER), "little", signed=True)),
    b"F": lambda m: m._push(float(m._line())),
    b"G": lambda m: m._push(m._number(">d")),
    # Strings and bytes.
    b"S": lambda m: m._quoted(),
    b"T": lambda m: m._push(m._text(m._bytes(m._number("<I")))),
    b"U": lambda m: m._push(m._text(m._bytes(m._number("<B")))),
    b"V": lambda m: m._push(m._line().decode("raw-unicode-escape")),
    b"X": lambda m: m._push(m._bytes(m._number("<I")).decode("utf-8", "surrogatepass")),
    b"\x8c": lambda m: m._push(m._bytes(m._number("<B")).decode("utf-8", "surrogatepass")),
    b"\x8d": lambda m: m._push(m._bytes(m._number("<Q")).decode("utf-8", "surrogatepass")),
    b"B": lambda m: m._push(m._bytes(m._number("<I"))),
    b"C": lambda m: m._push(m._bytes(m._number("<B"))),
    b"\x8e": lambda m: m._push(m._bytes(m._number("<Q"))),
    b"\x96": lambda m: m._push(m._bytes(m._number("<Q"))),
    # Containers.
    b"]": lambda m: m._push([]),
    b"l": lambda m: m._push(m._pop_mark()),
    b"a": lambda m: m._append([m._pop()]),
    b"e": lambda m: m._append(m._pop_mark()),
    b")": lambda m: m._push(()),
    b"t": lambda m: m._push(tuple(m._pop_mark())),
    b"\x85": lambda m: m._tuple(1),
    b"\x86": lambda m: m._tuple(2),
    b"\x87": lambda m: m._tuple(3),
    b"}": lambda m: m._push({}),
    b"d": lambda m: m._dict(),
    b"s": lambda m: m._set_items(_pair(m)),
    b"u": lambda m: m._set_items(m._pop_mark()),
    b"\x8f": lambda m: m._push(set()),
    b"\x90": lambda m: m._add(m._pop_mark()),
    b"\x91": lambda m: m._push(m._new_frozenset(m._pop_mark())),
    # Memo.
    b"p": lambda m: m._put(int(m._line()[:20])),
    b"q": lambda m: m._put(m._number("<B")),
    b"r": lambda m: m._put(m._number("<I")),
    b"\x94": lambda m: m._put(len(m._memo)),
    b"g": lambda m: m._push(m._memo[int(m._line()[:20])]),
    b"h": lambda m: m._push(m._memo[m._number("<B")]),
    b"j": lambda m: m._push(m._memo[m._number("<I")]),
    # Names, storages, and what would be calls.
    b"c": lambda m: m._global(m._text(m._line()), m._text(m._line())),
    b"\x93": lambda m: m._stack_global(),
    b"P": lambda m: m._push(m._persistent(m._text(m._line()))),
    b"Q": lambda m: m._push(m._persistent(m._pop())),
    b"R": lambda m: m._reduce(),
    b"b": lambda m: m._build(),
    b"\x81": lambda m: m._new(),
    b"\x92": lambda m: m._new_extended(),
    b"i": lambda m: m._instance(),
    b"o": lambda m: m._object(),
    b"\x82": lambda m: m._extension(),
    b"\x83": lambda m: m._extension(),
    b"\x84": lambda m: m._extension(),
}
