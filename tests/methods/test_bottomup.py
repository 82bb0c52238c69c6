"""Bottom-up evaluation around a network that knows the answer: geometry, mirroring, scales and results."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from mspose.codecs.grouping import Grouping, min_joints
from mspose.codecs.paf import PafCodec
from mspose.config.builder import load_config
from mspose.config.schema import Config
from mspose.data.coco import load_split
from mspose.data.ignore_mask import default_min_keypoints
from mspose.errors import PoseError, UsageError
from mspose.files import write_json
from mspose.geometry import transform_points
from mspose.methods.evaluator import Evaluator
from mspose.networks import method_of
from mspose.skeleton import COCO17, load_skeleton
from mspose.synthetic.sample import generate
from tests.messages import naming

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "openpose_vgg19_368.yaml"


class Oracle:
    """Answers with the maps that the annotated people of each picture would give, picture by picture."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator, self._calls = evaluator, 0

    def __call__(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        evaluator, options = self._evaluator, self._evaluator.config.eval
        row, call = divmod(self._calls, len(options.scales) * (2 if options.flip_test else 1))
        self._calls += 1
        view = evaluator.set.view(row)
        keypoints = evaluator.annotated.keypoints[evaluator.annotated.image_index == row].copy()
        back = np.linalg.inv(np.vstack([view.to_image[0], [0, 0, 1]]))[:2]
        height, width = inputs.shape[2:]
        scale = np.array([width, height]) / view.size
        keypoints[..., :2] = transform_points(keypoints[..., :2], back) * scale + (scale - 1) / 2
        if options.flip_test and call % 2:
            keypoints = keypoints[:, evaluator.skeleton.flip_index]
            keypoints[..., 0] = width - 1 - keypoints[..., 0]
        heatmaps, pafs, _ = evaluator.method.codec.encode(keypoints, (width, height))
        return pafs[None], heatmaps[None]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"eval.resize": "canvas", "data.input_size": [488, 368]},
        {"eval.flip_test": True},
        {"eval.scales": [0.5, 1.0, 1.5]},
        {"eval.scales": [1.5]},
        {"eval.short_side": 480},
    ],
    ids=["short_side", "canvas", "flip", "scales", "one scale", "larger"],
)
def test_annotated_people_are_found_again(sample_dir: Path, options: dict) -> None:
    config = load_config(CONFIG, {"data.root": str(sample_dir), **options})
    evaluator = Evaluator(method_of(config))
    outcome = evaluator.run(Oracle(evaluator))
    # Overlapping and partly labelled people keep even perfect maps from giving 1.
    assert outcome.figures["AP"] > (0.7 if "eval.scales" not in options else 0.6)
    assert outcome.instances == len(evaluator.images)


