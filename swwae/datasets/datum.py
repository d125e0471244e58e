"""Caffe's message `Datum`, without the rest of pycaffe, whose import takes a second."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

MODULE = "caffe.proto.caffe_pb2"


def _schema() -> ModuleType:
    """Returns what `from caffe.proto import caffe_pb2` gives.

    It is the same module for a later import of that kind: protobuf takes no schema
    twice. Raises ModuleNotFoundError without pycaffe.
    """
    if MODULE in sys.modules:
        return sys.modules[MODULE]
    package = importlib.util.find_spec("caffe")
    if package is None:
        raise ModuleNotFoundError("there is no pycaffe", name="caffe")
    path = Path(package.origin).parent / "proto" / "caffe_pb2.py"
    spec = importlib.util.spec_from_file_location(MODULE, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE] = module
    spec.loader.exec_module(module)
    return module


Datum = _schema().Datum
