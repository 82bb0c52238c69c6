"""Makes golden_yolov3.json: outputs of narrow YOLOv3 networks with formula weights.

Run `python -m tests.golden.make_golden_yolov3` only after the test against OpenCV passed. The zoo's network has no
reference at hand when tests run: its numbers were compared once with PyTorch's layers, put together after the zoo's
description.
"""

import json

from tests.golden.formula import picture
from tests.graph import ms
from tests.models.test_yolov3 import GOLDEN, small


def main() -> None:
    """Write the file."""
    cases = []
    for zoo in (False, True):
        outputs = []
        for maps in (m.asnumpy() for m in small(zoo)(ms.Tensor(picture(7, (1, 3, 64, 96))))):
            every = max(1, maps.size // 40)
            outputs.append(
                {
                    "shape": list(maps.shape),
                    "every": every,
                    "largest": float(abs(maps).max()),
                    "values": [round(float(v), 6) for v in maps.reshape(-1)[::every]],
                }
            )
        cases.append({"zoo": zoo, "outputs": outputs})
    GOLDEN.write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    main()
