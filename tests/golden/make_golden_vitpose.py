"""Makes golden_vitpose.json: outputs of small ViTPose variants with formula weights.

Run `python -m tests.golden.make_golden_vitpose` only after the parity tests passed: these numbers stand in for them
where the reference numerics are absent.
"""

from mspose.models.vitpose import ViTPose
from tests.golden.networks import write_golden
from tests.models.test_vitpose import GOLDEN, fill, hugging_face_keys

CASES = {
    "classic": {"width": 24, "depth": 2, "heads": 3, "num_keypoints": 5, "input_size": [96, 64], "head_width": 8},
    "simple": {"width": 16, "depth": 3, "heads": 2, "num_keypoints": 3, "input_size": [96, 64], "decoder": "simple"},
    "large-eps": {"width": 16, "depth": 1, "heads": 1, "num_keypoints": 3, "input_size": [96, 64], "norm_eps": 0.1},
}


def make(**arguments: object) -> ViTPose:
    """The network with formula weights."""
    network = ViTPose(**arguments)
    fill(network, hugging_face_keys(network))
    return network


if __name__ == "__main__":
    write_golden(GOLDEN, CASES, make)
