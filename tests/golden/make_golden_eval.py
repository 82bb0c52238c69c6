"""Golden numbers of the heat map codec, OKS-NMS and the COCO metric, on inputs given by formula.

They were taken when these modules agreed with independent reference implementations on real people, and guard that
agreement where those fixtures are absent. Run `python -m tests.golden.make_golden_eval` from the repository root to
write golden_eval.json anew, only after the numbers changed for a reason.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mspose.codecs.heatmap import TARGETS, HeatmapCodec
from mspose.codecs.refine import REFINEMENTS, UDP_FORMS
from mspose.evaluation.coco import evaluate_keypoints, to_coco_results
from mspose.evaluation.oks import oks_nms, rescore_visible_mean, soft_oks_nms
from mspose.files import write_json
from mspose.geometry import crop_to_image, to_images
from mspose.skeleton import COCO17

PATH = Path(__file__).with_name("golden_eval.json")
SIGMAS = np.array(COCO17.sigmas)


def noise(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Numbers in [0, 1) that look random and are the same everywhere: the fraction of a large multiple of a sine."""
    values = np.sin((np.arange(np.prod(shape)) + 1) * 12.9898 + seed * 78.233) * 43758.5453
    return (values - np.floor(values)).reshape(shape)


def keypoints_to_encode() -> tuple[np.ndarray, np.ndarray]:
    """Keypoints (2, 17, 2) of a 192x256 input, some of them outside, and their visibility (2, 17)."""
    return noise((2, 17, 2), 1) * [260, 330] - 35, (noise((2, 17), 2) > 0.2).astype(np.float32)


def heatmaps() -> np.ndarray:
    """Maps (3, 17, 64, 48): a Gaussian each plus noise, one map negative and one zero."""
    centres = noise((3, 17, 1, 1, 2), 3) * [47, 63]
    squared = (np.arange(48) - centres[..., 0]) ** 2 + (np.arange(64)[:, None] - centres[..., 1]) ** 2
    maps = noise((3, 17, 1, 1), 4) * np.exp(-squared / 8) + 0.02 * noise((3, 17, 64, 48), 5)
    maps[1, 3], maps[2, 5] = -maps[1, 3] - 0.1, 0
    return maps.astype(np.float32)


def crops() -> tuple[np.ndarray, np.ndarray]:
    """Centres and sizes (3, 2) of the crops of `heatmaps`."""
    widths = 100 + 200 * noise((3, 1), 6)
    return 400 * noise((3, 2), 7), widths * [1, 4 / 3]


def people() -> dict[str, np.ndarray]:
    """Predictions for 60 people in 6 images, a third of them near duplicates: the arguments of `oks_nms`."""
    image_ids = 100 - np.arange(60) % 6
    widths = 40 + 120 * noise((60, 1, 1), 8)
    xy = 500 * noise((60, 1, 2), 9) + widths * noise((60, 17, 2), 10)
    widths[40:], xy[40:] = widths[4:24], xy[4:24] + widths[4:24] * 0.06 * (noise((20, 17, 2), 11) - 0.5)
    keypoints = np.concatenate([xy, noise((60, 17, 1), 12)], axis=2).astype(np.float32)
    return {
        "keypoints": keypoints,
        "scores": rescore_visible_mean(keypoints[..., 2], noise((60,), 13)),
        "areas": widths[:, 0, 0] ** 2,
        "image_ids": image_ids,
    }


def annotations() -> dict:
    """COCO annotations of the first 30 of `people`, moved a little; a few crowds and unlabelled keypoints."""
    found = people()
    annotated = []
    for i in range(30):
        labelled = (noise((17, 1), 20 + i) > 0.2) * 2
        moved = found["keypoints"][i, :, :2] + np.sqrt(found["areas"][i]) * 0.1 * (noise((17, 2), 60 + i) - 0.5)
        annotated.append(
            {
                "id": i + 1,
                "image_id": int(found["image_ids"][i]),
                "category_id": 1,
                "iscrowd": int(i % 13 == 12),
                "area": float(found["areas"][i]),
                "bbox": [*moved.min(axis=0).tolist(), *np.ptp(moved, axis=0).tolist()],
                "num_keypoints": int((labelled > 0).sum()),
                "keypoints": np.concatenate([moved * (labelled > 0), labelled], axis=1).ravel().tolist(),
            }
        )
    return {
        "images": [{"id": image_id} for image_id in range(95, 101)],
        "annotations": annotated,
        "categories": [{"id": 1, "name": "person"}],
    }


def evaluated_people() -> list[dict]:
    """Results for what `oks_nms` keeps of `people`."""
    found = people()
    kept, scores = oks_nms(**found, sigmas=SIGMAS)
    return to_coco_results(found["keypoints"][kept], scores, found["image_ids"][kept])


def codec(refine: str = "quarter", **options: object) -> HeatmapCodec:
    return HeatmapCodec(sigma=2.0, refine=refine, unbiased=refine in UDP_FORMS, **options)


def encoded(gaussian: str) -> tuple[np.ndarray, np.ndarray]:
    """Targets and weights of `keypoints_to_encode`; `exact_cut` in UDP's geometry, the others in the plain one."""
    made = codec("dark_udp" if gaussian == "exact_cut" else "quarter", gaussian=gaussian)
    points, visible = keypoints_to_encode()
    return made.gaussians(np.concatenate([points, visible[..., None]], axis=-1), (192, 256))


def summary(gaussian: str) -> dict:
    """What is kept of `encoded`."""
    targets, weights = encoded(gaussian)
    return {
        "weights": weights,
        "sums": _rounded(targets.sum(axis=(2, 3)), 5),
        "samples": _rounded(targets[0, :, ::8, 20], 6),
    }


def decoded(refine: str) -> np.ndarray:
    """Keypoints of `heatmaps` in the pictures of `crops`."""
    made = codec(refine)
    keypoints = made.decode((heatmaps(),), (192, 256)).keypoints
    return to_images(keypoints, crop_to_image(*crops(), (192, 256), made.unbiased))


def make() -> dict:
    kept, _ = oks_nms(**people(), sigmas=SIGMAS)
    soft_kept, soft_scores = soft_oks_nms(**people(), sigmas=SIGMAS)
    return {
        "encode": {gaussian: summary(gaussian) for gaussian in TARGETS},
        "decode": {refine: _rounded(decoded(refine), 4) for refine in REFINEMENTS},
        "oks_nms": kept,
        "soft_oks_nms": {"kept": soft_kept, "scores": _rounded(soft_scores, 8)},
        "figures": evaluate_keypoints(annotations(), evaluated_people(), COCO17.sigmas),
    }


def _rounded(values: np.ndarray, decimals: int) -> np.ndarray:
    return np.round(values.astype(np.float64), decimals)


if __name__ == "__main__":
    write_json(PATH, make())
