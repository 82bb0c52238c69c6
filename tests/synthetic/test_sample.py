import contextlib
import io
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from mspose.errors import PoseError, UsageError
from mspose.skeleton import COCO17, load_skeleton
from mspose.synthetic import canvas as painting
from mspose.synthetic import figure, sample

ROOT = Path(__file__).resolve().parents[2]
IMAGES = {"train": 4, "val": 60}
WIDTH, HEIGHT = 320, 240


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample") / "data"
    sample.generate(folder, IMAGES["train"], IMAGES["val"], seed=3)
    return folder


@pytest.fixture(scope="module")
def val(root):
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(root / "annotations" / "person_keypoints_val2017.json"))


@pytest.fixture(scope="module")
def people(val):
    return [a for a in val.dataset["annotations"] if not a["iscrowd"]]


def triples(annotations):
    return np.array([a["keypoints"] for a in annotations], float).reshape(len(annotations), -1, 3)


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_more_workers_than_a_host_takes_are_refused(tmp_path):
    with pytest.raises(UsageError, match="--workers 100000"):
        sample.generate(tmp_path / "x", 1, 1, workers=100_000)
    assert not (tmp_path / "x").exists()


def test_files_are_the_same_with_one_worker_or_two(tmp_path):
    for name, workers in (("one", 1), ("two", 2)):
        sample.generate(tmp_path / name, 2, 18, seed=5, size=(96, 72), workers=workers)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_picture_does_not_depend_on_how_many_are_made(root, tmp_path):
    sample.generate(tmp_path / "more", 0, 3, seed=3)
    made = contents(tmp_path / "more" / "val2017")
    assert made == {name: (root / "val2017" / name).read_bytes() for name in made}


def test_another_seed_and_the_other_split_give_other_pictures(root, tmp_path):
    sample.generate(tmp_path / "other", 0, 1, seed=4)
    first = cv2.imread(str(root / "val2017" / "000000000001.jpg")).astype(int)
    for other in (tmp_path / "other" / "val2017" / "000000000001.jpg", root / "train2017" / "000000500001.jpg"):
        assert np.abs(first - cv2.imread(str(other))).mean() > 5


def test_layout_and_images_match_the_records(root):
    for split, count in IMAGES.items():
        content = json.loads((root / "annotations" / f"person_keypoints_{split}2017.json").read_text())
        assert sorted(content) == ["annotations", "categories", "images", "info", "licenses"]
        files = {p.name for p in (root / f"{split}2017").iterdir()}
        assert files == {f"{image['id']:012d}.jpg" for image in content["images"]}
        assert len(files) == count
        for image in content["images"]:
            picture = cv2.imread(str(root / f"{split}2017" / image["file_name"]))
            assert picture.shape == (image["height"], image["width"], 3)


def test_category_is_coco_person(val):
    (category,) = val.dataset["categories"]
    assert (category["id"], category["name"]) == (1, "person")
    assert category["keypoints"] == list(COCO17.keypoints)
    assert sorted(map(sorted, category["skeleton"])) == sorted(sorted((a + 1, b + 1)) for a, b in COCO17.limbs)


def test_annotation_ids_are_unique_over_both_splits(root):
    files = [root / "annotations" / f"person_keypoints_{split}2017.json" for split in IMAGES]
    ids = [a["id"] for path in files for a in json.loads(path.read_text())["annotations"]]
    assert len(set(ids)) == len(ids) > 0


def test_masks_agree_with_area_and_box(val):
    for annotation in val.dataset["annotations"]:
        mask = val.annToMask(annotation)
        assert mask.shape == (HEIGHT, WIDTH)
        assert mask.sum() == annotation["area"] > 0
        x, y, w, h = annotation["bbox"]
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        # The box is that of the polygon; a pixel belongs to a polygon that covers most of it.
        assert x - 0.5 <= columns[0] <= columns[-1] + 1 <= x + w + 0.5
        assert y - 0.5 <= rows[0] <= rows[-1] + 1 <= y + h + 0.5
        assert min(x, y) >= 0
        assert x + w <= WIDTH
        assert y + h <= HEIGHT


