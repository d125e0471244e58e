"""What a card multiplies with, and how far results may then lie from the CPU's."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Math:
    """A way to multiply floats.

    title: in words. value_bytes: of an activation. ours: whether Caffe has it, by
    CAFFE_GPU_MATH. bound: the largest relative difference (Euclidean norms) of Caffe's
    outputs and gradients from the CPU's, with the CPU's switches; None where it lacks
    the math. torch_bound: of PyTorch's outputs, whose switches are its own; None: any.
    """

    title: str
    value_bytes: int
    ours: bool
    bound: float | None
    torch_bound: float | None = None


MATHS = {
    "fp32": Math("fp32 without tensor cores", 4, True, 1e-4, 1e-2),
    "tf32": Math("TF32", 4, True, 1e-2),
    "bf16": Math("bf16", 2, False, None),
}
"""Name, also CAFFE_GPU_MATH's -> what it is."""
