"""The library behind the commands, and what a notebook needs."""

import os

# Before anything imports Caffe, which reports every layer of a network otherwise.
os.environ.setdefault("GLOG_minloglevel", "2")
