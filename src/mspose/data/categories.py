"""Which categories of a data set have the keypoints that are looked for: the key `data.category`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mspose.errors import PoseError, UsageError, one_line
from mspose.skeleton import Skeleton

PERSON = "person"
PERSON_ID = 1  # COCO's


@dataclass(frozen=True)
class Categories:
    """The chosen categories, at least one: ids, and what each is called.

    Results carry the first id.
    """

    ids: tuple[int, ...]
    names: tuple[str, ...]

    def __str__(self) -> str:
        return ", ".join(self.names)

    def __contains__(self, category_id: object) -> bool:
        return category_id in self.ids


def choose_categories(
    categories: object,
    wanted: Sequence[str],
    skeleton: Skeleton,
    annotations: Sequence[Any],
    path: str | Path,
    for_boxes: bool = False,
) -> Categories:
    """The wanted categories of an annotation file; without a wish the only one whose keypoints fit the skeleton.

    Where none says which keypoints it has, the annotations tell; where they do not either, as in test sets and files of
    boxes, it is the category called person, or the only one.

    Args:
        categories: what the file has under that key.
        wanted: `data.category`: names, or ids as text.
        for_boxes: keypoints are not needed, and may be of another skeleton.

    Raises:
        UsageError: several fit, or a wanted one is not there.
        PoseError: none fits.
    """
    entries = _entries(categories)
    names = list(skeleton.keypoints)
    if wanted:
        chosen = _wanted(entries, wanted, path)
    else:
        chosen = [c for c in entries if c.get("keypoints") == names] or _unnamed(entries, skeleton, annotations)
        if len(chosen) > 1:
            raise UsageError(
                f"{len(chosen)} categories have the keypoints of data.skeleton {skeleton.name!r}: "
                f"{_listed(chosen)}; data.category chooses one or several of them: {path}"
            )
    if not chosen:
        named = [c for c in entries if c.get("name") == PERSON][:1]
        chosen = named or [_only(entries, for_boxes, path)]
    for category in chosen if not for_boxes else ():
        _check_names(category, skeleton, path)
    return Categories(tuple(c["id"] for c in chosen), tuple(map(_name, chosen)))


def box_categories(ids: Sequence[object], wanted: Sequence[str], path: str | Path) -> Categories:
    """The categories of a list of boxes, which has ids alone: the wanted ones, the only one, or COCO's person.

    Args:
        ids: of all boxes.

    Raises:
        UsageError: they are several and none is wanted, or a wanted one is not there.
    """
    found = list(dict.fromkeys(ids))
    if wanted:
        chosen = [category for category in found if str(category) in wanted]
        if not chosen and len(found) == 1 and not any(w.lstrip("-").isdigit() for w in wanted):
            chosen = found  # a list does not say what its categories are called
    else:
        chosen = found if len(found) <= 1 else [category for category in found if category == PERSON_ID]
    if found and not chosen:
        known = ", ".join(one_line(category, 20) for category in found[:10])
        named = f", not {', '.join(wanted)}" if wanted else ""
        raise UsageError(f"boxes are of categories {known}{named}: choose by id, data.category=ID: {path}")
    chosen = chosen or [PERSON_ID]
    return Categories(tuple(chosen), tuple(f"category {category}" for category in chosen))  # type: ignore[arg-type]


def assumed_category(wanted: Sequence[str], skeleton: Skeleton) -> tuple[int, str]:
    """The category id of results where no file is read that has categories.

    Args:
        wanted: `data.category`.

    Returns:
        The first id in it, or COCO's person; and a line that says so where it may be wrong, empty where it is not.
    """
    number = next((int(wish) for wish in wanted if wish.isdecimal()), None)
    if number is not None:
        return number, ""
    if PERSON in wanted or (not wanted and skeleton.name == "coco17"):
        return PERSON_ID, ""
    reason = f"data.category={','.join(wanted)} names none" if wanted else f"data.skeleton={skeleton.name} has none"
    return PERSON_ID, (
        f"category_id of the results is {PERSON_ID}, COCO's person: {reason} by number, and no annotations are read; "
        "data.category=ID gives it"
    )


def describe_others(ids: Sequence[object], chosen: Categories, categories: object = None) -> str:
    """One line about what is left out since it is of other categories; empty: nothing is."""
    counts = Counter(category for category in ids if category not in chosen)
    if not counts:
        return ""
    names: dict[object, str] = {c["id"]: _name(c) for c in _entries(categories)}
    most = counts.most_common(5)
    parts = [f"{count} of {names.get(category, f'category {one_line(category, 20)}')}" for category, count in most]
    rest = len(counts) - len(parts)
    return (
        f"left out, as not of {chosen}: {', '.join(parts)}{f' and of {rest} categories more' if rest else ''} "
        "(data.category)"
    )


def _wanted(entries: list[dict], wanted: Sequence[str], path: str | Path) -> list[dict]:
    chosen: list[dict] = []
    for wish in wanted:
        found = [c for c in entries if c.get("name") == wish] or [c for c in entries if str(c["id"]) == wish]
        if not found:
            raise UsageError(f"data.category: there is no {wish!r}, but {_listed(entries) or 'nothing'}: {path}")
        chosen += [c for c in found if c not in chosen]
    return chosen


def _unnamed(entries: list[dict], skeleton: Skeleton, annotations: Sequence[Any]) -> list[dict]:
    """Categories that name no keypoints, and whose annotations have as many as the skeleton."""
    nameless = [c for c in entries if not c.get("keypoints")]
    if not nameless:
        return []
    length = 3 * skeleton.num_keypoints
    with_keypoints = [a for a in annotations if isinstance(a, Mapping) and isinstance(a.get("keypoints"), list)]
    ids = {str(a.get("category_id")) for a in with_keypoints if len(a["keypoints"]) == length}
    return [c for c in nameless if str(c["id"]) in ids]


def _only(entries: list[dict], for_boxes: bool, path: str | Path) -> dict:
    if len(entries) == 1:
        return entries[0]
    named = next((c for c in entries if c.get("keypoints")), None)
    if named and not for_boxes:
        return named  # what does not match will be told of
    raise PoseError(
        f"annotation file has no category with keypoints and none called person, but {_listed(entries) or 'nothing'}; "
        f"data.category chooses: {path}"
    )


def _check_names(category: dict, skeleton: Skeleton, path: str | Path) -> None:
    names = category.get("keypoints")
    if names and names != list(skeleton.keypoints):
        names = names if isinstance(names, list) else [names]
        raise PoseError(
            f"annotation file does not match data.skeleton {skeleton.name!r}: {_name(category)} has {len(names)} "
            f"keypoints ({', '.join(one_line(name, 40) for name in names[:3])}, …), the skeleton "
            f"{skeleton.num_keypoints} ({', '.join(skeleton.keypoints[:3])}, …): {path}"
        )


def _listed(entries: Sequence[dict]) -> str:
    return ", ".join(map(_name, entries[:10])) + (f" and {len(entries) - 10} more" if len(entries) > 10 else "")


def _name(category: Mapping) -> str:
    return f"{one_line(category.get('name', 'category'), 40)} ({category['id']})"


def _entries(categories: object) -> list[dict]:
    """What of the categories of a file can be used."""
    entries = categories if isinstance(categories, list) else []
    return [c for c in entries if isinstance(c, dict) and isinstance(c.get("id"), int | str)]