def test_nobody_found_gives_no_results(sample_dir: Path) -> None:
    config = load_config(CONFIG, {"data.root": str(sample_dir)})
    evaluator = Evaluator(method_of(config))

    def blind(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        height, width = (side // 8 for side in inputs.shape[2:])
        return np.zeros((1, 38, height, width), np.float32), np.zeros((1, 19, height, width), np.float32)

    outcome = evaluator.run(blind)
    assert outcome.results == []
    assert outcome.figures["AP"] == 0


def test_thresholds_are_configured(sample_dir: Path) -> None:
    strict = {
        "codec.peak_threshold": 0.3,
        "codec.limb_threshold": 0.2,
        "codec.limb_support": 0.9,
        "codec.min_joints": 5,
        "codec.min_score": 0.7,
        "codec.upsample": 8,
    }
    codec = method_of(load_config(CONFIG, {"data.root": str(sample_dir), **strict})).codec
    assert codec.grouping == Grouping(0.3, 0.2, 0.9, 5, 0.7, 8)
    assert method_of(load_config(CONFIG, {"data.root": str(sample_dir)})).codec.grouping == Grouping()


def test_threshold_out_of_range_is_named(sample_dir: Path) -> None:
    with pytest.raises(UsageError, match=naming("codec.limb_support", "0.1", 1, "1.5")):
        load_config(CONFIG, {"data.root": str(sample_dir), "codec.limb_support": 1.5})


def test_picture_shows_maps_below_people(sample_dir: Path, tmp_path: Path) -> None:
    config = load_config(CONFIG, {"data.root": str(sample_dir), "eval.draw": 2})
    evaluator = Evaluator(method_of(config))
    outcome = evaluator.run(Oracle(evaluator))
    rows = evaluator.drawn_rows(2)
    for row, path in zip(rows, evaluator.draw(outcome, tmp_path, 2), strict=True):
        image, picture = evaluator.images.read(row), cv2.imread(str(path))
        height, width = image.shape[:2]
        changed = np.abs(picture[-height:].astype(int)[:, :width] - image).sum(axis=2)
        points = evaluator.annotated.keypoints[evaluator.annotated.image_index == row].reshape(-1, 3)
        x, y = np.rint(points[points[:, 2] > 0, :2]).astype(int).T
        inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
        assert np.median(changed[y[inside], x[inside]]) > 4 * np.median(changed) + 40


class Odd:
    """A COCO data set in `root` of pictures that are seldom met: `names` of its pictures, their ids counted from 0."""

    def __init__(self, root: Path) -> None:
        self.root = root
        rng = np.random.default_rng(0)
        photo = cv2.GaussianBlur(rng.integers(0, 256, (120, 160, 3), np.uint8), (0, 0), 3)
        person = np.stack(
            [
                [0, 2, -2, 5, -5, 14, -14, 20, -20, 22, -22, 9, -9, 10, -10, 10, -10],
                [9, 7, 7, 9, 9, 22, 22, 38, 38, 52, 52, 56, 56, 78, 78, 100, 100],
                [2] * 17,
            ],
            axis=1,
        )
        person = person + np.array([80.0, 5, 0])
        one = person.copy()
        one[1:] = 0
        grid = [person + np.array([100 * (i % 6) - 20, 110 * (i // 6), 0]) for i in range(30)]
        jpeg = cv2.imencode(".jpg", photo)[1].tobytes()
        turn = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
        turned = jpeg[:2] + b"\xff\xe1" + (len(turn) + 2).to_bytes(2, "big") + turn + jpeg[2:]
        pictures = {
            "nobody": (photo, []),
            "one keypoint": (photo, [one]),
            "crowd": (cv2.resize(photo, (640, 560)), grid),
            "large": (cv2.resize(photo, (5000, 3000)), [person * (30, 25, 1)]),
            "grey": (photo[..., 0], [person]),
            "16 bit": (photo.astype(np.uint16) * 257, [person]),
            "turned": (photo, [person]),
            "strip": (cv2.resize(photo, (4000, 20)), []),
            "dot": (photo[:1, :1], []),
        }
        self.names, images, people = list(pictures), [], []
        (root / "val2017").mkdir()
        for i, (name, (image, persons)) in enumerate(pictures.items()):
            path = root / "val2017" / (f"{i}.jpg" if name == "turned" else f"{i}.png")
            path.write_bytes(turned if name == "turned" else cv2.imencode(".png", image)[1].tobytes())
            images.append({"id": i, "file_name": path.name, "width": image.shape[1], "height": image.shape[0]})
            people += [
                {
                    "id": len(people) + n,
                    "image_id": i,
                    "category_id": 1,
                    "bbox": [1, 1, 99, 99],
                    "area": 9e3,
                    "iscrowd": 0,
                    "keypoints": p.ravel().tolist(),
                    "num_keypoints": int((p[:, 2] > 0).sum()),
                }
                for n, p in enumerate(persons)
            ]
        (root / "annotations").mkdir()
        write_json(
            root / "annotations/person_keypoints_val2017.json",
            {
                "images": images,
                "annotations": people,
                "categories": [{"id": 1, "name": "person", "keypoints": list(COCO17.keypoints)}],
            },
        )


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Odd:
    return Odd(tmp_path_factory.mktemp("odd"))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "options",
    [{"eval.draw": 9}, {"eval.resize": "canvas"}, {"eval.flip_test": True, "eval.scales": [0.5, 1]}],
    ids=["short_side", "canvas", "scales and flip"],
)
def test_odd_pictures(odd: Odd, tmp_path: Path, options: dict) -> None:
    config = load_config(CONFIG, {"data.root": str(odd.root), **options})
    evaluator = Evaluator(method_of(config))
    outcome = evaluator.run(Oracle(evaluator))
    found = Counter(odd.names[result["image_id"]] for result in outcome.results)
    assert not {"nobody", "one keypoint", "strip", "dot"} & found.keys()
    assert [found[name] for name in ("large", "grey", "16 bit", "turned")] == [1, 1, 1, 1]
    assert 25 <= found["crowd"] <= 35
    assert len(evaluator.draw(outcome, tmp_path, config.eval.draw)) == (6 if config.eval.draw else 0)


def test_maps_of_several_scales_are_averaged_at_the_base_size() -> None:
    small, large = np.full((19, 4, 6), 1.0, np.float32), np.full((19, 8, 12), 3.0, np.float32)
    pafs, heatmaps = PafCodec().merge([(small[None, :2], small[None]), (large[None, :2], large[None])], (48, 32))
    np.testing.assert_allclose(heatmaps, np.full((1, 19, 4, 6), 2.0))
    assert pafs.shape == (1, 2, 4, 6)


class TestSmallSkeletons:
    """Limits follow the skeleton: nobody is dropped because three keypoints are fewer than OpenPose's five."""

    NAMES = ("neck", "left_hip", "right_hip", "left_knee", "right_knee")

    @pytest.fixture(params=[2, 3, 5])
    def config(self, request: pytest.FixtureRequest, tmp_path: Path) -> Config:
        names = self.NAMES[: request.param]
        limbs = [[names[0 if i < 3 else i - 2], names[i]] for i in range(1, len(names))]
        pairs = [[names[i], names[i + 1]] for i in range(1, len(names) - 1, 2)]
        content = {"name": "small", "keypoints": list(names), "limbs": limbs, "flip_pairs": pairs}
        path = write_json(tmp_path / "small.yaml", {**content, "sigmas": [0.1] * len(names)})
        generate(tmp_path / "data", 6, 4, skeleton=load_skeleton(str(path)))
        overrides = {"data.root": str(tmp_path / "data"), "data.skeleton": str(path)}
        return load_config(CONFIG, {**overrides, "eval.flip_test": False})

    def test_they_are_learnt_and_found(self, config: Config, caplog: pytest.LogCaptureFixture) -> None:
        method = method_of(config)
        with caplog.at_level(logging.INFO, "pose"):
            dataset = method.training_set()
        joints = method.skeleton.num_keypoints
        seen = (load_split(config.data, "train", method.skeleton).people.keypoints[..., 2] > 0).sum(axis=1)
        least = -(-joints // 3)
        few = int(((seen > 0) & (seen < least)).sum())
        assert f"left out: {int((seen == 0).sum())} without keypoints" in caplog.text or (seen > 0).all()
        assert (f"{few} with fewer than {least} labelled" in caplog.text) == (few > 0)
        assert (dataset.people.keypoints[..., 2] > 0).sum(axis=1).min() >= least
        evaluator = Evaluator(method)
        outcome = evaluator.run(Oracle(evaluator))
        assert outcome.figures["AR"] > 0.5


def test_the_limits_are_keys(sample_dir: Path) -> None:
    for key, value in {"min_keypoints": 18, "min_area": 1e9}.items():
        config = load_config(CONFIG, {"data.root": str(sample_dir), f"data.{key}": value})
        with pytest.raises(PoseError, match=naming(f"data.{key}")):
            method_of(config).training_set()


def test_limits_of_known_skeletons_are_the_published_ones() -> None:
    assert [default_min_keypoints(joints) for joints in (17, 14, 13, 12, 5, 3, 1)] == [5, 5, 5, 4, 2, 1, 1]
    assert [min_joints(joints) for joints in (18, 14, 7, 6, 5, 2)] == [3, 3, 3, 2, 2, 2]
