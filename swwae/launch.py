"""Starts a command of `swwae.commands` as a program, under the project's own Python.

    tools/evaluate.py …                    a launcher, by the path of this file
    swwae/launch.py run_stage …            a shell script
    python -m swwae.commands.evaluate …    whoever likes that better

Any Python 3 may start it, from any folder, through a link, and with nothing but the
standard library: it goes on under the checkout's `.venv`, and only then imports more.
"""

import os
import sys
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The checkout."""

VENV = ROOT / ".venv"
INSTALL_COMMAND = "tools/venv.sh"
BUILD_COMMAND = "fork/build.sh"
GPU_BUILD_COMMAND = BUILD_COMMAND + " --cuda"
NOT_BUILT = "the patched Caffe is not built: run %s, or for GPUs %s" % (
    BUILD_COMMAND,
    GPU_BUILD_COMMAND,
)
IN_BUNDLE = (ROOT / "libexec").is_dir()
"""Whether this is no checkout, but what fork/bundle.sh packs."""

CUDA_LIBRARIES = (
    "libcuda.",
    "libcudart",
    "libcublas",
    "libcudnn",
    "libcurand",
    "libnccl",
)
USER_ERROR = 2
INTERRUPTED = 130


def launch(command):
    """Runs `main` of swwae/commands/<command>.py and ends with the code it returns.

    Ends with exit code 2 and a sentence where `.venv` is missing or lacks a package, or
    where the patched Caffe is not built. A module's PROGRAM is its name in messages.
    """
    use_project_python()
    # Figures go to files. A notebook's backend, which this Python need not have, would
    # keep matplotlib from being imported.
    os.environ.pop("MPLBACKEND", None)
    started_in = os.path.dirname(os.path.realpath(sys.argv[0]))
    sys.path[:] = [str(ROOT), *(path for path in sys.path if path != started_in)]
    try:
        module = import_module("swwae.commands." + command)
        program = import_module("swwae.base.program")
    except ImportError as error:
        sentence = missing(error)
        if sentence is None:
            raise
        fail(sentence)
    except KeyboardInterrupt:  # imports take a second: `program` is not there yet
        sys.stderr.write("%s: interrupted\n" % os.path.basename(sys.argv[0]))
        raise SystemExit(INTERRUPTED)
    sys.argv[0] = getattr(module, "PROGRAM", sys.argv[0])
    program.run(module.main)


def use_project_python():
    """Starts this program again under the checkout's `.venv`, unless it runs there."""
    if Path(sys.prefix).resolve() == VENV.resolve():
        return
    python = VENV / "bin" / "python"
    # Without pyvenv.cfg it would be no virtual environment, and start us forever.
    if not (python.exists() and (VENV / "pyvenv.cfg").exists()):
        fail("the project's Python is not installed: run " + INSTALL_COMMAND)
    arguments = getattr(sys, "orig_argv", ["python", *sys.argv])[1:]
    os.execv(str(python), [str(python), *arguments])


def missing(error):
    """Returns a sentence on what is not installed; None where the import is wrong."""
    package = (error.name or "").partition(".")[0]
    if package in ("caffe", "_caffe"):
        if isinstance(error, ModuleNotFoundError):
            from generator.caffe_build import wrong_choice

            return wrong_choice() or NOT_BUILT
        of_gpus = any(name in str(error) for name in CUDA_LIBRARIES)
        if of_gpus and IN_BUNDLE:
            return (
                "NVIDIA's libraries are not found (%s): name their folders with"
                " NVIDIA_LIBS=FOLDER:..." % error
            )
        return "the patched Caffe cannot be loaded (%s): run %s" % (
            error,
            GPU_BUILD_COMMAND if of_gpus else BUILD_COMMAND,
        )
    if package in ("swwae", "generator", ""):
        return None
    if isinstance(error, ModuleNotFoundError):
        if IN_BUNDLE:
            return "this takes %s, which a bundle leaves out: use a checkout" % package
        return "the project's Python lacks %s: run %s" % (package, INSTALL_COMMAND)
    return None


def fail(message):
    """Says `program: message` on stderr and ends with exit code 2."""
    sys.stderr.write("%s: %s\n" % (os.path.basename(sys.argv[0]), message))
    raise SystemExit(USER_ERROR)


if __name__ == "__main__":
    launch(sys.argv.pop(1))
