"""Makes golden_fastpose.json: outputs of small FastPose variants with formula weights.

Run `python -m tests.golden.make_golden_fastpose` only after the parity tests passed: these numbers stand in for them
where the reference numerics are absent.
"""

import json

from mspose.backends.checkpoint import MindSporeBackend
from mspose.models.fastpose import FastPose
from tests.golden.formula import picture
from tests.models.test_fastpose import GOLDEN, fill, torch_keys

NARROW = {"base_width": 16, "num_keypoints": 5, "width": 64}
CASES = {
    "no-se": {"depth": 50, **NARROW},
    "se": {"depth": 50, **NARROW, "se": "first_block"},
    "basic-se": {"depth": 18, **NARROW, "se": "first_block"},
    "duc": {"depth": 50, **NARROW, "se": "first_block", "upsampling": "duc"},
    "block-shuffle": {"depth": 18, **NARROW, "shuffle": "block"},
}


def main() -> None:
    """Write the file."""
    cases = []
    for name, arguments in CASES.items():
        network = FastPose(**arguments)
        fill(network, torch_keys(network))
        (maps,) = MindSporeBackend(network)(picture(7, (2, 3, 64, 96)))
        every = max(1, maps.size // 60)
        values = [round(float(v), 6) for v in maps.reshape(-1)[::every]]
        cases.append(
            {
                "name": name,
                "arguments": arguments,
                "shape": list(maps.shape),
                "every": every,
                "largest": float(abs(maps).max()),
                "values": values,
            }
        )
    GOLDEN.write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    main()
