"""What can be wrong with annotations: impossible values are errors, implausible ones warnings, counted by kind.

Everything works on whole columns; single annotations are looked at only where a column is faulty.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mspose.errors import PoseError, one_line
from mspose.skeleton import Skeleton

log = logging.getLogger("pose")

# Boxes may reach this many pixels beyond their pictures: annotators and rounding do.
MARGIN = 2.0
# Coordinates up to here, all of them, are fractions of the picture and not pixels.
FRACTION = 2.0
# More than this share of the annotations: the file has another form, and not some bad entries.
MOST = 0.5
# What an area may be of its box, in times.
AREA_RANGE = 0.005, 1.2
# COCO's constants lie between 0.025 and 0.107.
LARGEST_SIGMA = 0.5
# Larger coordinates are an accident, and their squares overflow.
LARGEST = 1e7

# Fewer people, or keypoints of one, tell nothing about how boxes are meant.
FEW = 4

CORNERS = "boxes must be x, y, width, height (these look like x1, y1, x2, y2)"
SWITCH = "data.check=false reads it nevertheless"


class Report:
    """Collects what is wrong with a file, one line a kind.

    Args:
        path: the file.
        plausible: whether what is implausible counts.

    Attributes:
        errors, warnings: lines.
        odd: (N,) how many lines are about each person, in the order of the file's `People`; empty until they are read.
    """

    def __init__(self, path: str | Path, plausible: bool = True) -> None:
        self.path, self.plausible = Path(path), plausible
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self.odd = np.zeros(0, np.int64)

    def close(self) -> None:
        """Log the warnings.

        Raises:
            PoseError: there are errors; the first one is told.
        """
        self.raise_errors()
        for line in self.warnings:
            log.warning(f"warning: {line}: {self.path}")

    def raise_errors(self) -> None:
        """
        Raises:
            PoseError: there are errors; the first one is told.
        """
        if self.errors:
            more = len(self.errors) - 1
            others = (
                f" ({more} further {'kind' if more == 1 else 'kinds'} of errors: mspose check-data)" if more else ""
            )
            raise PoseError(f"{self.errors[0]}: {self.path}{others}")


class Entries:
    """The entries of people in a file, for reading their columns.

    Args:
        entries: as the file has them.
        report: where faults go.
        noun: what an entry is.

    Attributes:
        odd: (N,) how many lines are about each entry.
    """

    def __init__(self, entries: Sequence[Mapping], report: Report, noun: str = "annotation") -> None:
        self.entries, self.report, self.noun = entries, report, noun
        self.odd = np.zeros(len(entries), np.int64)

    def __len__(self) -> int:
        return len(self.entries)

    def name(self, row: int) -> str:
        """What messages call an entry."""
        entry = self.entries[row]
        number = entry.get("id")
        called = f"number {row} (counted from 0)" if number is None else one_line(number, 20)
        return f"{self.noun} {called} of image {one_line(entry.get('image_id'), 20)}"

    def error(self, rows: Sequence[int] | np.ndarray, words: str) -> None:
        """Report entries that cannot be used."""
        if len(rows):
            self.odd[rows] += 1
            more = f" ({len(rows) - 1} more like it)" if len(rows) > 1 else ""
            self.report.errors.append(f"{self.name(int(rows[0]))}{more} {words}")

    def warn(
        self,
        bad: np.ndarray,
        words: str,
        most: str = "",
        among: np.ndarray | None = None,
        least: int = 1,
        shows: bool = True,
    ) -> None:
        """Report entries (N,) bool that are hardly meant so.

        Args:
            most: what to say where most of them are: then the file cannot be used.
            among: (N,) bool, those that could be; all by default.
            least: fewer of those do not tell how the file is meant.
            shows: whether somebody who looks at the person can see what is wrong.
        """
        count, total = int(bad.sum()), len(self) if among is None else int(among.sum())
        if not count or not self.report.plausible:
            return
        if shows:
            self.odd += bad
        found = f"{count} of {total} {self.noun}s {words}, such as {self.name(int(bad.argmax()))}"
        if most and count > MOST * total and total >= least:
            self.report.errors.append(f"{most}: {found} ({SWITCH})")
        else:
            self.report.warnings.append(found)

    def column(self, key: str, what: str, default: object, width: int = 0) -> np.ndarray:
        """Numbers (N,) or (N, width) float64 of a key; faulty ones are reported and 0.

        Args:
            what: what they must be.
            default: instead of a key that is absent or null; None: there must be one.
        """
        values = [entry.get(key) for entry in self.entries]
        if default is not None:
            values = [default if value is None or value == [] else value for value in values]
        return self.numbers(values, lambda value: f"has {_shown(key, value, width)}; {what}", width)

    def numbers(self, values: list, words: Callable[[Any], str], width: int = 0) -> np.ndarray:
        """Array (N,) or (N, width) float64 of numbers in lists; others are reported in `words` about them, and 0."""
        shape = (width,) if width else ()
        array = _as_numbers(values, (len(values), *shape))
        if array is None:
            array, faults = np.zeros((len(values), *shape)), dict[object, list[int]]()
            for row, value in enumerate(values):
                one = _as_numbers(value, shape)
                if one is None:
                    faults.setdefault(_kind(value), []).append(row)
                else:
                    array[row] = one
            for rows in faults.values():
                self.error(rows, words(values[rows[0]]))
        with np.errstate(invalid="ignore"):
            wild = ~(np.abs(array) <= LARGEST)
        if wild.any():
            far = np.flatnonzero(wild.reshape(len(array), -1).any(axis=1))
            self.error(far, f"{words(values[far[0]]).split(';')[0]}: numbers must be finite, and below {LARGEST:g}")
            array = np.where(wild, 0, array)
        return array

    def categories(self, listed: Sequence[Any]) -> None:
        """Report entries of categories that are not listed in the file; text instead of a number is an error."""
        known = {c["id"] for c in listed if isinstance(c, dict) and isinstance(c.get("id"), int | str)}
        odd = np.array([entry["category_id"] not in known for entry in self.entries], bool)
        if odd.any():
            rows = np.flatnonzero(odd).tolist()
            no_numbers = [row for row in rows if not isinstance(self.entries[row]["category_id"], int)]
            if no_numbers:
                value = one_line(repr(self.entries[no_numbers[0]]["category_id"]), 40)
                self.error(no_numbers, f"has category_id {value}, which is no id of the listed categories")
            else:
                self.warn(odd, "are of categories that the file does not list")

    def image_ids(self) -> np.ndarray:
        """(N,) int64: `image_id`; faulty ones are reported."""
        try:
            return whole_numbers([entry["image_id"] for entry in self.entries])
        except (KeyError, TypeError, ValueError):
            for row, entry in enumerate(self.entries):
                try:
                    whole_numbers([entry["image_id"]])
                except (KeyError, TypeError, ValueError):
                    self.error([row], f"has {_shown('image_id', entry.get('image_id'), 0)}; it is a whole number")
                    break
            return np.zeros(len(self), np.int64)

    def keypoints(self, skeleton: Skeleton) -> np.ndarray:
        """Keypoints (N, J, 3) float64; all 0 where there are none."""
        joints = skeleton.num_keypoints
        blank = [0] * (3 * joints)
        values = [entry.get("keypoints") or blank for entry in self.entries]

        def words(value: Any) -> str:
            have = f"the skeleton {skeleton.name!r} has {joints} (data.skeleton)"
            flat = f"keypoints are a flat list of x, y, visibility for each of the {joints} of {skeleton.name!r}"
            if not isinstance(value, list):
                return f"has {one_line(repr(value), 40)} as keypoints; {flat}"
            if any(isinstance(part, list | tuple | dict) for part in value):
                return f"has nested keypoints, {one_line(value[0], 40)} first; {flat}"
            if len(value) == 2 * joints:
                return f"has {len(value)} numbers as keypoints, x and y without visibility; {flat}"
            if len(value) != 3 * joints:
                return f"has {len(value) / 3:g} keypoints, {have}"
            return f"has keypoints that are no numbers, such as {_odd_one(value)}; {flat}"

        return self.numbers(values, words, 3 * joints).reshape(len(self), joints, 3)

    def crowds(self) -> np.ndarray:
        """(N,) bool: `iscrowd`."""
        return self.column("iscrowd", "iscrowd is 0 or 1", 0) != 0

    def counts(self, labelled: np.ndarray) -> None:
        """Compare `num_keypoints`, where it is given, with the number (N,) of labelled ones, which counts."""
        pairs = zip(self.entries, labelled.tolist())
        bad = np.array([entry.get("num_keypoints", count) != count for entry, count in pairs], bool)
        self.warn(bad, "have another num_keypoints than labelled keypoints, which are counted instead")

    def plausible(
        self, boxes: np.ndarray, keypoints: np.ndarray, areas: np.ndarray, widths: np.ndarray, heights: np.ndarray
    ) -> None:
        """Report what is not meant so.

        Args:
            boxes: (N, 4); keypoints (N, J, 3); areas (N,), 0 where unknown; widths, heights (N,) of their pictures.
        """
        if not len(self) or not self.report.plausible or self.report.errors:
            return
        check_boxes(self, boxes, widths, heights)
        self._corners(boxes, keypoints, widths + heights)
        seen = keypoints[..., 2] > 0
        people = np.asarray(seen.any(axis=1))
        x, y = keypoints[..., 0], keypoints[..., 1]

        def outside(low: np.ndarray, high: np.ndarray) -> np.ndarray:
            points = keypoints[..., :2]
            inside = (points >= low[:, None]) & (points <= high[:, None])
            return people & ~np.any(seen & inside.all(axis=2), axis=1)

        sides = np.stack([widths, heights], axis=1)
        if people.any() and np.abs(keypoints[seen][:, :2]).max() <= FRACTION < sides.min() / 8:
            self.warn(
                people,
                f"have no coordinate above {FRACTION:g}",
                "keypoints are fractions of the picture and must be pixels",
                people,
            )
        else:
            beyond = outside(np.full_like(boxes[:, :2], -MARGIN), sides + MARGIN)
            words = "have all keypoints outside of the picture"
            self.warn(beyond, words, "keypoints are of other pictures", people, FEW)
            slack = MARGIN + boxes[:, 2:].max(axis=1, keepdims=True) / 4
            apart = outside(boxes[:, :2] - slack, boxes[:, :2] + boxes[:, 2:] + slack) & ~beyond
            self.warn(apart, "have all keypoints outside of their box", among=people)
        self.warn(np.any(seen & (x == 0) & (y == 0), axis=1), "have a labelled keypoint in the corner 0, 0")
        odd = np.any(~np.isin(keypoints[..., 2], (0, 1, 2)), axis=1)
        self.warn(odd, "have a visibility other than 0, 1 and 2 (above 0 is labelled)")
        whose = np.column_stack([self.image_ids(), boxes, keypoints.sum(axis=1)])[people]
        twice = people.copy()
        twice[np.flatnonzero(people)[np.unique(whose, axis=0, return_index=True)[1]]] = False
        self.warn(twice, "have the box and keypoints of another one: people count twice", among=people)
        box_areas = np.prod(boxes[:, 2:], axis=1)
        known = (areas > 0) & (box_areas > 0)
        wrong = known & ((areas < AREA_RANGE[0] * box_areas) | (areas > AREA_RANGE[1] * box_areas + 1))
        self.warn(wrong, "have an area that does not fit their box")

    def _corners(self, boxes: np.ndarray, keypoints: np.ndarray, around: np.ndarray) -> None:
        """Report boxes that fit the keypoints if they are read as corners: x, y, width, height hardly ever do."""
        seen = keypoints[..., 2:] > 0
        low = np.where(seen, keypoints[..., :2], np.inf).min(axis=1)
        high = np.where(seen, keypoints[..., :2], -np.inf).max(axis=1)
        first, last = boxes[:, :2], boxes[:, 2:]
        telling = (seen.sum(axis=(1, 2)) >= FEW) & (first.sum(axis=1) > 0.05 * around)
        fits = telling & (low >= first - MARGIN).all(axis=1) & (high <= last + MARGIN).all(axis=1)
        fits[telling] &= (high - low > (last - first) / 2)[telling].all(axis=1)
        if fits.sum() >= FEW and fits.sum() > 0.9 * telling.sum() and not self.report.errors:
            self.warn(fits, "have a box whose numbers are the corners around the keypoints", CORNERS, telling)


def check_boxes(people: Entries, boxes: np.ndarray, widths: np.ndarray, heights: np.ndarray) -> None:
    """Report boxes (N, 4) x, y, width, height that are corners, fractions, or beyond pictures of that size (N,)."""
    x, y, width, height = boxes.T
    if boxes[:, 2:].max() <= FRACTION < min(widths.min(), heights.min()) / 8 and boxes.any():
        everyone = np.ones(len(people), bool)
        words = f"have a box of at most {FRACTION:g} pixels"
        people.warn(everyone, words, "boxes are fractions of the picture and must be x, y, width, height in pixels")
        return
    beyond = (np.minimum(x, y) < -MARGIN) | (x + width > widths + MARGIN) | (y + height > heights + MARGIN)
    words = f"have a box that reaches more than {MARGIN:g} pixels beyond the picture"
    people.warn(beyond, words, CORNERS)
    people.warn((width == 0) | (height == 0), "have a box without an extent")


def check_skeleton(skeleton: Skeleton, flips: bool) -> list[str]:
    """Lines about what is implausible in a skeleton.

    Args:
        flips: whether pictures are mirrored.
    """
    lines = []
    large = [name for name, sigma in zip(skeleton.keypoints, skeleton.sigmas) if sigma > LARGEST_SIGMA]
    if large:
        lines.append(
            f"{len(large)} sigmas are above {LARGEST_SIGMA:g}, such as that of {large[0]} (COCO's are 0.025 to "
            "0.107): nearly everything will count as found"
        )
    paired = {index for pair in skeleton.flip_pairs for index in pair}
    sided = [name for i, name in enumerate(skeleton.keypoints) if i not in paired and _side(name)]
    if flips and sided:
        lines.append(
            f"{len(sided)} keypoints are called left or right and have no flip pair, such as {sided[0]}: mirrored "
            "pictures are labelled wrongly (flip_pairs; data.flip=0 and eval.flip_test=false do not mirror)"
        )
    return [f"skeleton {skeleton.name!r} (data.skeleton): {line}" for line in lines]


def left_out(reasons: Mapping[str, np.ndarray], count: int) -> tuple[np.ndarray, str]:
    """Who stays (N,) bool, and how many do not for which reason, as "; left out: 3 crowds, 1 …" or nothing.

    Args:
        reasons: (N,) bool by what to call them; the first that holds counts.
    """
    keep, parts = np.ones(count, bool), []
    for name, rows in reasons.items():
        number = int((keep & rows).sum())
        keep &= ~rows
        if number:
            parts.append(f"{number} {name}")
    return keep, f"; left out: {', '.join(parts)}" if parts else ""


def whole_numbers(values: list) -> np.ndarray:
    """An int64 array of the numbers in nested lists.

    Raises:
        TypeError: there is text, which NumPy would convert and COCO's API would not.
        ValueError: one is no whole number, or too large.
    """
    array = np.array(values)
    if array.dtype.kind not in "biuf" and array.size:
        raise TypeError("text, null or a huge number where numbers belong")
    with np.errstate(invalid="ignore", over="ignore"):
        numbers: np.ndarray = array.astype(np.int64)
    if (numbers != array).any():
        raise ValueError("not a whole number")
    return numbers


def _side(name: str) -> bool:
    parts = name.lower().replace("-", "_").replace(" ", "_").split("_")
    return bool({"left", "right", "l", "r"} & set(parts)) or name.lower().startswith(("left", "right"))


def _as_numbers(value: object, shape: tuple[int, ...]) -> np.ndarray | None:
    """An array of numbers of that shape; None where it is something else, text that looks like numbers among it."""
    try:
        array = np.array(value)
    except (OverflowError, TypeError, ValueError):
        return None
    if not array.size and 0 in shape:
        return np.zeros(shape)
    return array.astype(np.float64) if array.dtype.kind in "biuf" and array.shape == shape else None


def _kind(value: object) -> object:
    """Values of one kind are wrong in the same way."""
    if isinstance(value, list):
        return len(value), any(isinstance(part, list | dict) for part in value)
    return type(value)


def _odd_one(values: list) -> str:
    odd = next((v for v in values if not isinstance(v, int | float) or not abs(v) <= LARGEST), None)
    return one_line(repr(odd), 40)


def _shown(key: str, value: Any, width: int) -> str:
    if value is None:
        return f"no {key}"
    if width and isinstance(value, list) and len(value) != width:
        return f"a {key} of {len(value)} values"
    return f"{key} {one_line(repr(value), 60)}"
