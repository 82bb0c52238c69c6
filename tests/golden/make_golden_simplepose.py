"""Makes golden_simplepose.json: outputs of small SimplePose variants with formula weights.

Run `python -m tests.golden.make_golden_simplepose` only after the parity tests passed: these numbers stand in for them
where the reference numerics are absent.
"""

from mspose.models.simplepose import SimplePose
from tests.golden.networks import torch_keys, write_golden
from tests.models.test_simplepose import GOLDEN, fill

NARROW = {"base_width": 16, "num_keypoints": 5, "deconv_filters": [16, 16, 16]}
CASES = {
    "basic": {"depth": 18, **NARROW},
    "bottleneck": {"depth": 50, **NARROW},
    "same-pool": {"depth": 18, **NARROW, "maxpool": "same"},
    "kernel-3": {"depth": 18, **NARROW, "deconv_kernels": [3, 3, 3], "deconv_bias": True, "final_kernel": 3},
    "kernel-2": {"depth": 18, **NARROW, "deconv_kernels": [2, 2, 2]},
}


def make(**arguments: object) -> SimplePose:
    """The network with formula weights."""
    network = SimplePose(**arguments)
    fill(network, torch_keys(network))
    return network


if __name__ == "__main__":
    write_golden(GOLDEN, CASES, make)
