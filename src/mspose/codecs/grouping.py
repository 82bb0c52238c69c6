"""People from heat maps and part affinity fields (PAFs): peaks, limbs between them, and their assembly.

The steps are those of OpenPose (Cao et al.: Realtime Multi-Person 2D Pose Estimation using Part Affinity Fields, arXiv
1611.08050, section 2), on the maps as the network gives them: peaks are found to a fraction of a cell, and PAFs are
read between cells, without enlarging the maps. All coordinates are cells of the maps, centres at integers.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

# Points at which the PAF is read along a limb, as in the authors' code.
_SAMPLES = 10
# The most peaks of one joint that are used, the highest. Crowds in COCO stay below it; it bounds the cost (its square a
# limb) of maps that are nothing but noise.
_MAX_PEAKS = 96
# Neighbours of a peak count as at least this much, the Gaussian at three standard deviations, where noise around zero
# has no logarithm.
_FLOOR = 0.01
# What the Gaussians of the maxima must leave over for a further joint. A single joint leaves less, even where the
# network draws it twice as wide as it was taught, and so does noise; two joints a cell and a half apart leave more.
_HIDDEN = 0.5
# Standard deviation in input pixels of the smoothing after enlarging the maps, as in the authors' code.
_SMOOTHING = 3.0


@dataclass(frozen=True)
class Grouping:
    """How people are made of maps; the defaults are the published ones.

    Attributes:
        peak_threshold: a joint's lowest value in its heat map.
        limb_threshold: the PAF's lowest component along a limb at a point that supports the limb.
        limb_support: fraction of the points along a limb that must support it.
        min_joints: people of fewer joints are left out; 3 is the default of OpenPose's library, the paper's code has 4.
        min_score: people of a lower score are left out.
        upsample: enlarge and smooth the maps this many times first, as the authors' code does (by the stride): slower
            by two orders of magnitude, for comparison with it.
    """

    peak_threshold: float = 0.1
    limb_threshold: float = 0.05
    limb_support: float = 0.8
    min_joints: int = 3
    min_score: float = 0.4
    upsample: int = 1


def min_joints(joints: int) -> int:
    """How many of so many joints a person must have: 3, of small skeletons 2, since people are made of limbs."""
    return int(np.clip(-(-joints // 3), 2, 3))


@dataclass(frozen=True)
class Peaks:
    """N joints found, sorted by kind: joint (N,) int64, points (N, 2) float32 x, y in cells, scores (N,) float32."""

    joint: np.ndarray
    points: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.joint)


@dataclass(frozen=True)
class Connections:
    """M possible limbs, best first: limb, first, second (M,) int64 (kind, and its two peaks), scores (M,) float32."""

    limb: np.ndarray
    first: np.ndarray
    second: np.ndarray
    scores: np.ndarray


def group(
    heatmaps: np.ndarray, pafs: np.ndarray, limbs: np.ndarray, sigma: float, options: Grouping
) -> tuple[np.ndarray, np.ndarray]:
    """Find the people of one picture.

    Args:
        heatmaps: (K, H, W) float32, without the background.
        pafs: (2 L, H, W) float32, channels 2 i and 2 i + 1 the x and y components of limb i.
        limbs: (L, 2) joints that the limbs connect.
        sigma: standard deviation in cells of the Gaussians that the network was taught to draw.

    Returns:
        joints (P, K, 3) float32: x, y in cells and the score, the value of the peak; 0, 0, 0 where missing. Scores (P,)
        float32, highest first: the sum over a person's joints and limbs divided by the number of joints, up to about 2.
    """
    peaks = find_peaks(heatmaps, sigma, options.peak_threshold)
    people, scores = assemble(peaks, find_limbs(pafs, limbs, peaks, options), len(heatmaps), options)
    rows = np.zeros((len(peaks) + 1, 3), np.float32)
    rows[:-1] = np.column_stack([peaks.points, peaks.scores])
    return rows[people], scores


def enlarge(heatmaps: np.ndarray, pafs: np.ndarray, times: int, stride: float) -> tuple[np.ndarray, np.ndarray]:
    """Maps (K, H, W) and (2 L, H, W) enlarged by cubic interpolation, heat maps then smoothed.

    Args:
        stride: input pixels a cell of the enlarged maps.
    """
    size = heatmaps.shape[2] * times, heatmaps.shape[1] * times
    heatmaps, pafs = (
        np.stack([cv2.resize(plane, size, interpolation=cv2.INTER_CUBIC) for plane in maps])
        for maps in (heatmaps, pafs)
    )
    return np.stack([cv2.GaussianBlur(plane, (0, 0), _SMOOTHING / stride) for plane in heatmaps]), pafs


def find_peaks(heatmaps: np.ndarray, sigma: float, threshold: float) -> Peaks:
    """Joints in heat maps (K, H, W) float32: maxima above the threshold, and those hidden in the flank of another."""
    peaks = _maxima(heatmaps, sigma, threshold)
    hidden = _maxima(_unexplained(heatmaps, peaks, sigma), sigma, _HIDDEN)
    joint = np.concatenate([peaks.joint, hidden.joint])
    points = np.concatenate([peaks.points, hidden.points])
    scores = np.concatenate([peaks.scores, hidden.scores])
    order = np.lexsort((-scores, joint))
    rank = np.arange(len(order)) - np.searchsorted(joint[order], joint[order])
    order = order[rank < _MAX_PEAKS]
    return Peaks(joint[order], points[order], scores[order])


def _maxima(heatmaps: np.ndarray, sigma: float, threshold: float) -> Peaks:
    """Cells not lower than their four neighbours, moved to the top of the Gaussian through them.

    Four and not eight: joints of two people in cells that touch at a corner are both found. The logarithm of a Gaussian
    is a parabola, so three cells of a row give its top exactly, whatever its width; at the border of the map, where one
    is missing, the width is taken to be `sigma`.
    """
    joints, height, width = heatmaps.shape
    padded = np.full((joints, height + 2, width + 2), -np.inf, np.float32)
    padded[:, 1:-1, 1:-1] = heatmaps
    flat, row = padded.reshape(-1), width + 2
    cells = np.flatnonzero((flat > threshold) & (flat < np.inf))
    values = flat[cells]
    # Of equal neighbours only the first is a maximum.
    top = (flat[cells - 1] < values) & (flat[cells - row] < values)
    top &= (flat[cells + 1] <= values) & (flat[cells + row] <= values)
    cells, values = cells[top], values[top]

    joint, place = np.divmod(cells, (height + 2) * row)
    y, x = np.divmod(place, row)
    points = np.column_stack([x - 1, y - 1]).astype(np.float32)
    middle = np.log(values)
    height_above = np.zeros_like(middle)
    for axis, step in enumerate((1, row)):
        before, after = flat[cells - step], flat[cells + step]
        floor = np.minimum(_FLOOR, values)
        left, right = np.log(np.maximum(before, floor)), np.log(np.maximum(after, floor))
        mirror = 2 * middle - 1 / sigma**2
        left, right = np.where(before > -np.inf, left, mirror - right), np.where(after > -np.inf, right, mirror - left)
        bend = np.maximum(2 * middle - left - right, 1e-6)
        shift = np.clip((right - left) / (2 * bend), -0.5, 0.5)
        points[:, axis] += shift
        height_above += shift * (right - left) / 4
    return Peaks(joint, points, values * np.exp(height_above))


def _unexplained(heatmaps: np.ndarray, peaks: Peaks, sigma: float) -> np.ndarray:
    """What is left of heat maps (K, H, W) after the Gaussians of the peaks, which maps hold as their maximum."""
    height, width = heatmaps.shape[1:]
    high = peaks.scores > _HIDDEN
    points, reach = peaks.points[high], int(np.ceil(3 * sigma))
    around = np.arange(-reach, reach + 1)
    nearest = np.rint(points).astype(np.int64)
    x, y = nearest[:, :1] + around, nearest[:, 1:] + around
    along_x, along_y = (
        np.exp(-((cells - points[:, axis, None]) ** 2) / (2 * sigma**2)) for axis, cells in enumerate((x, y))
    )
    drawn = peaks.scores[high, None, None] * along_y[:, :, None] * along_x[:, None, :]
    cells = (peaks.joint[high, None, None] * height + y[:, :, None]) * width + x[:, None, :]
    inside = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None, :]
    model = np.zeros(heatmaps.size, np.float32)
    np.maximum.at(model, cells[inside], drawn[inside].astype(np.float32))
    return heatmaps - model.reshape(heatmaps.shape)


def find_limbs(pafs: np.ndarray, limbs: np.ndarray, peaks: Peaks, options: Grouping) -> Connections:
    """Pairs of peaks between which the PAF runs along the limb (equations 10 and 11 of the paper).

    The score is the mean component along the limb, lowered for limbs longer than half the height of the maps as in the
    authors' code. All pairs of all limbs are scored together.
    """
    fields = pafs.reshape(len(limbs), 2, *pafs.shape[1:])
    bounds = np.searchsorted(peaks.joint, np.arange(limbs.max() + 2))
    counts = np.diff(bounds)
    pairs = counts[limbs[:, 0]] * counts[limbs[:, 1]]
    limb = np.repeat(np.arange(len(limbs)), pairs)
    pair = np.arange(len(limb)) - np.repeat(np.cumsum(pairs) - pairs, pairs)
    first, second = np.divmod(pair, counts[limbs[limb, 1]])
    first, second = first + bounds[limbs[limb, 0]], second + bounds[limbs[limb, 1]]

    fractions = np.linspace(0, 1, _SAMPLES, dtype=np.float32)
    needed = int(np.ceil(options.limb_support * _SAMPLES - 1e-9))
    # One point more than a limb may miss: where none of them supports it, no other point needs to be read. Most pairs
    # end here.
    number = _SAMPLES - needed + 1
    probes = ((np.arange(number) + 0.5) * _SAMPLES / number).astype(int)
    probed = _along(fields, limb, peaks.points[first], peaks.points[second], fractions[probes])
    likely = (probed > options.limb_threshold).any(axis=1)
    limb, first, second = limb[likely], first[likely], second[likely]

    start, end = peaks.points[first], peaks.points[second]
    along = _along(fields, limb, start, end, fractions)
    length = np.linalg.norm(end - start, axis=1)
    scores = along.mean(axis=1) + np.minimum(pafs.shape[1] / 2 / np.maximum(length, 1e-6) - 1, 0)
    good = ((along > options.limb_threshold).sum(axis=1) >= needed) & (scores > 0)
    order = np.flatnonzero(good)[np.argsort(-scores[good], kind="stable")]
    return Connections(limb[order], first[order], second[order], scores[order])


def _along(
    fields: np.ndarray, limb: np.ndarray, start: np.ndarray, end: np.ndarray, fractions: np.ndarray
) -> np.ndarray:
    """Component (M, S) along start → end of the fields (L, 2, H, W), interpolated at S fractions of M lines (M, 2)."""
    height, width = fields.shape[2:]
    vector = end - start
    unit = vector / np.maximum(np.linalg.norm(vector, axis=1, keepdims=True), 1e-6)
    x, y = (
        np.clip(start[:, axis, None] + vector[:, axis, None] * fractions, 0, size - 1)
        for axis, size in enumerate((width, height))
    )
    left, above = x.astype(np.int64), y.astype(np.int64)
    weight_x, weight_y = x - left, y - above
    to_right, to_below = left < width - 1, (above < height - 1) * width
    corner = limb[:, None] * (2 * height * width) + above * width + left
    result = np.zeros_like(x)
    flat = fields.reshape(-1)
    for component in (0, 1):
        at = corner + component * height * width
        upper = flat[at] * (1 - weight_x) + flat[at + to_right] * weight_x
        lower = flat[at + to_below] * (1 - weight_x) + flat[at + to_below + to_right] * weight_x
        result += unit[:, component, None] * (upper * (1 - weight_y) + lower * weight_y)
    return result


def assemble(peaks: Peaks, connections: Connections, joints: int, options: Grouping) -> tuple[np.ndarray, np.ndarray]:
    """Join limbs into people, the best limb first.

    Each limb takes its two peaks for its kind (greedy matching, section 2.3 of the paper). It starts a person, adds a
    joint to one, or merges two that have no joint in common. Going through all limbs by score, where the authors go
    through one kind after the other, lets the clearest limbs decide.

    Returns:
        people (P, joints) int64 rows of `peaks`, -1 where a joint is missing, and scores (P,) float32, highest first.
    """
    kind, value = peaks.joint.tolist(), peaks.scores.tolist()
    used: set[tuple[int, int]] = set()
    person_of: dict[int, dict[int, int]] = {}
    limb_scores: dict[int, float] = {}
    columns = (connections.limb, connections.first, connections.second, connections.scores)
    for limb, a, b, score in zip(*(column.tolist() for column in columns)):
        if (limb, a) in used or (limb, b) in used:
            continue
        used |= {(limb, a), (limb, b)}
        one, other = (person_of.get(peak, {kind[peak]: peak}) for peak in (a, b))
        if one is not other:
            if one.keys() & other.keys():
                continue
            score += limb_scores.pop(id(one), 0) + limb_scores.pop(id(other), 0)
            one.update(other)
            person_of.update(dict.fromkeys(one.values(), one))
            limb_scores[id(one)] = score
        else:
            limb_scores[id(one)] += score

    people = {id(person): person for person in person_of.values()}
    found = [
        ((sum(value[peak] for peak in person.values()) + limb_scores[key]) / len(person), person)
        for key, person in people.items()
        if len(person) >= options.min_joints
    ]
    found = sorted((f for f in found if f[0] >= options.min_score), key=lambda f: -f[0])
    table = np.full((len(found), joints), -1)
    for row, (_, person) in zip(table, found):
        row[list(person)] = list(person.values())
    return table, np.array([score for score, _ in found], np.float32)
