"""What a message names is found as whole words, in any order and whatever stands around it."""

from __future__ import annotations

from tests.messages import tells_of


def test_things_are_whole_words_in_any_order() -> None:
    message = "/data/a.json: data.root must be one of [1, 2], not 12 (--out)"
    for things in (("data.root", "/data/a.json"), (12, 1, 2), ("--out",), ("[1, 2]", "one"), ()):
        assert tells_of(message, *things), things
    for things in (("data.roots",), ("data.roo",), ("a.jso",), (3,), ("data.root", "x.json"), ("ne",)):
        assert not tells_of(message, *things), things
    assert not tells_of("/tmp/pytest-5/a.json", 5)
    assert tells_of("Traceback\nerror: a.json", "a.json")
