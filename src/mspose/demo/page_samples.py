"""Pictures to try the web page with: drawn people, since no photograph is shipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mspose.skeleton import COCO17
from mspose.synthetic.sample import scene
from mspose.visual import write_image

# Draws of which most people are seen from head to foot, so that every detector finds some.
DRAWS = (8, 21, 22, 35)
SIZE = (640, 480)  # width, height


def draw_samples(folder: Path) -> list[Path]:
    """Draw the sample pictures, the same each time.

    Raises:
        PoseError: they cannot be written.
    """
    paths = []
    for number, draw in enumerate(DRAWS, start=1):
        image, _ = scene(np.random.default_rng([7, draw]), *SIZE, COCO17.keypoints)
        paths.append(write_image(folder / f"drawn_{number}.jpg", image))
    return paths
