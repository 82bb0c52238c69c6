"""Makes golden_fastpose.json: outputs of small FastPose variants with formula weights.

Run `python -m tests.golden.make_golden_fastpose` only after the parity tests passed: these numbers stand in for them
where the reference numerics are absent.
"""

from mspose.models.fastpose import FastPose
from tests.golden.networks import write_golden
from tests.models.test_fastpose import GOLDEN, fill, torch_keys

NARROW = {"base_width": 16, "num_keypoints": 5, "width": 64}
CASES = {
    "no-se": {"depth": 50, **NARROW},
    "se": {"depth": 50, **NARROW, "se": "first_block"},
    "basic-se": {"depth": 18, **NARROW, "se": "first_block"},
    "duc": {"depth": 50, **NARROW, "se": "first_block", "upsampling": "duc"},
    "block-shuffle": {"depth": 18, **NARROW, "shuffle": "block"},
}


def make(**arguments: object) -> FastPose:
    """The network with formula weights."""
    network = FastPose(**arguments)
    fill(network, torch_keys(network))
    return network


if __name__ == "__main__":
    write_golden(GOLDEN, CASES, make)
