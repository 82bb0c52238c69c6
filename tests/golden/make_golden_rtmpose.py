"""Makes golden_rtmpose.json: outputs of small RTMPose variants with formula weights.

Run `python -m tests.golden.make_golden_rtmpose` only after the parity tests passed: these numbers stand in for them
where the reference numerics are absent.
"""

from mspose.models.rtmpose import RTMPose
from tests.golden.networks import write_golden
from tests.models.test_rtmpose import GOLDEN, fill, mmpose_keys

CASES = {
    "narrow": {"width": 32, "blocks": 1, "num_keypoints": 5, "size": [96, 64]},
    "deep-split": {"width": 64, "blocks": 3, "num_keypoints": 3, "size": [96, 64], "split": 3},
}


def make(**arguments: object) -> RTMPose:
    """The network with formula weights."""
    network = RTMPose(**arguments)
    fill(network, mmpose_keys(network))
    return network


if __name__ == "__main__":
    write_golden(GOLDEN, CASES, make)
