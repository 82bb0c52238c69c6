"""COCO keypoint results, and what the COCO metric makes of them.

AP and AR are computed by pycocotools, whose figures are the ones that papers publish.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mspose.errors import PoseError
from mspose.evaluation.areas import estimated_areas
from mspose.evaluation.oks import oks
from mspose.extras import need
from mspose.files import read_json
from mspose.skeleton import Skeleton

log = logging.getLogger("pose")

# Names of the ten figures, in the order of pycocotools; each with its title, OKS range and area in the printed table.
_FIGURES = {
    "AP": ("Average Precision  (AP)", "0.50:0.95", "all"),
    "Ap .5": ("Average Precision  (AP)", "0.50", "all"),
    "AP .75": ("Average Precision  (AP)", "0.75", "all"),
    "AP (M)": ("Average Precision  (AP)", "0.50:0.95", "medium"),
    "AP (L)": ("Average Precision  (AP)", "0.50:0.95", "large"),
    "AR": ("Average Recall     (AR)", "0.50:0.95", "all"),
    "AR .5": ("Average Recall     (AR)", "0.50", "all"),
    "AR .75": ("Average Recall     (AR)", "0.75", "all"),
    "AR (M)": ("Average Recall     (AR)", "0.50:0.95", "medium"),
    "AR (L)": ("Average Recall     (AR)", "0.50:0.95", "large"),
}
# Decimals of pixels and keypoint scores in results: a thousandth of a pixel is far below what moves the AP, and the
# file is half the size. Scores of people keep more, since the AP depends on their order.
_DECIMALS, _SCORE_DECIMALS = 3, 8
# A prediction that resembles a person less than this shows somebody else: the person counts as missed.
_MATCH_OKS = 0.1


def to_coco_results(
    keypoints: np.ndarray, scores: np.ndarray, image_ids: np.ndarray, category_id: int = 1
) -> list[dict]:
    """Make the entries of a COCO keypoint results file.

    Args:
        keypoints: (N, J, 3) x, y in image pixels and the keypoint's score; rounded to 3 decimals.
        scores: (N,) of people; rounded to 8 decimals.
        image_ids: (N,).
        category_id: COCO's number of the category "person".
    """
    keypoints = np.asarray(keypoints, np.float64)
    triplets = np.round(keypoints.reshape(len(keypoints), 3 * keypoints.shape[1]), _DECIMALS).tolist()
    rounded = np.round(np.asarray(scores, np.float64), _SCORE_DECIMALS).tolist()
    return [
        {"image_id": image_id, "category_id": category_id, "keypoints": triplet, "score": score}
        for image_id, triplet, score in zip(np.asarray(image_ids).tolist(), triplets, rounded)
    ]


def evaluate_keypoints(
    annotation: str | Path | Mapping,
    results: Sequence[Mapping],
    sigmas: Sequence[float],
    image_ids: Sequence[int] | None = None,
) -> dict[str, float]:
    """COCO's ten keypoint figures.

    Args:
        annotation: COCO keypoint annotations: the file, or what it holds.
        results: entries of a results file, see `to_coco_results`; left as they are. Only people of their categories
            count.
        sigmas: (J,) keypoint constants (`Skeleton.sigmas`).
        image_ids: images to evaluate on; all annotated images by default.

    Returns:
        Figures by name, AP first. Without results all are 0, with a warning; a figure about an area range in which
        nobody is annotated is -1, as in pycocotools.

    Raises:
        PoseError: nobody is annotated in these images, the results are about images or categories that the annotations
            do not have, the number of keypoints differs from that of `sigmas`, or a person lacks a key.
    """
    truth, name, chosen = _load(annotation, image_ids, results)
    people = _annotated_people(truth, name, chosen, len(sigmas))
    chosen_set = set(chosen)
    results = [result for result in results if image_ids is None or result["image_id"] in chosen_set]
    if not results:
        log.warning("no results to evaluate against %d annotated people: every figure is 0", len(people))
        return dict.fromkeys(_FIGURES, 0.0)
    _check_results(results, name, chosen_set, len(sigmas))
    # pycocotools reports its progress by printing, adds keys to the people and results that it is given, and stops at
    # people, such as crowds, whose annotation lacks a key. It finds people by their ids: each must be there once, and 0
    # means nobody.
    blank = [0] * (3 * len(sigmas))
    annotated = [{"keypoints": blank, **person, "id": i} for i, person in enumerate(truth["annotations"], 1)]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = need("pycocotools.coco").COCO()
        coco.dataset = {**truth, "annotations": annotated}
        coco.createIndex()
        cocoeval = need("pycocotools.cocoeval")
        evaluation = cocoeval.COCOeval(coco, coco.loadRes([dict(result) for result in results]), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(sigmas)
        evaluation.params.imgIds = chosen
        evaluation.params.catIds = sorted({result["category_id"] for result in results})
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(_FIGURES, map(float, evaluation.stats)))


def format_table(figures: Mapping[str, float]) -> str:
    """The ten lines in which COCO's tools print the figures of `evaluate_keypoints`."""
    return "\n".join(
        f" {title} @[ IoU={similarity:<9} | area={area:>6} | maxDets= 20 ] = {figures[name]:0.3f}"
        for name, (title, similarity, area) in _FIGURES.items()
    )


