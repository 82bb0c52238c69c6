"""Pictures: poses, heat maps and contact sheets.

Images are uint8 arrays in BGR, (H, W, 3); grey ones, (H, W) or (H, W, 1), are accepted and drawn on in colour.
Functions return a new image and leave their input alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from mspose.errors import PoseError
from mspose.files import atomic_path
from mspose.skeleton import MIDDLE, Skeleton

OUTLINE = (24, 24, 24)
BACKGROUND = (32, 32, 32)
TEXT = (240, 240, 240)
BOX = (90, 210, 90)
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
    line_width: int = 0,
) -> np.ndarray:
    """Draw people as coloured skeletons with a dark outline.

    Args:
        image: (H, W, 3) BGR or grey, uint8.
        keypoints: (N, J, 3) x, y in pixels and either a score or COCO's visibility (0 not labelled, 1 hidden, 2 seen).
            Joints whose third value is 0 or under `threshold`, or that are not finite, are left out with their limbs.
        labels: N texts to write above the people, or None.
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
        _draw_person(canvas, points[person], shown[person], skeleton, colors, thickness)
        if labels is not None and shown[person].any():
            joints = points[person][shown[person]]
            draw_label(canvas, labels[person], joints[joints[:, 1].argmin()])
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
    limbs = [
        (tuple(fixed[a]), tuple(fixed[b]), color)
        for (a, b), color in zip(skeleton.limbs, colors)
        if shown[a] and shown[b]
    ]
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


def draw_boxes(image: np.ndarray, boxes: np.ndarray, line_width: int = 0) -> np.ndarray:
    """Draw boxes (N, 4) x, y, width, height in pixels; a new (H, W, 3) image.

    Args:
        line_width: in pixels; 0: by the size of the box.
    """
    canvas = _as_bgr(image)
    for x, y, width, height in np.asarray(boxes, np.float64).reshape(-1, 4):
        corners = np.rint(np.clip([[x, y], [x + width, y + height]], -FAR, FAR) * (1 << SHIFT)).astype(int)
        thickness = line_width or _thickness(max(width, height), canvas.shape)
        for color, wide in ((OUTLINE, thickness + 2), (BOX, thickness)):
            cv2.rectangle(canvas, tuple(corners[0]), tuple(corners[1]), color, wide, cv2.LINE_AA, SHIFT)
    return canvas


def _limb_colors(skeleton: Skeleton) -> list[tuple[int, int, int]]:
    """BGR colour of every limb: its side's, or the middle's where it joins left and right."""
    side = np.zeros(skeleton.num_keypoints, int)
    for left, right in skeleton.flip_pairs:
        side[left], side[right] = -1, 1
    central = np.flatnonzero(side == 0)
    middle = skeleton.colors[central[0]] if len(central) else MIDDLE
    return [_bgr(middle if side[a] * side[b] < 0 else skeleton.colors[b if side[b] else a]) for a, b in skeleton.limbs]


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
        padded = cv2.copyMakeBorder(picture, 0, height - picture.shape[0], 0, 0, cv2.BORDER_CONSTANT, value=BACKGROUND)
        panels.append(np.vstack([_strip(title, padded.shape[1], strip), padded]))
    gap = np.full((height + strip, max(2, height // 120), 3), BACKGROUND, np.uint8)
    return np.hstack([panels[0], gap, panels[1]])


def draw_heatmaps(image: np.ndarray, heatmaps: np.ndarray, matrices: np.ndarray, opacity: float = 0.7) -> np.ndarray:
    """Lay the maximum of (M, h, w) heat maps over an image; values of zero and less leave it as it is.

    The strongest colour is that of 1, the peak that networks are trained towards.

    Args:
        matrices: (M, 2, 3) from cells (x, y) of each map to pixels of the image.
    """
    canvas = _as_bgr(image)
    height, width = canvas.shape[:2]
    heatmaps = np.nan_to_num(np.asarray(heatmaps, np.float32), nan=0, posinf=0, neginf=0)
    levels = np.rint(np.clip(heatmaps, 0, 1) * 255).astype(np.uint8)
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


def contact_sheet(images: Sequence[np.ndarray], columns: int, cell: tuple[int, int]) -> np.ndarray:
    """Arrange pictures in rows of `columns` cells, each scaled to fit and centred in `cell` = (width, height).

    Returns:
        (rows × (cell height + 4) + 4, columns × (cell width + 4) + 4, 3), with no more columns than pictures.
    """
    if not images:
        raise ValueError("a contact sheet needs at least one picture")
    gap = 4
    width, height = cell
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    pitch = np.array([height + gap, width + gap])
    sheet = np.full((*(pitch * [rows, columns] + gap), 3), BACKGROUND, np.uint8)
    for i, picture in enumerate(images):
        top, left = pitch * divmod(i, columns) + gap
        sheet[top : top + height, left : left + width] = fit(_as_bgr(picture), width, height)
    return sheet


def write_image(path: str | Path, image: np.ndarray) -> Path:
    """Write a picture atomically; the suffix chooses the format.

    Raises:
        PoseError: the folder cannot be written to, or OpenCV cannot write this picture or format.
    """
    path = Path(path)
    data = encode_image(path, image)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
    return path


def encode_image(path: Path, image: np.ndarray) -> bytes:
    """A picture as the file of that name would hold it; the suffix chooses the format.

    Raises:
        PoseError: OpenCV cannot write this picture or format.
    """
    try:
        # Not cv2.imwrite: it does not say why it failed, and crashes on names that are not UTF-8.
        done, data = cv2.imencode(path.suffix, image)
    except cv2.error as error:
        raise PoseError(f"cannot write {path}: {error.err}; use .png or .jpg and an image that is not empty") from error
    if not done:
        height, width = image.shape[:2]
        raise PoseError(
            f"cannot write {path}: OpenCV cannot encode {width}x{height} pixels like that (a side has at most 65,500 "
            "in JPEG, 16,383 in WebP); use .png"
        )
    return data.tobytes()


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


def even(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The image (H, W, 3) at `size` (width, height): cut by a pixel a side, which encoders ask for, else resized."""
    width, height = size
    if 0 <= image.shape[1] - width <= 1 and 0 <= image.shape[0] - height <= 1:
        return np.ascontiguousarray(image[:height, :width])
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def even_size(image: np.ndarray) -> tuple[int, int]:
    """The largest even (width, height) within an image; 2 at least."""
    return max(image.shape[1] // 2 * 2, 2), max(image.shape[0] // 2 * 2, 2)


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
