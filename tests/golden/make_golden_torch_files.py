"""Makes golden_torch_files.json: small files written by PyTorch itself, in all of its formats, and what they hold.

Run `python -m tests.golden.make_golden_torch_files` where PyTorch 2 is installed; nothing else here needs it. The tar
format, which PyTorch no longer writes, is put together here and read by PyTorch before it is kept.
"""

import base64
import io
import json
import pickle
import struct
import tarfile
import tempfile
import zlib
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

GOLDEN = Path(__file__).with_name("golden_torch_files.json")


def tensors() -> "OrderedDict[str, torch.Tensor]":
    """Types, views and shared storages that real files hold."""
    base = torch.arange(24, dtype=torch.float32)
    return OrderedDict(
        plain=torch.tensor([[1.5, -2.25], [1e-30, 3e30]]),
        scalar=torch.tensor(0.1),
        empty=torch.zeros(0, 3),
        transposed=base.reshape(4, 6).t(),
        strided=base[1:23:3],
        half=torch.tensor([0.1, 65504.0]).half(),
        bfloat=torch.tensor([0.1, 3e38, -1.0]).bfloat16(),
        double=torch.tensor([0.1]).double(),
        counter=torch.tensor(7),
        parameter=torch.nn.Parameter(torch.tensor([2.0])),
    )


def stored(value: object, **options: object) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


class _References(pickle.Pickler):
    def persistent_id(self, value: object) -> str | None:
        return str(value[1]) if isinstance(value, tuple) and value[:1] == ("tensor",) else None


def oldest() -> tuple[bytes, "OrderedDict[str, torch.Tensor]"]:
    """The tar format: two storages, a view of the first, three tensors."""

    def pickled(value: object) -> bytes:
        return pickle.dumps(value, protocol=2)

    def tensor(key: int, storage: int, kind: type, shape: list[int], strides: list[int], offset: int) -> bytes:
        numbers = [*shape, *strides, offset]
        return pickled((key, storage, kind)) + struct.pack(f"<q{len(numbers)}q", len(shape), *numbers)

    storages = pickled(2)
    for key, kind, array in (
        (11, torch.FloatStorage, np.arange(24, dtype="<f4")),
        (12, torch.HalfStorage, np.arange(6, dtype="<f2")),
    ):
        storages += pickled((key, "cpu", kind)) + struct.pack("<q", array.size) + array.tobytes()
    storages += pickled([(14, 11, 12, 12)])
    members = {
        "sys_info": pickled({"little_endian": True}),
        "tensors": pickled(3)
        + tensor(21, 11, torch.FloatTensor, [2, 3], [6, 2], 1)
        + tensor(22, 14, torch.FloatTensor, [3, 2], [1, 3], 4)
        + tensor(23, 12, torch.HalfTensor, [6], [1], 0),
        "storages": storages,
    }
    file = io.BytesIO()
    _References(file, 2).dump(OrderedDict(a=("tensor", 21), b=("tensor", 22), c=("tensor", 23)))
    members["pickle"] = file.getvalue()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:", format=tarfile.PAX_FORMAT) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    with tempfile.NamedTemporaryFile() as copy:  # PyTorch reads this format from real files alone
        copy.write(archive.getvalue())
        copy.flush()
        return archive.getvalue(), torch.load(copy.name, weights_only=False)


def main() -> None:
    """Write the file."""
    state_dict = tensors()
    training = {
        "epoch": 3,
        "arch": "resnet",
        "state_dict": state_dict,
        "perf": np.float64(0.7),
        "steps": np.int64(5),
        "device": torch.device("cuda:1"),
        "names": {"a", "b"},
        "dtype": torch.float16,
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"betas": (0.9, 0.999)}]},
        "history": OrderedDict(loss=[0.5, 0.25]),
        "note": b"\xff",
        "big": 2**70,
    }
    tar, old = oldest()
    files = {
        "zip": (stored(state_dict), state_dict),
        "zip-training": (stored(training), state_dict),
        "zip-protocol-5": (stored(training, pickle_protocol=5), state_dict),
        "stream": (stored(state_dict, _use_new_zipfile_serialization=False), state_dict),
        "stream-training": (stored(training, _use_new_zipfile_serialization=False), state_dict),
        "tar": (tar, old),
    }
    content = {}
    for name, (data, values) in files.items():
        expected = {
            key: {"shape": list(value.shape), "values": value.detach().double().reshape(-1).tolist()}
            for key, value in values.items()
        }
        content[name] = {"file": base64.b64encode(zlib.compress(data, 9)).decode(), "values": expected}
    GOLDEN.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
