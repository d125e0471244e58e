"""What the environment says to Caffe, and whether Caffe takes it."""

import os

from generator.errors import UserError

MATH_SETTING = "CAFFE_GPU_MATH"
"""What convolutions and matrix products are computed with on a GPU."""

MATH = ("fp32", "tf32")

SHARING_SETTING = "CAFFE_SHARE_GRADIENTS"
"""Whether gradients of a network's blobs share memory; `caffe train` sets it to 1
unless it is given."""

_KNOWN = {
    MATH_SETTING: MATH,
    "CAFFE_DETERMINISTIC": ("0", "1"),
    SHARING_SETTING: ("0", "1"),
}


def require_settings() -> None:
    """Raises UserError where the environment says what Caffe does not take: it would
    end the process."""
    for name, known in _KNOWN.items():
        given = os.environ.get(name)
        if given and given not in known:
            raise UserError(
                f"{name} is {given} in the environment; it is one of"
                f" {' and '.join(known)}."
            )