def test_polygons_follow_the_mask():
    canvas = painting.Canvas(np.zeros((HEIGHT, WIDTH, 3), np.float32), np.array([0.0, 0.0, 1.0]))
    person = figure.random_figure(np.random.default_rng(1), 160)[0].moved(160, 220)
    for part in person.parts:
        canvas.paint(part, 1)
    segmentation, _, area = sample._polygons(canvas.owner == 1)
    drawn = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(segmentation, HEIGHT, WIDTH))).astype(bool)
    true = canvas.owner == 1
    assert (drawn & true).sum() / (drawn | true).sum() > 0.93
    assert area == pytest.approx(true.sum(), rel=0.05)


def test_keypoints_have_coco_meaning(people):
    keypoints = triples(people)
    flags = keypoints[..., 2]
    assert set(np.unique(flags)) == {0, 1, 2}
    assert (keypoints[flags == 0] == 0).all()
    assert (keypoints[..., 0] <= WIDTH - 1).all()
    assert (keypoints[..., 1] <= HEIGHT - 1).all()
    assert (keypoints >= 0).all()
    assert [a["num_keypoints"] for a in people] == (flags > 0).sum(1).tolist()


def test_visible_keypoints_lie_on_the_visible_mask(val, people):
    for annotation, keypoints in zip(people, triples(people)):
        mask = cv2.dilate(val.annToMask(annotation), np.ones((5, 5), np.uint8))
        spots = np.rint(keypoints[keypoints[:, 2] == 2, :2]).astype(int)
        assert mask[spots[:, 1], spots[:, 0]].all()


def test_statistics_are_those_of_a_varied_dataset(val, people):
    labelled = [a for a in people if a["num_keypoints"]]
    flags = triples(labelled)[..., 2]
    assert 1.8 <= len(labelled) / IMAGES["val"] <= 3.2
    assert 0.03 <= (flags == 1).sum() / (flags > 0).sum() <= 0.17
    assert any(a["iscrowd"] for a in val.dataset["annotations"])
    assert any(not a["num_keypoints"] for a in people)
    boxes = np.array([a["bbox"] for a in labelled])
    cut = (boxes[:, 0] < 1) | (boxes[:, [0, 2]].sum(1) > WIDTH - 1) | (boxes[:, [1, 3]].sum(1) > HEIGHT - 1)
    assert 0.02 <= cut.mean() <= 0.4
    assert 90 <= np.median(boxes[:, 3]) <= 200


def test_crowds_are_uncompressed_rle_without_keypoints(val):
    for crowd in (a for a in val.dataset["annotations"] if a["iscrowd"]):
        assert crowd["segmentation"]["size"] == [HEIGHT, WIDTH]
        assert sum(crowd["segmentation"]["counts"]) == HEIGHT * WIDTH
        assert crowd["num_keypoints"] == 0
        assert not any(crowd["keypoints"])


@pytest.mark.parametrize(("yaw", "sign"), [(0.0, 1), (180.0, -1)])
def test_left_lies_at_larger_x_when_facing_the_viewer(monkeypatch, yaw, sign):
    monkeypatch.setattr(figure, "random_yaw", lambda rng: yaw)
    for seed in range(12):
        person, stance = figure.random_figure(np.random.default_rng(seed), 200)
        across = person.joints["left_shoulder"] - person.joints["right_shoulder"]
        assert np.sign(across[0]) == sign, stance
        assert ("nose" in person.away) == (sign < 0)


