"""Ignore masks: whom they cover, from which kinds of segmentation, written and read back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as rle
from pycocotools.coco import COCO

from mspose.data.coco import Annotations, Images, People, load_annotations
from mspose.data.ignore_mask import AnnotatedMasks, MaskFolder, ignore_mask, main, mask_name, usable, write_masks
from mspose.errors import PoseError
from mspose.files import read_json, write_json
from mspose.images import ImageError
from mspose.skeleton import COCO17
from tests.messages import names, naming

WIDTH, HEIGHT = 60, 40


def rectangle(x0: int, y0: int, x1: int, y1: int) -> list[list[float]]:
    return [[x0, y0, x1, y0, x1, y1, x0, y1]]


def painted(*rectangles: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for x0, y0, x1, y1 in rectangles:
        mask[y0:y1, x0:x1] = 1
    return mask


def annotate(*people: dict, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Annotations:
    """Two pictures, ids 7 and 9, and people {image, joints, area, crowd, segmentation}: by default one to ignore."""
    rows = [{"image": 0, "joints": 0, "area": 2000.0, "crowd": False, "segmentation": None, **p} for p in people]
    rows.sort(key=lambda p: p["image"])
    keypoints = np.zeros((len(rows), 17, 3), np.float32)
    for points, person in zip(keypoints, rows):
        points[: person["joints"], 2] = 2
    images = Images(np.array([7, 9]), [Path("7.jpg"), Path("9.jpg")], np.full(2, size[0]), np.full(2, size[1]))
    count = len(rows)
    return Annotations(
        images,
        People(
            np.arange(100, 100 + count),
            np.array([p["image"] for p in rows], np.int64),
            np.tile([10.0, 20.0, 5.0, 6.0], (count, 1)),
            np.ones(count, np.float32),
            keypoints,
            np.array([p["area"] for p in rows], np.float32),
            np.array([p["crowd"] for p in rows], bool),
        ),
        1,
        Path("people.json"),
        [p["segmentation"] for p in rows],
    )


def mask_of(annotations: Annotations, row: int = 0) -> np.ndarray | None:
    return AnnotatedMasks(annotations, usable(annotations.people), range(2)).read(row)


LEARNT = {"joints": 17, "segmentation": rectangle(10, 10, 30, 30)}


class TestUsable:
    @pytest.mark.parametrize(
        ("person", "expected"),
        [
            ({"joints": 5, "area": 1024.5}, True),
            ({"joints": 4, "area": 5000.0}, False),
            ({"joints": 17, "area": 1024.0}, False),
            ({"joints": 17, "area": 5000.0, "crowd": True}, False),
        ],
        ids=["enough", "keypoints", "area", "crowd"],
    )
    def test_published_limits(self, person, expected):
        assert usable(annotate(person).people).tolist() == [expected]

    def test_own_limits(self):
        people = annotate({"joints": 2, "area": 10.0}).people
        assert usable(people, 2, 9.0).tolist() == [True]
        assert usable(people, 3, 9.0).tolist() == [False]

    def test_hidden_keypoints_count(self):
        people = annotate({"joints": 5}).people
        people.keypoints[0, :5, 2] = 1
        assert usable(people).tolist() == [True]


class TestWho:
    def test_ignored_people_but_not_learnt_ones(self):
        mask = mask_of(annotate(LEARNT, {"segmentation": rectangle(40, 5, 50, 20)}))
        np.testing.assert_array_equal(mask, painted((40, 5, 50, 20)))
        assert mask.dtype == np.uint8
        assert mask.flags.c_contiguous

    def test_ignored_person_covers_a_learnt_one(self):
        mask = mask_of(annotate(LEARNT, {"segmentation": rectangle(20, 10, 50, 20)}))
        np.testing.assert_array_equal(mask, painted((20, 10, 50, 20)))

    @pytest.mark.parametrize("first", [True, False])
    def test_learnt_person_is_cut_out_of_a_crowd(self, first):
        crowd = {"crowd": True, "segmentation": rectangle(0, 0, 60, 20)}
        mask = mask_of(annotate(*((crowd, LEARNT) if first else (LEARNT, crowd))))
        np.testing.assert_array_equal(mask, painted((0, 0, 60, 20)) & (1 - painted((10, 10, 30, 30))))

    def test_ignored_person_is_not_cut_out_of_a_crowd(self):
        crowd = {"crowd": True, "segmentation": rectangle(0, 0, 60, 20)}
        mask = mask_of(annotate(crowd, {"segmentation": rectangle(10, 10, 30, 30)}))
        np.testing.assert_array_equal(mask, painted((0, 0, 60, 20), (10, 10, 30, 30)))

    def test_each_picture_has_its_own(self):
        annotations = annotate({"image": 1, "segmentation": rectangle(1, 2, 9, 9)}, LEARNT)
        assert mask_of(annotations) is None
        np.testing.assert_array_equal(mask_of(annotations, 1), painted((1, 2, 9, 9)))

    def test_nobody(self):
        assert not ignore_mask([], [], [], 3, 4).any()
        assert mask_of(annotate()) is None

    @pytest.mark.parametrize("split", ["train2017", "val2017"])
    def test_published_rule_on_real_pictures(self, coco_mini, split, capsys):
        path = coco_mini / "annotations" / f"person_keypoints_{split}.json"
        annotations = load_annotations(path, coco_mini / split, COCO17, segmentations=True)
        masks = AnnotatedMasks(annotations, usable(annotations.people), range(len(annotations.images)))
        coco, covered = COCO(path), 0
        for row, image_id in enumerate(annotations.images.ids.tolist()):
            shape = annotations.images.heights[row], annotations.images.widths[row]
            everyone, expected = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
            for person in coco.imgToAnns[image_id]:  # COCO lists crowds behind the people
                mask = coco.annToMask(person)
                if person["iscrowd"]:
                    expected |= mask & ~everyone
                elif person["num_keypoints"] < 5 or person["area"] <= 1024:
                    expected |= mask
                everyone |= mask
            mask = masks.read(row)
            np.testing.assert_array_equal(np.zeros(shape, np.uint8) if mask is None else mask, expected)
            covered += int(expected.any())
        assert covered >= 10


class TestSegmentations:
    def test_several_polygons(self):
        segmentation = rectangle(1, 1, 9, 9) + rectangle(20, 20, 30, 25)
        np.testing.assert_array_equal(
            mask_of(annotate({"segmentation": segmentation})), painted((1, 1, 9, 9), (20, 20, 30, 25))
        )

    def test_run_lengths_plain_and_compressed(self):
        expected = painted((5, 6, 40, 30))
        compressed = rle.encode(np.asfortranarray(expected))
        text = {"size": [HEIGHT, WIDTH], "counts": compressed["counts"].decode()}
        flat = expected.ravel(order="F")
        edges = np.flatnonzero(np.diff(flat)) + 1
        plain = {"size": [HEIGHT, WIDTH], "counts": np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()}
        for segmentation in (text, plain):
            np.testing.assert_array_equal(mask_of(annotate({"crowd": True, "segmentation": segmentation})), expected)

    def test_compressed_run_lengths_of_all_sorts(self):
        rng = np.random.default_rng(0)
        for density in (0.003, 0.5, 0.997):
            expected = (rng.random((HEIGHT, WIDTH)) < density).astype(np.uint8)
            compressed = rle.encode(np.asfortranarray(expected))
            np.testing.assert_array_equal(mask_of(annotate({"segmentation": compressed})), expected)

    def test_compressed_run_lengths_of_a_large_picture(self):
        expected = np.zeros((900, 1100), np.uint8)
        expected[:, 500] = expected[100:800, 900:950] = 1
        segmentation = rle.encode(np.asfortranarray(expected))
        mask = mask_of(annotate({"segmentation": segmentation}, size=(1100, 900)))
        np.testing.assert_array_equal(mask, expected)

    @pytest.mark.parametrize("segmentation", [None, [], [[1, 2, 3, 4]]], ids=["none", "empty", "two points"])
    def test_box_stands_in(self, segmentation):
        np.testing.assert_array_equal(mask_of(annotate({"segmentation": segmentation})), painted((10, 20, 15, 26)))

    def test_beyond_the_picture(self):
        np.testing.assert_array_equal(
            mask_of(annotate({"segmentation": rectangle(50, 30, 10**9, 10**9)})), painted((50, 30, 60, 40))
        )

    @pytest.mark.parametrize(
        "segmentation",
        [
            [[1, 2, 3, 4, 5]],
            [["a", "b", "c", "d", "e", "f"]],
            [[1, 2, 3, 4, 5, None]],
            [1, 2, 3, 4, 5, 6],
            "polygon",
            5,
            {"counts": [2400]},
            {"size": [WIDTH, HEIGHT], "counts": [2400]},
            {"size": [HEIGHT, WIDTH], "counts": [2000]},
            {"size": [HEIGHT, WIDTH], "counts": [-1, 2401]},
            {"size": [HEIGHT, WIDTH], "counts": ["2400"]},
            {"size": [HEIGHT, WIDTH], "counts": []},
            {"size": [HEIGHT, WIDTH], "counts": "zz zz"},
            {"size": [HEIGHT, WIDTH], "counts": "P"},
            {"size": [HEIGHT, WIDTH], "counts": "ooooooooooooooooo0"},
            {"size": [HEIGHT, WIDTH], "counts": "0"},
            {"size": [HEIGHT, WIDTH], "counts": ""},
        ],
        ids=str,
    )
    def test_damage_is_one_line_that_names_the_annotation(self, segmentation):
        with pytest.raises(PoseError, match=naming("annotation 100", "60x40", "people.json")):
            mask_of(annotate({"segmentation": segmentation}))

    def test_damage_where_nobody_looks_does_not_matter(self):
        annotations = annotate({"image": 1, "segmentation": 5}, {"joints": 17, "segmentation": 5})
        AnnotatedMasks(annotations, usable(annotations.people), [0])

    def test_not_loaded(self):
        annotations = replace(annotate({}), segmentations=None)
        with pytest.raises(ValueError, match="segmentations"):
            mask_of(annotations)


class TestFolder:
    ANNOTATIONS = annotate({"segmentation": rectangle(3, 4, 20, 30)}, {"image": 1, "joints": 17})

    def test_written_and_read_back(self, tmp_path):
        counts = write_masks(self.ANNOTATIONS, tmp_path)
        assert (counts.written, counts.present, counts.empty) == (1, 0, 1)
        assert [path.name for path in tmp_path.iterdir()] == ["000000000007.png"]
        picture = cv2.imread(str(tmp_path / "000000000007.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(picture, painted((3, 4, 20, 30)) * 255)
        folder = MaskFolder(tmp_path, self.ANNOTATIONS.images)
        np.testing.assert_array_equal(folder.read(0), painted((3, 4, 20, 30)))
        assert folder.read(1) is None

    def test_what_is_there_stays(self, tmp_path):
        (tmp_path / mask_name(7)).write_bytes(b"mine")
        counts = write_masks(self.ANNOTATIONS, tmp_path)
        assert (counts.written, counts.present, counts.empty) == (0, 1, 1)
        assert (tmp_path / mask_name(7)).read_bytes() == b"mine"

    def test_limits_decide(self, tmp_path):
        annotations = annotate({"joints": 3, "segmentation": rectangle(3, 4, 20, 30)})
        assert write_masks(annotations, tmp_path, min_keypoints=3).written == 0
        assert write_masks(annotations, tmp_path, min_keypoints=4).written == 1

    def test_missing_folder(self, tmp_path):
        with pytest.raises(PoseError, match=naming(tmp_path / "none", "data.mask_dir")):
            MaskFolder(tmp_path / "none", self.ANNOTATIONS.images)

    def test_folder_of_other_pictures(self, tmp_path):
        (tmp_path / mask_name(8)).touch()
        with pytest.raises(PoseError, match=naming(tmp_path, "000000000007.png", "mspose ignore-mask")):
            MaskFolder(tmp_path, self.ANNOTATIONS.images)

    @pytest.mark.parametrize("content", [b"", b"not a picture at all"], ids=["empty", "text"])
    def test_damaged_mask(self, tmp_path, content):
        (tmp_path / mask_name(7)).write_bytes(content)
        with pytest.raises(ImageError, match=naming(tmp_path / "000000000007.png", "mspose ignore-mask")):
            MaskFolder(tmp_path, self.ANNOTATIONS.images).read(0)

    def test_mask_of_another_size(self, tmp_path):
        cv2.imwrite(str(tmp_path / mask_name(7)), np.zeros((HEIGHT, WIDTH + 1), np.uint8))
        with pytest.raises(ImageError, match=r"61x40.*60x40.*000000000007\.png"):
            MaskFolder(tmp_path, self.ANNOTATIONS.images).read(0)


class TestCommand:
    @pytest.fixture
    def arguments(self, tmp_path):
        """Arguments for two splits of one picture each, with one person without keypoints."""
        arguments = []
        for number, split in enumerate(("train", "val")):
            folder = tmp_path / f"{split}2017"
            folder.mkdir()
            (folder / "x.jpg").touch()
            path = write_json(
                tmp_path / f"{split}.json",
                {
                    "images": [{"id": 3 + number, "file_name": "x.jpg", "width": WIDTH, "height": HEIGHT}],
                    "annotations": [
                        {
                            "id": 1,
                            "image_id": 3 + number,
                            "category_id": 1,
                            "bbox": [1, 2, 3, 4],
                            "area": 9,
                            "segmentation": rectangle(5 + number, 5, 20, 20),
                        }
                    ],
                    "categories": [{"id": 1, "name": "person", "keypoints": list(COCO17.keypoints)}],
                },
            )
            arguments += [f"--{split}_ann", str(path), f"--{split}_dir", str(folder)]
        return arguments

    def test_layout_of_the_original(self, arguments, tmp_path, capsys):
        assert main(arguments) == 0
        assert "ignore_mask_train: 1 written, 0 were there, 0 images have nothing to ignore" in capsys.readouterr().out
        for number, split in enumerate(("train", "val")):
            mask = cv2.imread(str(tmp_path / f"ignore_mask_{split}" / mask_name(3 + number)), cv2.IMREAD_UNCHANGED)
            np.testing.assert_array_equal(mask, painted((5 + number, 5, 20, 20)) * 255)

    def test_second_run_has_nothing_to_do(self, arguments, capsys):
        main(arguments)
        assert main(arguments) == 0
        assert capsys.readouterr().out.count("0 written, 1 were there") == 2

    def test_limits(self, arguments, capsys):
        assert main([*arguments, "--min_keypoints", "0", "--min_area", "8"]) == 0
        assert capsys.readouterr().out.count("0 written, 0 were there, 1 images have nothing to ignore") == 2

    def test_own_keypoints(self, arguments, tmp_path, capsys):
        points = [f"p{i}" for i in range(5)]
        skeleton = write_json(
            tmp_path / "five.yaml",
            {"name": "five", "keypoints": points, "limbs": [["p0", "p1"]], "flip_pairs": [], "sigmas": [0.1] * 5},
        )
        for path in (Path(arguments[1]), Path(arguments[5])):
            truth = read_json(path, "annotations")
            truth["categories"][0]["keypoints"] = points
            write_json(path, truth)
        assert main(arguments) == 1
        assert main([*arguments, "--skeleton", str(skeleton)]) == 0
        assert "ignore_mask_val: 1 written" in capsys.readouterr().out

    def test_error_is_one_line(self, arguments, tmp_path, capsys):
        (tmp_path / "val.json").unlink()
        assert main(arguments) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert names(error, "not found", tmp_path / "val.json")
        assert error.count("\n") == 1

    def test_missing_argument(self, arguments):
        with pytest.raises(SystemExit) as caught:
            main(arguments[:-2])
        assert caught.value.code == 2
