"""Skeletons: what the keypoints of a dataset are called, how they connect, mirror and are scored.

A skeleton sets the number of output channels, the flips and the OKS of a run. `coco17` is built in; other keypoint
sets are described in a YAML file (see configs/skeletons/) with these keys:

    name: my14
    keypoints: [head, neck, l_shoulder, …]         # order of the annotation file
    limbs: [[head, neck], …]                        # pairs to draw, by name
    flip_pairs: [[l_shoulder, r_shoulder], …]       # exchanged by a horizontal flip
    sigmas: [0.026, …]                              # OKS constants of COCO's metric, one a keypoint
    upper_body: [head, neck, …]                     # optional: for half-body augmentation
    colors: [[255, 128, 0], …]                      # optional: RGB, one a keypoint
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mspose.errors import UsageError
from mspose.files import file_fault, parse_yaml, user_path

# Left is warm, right is cool and the middle is green, so that a picture shows at once which side is which.
LEFT, RIGHT, MIDDLE = (255, 128, 0), (0, 150, 255), (60, 200, 60)


@dataclass(frozen=True)
class Skeleton:
    """Names, limbs, flip pairs, OKS sigmas and colours of J keypoints.

    Attributes:
        limbs: pairs of keypoint indices to draw.
        flip_pairs: pairs of keypoint indices that a horizontal flip exchanges.
        sigmas: J OKS constants as COCO gives them (per-keypoint standard deviation relative to object scale).
        upper_body: indices of the keypoints that half-body augmentation counts as the upper half.
        colors: J RGB colours.
    """

    name: str
    keypoints: tuple[str, ...]
    limbs: tuple[tuple[int, int], ...]
    flip_pairs: tuple[tuple[int, int], ...]
    sigmas: tuple[float, ...]
    upper_body: tuple[int, ...]
    colors: tuple[tuple[int, int, int], ...]

    @property
    def num_keypoints(self) -> int:
        """J, the number of keypoints."""
        return len(self.keypoints)

    @property
    def has_halves(self) -> bool:
        """Whether some keypoints, and not all, are of the upper body."""
        return 0 < len(set(self.upper_body)) < self.num_keypoints

    @cached_property
    def flip_index(self) -> np.ndarray:
        """Permutation (J,) such that `keypoints[flip_index]` are the keypoints of the mirrored person."""
        index = np.arange(self.num_keypoints)
        for a, b in self.flip_pairs:
            index[[a, b]] = b, a
        return index


def _build(
    name: str,
    keypoints: Sequence[str],
    limbs: Sequence[Sequence[str]],
    flip_pairs: Sequence[Sequence[str]],
    sigmas: Sequence[float],
    upper_body: Sequence[str] = (),
    colors: Sequence[Sequence[int]] = (),
) -> Skeleton:
    index = {keypoint: i for i, keypoint in enumerate(keypoints)}
    pairs = tuple((index[a], index[b]) for a, b in flip_pairs)
    if not colors:
        left, right = {a for a, _ in pairs}, {b for _, b in pairs}
        colors = [LEFT if i in left else RIGHT if i in right else MIDDLE for i in range(len(keypoints))]
    return Skeleton(
        name=name,
        keypoints=tuple(keypoints),
        limbs=tuple((index[a], index[b]) for a, b in limbs),
        flip_pairs=pairs,
        sigmas=tuple(float(s) for s in sigmas),
        upper_body=tuple(index[k] for k in upper_body),
        colors=tuple((int(r), int(g), int(b)) for r, g, b in colors),
    )


def _sides(*parts: str) -> list[tuple[str, str]]:
    return [(f"left_{part}", f"right_{part}") for part in parts]


COCO17 = _build(
    name="coco17",
    keypoints=(
        "nose",
        "left_eye",
        "right_eye",
        "left_ear",
        "right_ear",
        "left_shoulder",
        "right_shoulder",
        "left_elbow",
        "right_elbow",
        "left_wrist",
        "right_wrist",
        "left_hip",
        "right_hip",
        "left_knee",
        "right_knee",
        "left_ankle",
        "right_ankle",
    ),
    limbs=(
        ("left_ankle", "left_knee"),
        ("left_knee", "left_hip"),
        ("right_ankle", "right_knee"),
        ("right_knee", "right_hip"),
        ("left_hip", "right_hip"),
        ("left_shoulder", "left_hip"),
        ("right_shoulder", "right_hip"),
        ("left_shoulder", "right_shoulder"),
        ("left_shoulder", "left_elbow"),
        ("right_shoulder", "right_elbow"),
        ("left_elbow", "left_wrist"),
        ("right_elbow", "right_wrist"),
        ("left_eye", "right_eye"),
        ("nose", "left_eye"),
        ("nose", "right_eye"),
        ("left_eye", "left_ear"),
        ("right_eye", "right_ear"),
        ("left_ear", "left_shoulder"),
        ("right_ear", "right_shoulder"),
    ),
    flip_pairs=_sides("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle"),
    sigmas=(
        0.026,
        0.025,
        0.025,
        0.035,
        0.035,
        0.079,
        0.079,
        0.072,
        0.072,
        0.062,
        0.062,
        0.107,
        0.107,
        0.087,
        0.087,
        0.089,
        0.089,
    ),
    upper_body=(
        "nose",
        "left_eye",
        "right_eye",
        "left_ear",
        "right_ear",
        "left_shoulder",
        "right_shoulder",
        "left_elbow",
        "right_elbow",
        "left_wrist",
        "right_wrist",
    ),
)

BUILT_IN = {"coco17": COCO17}


def is_built_in(name: object) -> bool:
    """Whether a value of `data.skeleton`, from whatever file, names one of `BUILT_IN`."""
    return isinstance(name, str) and name in BUILT_IN


@dataclass(frozen=True)
class PafLayout:
    """What the channels of a bottom-up network mean: K joints, one background channel, and 2 L channels of L limbs.

    Attributes:
        joints: K names, in the order of the heat maps; the background follows as channel K.
        sources: for each joint, the keypoints of the skeleton whose mean it is; a joint of one keypoint is that one.
        limbs: L pairs of joints; the x and y components of limb i are channels 2 i and 2 i + 1, pointing from the first
            joint to the second.
        skeleton: whose keypoints these are.
    """

    joints: tuple[str, ...]
    sources: tuple[tuple[int, ...], ...]
    limbs: tuple[tuple[int, int], ...]
    skeleton: Skeleton

    @property
    def num_heatmaps(self) -> int:
        """K + 1 heat maps, with the background."""
        return len(self.joints) + 1

    @property
    def num_pafs(self) -> int:
        """2 L channels of part affinity fields."""
        return 2 * len(self.limbs)

    @cached_property
    def flip_index(self) -> np.ndarray:
        """Permutation (K + 1,) such that `heatmaps[flip_index]` are the heat maps of the mirrored people."""
        mirrored = self.skeleton.flip_index
        order = [self.sources.index(tuple(sorted(int(mirrored[s]) for s in source))) for source in self.sources]
        return np.array([*order, len(order)])

    @cached_property
    def paf_flip(self) -> tuple[np.ndarray, np.ndarray]:
        """Permutation (2 L,) and signs (2 L,) float32: `signs * pafs[permutation]` are the PAFs of the mirrored people.

        Raises:
            UsageError: a limb has no counterpart on the other side.
        """
        places = {limb: i for i, limb in enumerate(self.limbs)}
        channels, signs = [], []
        for a, b in self.limbs:
            mirrored = int(self.flip_index[a]), int(self.flip_index[b])
            if mirrored not in places and mirrored[::-1] not in places:
                raise UsageError(
                    f"skeleton {self.skeleton.name}: limb {self.joints[a]}-{self.joints[b]} has no "
                    "counterpart on the other side; add it to limbs, or do without flipping"
                )
            # Mirroring negates x; a limb stored the other way round (hip to hip) turns both components.
            direction = 1 if mirrored in places else -1
            limb = places[mirrored if direction > 0 else mirrored[::-1]]
            channels += [2 * limb, 2 * limb + 1]
            signs += [-direction, direction]
        return np.array(channels), np.array(signs, np.float32)

    def to_joints(self, keypoints: np.ndarray) -> np.ndarray:
        """Joints (P, K, 3) float32 of keypoints (P, J, 3): x, y, and 1 where every source is labelled, else 0.

        A keypoint is labelled where its third value is above 0; joints that are not are all 0.
        """
        keypoints = np.asarray(keypoints, np.float32).reshape(-1, self.skeleton.num_keypoints, 3)
        firsts, lasts = ([source[end] for source in self.sources] for end in (0, -1))
        labelled = (keypoints[:, firsts, 2] > 0) & (keypoints[:, lasts, 2] > 0)
        joints = np.ones((*labelled.shape, 3), np.float32)
        joints[..., :2] = (keypoints[:, firsts, :2] + keypoints[:, lasts, :2]) / 2
        return joints * labelled[..., None]

    def to_keypoints(self, joints: np.ndarray) -> np.ndarray:
        """Keypoints (P, J, 3) of joints (P, K, 3); joints that are means, such as the neck, are left out."""
        keypoints = np.zeros((len(joints), self.skeleton.num_keypoints, 3), np.float32)
        own = [k for k, source in enumerate(self.sources) if len(source) == 1]
        keypoints[:, [self.sources[k][0] for k in own]] = joints[:, own]
        return keypoints


def _openpose18() -> PafLayout:
    """The joints and limbs of OpenPose's COCO body network (Cao et al., arXiv 1611.08050), in its channel order."""
    joints = (
        "nose",
        "neck",
        "right_shoulder",
        "right_elbow",
        "right_wrist",
        "left_shoulder",
        "left_elbow",
        "left_wrist",
        "right_hip",
        "right_knee",
        "right_ankle",
        "left_hip",
        "left_knee",
        "left_ankle",
        "right_eye",
        "left_eye",
        "right_ear",
        "left_ear",
    )
    shoulders = COCO17.keypoints.index("left_shoulder"), COCO17.keypoints.index("right_shoulder")
    sources = tuple(shoulders if joint == "neck" else (COCO17.keypoints.index(joint),) for joint in joints)
    limbs = (
        (1, 8),
        (8, 9),
        (9, 10),
        (1, 11),
        (11, 12),
        (12, 13),
        (1, 2),
        (2, 3),
        (3, 4),
        (2, 16),
        (1, 5),
        (5, 6),
        (6, 7),
        (5, 17),
        (1, 0),
        (0, 14),
        (0, 15),
        (14, 16),
        (15, 17),
    )
    return PafLayout(joints, sources, limbs, COCO17)


