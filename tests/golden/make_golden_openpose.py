"""Makes golden_openpose.json: outputs of small OpenPose variants with formula weights.

Run `python -m tests.golden.make_golden_openpose` only after the parity test passed: these numbers stand in for it where
the reference numerics are absent.
"""

import json

from mspose.models.openpose import OpenPose
from tests.golden.formula import picture
from tests.graph import ms
from tests.models.test_openpose import GOLDEN, SMALL, fill

CASES = {
    "one-stage": {**SMALL, "stages": 1},
    "three-stages": {**SMALL, "stages": 3},
    "batch-norm": {**SMALL, "stages": 2, "norm": "backbone"},
}


def main() -> None:
    """Write the file."""
    cases = []
    for name, arguments in CASES.items():
        network = OpenPose(**arguments)
        fill(network)
        outputs = []
        for maps in (m.asnumpy() for m in network(ms.Tensor(picture(7, (2, 3, 64, 96))))):
            every = max(1, maps.size // 60)
            values = [round(float(v), 6) for v in maps.reshape(-1)[::every]]
            outputs.append(
                {"shape": list(maps.shape), "every": every, "largest": float(abs(maps).max()), "values": values}
            )
        cases.append({"name": name, "arguments": arguments, "outputs": outputs})
    GOLDEN.write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    main()
