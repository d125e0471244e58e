"""Which build of the patched Caffe is used, of its programs and of pycaffe alike, and
how they log.

It is build/caffe-cuda where that has been built, which has the CPU's engine, too; else
build/caffe. CAFFE_BUILD=DIR in the environment names another one, relative to the
checkout.

.venv's pycaffe.pth runs this file alone, whenever Python starts (tools/venv.sh): it
needs nothing but what Python has imported by then.
"""

import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))

BUILDS = ("caffe-cuda", "caffe")
"""Below build/, the preferred one first."""

LOGGING = "GLOG_"
"""How the variables begin that say what Caffe logs, where to, and in which form."""

KEPT = ("GLOG_v", "GLOG_vmodule")
"""Those that change no line that is read here: they add some."""


def folder(root: str | os.PathLike = ROOT) -> str:
    """Returns the folder with bin/, lib/ and python/, whether or not it is there.

    root: of the checkout.
    """
    chosen = os.environ.get("CAFFE_BUILD")
    if chosen:
        return os.path.join(root, os.path.expanduser(chosen))
    known = [os.path.join(root, "build", name) for name in BUILDS]
    return next((path for path in known if _is_built(path)), known[-1])


def add_to_path() -> None:
    """Lets `import caffe` find pycaffe."""
    sys.path.append(os.path.join(folder(), "python"))


def wrong_choice(root: str | os.PathLike = ROOT) -> str | None:
    """Returns a sentence where CAFFE_BUILD names a folder that is no build; else
    None."""
    chosen = os.environ.get("CAFFE_BUILD")
    if not chosen or _is_built(folder(root)):
        return None
    return (
        f"CAFFE_BUILD is {chosen}, where there is no bin/caffe: give the folder of a"
        " build, such as build/caffe, or leave it out of the environment."
    )


def environment(level: int = 0) -> dict[str, str]:
    """Returns this process's environment for a program of Caffe: it logs on stderr, in
    the form that is read here, whatever is set.

    level: of the least that is logged, 0 for all, 2 for errors.
    """
    result = dict(os.environ)
    for name in unwanted():
        del result[name]
    return result | {"GLOG_logtostderr": "1", "GLOG_minloglevel": str(level)}


def unwanted() -> list[str]:
    """Returns the variables in this process's environment that change how Caffe
    logs."""
    return [n for n in os.environ if n.startswith(LOGGING) and n not in KEPT]


def _is_built(path: str) -> bool:
    return os.path.isfile(os.path.join(path, "bin", "caffe"))