OPENPOSE18 = _openpose18()


def paf_layout(skeleton: Skeleton) -> PafLayout:
    """Channels of a bottom-up network for a skeleton: OpenPose's for COCO, else its own keypoints and limbs."""
    if skeleton is COCO17:
        return OPENPOSE18
    if not skeleton.limbs:
        raise UsageError(f"skeleton {skeleton.name}: a bottom-up network needs limbs that connect the keypoints")
    sources = tuple((i,) for i in range(skeleton.num_keypoints))
    return PafLayout(skeleton.keypoints, sources, skeleton.limbs, skeleton)


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


def load_skeleton(spec: str) -> Skeleton:
    """The built-in skeleton of that name, or that of a YAML file, a model card, or what lies beside weights.

    Raises:
        UsageError: no such name or file, or the file is not a valid skeleton (the key is named).
    """
    if spec in BUILT_IN:
        return BUILT_IN[spec]
    path = user_path(spec)
    fault = file_fault(path)
    if fault:
        hint = f"; built-in skeletons are {', '.join(BUILT_IN)}" if fault == "not found" else ""
        raise UsageError(f"data.skeleton: {spec!r} {fault}{hint}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"data.skeleton: {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not text in UTF-8, so no skeleton file") from error
    content = parse_yaml(text, str(path))
    # In a model card, and in what lies beside weights, it is one of several things.
    if isinstance(content, dict) and isinstance(content.get("skeleton"), dict):
        content = content["skeleton"]
    return _from_yaml(path, content)


def _from_yaml(path: Path, content: object) -> Skeleton:
    required = ("name", "keypoints", "limbs", "flip_pairs", "sigmas")
    if not isinstance(content, dict):
        raise UsageError(f"{path}: a skeleton file is a mapping with the keys {', '.join(required)}")
    missing = [key for key in required if key not in content]
    unknown = sorted(set(content) - {*required, "upper_body", "colors"}, key=str)
    if missing or unknown:
        problem = f"missing key {missing[0]!r}" if missing else f"unknown key {unknown[0]!r}"
        raise UsageError(f"{path}: {problem}; a skeleton has {', '.join(required)} and optionally upper_body, colors")
    names = content["keypoints"]
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise UsageError(f"{path}: keypoints must be a list of names (quote those that YAML reads as something else)")
    if len(set(names)) != len(names):
        raise UsageError(f"{path}: keypoints must be distinct names")
    if not isinstance(content["sigmas"], list) or len(content["sigmas"]) != len(names):
        raise UsageError(f"{path}: sigmas must hold one number for each of the {len(names)} keypoints")
    if content.get("colors") and not _are_colors(content["colors"], len(names)):
        raise UsageError(f"{path}: colors must hold one RGB triple for each of the {len(names)} keypoints")
    try:
        skeleton = _build(**content)
    except KeyError as error:
        raise UsageError(f"{path}: {error.args[0]!r} is used but not listed under keypoints") from error
    except (TypeError, ValueError) as error:
        raise UsageError(f"{path}: limbs, flip_pairs: name pairs; sigmas: numbers: {error}") from error
    if not all(0 < sigma < np.inf for sigma in skeleton.sigmas):
        raise UsageError(f"{path}: sigmas must be positive")
    flipped = [i for pair in skeleton.flip_pairs for i in pair]
    if len(set(flipped)) != len(flipped):
        raise UsageError(f"{path}: a keypoint stands in two flip_pairs")
    return skeleton


def _are_colors(value: object, count: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == count
        and all(
            isinstance(c, list) and len(c) == 3 and all(isinstance(v, int) and 0 <= v <= 255 for v in c) for c in value
        )
    )
