"""YOLOv3 as Darknet would have it: a cfg file and a file of random weights, made without our network.

OpenCV imports both, and is the reference for ours.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

BLOCKS = (1, 2, 8, 8, 4)
MASKS = ("6,7,8", "3,4,5", "0,1,2")
ANCHORS = "10,13, 16,30, 33,23, 30,61, 62,45, 59,119, 116,90, 156,198, 373,326"


class Builder:
    """Collects sections of a cfg file and the numbers that belong to them."""

    def __init__(self, size: tuple[int, int], seed: int) -> None:
        self.sections = [f"[net]\nwidth={size[0]}\nheight={size[1]}\nchannels=3\nbatch=1\n"]
        self.numbers: list[np.ndarray] = []
        self.channels = [3]  # of every layer's output, the picture first
        self.random = np.random.default_rng(seed)

    def convolution(self, filters: int, kernel: int, stride: int = 1, is_output: bool = False) -> None:
        """A convolution from the last layer, with batch norm and leaky ReLU unless it is an output."""
        inputs = self.channels[-1]
        text = f"[convolutional]\nfilters={filters}\nsize={kernel}\nstride={stride}\npad=1\n"
        self.sections.append(text + ("activation=linear\n" if is_output else "batch_normalize=1\nactivation=leaky\n"))
        draw = self.random.standard_normal
        if is_output:
            self.numbers.append(0.5 * draw(filters))
        else:
            self.numbers += [
                0.1 * draw(filters),
                1 + 0.1 * draw(filters),
                0.1 * draw(filters),
                0.5 + self.random.random(filters),
            ]
        spread = np.sqrt(1 / (inputs * kernel * kernel))
        self.numbers.append(spread * draw((filters, inputs, kernel, kernel)).ravel())
        self.channels.append(filters)

    def section(self, text: str, channels: int) -> None:
        """A layer without weights."""
        self.sections.append(text)
        self.channels.append(channels)


def write_yolov3(
    folder: Path, size: tuple[int, int], base_width: int, classes: int, seed: int = 0
) -> tuple[Path, Path]:
    """Write yolov3.cfg and yolov3.weights for an input of `size` (width, height); returns their paths."""
    net = Builder(size, seed)
    net.convolution(base_width, 3)
    ends = []
    for stage, blocks in enumerate(BLOCKS):
        channels = base_width * 2 ** (stage + 1)
        net.convolution(channels, 3, stride=2)
        for _ in range(blocks):
            net.convolution(channels // 2, 1)
            net.convolution(channels, 3)
            net.section("[shortcut]\nfrom=-3\nactivation=linear\n", channels)
        ends.append(len(net.sections) - 2)  # number of the layer, [net] not counted
    for head, mask in enumerate(MASKS):
        width = base_width * 16 // 2**head
        if head:
            net.section("[route]\nlayers=-4\n", 2 * width)
            net.convolution(width, 1)
            net.section("[upsample]\nstride=2\n", width)
            net.section(f"[route]\nlayers=-1, {ends[4 - head]}\n", width + net.channels[ends[4 - head] + 1])
        for _ in range(3):
            net.convolution(width, 1)
            net.convolution(2 * width, 3)
        net.convolution(3 * (5 + classes), 1, is_output=True)
        net.section(
            f"[yolo]\nmask={mask}\nanchors={ANCHORS}\nclasses={classes}\nnum=9\nthresh=0.01\n", 3 * (5 + classes)
        )
    cfg, weights = folder / "yolov3.cfg", folder / "yolov3.weights"
    cfg.write_text("\n".join(net.sections))
    header = np.array([0, 2, 0], "<i4").tobytes() + np.array([32013312], "<i8").tobytes()
    weights.write_bytes(header + np.concatenate(net.numbers).astype("<f4").tobytes())
    return cfg, weights
