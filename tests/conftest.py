"""What all tests need before they import Caffe."""

import os

os.environ.setdefault("GLOG_minloglevel", "2")  # Caffe reports every layer otherwise