def mean_keypoint_error(
    annotation: str | Path | Mapping,
    results: Sequence[Mapping],
    skeleton: Skeleton,
    image_ids: Sequence[int] | None = None,
) -> dict[str, object]:
    """Mean distance between annotated and predicted keypoints.

    Each annotated person is compared with the prediction of highest OKS in the same image, if that is at least 0.1;
    only annotated keypoints count.

    Args:
        annotation, results, image_ids: as in `evaluate_keypoints`.

    Returns:
        `people` annotated, `matched` of them, and by keypoint name `pixels` and `relative` (to the square root of
        the person's area); None for a keypoint that no matched person has.

    Raises:
        PoseError: as `evaluate_keypoints`.
    """
    joints = skeleton.num_keypoints
    truth, name, chosen = _load(annotation, image_ids, results)
    people = _annotated_people(truth, name, chosen, joints)
    expected = np.array([person["keypoints"] for person in people], np.float64).reshape(-1, joints, 3)
    areas = np.array([person["area"] for person in people], np.float64)

    chosen_set = set(chosen)
    results = [result for result in results if image_ids is None or result["image_id"] in chosen_set]
    _check_results(results, name, chosen_set, joints)
    results.sort(key=lambda result: result["image_id"])
    predicted = np.array([result["keypoints"] for result in results], np.float64).reshape(-1, joints, 3)

    matched, best = _match(
        expected,
        areas,
        [person["image_id"] for person in people],
        predicted,
        [result["image_id"] for result in results],
        np.array(skeleton.sigmas),
    )
    expected, areas = expected[matched], areas[matched]
    distances = np.linalg.norm(expected[..., :2] - predicted[best, :, :2], axis=-1)
    labelled = expected[..., 2] > 0
    counts = labelled.sum(axis=0)

    def means(errors: np.ndarray) -> dict[str, float | None]:
        sums = np.where(labelled, errors, 0).sum(axis=0)
        return {key: float(s / c) if c else None for key, s, c in zip(skeleton.keypoints, sums, counts)}

    scale = np.sqrt(np.maximum(areas, 1))[:, None]
    return {
        "people": len(people),
        "matched": len(matched),
        "pixels": means(distances),
        "relative": means(distances / scale),
    }


