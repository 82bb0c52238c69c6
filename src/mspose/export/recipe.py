"""What a model card says to people: how pictures become input, and the network's maps keypoints.

A recipe is complete: whoever has the model, its card, NumPy and OpenCV gets the keypoints that this repository gets.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mspose.config.schema import Config
from mspose.geometry import BOX_PADDING, MAX_ASPECT, PADDING_LEVEL
from mspose.methods.bottomup import build_codec
from mspose.skeleton import Skeleton

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
}


def input_formula(pixels: bool) -> str:
    """How pixels become what the model takes."""
    if pixels:
        return (
            "uint8 pixels as OpenCV reads them: (batch, height, width, 3), channels blue, green, red; the model "
            "normalises them itself"
        )
    return (
        "(pixel / scale - mean) / std, channel by channel, the channels in the order `color`; mean and std are in "
        "that order too; float32 (batch, 3, height, width)"
    )


def decode_recipe(config: Config) -> dict[str, Any]:
    """Numbers and steps from a picture to keypoints."""
    return _bottom_up(config) if config.model.name == "openpose" else _top_down(config)


def _top_down(config: Config) -> dict[str, Any]:
    codec, flip = config.codec, config.eval.flip_test
    steps = [
        "Boxes are x, y, width, height in image pixels, from any person detector; W, H are the input's width and "
        "height, w, h those of the maps. (COCO's annotated boxes are shrunk before they are evaluated: x to max(x, 0), "
        "width to min(picture width - 1, x + max(width - 1, 0)) - x with that x, y and height alike.)",
        "Crop: center = (x + width / 2, y + height / 2) as float32; side = float32(max(width, height * W / H) / 200) * "
        f"float32({BOX_PADDING}) * float32(200); the crop is side wide and side * H / W high. (The rounding decides "
        "in the last digit which pixels the crop shows.)",
        "Input pixel (u, v) shows image pixel center + ((u, v) - (W / 2, H / 2)) * side / W: cv2.warpAffine, bilinear, "
        "black outside of the picture, with cv2.getAffineTransform of three float32 points, center, top = center + "
        "(0, -side / 2) and top + (top.y - center.y, 0), to (W / 2, H / 2), (W / 2, (H - W) / 2) and (0, (H - W) / 2).",
        "Normalise as `input` says and run the model.",
        *(
            [
                "Flip test: run the input mirrored left to right too; mirror its maps back, exchange the maps of "
                "skeleton.flip_pairs, "
                + (
                    "move them a cell to the right (the first column keeps its value), "
                    if config.eval.shift_heatmap
                    else ""
                )
                + "and take the mean of both."
            ]
            if flip
            else []
        ),
        "For each keypoint, cell (cx, cy) is the maximum of its map and the maximum's value is the score; where it is "
        "not positive, the cell is (0, 0).",
        _REFINE[codec.refine],
        "Image pixel = center + ((cx, cy) - (w / 2, h / 2)) * side / w.",
    ]
    return {
        "kind": "heatmaps",
        "stride": config.data.input_size[0] / codec.heatmap_size[0],
        "box_padding": BOX_PADDING,
        "sigma": codec.sigma,
        "refine": codec.refine,
        "flip_test": flip,
        "shift_heatmap": config.eval.shift_heatmap,
        "steps": steps,
    }


def _bottom_up(config: Config) -> dict[str, Any]:
    codec = build_codec(config)
    layout, times = codec.layout, codec.grouping.upsample
    steps = [
        _whole_picture(config) + " cv2.resize, bilinear; INTER_AREA where both sides shrink to less than half.",
        "Normalise as `input` says and run the model.",
        *_merged(config),
        "Heat map i is of joints[i], the last one is the background; channels 2 i and 2 i + 1 of the fields are x and "
        "y of the vector from limbs[i][0] to limbs[i][1]. Values that are not finite or not between -1000 and 1000 "
        "count as 0.",
        *(
            [
                f"Enlarge the maps {times} times with cv2.resize, INTER_CUBIC; then smooth the heat maps with "
                f"cv2.GaussianBlur of standard deviation 3 * {times} / stride. "
                f"Below, stride means stride / {times}."
            ]
            if times > 1
            else []
        ),
        "Map cell (cx, cy) is input pixel stride * (cx, cy) + (stride - 1) / 2. s = sigma / stride, in cells.",
        "Joints are the cells of a heat map above peak_threshold that are higher than the cells left and above, and "
        "not lower than those right and below. With v the cell's value, V = ln(v), and A and B the logarithms of its "
        "neighbours on an axis (before, behind), each raised to at least min(0.01, v) first: the joint lies at the "
        "cell + d, d = (B - A) / (2 (2 V - A - B)), limited to -0.5 ... 0.5, on x and on y (the divisor at least "
        "2e-6). Where the map ends, the logarithm of the missing neighbour is 2 V - 1 / s^2 minus that of the other. "
        "The joint's score is v * exp(sum over x and y of d (B - A) / 4).",
        "Then the joints that hide in the flank of another: subtract from each heat map the maximum of its joints' "
        "Gaussians, score * exp(-distance^2 / (2 s^2)), of the joints with a score above 0.5, each in the square of "
        "ceil(3 s) cells around its nearest cell. Maxima above 0.5 of what remains, found in the same way, are joints "
        "too. Of each kind only the 96 best count.",
        "Each pair of joints of a limb's two kinds is a candidate. The field's component along the line from the first "
        "to the second is read, bilinearly (coordinates limited to the map), at 10 equidistant points, both ends "
        "included; at least limb_support of them must be above limb_threshold. The limb's score, their mean + min(0, "
        "map height / (2 length) - 1), length in cells, must be positive.",
        "Take the candidates of all limbs by falling score. Skip one if either joint already has a limb of that kind "
        "(the same entry of limbs); otherwise both have it now. Then, if both are of one person, its limb scores grow "
        "by this one; if they are of two (a joint alone is one) that have no kind of joint in common, the two become "
        "one person, with the limb scores of both and this one; else nothing.",
        "People of fewer than min_joints joints, or with a score, (sum of joint scores + sum of limb scores) / number "
        "of joints, below min_score, are left out.",
        "Image pixel = (input pixel + 0.5) * picture size / resized size - 0.5, on each axis; a keypoint's score is "
        "its joint's. joints[i] is keypoint keypoints[i] of the skeleton; null: a joint that is no keypoint (the "
        "neck). Keypoints that were not found are 0, 0, 0.",
    ]
    own = [source[0] if len(source) == 1 else None for source in layout.sources]
    return {
        "kind": "pafs",
        "stride": codec.stride,
        "offset": (codec.stride - 1) / 2,
        "sigma": codec.sigma,
        "joints": list(layout.joints),
        "keypoints": own,
        "limbs": [list(limb) for limb in layout.limbs],
        "flip_test": config.eval.flip_test,
        "grouping": asdict(codec.grouping),
        "steps": steps,
    }


def _whole_picture(config: Config) -> str:
    width, height = config.data.input_size
    if config.eval.resize == "canvas":
        return (
            f"Resize the whole picture to (round(width * f), round(height * f)), f = min({width} / width, {height} "
            f"/ height), at least 1 pixel, and pad it right and bottom with {PADDING_LEVEL} to {width}x{height} "
            "(the resized size below is that without padding)."
        )
    side = config.eval.short_side or min(width, height)
    return (
        f"Resize the whole picture: its short side to {side}, its long side to round({side} * long / short), "
        f"both then rounded up to multiples of 8. (Where the long side would exceed {MAX_ASPECT * side}, it "
        f"becomes that, and the short side round({MAX_ASPECT * side} * short / long).)"
    )


def _merged(config: Config) -> list[str]:
    steps = []
    if config.eval.scales != [1.0]:
        steps.append(
            f"Scales: run it at each of {config.eval.scales} of that size, its sides rounded to multiples "
            "of 8 (at least 8), made of the resized picture by cv2.resize, bilinear; resize the maps the same "
            "way to an eighth of the size at scale 1."
        )
    if config.eval.flip_test:
        steps.append(
            "Flip test: run each input mirrored left to right too; mirror its maps back, exchange the heat "
            "maps of joints that are mirror images (skeleton.flip_pairs; as the names say) and the fields of "
            "limbs between such joints, and negate their x; where the mirrored limb is stored with its ends "
            "exchanged, negate y instead."
        )
    return [*steps, "Take the mean of all heat maps and of all fields."] if steps else []


def describe_outputs(config: Config, shapes: list[list[int | None]]) -> list[dict[str, Any]]:
    """Name, shape and meaning of each output."""
    heatmaps = "one heat map a keypoint, in the order of skeleton.keypoints"
    if config.model.name != "openpose":
        return [{"name": "heatmaps", "shape": shapes[0], "meaning": heatmaps}]
    return [
        {"name": "pafs", "shape": shapes[0], "meaning": "part affinity fields: x and y for each of decode.limbs"},
        {
            "name": "heatmaps",
            "shape": shapes[1],
            "meaning": "one heat map a joint, in the order of decode.joints, and the background last",
        },
    ]


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
