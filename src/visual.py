"""Pictures: poses, heat maps, contact sheets and training curves.

Images are uint8 arrays in BGR, (H, W, 3); grey ones, (H, W) or (H, W, 1), are accepted and drawn on in colour.
Functions return a new image and leave their input alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from src.errors import PoseError
from src.files import atomic_path
from src.skeleton import MIDDLE, Skeleton

OUTLINE = (24, 24, 24)
BACKGROUND = (32, 32, 32)
TEXT = (240, 240, 240)
FONT = cv2.FONT_HERSHEY_SIMPLEX

# OpenCV takes sub-pixel positions as fixed-point integers with this many fractional bits.
SHIFT = 4
# Beyond this many pixels a coordinate is an accident of decoding; the fixed-point form must not overflow over it.
FAR = 1e5


def draw_poses(
    image: np.ndarray,
    keypoints: np.ndarray,
    skeleton: Skeleton,
    threshold: float = 0.2,
    labels: Sequence[str] | None = None,
    boxes: np.ndarray | None = None,
    line_width: int = 0,
) -> np.ndarray:
    """Draw people as coloured skeletons with a dark outline.

    Args:
        image: (H, W, 3) BGR or grey, uint8.
        keypoints: (N, J, 3) x, y in pixels and either a score or COCO's visibility (0 not labelled, 1 hidden, 2 seen).
            Joints whose third value is 0 or under `threshold`, or that are not finite, are left out with their limbs.
        labels: N texts to write above the people, or None.
        boxes: (N, 4) x, y, width, height in pixels to draw thinly, or None.
        line_width: of limbs in pixels; 0: a sixtieth of the person.

    Returns:
        A new (H, W, 3) image.
    """
    canvas = _as_bgr(image)
    keypoints = np.asarray(keypoints, np.float64).reshape(-1, skeleton.num_keypoints, 3)
    colors = _limb_colors(skeleton)
    shown = np.isfinite(keypoints).all(axis=2) & (keypoints[..., 2] > 0) & (keypoints[..., 2] >= threshold)
    points = np.clip(np.where(shown[..., None], keypoints[..., :2], 0), -FAR, FAR)
    extents = _extents(points, shown)
    # Small people last: a large one would paint over them.
    for person in np.argsort(-extents, kind="stable"):
        thickness = line_width or _thickness(extents[person], canvas.shape)
        if boxes is not None:
            _draw_box(canvas, np.asarray(boxes, np.float64)[person])
        _draw_person(canvas, points[person], shown[person], skeleton, colors, thickness)
        if labels is not None:
            anchor = _label_anchor(points[person][shown[person]], None if boxes is None else boxes[person])
            if anchor is not None:
                draw_label(canvas, labels[person], anchor)
    return canvas


def _draw_person(
    canvas: np.ndarray,
    points: np.ndarray,
    shown: np.ndarray,
    skeleton: Skeleton,
    colors: Sequence[tuple[int, int, int]],
    thickness: int,
) -> None:
    fixed = np.rint(points * (1 << SHIFT)).astype(int)
    limbs = [(tuple(fixed[a]), tuple(fixed[b]), color)
             for (a, b), color in zip(skeleton.limbs, colors) if shown[a] and shown[b]]  # fmt: skip
    joints = [(tuple(fixed[j]), _bgr(skeleton.colors[j])) for j in np.flatnonzero(shown)]
    radius = round((0.75 * thickness + 0.75) * (1 << SHIFT))
    border = 1 + thickness // 4
    # All outlines first, so that no limb's outline cuts through another limb of the same person.
    for start, end, _ in limbs:
        cv2.line(canvas, start, end, OUTLINE, thickness + 2 * border, cv2.LINE_AA, SHIFT)
    for centre, _ in joints:
        cv2.circle(canvas, centre, radius + (border << SHIFT), OUTLINE, cv2.FILLED, cv2.LINE_AA, SHIFT)
    for start, end, color in limbs:
        cv2.line(canvas, start, end, color, thickness, cv2.LINE_AA, SHIFT)
    for centre, color in joints:
        # A joint is lighter than its limbs, so that it can be told where they overlap.
        light = tuple((value + 255) // 2 for value in color)
        cv2.circle(canvas, centre, radius, light, cv2.FILLED, cv2.LINE_AA, SHIFT)


def _limb_colors(skeleton: Skeleton) -> list[tuple[int, int, int]]:
    """BGR colour of every limb: its side's, or the middle's where it joins left and right."""
    side = np.zeros(skeleton.num_keypoints, int)
    for left, right in skeleton.flip_pairs:
        side[left], side[right] = -1, 1
    central = np.flatnonzero(side == 0)
    middle = skeleton.colors[central[0]] if len(central) else MIDDLE
    return [
        _bgr(middle if side[a] * side[b] < 0 else skeleton.colors[b if side[b] else a]) for a, b in skeleton.limbs
    ]


def _extents(points: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Longer side (N,) of the box around each person's drawn joints, 0 where there are none."""
    if not points.size:
        return np.zeros(len(points))
    low = np.where(shown[..., None], points, np.inf).min(axis=1)
    high = np.where(shown[..., None], points, -np.inf).max(axis=1)
    return np.maximum(high - low, 0).max(axis=1)


