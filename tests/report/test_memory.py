"""What a stage records of Caffe's memory."""

import io
import sys

import numpy as np

from swwae.engine import process
from swwae.engine.process import peak_memory
from swwae.engine.progress import Progress

LINE = "I1124 06:20:42.123456 12345 caffe.cpp:250] Iteration 0, lr = 0.1"
PROGRAM = f"""
import time
held = bytearray(200_000_000)
del held
print({LINE!r}, flush=True)
time.sleep(2)
"""


def test_the_peak_is_the_programs_own(tmp_path):
    """Not the last figure, and not what the program that starts it holds."""
    ours = np.ones(60_000_000)
    outcome = process.train(
        [sys.executable, "-c", PROGRAM],
        tmp_path / "train.log",
        Progress("a stage", 100, None, io.StringIO()),
        lambda path: None,
    )
    assert ours.nbytes == 480_000_000
    assert 200e6 < outcome.peak_memory < 260e6


def test_a_program_that_has_ended_has_none():
    assert peak_memory(2**22 + 1) is None