def _load(
    annotation: str | Path | Mapping, image_ids: Sequence[int] | None, results: Sequence[Mapping]
) -> tuple[Mapping, str, list[int]]:
    """Return the annotations of the results' categories, their name for errors, and the ids of the images to evaluate
    on."""
    content: object
    if isinstance(annotation, Mapping):
        content, name = annotation, "annotations"
    else:
        content, name = read_json(annotation, "annotation file"), str(annotation)
    if not isinstance(content, Mapping) or not {"images", "annotations", "categories"} <= set(content):
        raise PoseError(f"{name}: not a COCO annotation file: it needs images, annotations and categories")
    categories = {result["category_id"] for result in results}
    known_categories = {category["id"] for category in content["categories"]}
    if not categories <= known_categories:
        raise PoseError(
            f"{name}: has no category {sorted(categories - known_categories)[0]}, which the results are about, but "
            f"{sorted(known_categories)}"
        )
    people = [p for p in content["annotations"] if not categories or p["category_id"] in categories]
    truth = {**content, "annotations": [_completed(person) for person in people]}
    known = [image["id"] for image in truth["images"]]
    return truth, name, sorted(set(known).intersection(image_ids) if image_ids is not None else known)


def _completed(person: Mapping) -> dict:
    """The annotation with what follows from its other keys, where a file of one's own leaves it out."""
    result = {"iscrowd": 0, **person}
    if result.get("num_keypoints") is None:
        result["num_keypoints"] = sum(v > 0 for v in (person.get("keypoints") or [])[2::3])
    if result.get("bbox") and not result.get("area"):
        result["area"] = float(estimated_areas([person.get("segmentation")], result["bbox"])[0])
    return result


def _annotated_people(truth: Mapping, name: str, chosen: Sequence[int], joints: int) -> list[Mapping]:
    """People that the metric counts: no crowds, at least one annotated keypoint."""
    chosen_set = set(chosen)
    people = [
        annotation
        for annotation in truth["annotations"]
        if annotation["image_id"] in chosen_set and annotation["num_keypoints"] > 0 and not annotation["iscrowd"]
    ]
    if not people:
        raise PoseError(f"{name}: nobody with keypoints is annotated in the {len(chosen)} images to evaluate on")
    for person in people:
        missing = [key for key in ("keypoints", "bbox", "area") if person.get(key) is None]
        if missing:
            raise PoseError(f"{name}: annotation {person.get('id')} has no {missing[0]!r}, which the COCO metric needs")
        if len(person["keypoints"]) != 3 * joints:
            raise PoseError(
                f"{name}: annotation {person.get('id')} has {len(person['keypoints']) / 3:g} keypoints but "
                f"the skeleton has {joints}; set data.skeleton to the one it was annotated with"
            )
    return people


def _check_results(results: Sequence[Mapping], name: str, chosen: set[int], joints: int) -> None:
    for result in results:
        if result["image_id"] not in chosen:
            raise PoseError(
                f"{name}: has no image {result['image_id']}, which the results are about; "
                "evaluate them on the data they were made from"
            )
        if len(result["keypoints"]) != 3 * joints:
            raise PoseError(
                f"results for image {result['image_id']} have {len(result['keypoints']) / 3:g} keypoints "
                f"but the skeleton has {joints}"
            )


def _match(
    expected: np.ndarray,
    areas: np.ndarray,
    expected_images: Sequence[int],
    predicted: np.ndarray,
    predicted_images: Sequence[int],
    sigmas: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Indices (K,) of people that were found, and (K,) of the prediction that fits each best.

    Args:
        expected: (G, J, 3) annotated; predicted: (D, J, 3), sorted by image.
    """
    images = np.asarray(predicted_images, np.int64)
    firsts, ends = (np.searchsorted(images, expected_images, side=side) for side in ("left", "right"))
    matched, best = [], []
    for person, (first, end) in enumerate(zip(firsts, ends)):
        if first == end:
            continue
        fits = oks(expected[person], predicted[first:end], areas[person], sigmas, expected[person, :, 2] > 0)
        if fits.max() >= _MATCH_OKS:
            matched.append(person)
            best.append(first + fits.argmax())
    return np.array(matched, np.intp), np.array(best, np.intp)
