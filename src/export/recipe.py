"""What a model card says to people: how pictures become input, and the network's maps keypoints.

A recipe is complete: whoever has the model, its card, NumPy and OpenCV gets the keypoints that this repository gets.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from src.engine.bottomup import build_codec
from src.geometry import BOX_PADDING, PADDING_LEVEL
from src.schema import Config
from src.skeleton import Skeleton

_REFINE = {
    "none": "refine none: keep the whole-numbered cell.",
    "quarter": "refine quarter: where 1 < cx < w - 1 and 1 < cy < h - 1, add 0.25 * sign(map[cy, cx + 1] - "
               "map[cy, cx - 1]) to cx and 0.25 * sign(map[cy + 1, cx] - map[cy - 1, cx]) to cy, both from the "
               "whole-numbered cell.",
    "dark": "refine dark (arXiv 1910.06278): smooth the map, zero beyond its border, with a normalised Gaussian kernel "
            "of 2 n + 1 cells, n = max(1, round((sigma - 0.8) / 0.3 + 1)), standard deviation 0.3 (n - 1) + 0.8; where "
            "1 < cx < w - 2 and 1 < cy < h - 2 and the smoothed 5x5 cells around are all positive, let f be their "
            "logarithm, dx = (f[0, 1] - f[0, -1]) / 2, dxx = (f[0, 2] - 2 f[0, 0] + f[0, -2]) / 4, dxy = (f[1, 1] - "
            "f[-1, 1] - f[1, -1] + f[-1, -1]) / 4 (indices y, x from the cell; dy, dyy alike), and add "
            "- inverse([[dxx, dxy], [dxy, dyy]]) [dx, dy].",
}  # fmt: skip


def input_formula(pixels: bool) -> str:
    """How pixels become what the model takes."""
    if pixels:
        return ("uint8 pixels as OpenCV reads them: (batch, height, width, 3), channels blue, green, red; the model "
                "normalises them itself")
    return ("(pixel / scale - mean) / std, channel by channel, the channels in the order `color`; mean and std are in "
            "that order too; float32 (batch, 3, height, width)")


def decode_recipe(config: Config) -> dict[str, Any]:
    """Numbers and steps from a picture to keypoints."""
    return _bottom_up(config) if config.model.name == "openpose" else _top_down(config)


def _top_down(config: Config) -> dict[str, Any]:
    codec, flip = config.codec, config.eval.flip_test
    steps = [
        "Boxes are x, y, width, height in image pixels, from any person detector; W, H are the input's width and "
        "height, w, h those of the maps.",
        "Crop: center = (x + width / 2, y + height / 2) as float32; side = float32(max(width, height * W / H) / 200) * "
        f"float32({BOX_PADDING}) * float32(200); the crop is side wide and side * H / W high. (The rounding decides "
        "in the last digit which pixels the crop shows.)",
        "Input pixel (u, v) shows image pixel center + ((u, v) - (W / 2, H / 2)) * side / W: cv2.warpAffine, bilinear, "
        "black outside of the picture, with cv2.getAffineTransform of three float32 points, center, top = center + "
        "(0, -side / 2) and top + (top.y - center.y, 0), to (W / 2, H / 2), (W / 2, (H - W) / 2) and (0, (H - W) / 2).",
        "Normalise as `input` says and run the model.",
        *(["Flip test: run the input mirrored left to right too; mirror its maps back, exchange the maps of "
           "skeleton.flip_pairs, "
           + ("move them a cell to the right (the first column keeps its value), " if config.eval.shift_heatmap else "")
           + "and take the mean of both."] if flip else []),
        "For each keypoint, cell (cx, cy) is the maximum of its map and the maximum's value is the score; where it is "
        "not positive, the cell is (0, 0).",
        _REFINE[codec.refine],
        "Image pixel = center + ((cx, cy) - (w / 2, h / 2)) * side / w.",
    ]  # fmt: skip
    return {"kind": "heatmaps", "stride": config.data.input_size[0] / codec.heatmap_size[0], "box_padding": BOX_PADDING,
            "sigma": codec.sigma, "refine": codec.refine, "flip_test": flip, "shift_heatmap": config.eval.shift_heatmap,
            "steps": steps}  # fmt: skip


def _bottom_up(config: Config) -> dict[str, Any]:
    codec = build_codec(config)
    layout = codec.layout
    short_side = config.eval.short_side or min(config.data.input_size)
    canvas = config.eval.resize == "canvas"
    steps = [
        (f"Resize the whole picture, aspect kept, to fit into {config.data.input_size[0]}x{config.data.input_size[1]} "
         f"and pad right and bottom with {PADDING_LEVEL}." if canvas else
         f"Resize the whole picture so that its short side is {short_side}, both sides rounded up to multiples of 8.")
        + " cv2.resize, bilinear; INTER_AREA where both sides shrink to less than half.",
        "Normalise as `input` says and run the model.",
        "Map cell (cx, cy) is input pixel (stride * cx + offset, stride * cy + offset); heat map i is of joints[i], "
        "the last one is the background; channels 2 i and 2 i + 1 of the fields are x and y of the vector from "
        "limbs[i][0] to limbs[i][1].",
        "Joints are the local maxima (against 4 neighbours) of their heat maps above peak_threshold, moved to the top "
        "of the parabola through the logarithms of three cells along x and along y, at most half a cell.",
        "The field's component along a possible limb is read, bilinearly, at 10 points from end to end; limb_support "
        "of them must be above limb_threshold; the limb's score is their mean, plus min(0, map height / 2 / length "
        "- 1), and must be positive.",
        "Limbs are taken by falling score, each joint once for a kind of limb, and joined into people; people of fewer "
        "than min_joints joints, or a score (sum of joint and limb scores / joints) below min_score, are left out.",
        "Image pixel = (input pixel + 0.5) * picture size / resized size - 0.5; the score of a joint is its peak's "
        "value. joints[i] is keypoint keypoints[i] of the skeleton; null: a joint that is no keypoint (the neck).",
    ]  # fmt: skip
    own = [source[0] if len(source) == 1 else None for source in layout.sources]
    return {"kind": "pafs", "stride": codec.stride, "offset": (codec.stride - 1) / 2, "sigma": codec.sigma,
            "joints": list(layout.joints), "keypoints": own, "limbs": [list(limb) for limb in layout.limbs],
            "grouping": asdict(codec.grouping), "steps": steps}  # fmt: skip


def describe_outputs(config: Config, shapes: list[list[int | None]]) -> list[dict[str, Any]]:
    """Name, shape and meaning of each output."""
    heatmaps = "one heat map a keypoint, in the order of skeleton.keypoints"
    if config.model.name != "openpose":
        return [{"name": "heatmaps", "shape": shapes[0], "meaning": heatmaps}]
    return [{"name": "pafs", "shape": shapes[0], "meaning": "part affinity fields: x and y for each of decode.limbs"},
            {"name": "heatmaps", "shape": shapes[1],
             "meaning": "one heat map a joint, in the order of decode.joints, and the background last"}]  # fmt: skip


def describe_skeleton(skeleton: Skeleton) -> dict[str, Any]:
    """A skeleton as in a skeleton file: limbs and pairs by name."""
    names = skeleton.keypoints
    return {
        "name": skeleton.name,
        "keypoints": list(names),
        "limbs": [[names[a], names[b]] for a, b in skeleton.limbs],
        "flip_pairs": [[names[a], names[b]] for a, b in skeleton.flip_pairs],
        "sigmas": list(skeleton.sigmas),
        "upper_body": [names[i] for i in skeleton.upper_body],
        "colors": [list(color) for color in skeleton.colors],
    }
