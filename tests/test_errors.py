"""Errors that a user can act on."""

from __future__ import annotations

from mspose.errors import PoseError


def test_a_value_of_pages_leaves_room_for_what_is_said_of_it() -> None:
    text = str(PoseError(f"x.yaml: {'a' * 100_000} is no number"))
    assert len(text) < 2100
    assert text.startswith("x.yaml: ")
    assert text.endswith(" is no number")
