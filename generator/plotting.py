"""Imports matplotlib where the environment names a backend that it does not have.

Figures go to files here, which takes no backend. But matplotlib cannot be imported at
all where MPLBACKEND names an unknown one: a notebook's, in a program that the notebook
has started under another Python.
"""

import os
import sys
from contextlib import suppress
from types import ModuleType

BACKEND = "MPLBACKEND"


def import_matplotlib() -> ModuleType:
    """Imports and returns matplotlib, with the backend of the environment if it has
    that; raises ModuleNotFoundError without matplotlib."""
    if "matplotlib" in sys.modules:
        return sys.modules["matplotlib"]
    wanted = os.environ.pop(BACKEND, None)
    try:
        import matplotlib
    finally:
        if wanted is not None:
            os.environ[BACKEND] = wanted
    if wanted:
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = wanted
    return matplotlib
