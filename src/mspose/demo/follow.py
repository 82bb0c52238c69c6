"""Boxes of people in frames of a video where the detector rests: where the network has just seen them."""

from __future__ import annotations

import threading

import numpy as np

from mspose.poses import Poses

# A box round the keypoints ends at eyes and ankles; whoever is in it goes on moving.
GROWTH = 1.25
# Fewer sure keypoints tell of no person.
LEAST = 3


def boxes_of(people: Poses, threshold: float) -> np.ndarray:
    """(M, 4) x, y, width, height in pixels, within the picture, of the people who show enough keypoints.

    Args:
        threshold: keypoints with a lower score do not count.
    """
    sure = people.keypoint_scores >= threshold
    people = people[np.flatnonzero(sure.sum(axis=1) >= min(LEAST, people.skeleton.num_keypoints))]
    sure = (people.keypoint_scores >= threshold)[..., None]
    first = np.min(people.keypoints, axis=1, where=sure, initial=np.inf)
    last = np.max(people.keypoints, axis=1, where=sure, initial=-np.inf)
    centre, half = (first + last) / 2, (last - first) / 2 * GROWTH
    first, last = np.maximum(centre - half, 0), np.minimum(centre + half, people.size)
    boxes = np.concatenate([first, last - first], axis=1)
    return boxes[(boxes[:, 2:] > 0).all(axis=1)]


class Follower:
    """Tells of each frame whether the detector is to look, or where people are without it.

    People of a frame are known once it has gone through the network: `boxes` waits for those of the frame before, which
    another thread tells by `found`.

    Args:
        every: frames a detection; 1: each.
        threshold: keypoints with a lower score do not count.
    """

    def __init__(self, every: int, threshold: float) -> None:
        self._every, self._threshold = every, threshold
        self._told = 0  # frames whose people are known
        self._boxes = np.zeros((0, 4))
        self._closed = False
        self._changed = threading.Condition()

    def follows(self, place: int) -> bool:
        """Whether the frame at a place, 0, 1, …, waits for the people of the one before."""
        return place % self._every != 0

    def boxes(self, place: int) -> np.ndarray | None:
        """Of the frame at a place, 0, 1, …: (M, 4) x, y, width, height; None where the detector is to look, also where
        nobody is left.

        An empty array tells that the follower was closed.
        """
        if not self.follows(place):
            return None
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._told >= place)
            return self._boxes if len(self._boxes) or self._closed else None

    def found(self, people: Poses | None) -> None:
        """Tell the people of the next frame; None for one that could not be looked at: they are taken to stay."""
        with self._changed:
            self._told += 1
            if people is not None and self._every > 1:
                self._boxes = boxes_of(people, self._threshold)
            self._changed.notify_all()

    def close(self) -> None:
        """Let whoever waits go on: nothing more will be told."""
        with self._changed:
            self._closed, self._boxes = True, np.zeros((0, 4))
            self._changed.notify_all()
