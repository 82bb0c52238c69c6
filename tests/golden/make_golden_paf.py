"""Golden numbers of the bottom-up codec on a drawn crowd given by formula.

They were taken when encoding agreed with independently drawn maps of real people and decoding found them better than
an independent grouping. Run `python -m tests.golden.make_golden_paf` from the repository root to write golden_paf.json
anew, only after the numbers changed for a reason.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mspose.codecs.paf import PafCodec
from mspose.files import write_json
from tests.golden.make_golden_eval import noise

PATH = Path(__file__).with_name("golden_paf.json")
CELLS = (46, 30)
# A standing figure in COCO order, 1 high, seen from the front.
FIGURE = np.array(
    [
        (0, 0.08),
        (0.03, 0.06),
        (-0.03, 0.06),
        (0.06, 0.08),
        (-0.06, 0.08),
        (0.12, 0.2),
        (-0.12, 0.2),
        (0.17, 0.36),
        (-0.17, 0.36),
        (0.2, 0.5),
        (-0.2, 0.5),
        (0.08, 0.52),
        (-0.08, 0.52),
        (0.09, 0.74),
        (-0.09, 0.74),
        (0.1, 0.97),
        (-0.1, 0.97),
    ]
)


def encode(codec: PafCodec, keypoints: np.ndarray, cells: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Heat maps and PAFs of (width, height) cells."""
    heatmaps, pafs, _ = codec.encode(keypoints, (cells[0] * codec.stride, cells[1] * codec.stride))
    return heatmaps, pafs


def decode(codec: PafCodec, heatmaps: np.ndarray, pafs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints and scores of the people of one picture."""
    size = heatmaps.shape[2] * codec.stride, heatmaps.shape[1] * codec.stride
    found = codec.decode((pafs[None], heatmaps[None]), size)
    return found.keypoints, found.scores


def people(
    count: int, area: tuple[float, float], heights: tuple[float, float], seed: int = 0, unlabelled: float = 0.1
) -> np.ndarray:
    """Standing people (count, 17, 3) at random places of an area (width, height), a part of their joints unlabelled."""
    tall = heights[0] + (heights[1] - heights[0]) * noise((count, 1, 1), seed)
    place = noise((count, 1, 2), seed + 1) * (np.array(area) - tall * [0.44, 1]) + tall * [0.22, 0]
    points = place + tall * (FIGURE + 0.02 * noise((count, 17, 2), seed + 2))
    labelled = noise((count, 17, 1), seed + 3) >= unlabelled
    return np.concatenate([points * labelled, 2.0 * labelled], axis=-1)


def crowd() -> np.ndarray:
    """Twelve people who overlap, in the pixels of `CELLS`."""
    return people(12, (CELLS[0] * 8, CELLS[1] * 8), (80, 220))


def noisy_maps() -> tuple[np.ndarray, np.ndarray]:
    """Their maps, with noise as a trained network has."""
    heatmaps, pafs = encode(PafCodec(), crowd(), CELLS)
    return (
        heatmaps + (0.08 * noise(heatmaps.shape, 5) - 0.04).astype(np.float32),
        pafs + (0.1 * noise(pafs.shape, 6) - 0.05).astype(np.float32),
    )


def golden_numbers() -> dict:
    """What the codec makes of these inputs."""
    maps = encode(PafCodec(), crowd(), CELLS)
    keypoints, scores = decode(PafCodec(), *noisy_maps())
    return {
        "heatmaps": np.round(maps[0].reshape(-1)[::173], 5).tolist(),
        "pafs": np.round(maps[1].reshape(-1)[::173], 5).tolist(),
        "keypoints": np.round(keypoints.astype(np.float64), 3).reshape(len(keypoints), -1).tolist(),
        "scores": np.round(scores.astype(np.float64), 4).tolist(),
    }


if __name__ == "__main__":
    write_json(PATH, golden_numbers())
