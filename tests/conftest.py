"""What all tests need before they import Caffe or start programs."""

import os
import signal

os.environ.setdefault("GLOG_minloglevel", "2")  # Caffe reports every layer otherwise

# GNU's OpenMP does not outlive a fork: a child of a process that has computed with
# several threads would wait for them forever, and tests let Caffe end child processes.
os.environ["OMP_NUM_THREADS"] = "1"

# Started in the background, a shell has us ignore Ctrl-C, and so would the programs
# that the tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
