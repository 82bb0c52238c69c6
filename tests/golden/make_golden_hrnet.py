"""Makes golden_hrnet.json: outputs of small HRNet variants with formula weights.

Run `python -m tests.golden.make_golden_hrnet` only after the parity tests passed: these numbers stand in for them
where the reference numerics are absent.
"""

from mspose.models.hrnet import HRNet
from tests.golden.networks import torch_keys, write_golden
from tests.models.test_hrnet import GOLDEN, fill

CASES = {
    "narrow": {"width": 8, "num_keypoints": 5, "stem_width": 16},
    "wide-stem": {"width": 4, "num_keypoints": 3, "stem_width": 24},
}


def make(**arguments: object) -> HRNet:
    """The network with formula weights."""
    network = HRNet(**arguments)
    fill(network, torch_keys(network))
    return network


if __name__ == "__main__":
    write_golden(GOLDEN, CASES, make)
