"""Boxes, centre and size of a crop, and the affine maps between image and network input.

Coordinates are pixels, (x, y), pixel centres at integers. A crop is described by its centre (x, y) and its size
(width, height) in image pixels, already padded to the aspect ratio of the network input.
"""

from __future__ import annotations

import cv2
import numpy as np

# SimpleBaselines enlarges every box by this factor before cropping, so that limbs at its border keep some context.
BOX_PADDING = 1.25
# Where a whole picture does not fill the network input; close to 0 after OpenPose's normalisation.
PADDING_LEVEL = 128
# Whole pictures longer than this many times their width (no photographs, but strips) are made smaller than others.
MAX_ASPECT = 10
# Longest side that OpenCV's warps take: they address pixels with 16 bits.
MAX_SIDE = 32766


def clip_boxes(boxes: np.ndarray, widths: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """Clip COCO boxes to their images the way the SimpleBaselines loader does.

    Args:
        boxes: (N, 4) x, y, width, height.
        widths, heights: (N,) image sizes in pixels.

    Returns:
        (N, 4) float64; a box with nothing left inside the image has negative width or height.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    low = np.maximum(boxes[:, :2], 0)
    limit = np.stack([widths, heights], axis=1).reshape(-1, 2) - 1
    high = np.minimum(limit, low + np.maximum(boxes[:, 2:] - 1, 0))
    return np.concatenate([low, high - low], axis=1)


def box_to_crop(boxes: np.ndarray, aspect: float, padding: float = BOX_PADDING) -> tuple[np.ndarray, np.ndarray]:
    """Turn boxes into crop centres and sizes of a fixed aspect ratio.

    Args:
        boxes: (N, 4) x, y, width, height in pixels.
        aspect: width / height of the network input; the shorter side of each box grows to reach it.
        padding: factor by which the crop is larger than the box.

    Returns:
        centers (N, 2) and sizes (N, 2), float32, in image pixels.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    centers = (boxes[:, :2] + boxes[:, 2:] * 0.5).astype(np.float32)
    widths = np.maximum(boxes[:, 2], boxes[:, 3] * aspect)
    sizes = np.stack([widths, widths / aspect], axis=1)
    # SimpleBaselines keeps sizes as float32 multiples of 200 pixels; the same rounding gives the same crops.
    sizes = (sizes / 200).astype(np.float32) * np.float32(padding) * np.float32(200)
    return centers, sizes


def crop_matrix(
    center: np.ndarray,
    size: np.ndarray,
    output_size: tuple[int, int],
    rotation: float = 0.0,
    flip: bool = False,
    unbiased: bool = False,
) -> np.ndarray:
    """Affine matrix (2, 3), float64, that maps image pixels to pixels of the network input.

    The crop's centre lands on the centre (width/2, height/2) of the output and its width spans the output's width;
    this is the three-point construction of SimpleBaselines. With `unbiased` it is UDP's (arXiv 1911.07524): the crop's
    sides land on the centres of the outermost pixels, and its centre on ((width - 1)/2, (height - 1)/2).

    Args:
        center, size: (2,) centre and size of the crop in image pixels.
        output_size: (width, height) of the network input.
        rotation: degrees, as in SimpleBaselines (positive turns the crop window clockwise on the picture); UDP's
            published implementations turn it the other way.
        flip: mirror horizontally first: the output shows the mirrored image's crop around the mirrored centre.
        unbiased: UDP's geometry.
    """
    make = _unbiased_matrix if unbiased else _three_point_matrix
    matrix = make(center, size, output_size, np.deg2rad(rotation))
    if flip:  # x becomes 2 · center - x
        matrix[:, 2] += 2 * float(center[0]) * matrix[:, 0]
        matrix[:, 0] *= -1
    return matrix


def _unbiased_matrix(center: np.ndarray, size: np.ndarray, output_size: tuple[int, int], angle: float) -> np.ndarray:
    last = np.array(output_size) - 1
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = (last / np.asarray(size, np.float64))[:, None] * turn
    matrix = np.column_stack([linear, last / 2 - linear @ np.asarray(center, np.float64)])
    # Rounded as in the published implementations, see `_three_point_matrix`.
    return matrix.astype(np.float32).astype(np.float64)


def _three_point_matrix(center: np.ndarray, size: np.ndarray, output_size: tuple[int, int], angle: float) -> np.ndarray:
    width, height = output_size
    half = float(size[0]) * 0.5
    # The points are rounded to float32 as in the reference: warpAffine quantises positions to 1/32 pixel, and another
    # rounding of the matrix would tip some of them to the neighbouring step.
    source = np.empty((3, 2), np.float32)
    source[0] = center
    source[1] = source[0] + np.array([half * np.sin(angle), -half * np.cos(angle)])
    source[2] = source[1] + _right_angle(source[0] - source[1])
    target = np.empty((3, 2), np.float32)
    target[0] = width * 0.5, height * 0.5
    target[1] = width * 0.5, (height - width) * 0.5
    target[2] = target[1] + _right_angle(target[0] - target[1])
    return cv2.getAffineTransform(source, target)


def _right_angle(vector: np.ndarray) -> np.ndarray:
    return np.array([-vector[1], vector[0]], np.float32)


def transform_points(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Apply an affine matrix (2, 3) to points (..., 2); float64 result of the same shape."""
    return np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]


def to_images(keypoints: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    """Keypoints (P, J, 3) with their x, y mapped by one affine matrix (P, 2, 3) a person, in float64; float32."""
    points = np.einsum("pij,pkj->pki", matrices[..., :2], keypoints[..., :2].astype(np.float64))
    points += matrices[:, None, :, 2]
    result = np.array(keypoints, np.float32)
    result[..., :2] = points
    return result


def crop_to_image(
    centers: np.ndarray, sizes: np.ndarray, input_size: tuple[int, int], unbiased: bool = False
) -> np.ndarray:
    """Matrices (N, 2, 3), float64, from pixels of the network input to the picture: the inverses of `crop_matrix`.

    Args:
        centers, sizes: (N, 2) of unrotated crops in image pixels.
        input_size: (width, height) of the network input.
        unbiased: UDP's geometry.
    """
    centers, sizes = np.asarray(centers, np.float64), np.asarray(sizes, np.float64)
    matrices = np.zeros((len(centers), 2, 3))
    if unbiased:
        matrices[:, [0, 1], [0, 1]] = sizes / (np.array(input_size) - 1)
        matrices[:, :, 2] = centers - sizes / 2
        return matrices
    matrices[:, 0, 0] = matrices[:, 1, 1] = sizes[:, 0] / input_size[0]
    matrices[:, :, 2] = centers - matrices[:, :1, 0] * np.array(input_size) / 2
    return matrices


def warp(
    image: np.ndarray,
    matrix: np.ndarray,
    size: tuple[int, int],
    interpolation: int = cv2.INTER_LINEAR,
    border: tuple[int, ...] = (0, 0, 0),
) -> np.ndarray:
    """`cv2.warpAffine` for pictures of any size.

    Args:
        image: (H, W) or (H, W, 3) uint8.
        matrix: (2, 3) from pixels of the image to those of the result.
        size: (width, height) of the result.
        border: value around the image.
    """
    if max(image.shape[:2]) > MAX_SIDE:
        image, matrix = _visible_part(image, matrix, size)
    return cv2.warpAffine(image, matrix, size, flags=interpolation, borderValue=border)


def _visible_part(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The part of an image that a warp shows, sides up to `MAX_SIDE`, and the matrix from this part."""
    corners = np.array([[0, 0], [size[0], 0], [0, size[1]], size]) - 0.5
    seen = transform_points(corners, cv2.invertAffineTransform(matrix))
    bounds = np.array([image.shape[1], image.shape[0]])
    # Two pixels more than is seen, since interpolation takes in the neighbours.
    low = np.clip(np.floor(seen.min(axis=0)) - 2, 0, bounds - 1).astype(int)
    high = np.clip(np.ceil(seen.max(axis=0)) + 3, low + 1, bounds).astype(int)
    # So much is shown in so few pixels that interpolation between two of them leaves most out in any case.
    step = -(-int((high - low).max()) // MAX_SIDE)
    part = np.ascontiguousarray(image[low[1] : high[1] : step, low[0] : high[0] : step])
    return part, compose(matrix, np.column_stack([step * np.eye(2), low]))


def compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """The affine matrix (..., 2, 3) that applies `inner`, then `outer`, both (..., 2, 3)."""
    linear = outer[..., :2] @ inner[..., :2]
    return np.concatenate([linear, outer[..., :2] @ inner[..., 2:] + outer[..., 2:]], axis=-1)


def resize_matrix(size: tuple[int, int], source_size: tuple[int, int]) -> np.ndarray:
    """Matrix (2, 3), float64, from pixels of a resized picture back to those of its source.

    Pixel centres lie at integers, so the corners of both pictures, at -0.5, fall together as in `cv2.resize`.

    Args:
        size, source_size: (width, height) in pixels.
    """
    scale = np.array(source_size) / np.array(size)
    return np.column_stack([np.diag(scale), (scale - 1) / 2])


def resize_short_side(image: np.ndarray, short_side: int = 368, multiple: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Resize a whole picture for a fully convolutional network, as the MindSpore OpenPose does.

    The short side becomes `short_side`, the long side follows the aspect ratio, and both are rounded up to a multiple
    of `multiple`, which changes the aspect ratio a little. Where the long side would exceed `MAX_ASPECT` times
    `short_side`, it gets that length and the short side follows: a strip a few pixels high must not fill the memory.

    Args:
        image: (H, W, 3) uint8.

    Returns:
        The resized picture and the matrix (2, 3) from its pixels back to those of `image`.
    """
    height, width = image.shape[:2]
    long_side = min(round(short_side * max(width, height) / min(width, height)), MAX_ASPECT * short_side)
    short_side = min(short_side, round(long_side * min(width, height) / max(width, height)))
    short_side, long_side = (max(-(-side // multiple), 1) * multiple for side in (short_side, long_side))
    size = (short_side, long_side) if width <= height else (long_side, short_side)
    return _resize(image, size), resize_matrix(size, (width, height))


def canvas_fit(source_size: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """(width, height) to which `resize_canvas` resizes a picture of `source_size` for a canvas of `size`."""
    scale = min(size[0] / source_size[0], size[1] / source_size[1])
    return max(1, round(source_size[0] * scale)), max(1, round(source_size[1] * scale))


def resize_canvas(image: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Fit a whole picture into a canvas of fixed size, keeping its aspect ratio, and pad right and bottom.

    Args:
        image: (H, W, 3) uint8.
        size: (width, height) of the canvas.

    Returns:
        The canvas (height, width, 3), padded with `PADDING_LEVEL`, and the matrix (2, 3) from its pixels back to those
        of `image`.
    """
    height, width = image.shape[:2]
    fitted = canvas_fit((width, height), size)
    canvas = np.full((size[1], size[0], 3), PADDING_LEVEL, image.dtype)
    canvas[: fitted[1], : fitted[0]] = _resize(image, fitted)
    return canvas, resize_matrix(fitted, (width, height))


def _resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    # Beyond a factor of two, bilinear interpolation leaves source pixels out and aliases.
    shrinks = 2 * size[0] < image.shape[1] and 2 * size[1] < image.shape[0]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