def _thickness(extent: float, shape: tuple[int, ...]) -> int:
    """Width of a limb: a sixtieth of the person, held between a visible and a bearable share of the picture."""
    size = max(shape[:2])
    return round(min(max(extent / 60, 1, size / 500), max(1, size / 130)))


def _draw_box(canvas: np.ndarray, box: np.ndarray) -> None:
    if not np.isfinite(box).all():
        return
    corners = np.rint(np.clip([box[:2], box[:2] + box[2:]], -FAR, FAR) * (1 << SHIFT)).astype(int)
    width = max(1, round(max(canvas.shape) / 800))
    for color, thickness in ((OUTLINE, width + 2), (TEXT, width)):
        cv2.rectangle(canvas, tuple(corners[0]), tuple(corners[1]), color, thickness, cv2.LINE_AA, SHIFT)


def _label_anchor(points: np.ndarray, box: np.ndarray | None) -> np.ndarray | None:
    if box is not None and np.isfinite(box).all():
        return np.clip(box[:2], -FAR, FAR)
    return points[points[:, 1].argmin()] if len(points) else None


def draw_label(canvas: np.ndarray, text: str, anchor: np.ndarray) -> None:
    """Write `text` into the picture, its lower left corner at `anchor` (x, y), moved so that it lies within."""
    scale = max(0.4, max(canvas.shape) / 1600)
    (width, height), base = cv2.getTextSize(text, FONT, scale, 1)
    x = int(np.clip(anchor[0], 2, max(2, canvas.shape[1] - width - 2)))
    y = int(np.clip(anchor[1] - 2 * base, height + 2, max(height + 2, canvas.shape[0] - base)))
    cv2.putText(canvas, text, (x, y), FONT, scale, OUTLINE, 3, cv2.LINE_AA)
    cv2.putText(canvas, text, (x, y), FONT, scale, TEXT, 1, cv2.LINE_AA)


