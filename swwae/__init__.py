"""Augmented supervised networks in Caffe: what a notebook needs, and the library.

    import swwae

    run = swwae.Run("runs/vgg8/swwae-all")       # what has been trained
    model = run.model()                          # or swwae.Model("vgg16", "swwae-all")
    model.classify(["cat.jpg"])                  # (1, classes), probabilities
    model.features(["cat.jpg"], "conv3_2/pool")  # (1, C, H, W)
    model.reconstruct(["cat.jpg"], depth=3)      # images, uint8, and their errors

Files are taken as they are named or, where there is none, relative to the project's
root. What cannot be done is a `UserError`, a sentence. Importing this package imports
neither Caffe nor NumPy: each name is fetched when it is first used.
"""

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator import caffe_build

if TYPE_CHECKING:
    from generator import (
        describe_network,
        draw_network,
        generate,
    )
    from generator import network_names as networks
    from generator import variant_names as variants
    from generator.errors import UserError
    from swwae.evaluation.model import FullyConvolutional, Model
    from swwae.notebook import Run

__all__ = [
    "FullyConvolutional",
    "Model",
    "Run",
    "UserError",
    "describe_network",
    "draw_network",
    "generate",
    "networks",
    "variants",
]

# Before anything imports Caffe, which reports every layer of a network otherwise, and
# whose last words are read: in the form that nothing has changed.
_level = os.environ.get("GLOG_minloglevel")
for _name in caffe_build.unwanted():
    del os.environ[_name]
os.environ["GLOG_minloglevel"] = _level if _level in ("0", "1", "2", "3") else "2"

_HOMES = {
    "FullyConvolutional": ("swwae.evaluation.model", "FullyConvolutional"),
    "Model": ("swwae.evaluation.model", "Model"),
    "Run": ("swwae.notebook", "Run"),
    "UserError": ("generator.errors", "UserError"),
    "describe_network": ("generator", "describe_network"),
    "draw_network": ("generator", "draw_network"),
    "generate": ("generator", "generate"),
    "networks": ("generator", "network_names"),
    "variants": ("generator", "variant_names"),
}
"""Name -> module and name there (PEP 562)."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    try:
        value = getattr(import_module(module), attribute)
    except ImportError as error:
        if sentence := _not_installed(error):
            raise ImportError(sentence) from error
        raise
    globals()[name] = value
    return value


def _not_installed(error: ImportError) -> str | None:
    """Returns what is missing, where that is Caffe or a package of the project's
    Python."""
    from swwae import launch

    if Path(sys.prefix).resolve() == launch.VENV.resolve():
        return launch.missing(error)
    package = (error.name or "this").partition(".")[0]
    return (
        f"{sys.executable} lacks {package}: choose the project's Python as the kernel,"
        f" {launch.VENV}/bin/python ({launch.INSTALL_COMMAND} makes it)"
    )


def __dir__() -> list[str]:
    special = {name for name in globals() if name.startswith("__")}
    return sorted({*special, *__all__})
