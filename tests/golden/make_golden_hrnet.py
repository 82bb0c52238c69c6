"""Makes golden_hrnet.json: outputs of small HRNet variants with formula weights.

Run `python -m tests.golden.make_golden_hrnet` only after the parity tests passed: these numbers stand in for them
where the reference numerics are absent.
"""

import json

from mspose.backends.checkpoint import MindSporeBackend
from mspose.models.hrnet import HRNet
from tests.golden.formula import picture
from tests.models.test_hrnet import GOLDEN, fill, torch_keys

CASES = {
    "narrow": {"width": 8, "num_keypoints": 5, "stem_width": 16},
    "wide-stem": {"width": 4, "num_keypoints": 3, "stem_width": 24},
}


def main() -> None:
    """Write the file."""
    cases = []
    for name, arguments in CASES.items():
        network = HRNet(**arguments)
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