def side_by_side(
    predicted: np.ndarray, annotated: np.ndarray, titles: tuple[str, str] = ("predicted", "annotated")
) -> np.ndarray:
    """Put two pictures beside each other, each under a strip with its title; the lower one is padded at the bottom."""
    pictures = [_as_bgr(predicted), _as_bgr(annotated)]
    height = max(picture.shape[0] for picture in pictures)
    strip = max(24, height // 18)
    panels = []
    for picture, title in zip(pictures, titles):
        padded = cv2.copyMakeBorder(
            picture, 0, height - picture.shape[0], 0, 0, cv2.BORDER_CONSTANT, value=BACKGROUND
        )
        panels.append(np.vstack([_strip(title, padded.shape[1], strip), padded]))
    gap = np.full((height + strip, max(2, height // 120), 3), BACKGROUND, np.uint8)
    return np.hstack([panels[0], gap, panels[1]])


def draw_heatmaps(image: np.ndarray, heatmaps: np.ndarray, matrices: np.ndarray | None = None, peak: float = 0.0,
                  opacity: float = 0.7) -> np.ndarray:
    """Lay the maximum of (M, h, w) heat maps over an image; values of zero and less leave it as it is.

    Args:
        matrices: (M, 2, 3) from cells (x, y) of each map to pixels of the image. By default all maps cover the image,
            and cell i lies at pixel i × stride, HeatmapCodec's convention.
        peak: value of the strongest colour; 0: the highest value of the maps.
    """
    canvas = _as_bgr(image)
    height, width = canvas.shape[:2]
    heatmaps = np.nan_to_num(np.asarray(heatmaps, np.float32), nan=0, posinf=0, neginf=0)
    if matrices is None:
        heatmaps = heatmaps.max(axis=0, keepdims=True)
        matrices = np.array([[[width / heatmaps.shape[2], 0, 0], [0, height / heatmaps.shape[1], 0]]])
    peak = peak or float(heatmaps.max(initial=0))
    if peak <= 0:
        return canvas
    levels = np.rint(np.clip(heatmaps / peak, 0, 1) * 255).astype(np.uint8)
    strongest = np.zeros((height, width), np.uint8)
    for cells, matrix in zip(levels, np.asarray(matrices, np.float64)):
        _paste_cells(strongest, cells, matrix)
    # The square root keeps faint second peaks visible; empty regions stay clear.
    weights = (opacity * np.sqrt(np.arange(256, dtype=np.float32) / 255))[:, None]
    rows = max(1, 2**20 // width)  # the float arrays of a whole large picture would take gigabytes
    for start in range(0, height, rows):
        part, level = canvas[start : start + rows], strongest[start : start + rows]
        weight, colors = weights[level], cv2.applyColorMap(level, cv2.COLORMAP_TURBO)
        part[...] = np.rint(part * (1 - weight) + colors * weight)
    return canvas


def _paste_cells(strongest: np.ndarray, cells: np.ndarray, matrix: np.ndarray) -> None:
    """Raise `strongest` (H, W) uint8 to the values of a map (h, w) uint8 where `matrix` (2, 3) puts it."""
    height, width = strongest.shape
    edges = matrix[:, :2] @ np.array([[-0.5, cells.shape[1]], [-0.5, cells.shape[0]]]) + matrix[:, 2:]
    left, top = np.clip(np.floor(edges[:, 0]), 0, [width, height]).astype(int)
    right, bottom = np.clip(np.ceil(edges[:, 1]), 0, [width, height]).astype(int)
    if left >= right or top >= bottom:
        return
    local = matrix - np.array([[0, 0, left], [0, 0, top]])
    part = strongest[top:bottom, left:right]
    warped = cv2.warpAffine(cells, local, (right - left, bottom - top), borderMode=cv2.BORDER_REPLICATE)
    np.maximum(part, warped, out=part)


def strongest_vectors(pafs: np.ndarray) -> np.ndarray:
    """The longest of the L vectors of each cell, (2, h, w) float32, of part affinity fields (2 L, h, w)."""
    fields = np.nan_to_num(np.asarray(pafs, np.float32), nan=0, posinf=0, neginf=0).reshape(-1, 2, *pafs.shape[1:])
    longest = (fields**2).sum(axis=1).argmax(axis=0)
    return np.take_along_axis(fields, longest[None, None], axis=0)[0]


def draw_pafs(image: np.ndarray, pafs: np.ndarray, matrix: np.ndarray, opacity: float = 0.85) -> np.ndarray:
    """Lay part affinity fields over an image: the hue is the direction of the longest vector, the opacity its length.

    Red points to the right, and from there clockwise: yellow-green down, cyan left, violet up. Vectors of length 1 and
    more are drawn with the full opacity.

    Args:
        pafs: (2 L, h, w), channels 2 i and 2 i + 1 the x and y components of limb i.
        matrix: (2, 3) from cells (x, y) to pixels of the image.
    """
    canvas = _as_bgr(image)
    height, width = canvas.shape[:2]
    field = np.ascontiguousarray(strongest_vectors(pafs).transpose(1, 2, 0))
    rows = max(1, 2**20 // width)  # as in draw_heatmaps
    for start in range(0, height, rows):
        part = canvas[start : start + rows]
        local = matrix - np.array([[0, 0, 0], [0, 0, start]])
        vectors = cv2.warpAffine(field, local, (width, len(part)), borderMode=cv2.BORDER_REPLICATE)
        length, angle = cv2.cartToPolar(vectors[..., 0], vectors[..., 1], angleInDegrees=True)
        hsv = np.full(part.shape, 255, np.uint8)
        hsv[..., 0] = np.rint(angle / 2) % 180
        weight = (opacity * np.minimum(length, 1))[..., None]
        part[...] = np.rint(part * (1 - weight) + cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR) * weight)
    return canvas


def contact_sheet(
    images: Sequence[np.ndarray],
    columns: int = 4,
    cell: tuple[int, int] = (256, 256),
    captions: Sequence[str] | None = None,
) -> np.ndarray:
    """Arrange pictures in rows of `columns` cells, each scaled to fit and centred in `cell` = (width, height).

    With captions every cell has a strip of 22 pixels above it; cells are 4 pixels apart.

    Returns:
        (rows × (cell height + strip + 4) + 4, columns × (cell width + 4) + 4, 3), with no more columns than pictures.
    """
    if not images:
        raise ValueError("a contact sheet needs at least one picture")
    gap, strip = 4, 22 if captions else 0
    width, height = cell
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    pitch = np.array([height + strip + gap, width + gap])
    sheet = np.full((*(pitch * [rows, columns] + gap), 3), BACKGROUND, np.uint8)
    for i, picture in enumerate(images):
        top, left = pitch * divmod(i, columns) + gap
        if captions:
            sheet[top : top + strip, left : left + width] = _strip(captions[i], width, strip)
        sheet[top + strip : top + strip + height, left : left + width] = fit(_as_bgr(picture), width, height)
    return sheet


def write_image(path: str | Path, image: np.ndarray) -> Path:
    """Write a picture atomically; the suffix chooses the format.

    Raises:
        PoseError: the folder cannot be written to, or OpenCV cannot write this picture or format.
    """
    path = Path(path)
    with atomic_path(path) as temporary:
        try:
            written = cv2.imwrite(str(temporary), image)
        except cv2.error as error:
            raise PoseError(f"cannot write {path}: {error.err}; use .png or .jpg and an image that is not empty"
                            ) from error  # fmt: skip
        if not written:
            raise PoseError(f"cannot write {path}: OpenCV failed to encode it; is the disk full?")
    return path


def plot_curves(metrics: str | Path | Iterable[Mapping[str, object]], out_png: str | Path) -> Path:
    """Draw training loss and learning rate per step, and AP per epoch, as a PNG.

    Args:
        metrics: records, or the JSON-lines file that holds them: `{"epoch", "step", "loss", "lr"}` of training, `step`
            being counted from the start of the run, and `{"epoch", "AP"}` of evaluations. A step or epoch that stands
            there twice, as after a resumed run, counts as it was written last.

    Raises:
        PoseError: the file is missing, or the picture cannot be written.
    """
    # Imported here: half a second, and 60 MB, that nothing else needs. The object interface chooses no global backend.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    records = _read_records(Path(metrics)) if isinstance(metrics, (str, Path)) else list(metrics)
    steps, loss, rate = _series(records, "step", "loss", "lr")
    epochs, precision = _series(records, "epoch", "AP")

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(steps, loss, color="#f4a261", linewidth=0.8, alpha=0.6 if len(loss) > 50 else 1)
    if len(loss) > 50:
        left.plot(steps, _smooth(loss), color="#d1495b", linewidth=1.8)
    positive = loss[loss > 0]
    if len(positive) and positive.max() > 10 * positive.min():
        left.set_yscale("log")
    left.set(title="training", xlabel="step", ylabel="loss")
    other = left.twinx()
    other.plot(steps, rate, color="#457b9d", linewidth=0.8, linestyle="--")
    other.set_ylabel("learning rate", color="#457b9d")
    right.plot(epochs, precision, color="#2a9d8f", marker="o", markersize=3.5, linewidth=1.5)
    if np.isfinite(precision).any():
        best = int(np.nanargmax(precision))
        right.annotate(
            f"best {precision[best]:.3f}", (epochs[best], precision[best]), xytext=(0, 7), textcoords="offset points",
            ha="left" if 2 * best < len(precision) - 1 else "right",
        )  # fmt: skip
    right.set(title="validation", xlabel="epoch", ylabel="AP", ylim=(0, max(0.1, min(1, _top(precision) * 1.15))))
    for axes in (left, right):
        axes.grid(alpha=0.25)
        axes.spines["top"].set_visible(False)
    other.spines["top"].set_visible(False)
    with atomic_path(out_png) as temporary:
        FigureCanvasAgg(figure).print_png(str(temporary))
    return Path(out_png)


def _read_records(path: Path) -> list[dict[str, object]]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise PoseError(f"metrics cannot be read: {path}: {error.strerror}") from error
    records = []
    for line in lines:
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue  # A run that was killed while writing leaves half a line.
        if isinstance(record, dict):
            records.append(record)
    return records


def _series(records: Sequence[Mapping[str, object]], key: str, value: str, *extra: str) -> list[np.ndarray]:
    """Columns `key`, `value` and `extra` of the records that have the first two, sorted by `key`; NaN where absent."""
    latest = {record[key]: record for record in records if key in record and value in record}
    rows = [[latest[at].get(name) for name in (key, value, *extra)] for at in sorted(latest)]  # type: ignore[type-var]
    return list(np.array(rows, np.float64).reshape(-1, 2 + len(extra)).T)


def _smooth(values: np.ndarray) -> np.ndarray:
    """Centred running mean over a twentieth of the curve, ignoring NaN."""
    kernel = np.ones(2 * (len(values) // 40) + 1)
    valid = np.isfinite(values)
    total = np.convolve(np.where(valid, values, 0), kernel, "same")
    return total / np.maximum(np.convolve(valid, kernel, "same"), 1)


def _top(values: np.ndarray) -> float:
    return float(np.nanmax(values)) if np.isfinite(values).any() else 0.0


def _as_bgr(image: np.ndarray) -> np.ndarray:
    """A BGR copy of a colour or grey uint8 image."""
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3)):
        raise ValueError(f"expected a uint8 image (H, W), (H, W, 1) or (H, W, 3), got {image.dtype} {image.shape}")
    if image.ndim == 3 and image.shape[2] == 3:
        return np.array(image, order="C")
    return cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_GRAY2BGR)


def _bgr(rgb: tuple[int, int, int]) -> tuple[int, int, int]:
    return rgb[2], rgb[1], rgb[0]


def fit(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Scale a uint8 BGR image into (height, width, 3) keeping the aspect, centred on a background."""
    ratio = min(width / image.shape[1], height / image.shape[0])
    size = max(1, round(image.shape[1] * ratio)), max(1, round(image.shape[0] * ratio))
    resized = cv2.resize(image, size, interpolation=cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR)
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    cell = np.full((height, width, 3), BACKGROUND, np.uint8)
    cell[top : top + size[1], left : left + size[0]] = resized
    return cell


def _strip(text: str, width: int, height: int) -> np.ndarray:
    """A strip (height, width, 3) with `text` centred, made smaller where it would not fit."""
    strip = np.full((height, width, 3), BACKGROUND, np.uint8)
    scale = height / 42
    taken = cv2.getTextSize(text, FONT, scale, 1)[0][0]
    scale *= min(1, (width - 8) / max(taken, 1))
    if scale > 0:
        (taken, tall), _ = cv2.getTextSize(text, FONT, scale, 1)
        origin = (width - taken) // 2, (height + tall) // 2
        cv2.putText(strip, text, origin, FONT, scale, TEXT, 1, cv2.LINE_AA)
    return strip
