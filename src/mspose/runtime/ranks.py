"""Several processes that train or evaluate as one, through MindSpore's collectives (HCCL, NCCL, MCCL on CPU)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np

from mspose.errors import PoseError, UsageError


@dataclass(frozen=True)
class Ranks:
    """The processes of a run and which of them this one is.

    Attributes:
        rank, world: number of this process, and of all.
    """

    rank: int = 0
    world: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes checkpoints, results and logs."""
        return self.rank == 0

    def share(self, count: int) -> np.ndarray:
        """Numbers below `count` that fall to this rank: every one falls to exactly one, none is dropped or repeated."""
        return np.arange(self.rank, count, self.world)

    def gather(self, array: np.ndarray) -> list[np.ndarray]:
        """The arrays of all ranks, in order of rank; they may differ in length along the first axis only."""
        if self.world == 1:
            return [array]
        import mindspore as ms

        collect = _all_gather()
        content = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
        lengths = collect(ms.Tensor(np.array([len(content)], np.int32))).asnumpy()
        # int32 is the one integer type that every device gathers; the rows are padded to the longest.
        words = np.zeros(-(-int(lengths.max()) // 4) or 1, np.int32)
        words.view(np.uint8)[: len(content)] = content
        rows = collect(ms.Tensor(words)).asnumpy().reshape(self.world, -1)
        return [
            np.frombuffer(row.tobytes()[:length], array.dtype).reshape(-1, *array.shape[1:])
            for row, length in zip(rows, lengths)
        ]

    def interleave(self, parts: list[np.ndarray]) -> np.ndarray:
        """Put what the ranks made of their shares, in order of rank, into the order of the whole."""
        whole = np.empty((sum(map(len, parts)), *parts[0].shape[1:]), parts[0].dtype)
        for rank, part in enumerate(parts):
            whole[rank :: self.world] = part
        return whole

    def gather_json(self, value: object) -> list:
        """JSON values of all ranks, in order of rank."""
        if self.world == 1:
            return [value]
        own = np.frombuffer(json.dumps(value).encode(), np.uint8)
        return [json.loads(content.tobytes()) for content in self.gather(own)]

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank; all must ask."""
        return any(row[0] for row in self.gather(np.array([flag], np.uint8)))


ALONE = Ranks()
MOST = 65536  # processes of a run on all its machines


def launched() -> Ranks:
    """What msrun, a rank table with RANK_ID and RANK_SIZE, or mpirun says about this process; alone without them.

    Raises:
        UsageError: the environment contradicts itself.
    """
    for rank_name, world_name in (("RANK_ID", "RANK_SIZE"), ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE")):
        if world_name not in os.environ:
            continue
        rank, world = _number(rank_name, "0"), _number(world_name)
        if not 0 <= rank < world:
            raise UsageError(f"{rank_name}={rank} in the environment does not lie below {world_name}={world}")
        return Ranks(rank, world)
    return ALONE


def is_writer() -> bool:
    """Whether this process writes results: rank 0 does, and not MindSpore's scheduler, for which msrun starts the same
    program once more."""
    return launched().is_first and os.environ.get("MS_ROLE") != "MS_SCHED"


def _number(name: str, default: str = "") -> int:
    """A count or an index in the environment."""
    text = os.environ.get(name, default).strip()
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) <= MOST):
        raise UsageError(f"{name}={text[:40]} in the environment must be a number from 0 to {MOST}")
    return int(text)


def local_device() -> int:
    """The card of this rank: what its launcher says, or as many as there are ranks before it on this host."""
    for name in ("DEVICE_ID", "OMPI_COMM_WORLD_LOCAL_RANK"):
        if os.environ.get(name):
            return _number(name)
    return launched().rank


def meet(ranks: Ranks) -> None:
    """Wait until all processes of the run are there and connect them.

    Raises:
        PoseError: they do not come together.
    """
    from mindspore import communication

    try:
        communication.init()
    except (RuntimeError, ValueError) as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise PoseError(
            f"rank {ranks.rank} of {ranks.world} cannot meet the others: {reason.strip()}; RANK_ID and "
            "RANK_SIZE in the environment ask for a distributed run, scripts/run_distribute_train.sh "
            "starts one"
        ) from error


def broadcast(parameters: Iterable, ranks: Ranks) -> None:
    """Give every rank the values that the parameters have on rank 0."""
    if ranks.world == 1:
        return
    import mindspore as ms
    from mindspore import nn, ops

    class Broadcast(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.broadcast = ops.Broadcast(0)

        def construct(self, x: ms.Tensor) -> ms.Tensor:
            return self.broadcast((x,))[0]

    # One vector, one compilation and one collective, instead of one for every shape.
    parameters = list(parameters)
    flat = np.concatenate([p.asnumpy().astype(np.float32).ravel() for p in parameters])
    received = Broadcast()(ms.Tensor(flat)).asnumpy()
    ends = np.cumsum([p.size for p in parameters])
    for parameter, values in zip(parameters, np.split(received, ends[:-1])):
        parameter.set_data(ms.Tensor(values.reshape(parameter.shape), parameter.dtype))


@cache
def _all_gather() -> Callable:
    import mindspore as ms
    from mindspore import nn, ops

    class AllGather(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.gather = ops.AllGather()

        def construct(self, x: ms.Tensor) -> ms.Tensor:
            return self.gather(x)

    return AllGather()
