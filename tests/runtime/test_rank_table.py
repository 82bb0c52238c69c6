"""Rank tables that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mspose.runtime.hosts import LaunchError
from mspose.runtime.rank_table import read_rank_table
from tests.messages import naming


def write(path: Path, device: object, rank: object = "0") -> Path:
    table = {"server_list": [{"server_id": "10.0.0.1", "device": [{"device_id": device, "rank_id": rank}]}]}
    path.write_text(json.dumps(table))
    return path


@pytest.mark.parametrize("device", ["3", 3, " 3 "])
def test_numbers_are_text_or_numbers(tmp_path: Path, device: object) -> None:
    (server,) = read_rank_table(write(tmp_path / "table.json", device), 1)
    assert server.devices == ((0, 3),)


@pytest.mark.parametrize("value", [float("inf"), 1.5, True, -1, "-1", 10**10, "9" * 5000, "x", None, [1]], ids=str)
@pytest.mark.parametrize("name", ["device", "rank"])
def test_what_is_no_number_of_a_card_is_refused(tmp_path: Path, name: str, value: object) -> None:
    path = write(tmp_path / "table.json", **{"device": "0", name: value})
    with pytest.raises(LaunchError, match=naming(path, "rank table")) as caught:
        read_rank_table(path, 1)
    assert len(str(caught.value)) < len(str(path)) + 300
