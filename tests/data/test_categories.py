"""Which categories are looked for, in annotations and in lists of boxes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mspose.data.categories import Categories, assumed_category, box_categories, choose_categories, describe_others
from mspose.errors import PoseError, UsageError
from mspose.skeleton import COCO17, Skeleton
from tests.messages import names, naming

NAMES = list(COCO17.keypoints)
PATH = Path("some.json")


def category(number: int, name: str, keypoints: list[str] | None = None) -> dict:
    return {"id": number, "name": name, **({} if keypoints is None else {"keypoints": keypoints})}


def annotation(number: int, joints: int) -> dict:
    return {"category_id": number, "image_id": 1, "keypoints": [1] * (3 * joints)}


def chosen(categories: list, *wanted: str, annotations: list | None = None, for_boxes: bool = False) -> tuple:
    return choose_categories(categories, wanted, COCO17, annotations or [], PATH, for_boxes).ids


THREE = [category(1, "cat", NAMES), category(4, "dog", NAMES), category(9, "cow", NAMES)]


def test_the_only_one_that_fits() -> None:
    assert chosen([category(1, "person"), category(2, "dog", NAMES)]) == (2,)
    assert chosen([category(1, "person", NAMES), category(2, "dog", ["nose", "neck", "tail"])]) == (1,)
    assert chosen([category(3, "dog"), category(7, "person")]) == (7,)


def test_several_that_fit_are_an_error_that_lists_them() -> None:
    with pytest.raises(UsageError, match=naming("cat (1), dog (4), cow (9)", "data.category", PATH)):
        chosen(THREE)


def test_wanted_by_name_by_id_or_several() -> None:
    assert chosen(THREE, "dog") == (4,)
    assert chosen(THREE, "9") == (9,)
    assert chosen(THREE, "cow", "1") == (9, 1)
    assert chosen(THREE, "dog", "4") == (4,)


def test_wanted_and_not_there() -> None:
    with pytest.raises(UsageError, match=naming("data.category", "'horse'", "cat (1), dog (4)", PATH)):
        chosen(THREE, "dog", "horse")


def test_wanted_with_other_keypoints() -> None:
    with pytest.raises(PoseError, match=naming("data.skeleton", "dog (2)", "3 keypoints", PATH)):
        chosen([category(1, "person", NAMES), category(2, "dog", ["a", "b", "c"])], "dog")


def test_annotations_tell_where_names_are_missing() -> None:
    entries = [category(1, "person"), category(2, "dog"), category(3, "cow")]
    assert chosen(entries, annotations=[annotation(2, 17), annotation(3, 5), annotation(1, 0)]) == (2,)
    with pytest.raises(UsageError, match=naming("person (1), dog (2)", "data.category", PATH)):
        chosen(entries, annotations=[annotation(2, 17), annotation(1, 17)])


def test_for_boxes_keypoints_may_be_of_another_skeleton() -> None:
    assert chosen([category(1, "person", ["a", "b"])], for_boxes=True) == (1,)
    assert chosen([category(5, "mouse", ["a", "b"])], for_boxes=True) == (5,)
    assert chosen([category(1, "person"), *THREE[1:2]], for_boxes=True) == (4,)
    with pytest.raises(PoseError, match=naming("mouse (5), rat (6)", "data.category", PATH)):
        chosen([category(5, "mouse"), category(6, "rat")], for_boxes=True)


def test_lists_of_boxes() -> None:
    assert box_categories([7, 7], (), PATH).ids == (7,)
    assert box_categories([3, 1, 3], (), PATH).ids == (1,)
    assert box_categories([], (), PATH).ids == (1,)
    assert box_categories([3, 5], ("5",), PATH).ids == (5,)
    assert box_categories([5], ("mouse",), PATH).ids == (5,)
    for ids, wanted in (([3, 5], ()), ([3, 5], ("mouse",)), ([3], ("5",))):
        with pytest.raises(UsageError, match=naming(", ".join(map(str, ids)), *wanted, "data.category=ID", PATH)):
            box_categories(ids, wanted, PATH)


def test_what_is_left_out_is_one_line() -> None:
    own = Categories((1,), ("person (1)",))
    assert describe_others([1, 1], own) == ""
    line = describe_others([1, 2, 2, 3], own, [category(2, "dog")])
    assert line == "left out, as not of person (1): 2 of dog (2), 1 of category 3 (data.category)"


@pytest.mark.parametrize(
    ("wanted", "skeleton", "expected", "is_known"),
    [
        ([], COCO17, 1, True),
        (["person"], COCO17, 1, True),
        (["7"], COCO17, 7, True),
        (["cat", "7"], COCO17, 7, True),
        (["cat"], COCO17, 1, False),
        ([], replace(COCO17, name="cat17"), 1, False),
    ],
)
def test_a_category_that_no_file_tells_is_said_to_be_a_guess(
    wanted: list[str], skeleton: Skeleton, expected: int, is_known: bool
) -> None:
    number, note = assumed_category(wanted, skeleton)
    assert (number, note == "") == (expected, is_known)
    assert is_known or names(note, "category_id", 1, "data.category=ID", *wanted)