def test_far_arm_of_a_profile_is_hidden_and_near_arm_seen(monkeypatch):
    monkeypatch.setattr(figure, "random_yaw", lambda rng: 90.0)  # looks to the picture's right: its right side is near
    seen = []
    names = ["left_shoulder", "right_shoulder", "left_hip", "right_hip", "left_ear", "right_ear"]
    for seed in range(12):
        canvas = painting.Canvas(np.zeros((HEIGHT, WIDTH, 3), np.float32), np.array([0.0, 0.0, 1.0]))
        person = figure.random_figure(np.random.default_rng(seed), 180)[0].moved(160, 230)
        for part in person.parts:
            canvas.paint(part, 1)
        seen.append(person.seen(canvas, names, 1))
    near_minus_far = np.mean(seen, 0)[1::2] - np.mean(seen, 0)[::2]
    assert (near_minus_far > 0.4).all()


def test_custom_skeleton_takes_joints_by_name(root, tmp_path):
    body14 = load_skeleton(str(ROOT / "configs" / "skeletons" / "body14.yaml"))
    sample.generate(tmp_path / "body14", 0, 6, seed=3, skeleton=body14)
    path = "annotations/person_keypoints_val2017.json"
    ours, coco = (json.loads((folder / path).read_text()) for folder in (tmp_path / "body14", root))
    assert ours["categories"][0]["keypoints"] == list(body14.keypoints)
    first = next(a for a in ours["annotations"] if a["num_keypoints"] == 14)
    assert len(first["keypoints"]) == 3 * 14
    points = dict(zip(body14.keypoints, triples([first])[0]))
    assert points["head_top"][1] < points["neck"][1] < points["left_hip"][1]
    same = next(a for a in coco["annotations"] if a["image_id"] == first["image_id"] and a["bbox"] == first["bbox"])
    expected = dict(zip(COCO17.keypoints, triples([same])[0]))
    for name in ("left_wrist", "right_knee", "left_ankle"):
        assert points[name][:2] == pytest.approx(expected[name][:2])


def test_unknown_keypoint_is_named(tmp_path):
    content = "{name: cat, keypoints: [neck, tail], limbs: [], flip_pairs: [], sigmas: [1, 1]}"
    (tmp_path / "tail.yaml").write_text(content)
    with pytest.raises(UsageError, match="'tail'"):
        sample.generate(tmp_path / "data", 1, 1, skeleton=load_skeleton(str(tmp_path / "tail.yaml")))
    assert not (tmp_path / "data").exists()


def test_finished_dataset_is_not_made_again(root, monkeypatch, capsys):
    monkeypatch.setattr(sample, "_write_image", None)
    sample.generate(root, IMAGES["train"], IMAGES["val"], seed=3)
    assert "already there" in capsys.readouterr().out


def test_unfinished_dataset_is_completed(tmp_path):
    sample.generate(tmp_path / "data", 0, 2, size=(96, 72))
    before = contents(tmp_path / "data")
    (tmp_path / "data" / "val2017" / "000000000002.jpg").unlink()
    sample.generate(tmp_path / "data", 0, 2, size=(96, 72))
    assert contents(tmp_path / "data") == before


def test_folder_of_a_run_that_was_killed_amid_its_first_file(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", stop)
        patched.setattr(Path, "unlink", lambda *_, **__: None)  # nothing of a killed process is tidied up
        with pytest.raises(KeyboardInterrupt):
            sample.generate(tmp_path, 0, 1)
    (left,) = tmp_path.iterdir()
    left.rename(tmp_path / left.name.replace(f"-{os.getpid()}-", "-4194305-"))  # no process has such a number
    sample.generate(tmp_path, 0, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["annotations", "sample.json", "val2017"]


def stop(*_: object) -> None:
    raise KeyboardInterrupt


def test_folder_of_other_parameters_is_refused(root):
    with pytest.raises(PoseError, match="other parameters"):
        sample.generate(root, IMAGES["train"], IMAGES["val"], seed=4)


def test_folder_with_other_files_is_refused_by_the_command(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("mine")
    assert sample.main([str(tmp_path), "--train", "1", "--val", "1"]) == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "holds other files" in message
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_impossible_counts_are_a_usage_error(tmp_path, capsys):
    assert sample.main([str(tmp_path / "data"), "--val", "-1"]) == 2
    assert capsys.readouterr().err.startswith("error: ")
