"""Poses of the people in a picture: python examples/five_lines.py CONFIG CKPT PICTURE [DRAWN.jpg].

It runs from any folder, also in a checkout that is not installed.
"""

import sys
from pathlib import Path

import cv2

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from mspose import PoseEstimator
from mspose.detection import HOG_HINT
from mspose.errors import PoseError


def main(config: str, ckpt: str, picture: str, drawn: str = "drawn.jpg") -> None:
    """Print the people in a picture and draw them."""
    estimator = PoseEstimator(config, ckpt)
    people = estimator(picture)
    for keypoints, score, box in zip(people.keypoints, people.scores, people.boxes):
        print(f"score {score:.2f}, box {box.round().tolist()}, {(keypoints > 0).any(axis=1).sum()} keypoints")
    print(f"{len(people)} people, drawn in {drawn}")
    if not len(people) and estimator.detector == "hog":
        print(HOG_HINT)
    cv2.imwrite(drawn, estimator.draw(cv2.imread(picture), people))


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except PoseError as error:
        sys.exit(f"error: {error}")
