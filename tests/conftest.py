"""What all tests need before they import Caffe or start programs."""

import os
import signal
from importlib.util import find_spec

import pytest

if find_spec("caffe") is None:
    raise pytest.UsageError("the patched Caffe is not built: run fork/build.sh")

os.environ.setdefault("GLOG_minloglevel", "2")  # Caffe reports every layer otherwise

# Networks as small as the tests' are not shared out to threads with any gain, and the
# last digits of a product depend on their number.
os.environ["OMP_NUM_THREADS"] = "1"

# Started in the background, a shell has us ignore Ctrl-C, and so would the programs
# that the tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
