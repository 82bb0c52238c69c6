"""Makes golden_simplepose.json: outputs of small SimplePose variants with formula weights.

Run `python -m tests.golden.make_golden_simplepose` only after the parity tests passed: these numbers stand in for them
where the reference numerics are absent.
"""

import json

from mspose.backends.checkpoint import MindSporeBackend
from mspose.models.simplepose import SimplePose
from tests.golden.formula import picture
from tests.models.test_simplepose import GOLDEN, fill, torch_keys

NARROW = {"base_width": 16, "num_keypoints": 5, "deconv_filters": [16, 16, 16]}
CASES = {
    "basic": {"depth": 18, **NARROW},
    "bottleneck": {"depth": 50, **NARROW},
    "same-pool": {"depth": 18, **NARROW, "maxpool": "same"},
    "kernel-3": {"depth": 18, **NARROW, "deconv_kernels": [3, 3, 3], "deconv_bias": True, "final_kernel": 3},
    "kernel-2": {"depth": 18, **NARROW, "deconv_kernels": [2, 2, 2]},
}


def main() -> None:
    """Write the file."""
    cases = []
    for name, arguments in CASES.items():
        network = SimplePose(**arguments)
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
