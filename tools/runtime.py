"""What every program of the project does first and last.

First: run under the project's own Python (`use_project_python`, before the imports
of third-party packages). Last: end cleanly whatever happens (`run`). In between,
`raise UserError(sentence)` anywhere, or `fail(sentence)` in a program's own file.
Nothing but the standard library is needed to import this module:

    from runtime import run, use_project_python

    use_project_python("lmdb")
    import lmdb
    ...
    if __name__ == "__main__":
        run(main)
"""

from __future__ import annotations  # it may be an older Python that starts us

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
INSTALL_COMMAND = "tools/venv.sh"
BUILD_COMMAND = "fork/build.sh"

sys.path.append(str(ROOT))
from generator.errors import UserError  # noqa: E402

__all__ = ["ROOT", "UserError", "fail", "run", "use_project_python"]

USER_ERROR = 2
INTERRUPTED = 130
BROKEN_PIPE = 141


def fail(message: str) -> NoReturn:
    """Say `program: message` on stderr and end with exit code 2, a user's mistake."""
    print(f"{Path(sys.argv[0]).name}: {message}", file=sys.stderr)
    raise SystemExit(USER_ERROR)


def use_project_python(*needs: str) -> None:
    """Start this program again under the project's `.venv`, unless it runs there.

    `needs` names the top-level packages that the program is about to import; those
    that `.venv` lacks (its installation was interrupted, say) are reported at once.
    Does nothing where one of the project's programs is merely imported, by a test or
    by another tool. Ends the program with exit code 2 where there is no `.venv`.
    """
    program = getattr(sys.modules["__main__"], "__file__", None)
    if program is None or ROOT not in Path(program).resolve().parents:
        return
    if Path(sys.prefix).resolve() != VENV.resolve():
        python = VENV / "bin" / "python"
        # Without pyvenv.cfg it would be no virtual environment, and start us forever.
        if not (python.exists() and (VENV / "pyvenv.cfg").exists()):
            fail(f"the project's Python is not installed: run {INSTALL_COMMAND}")
        arguments = getattr(sys, "orig_argv", ["python", *sys.argv])[1:]
        os.execv(python, [str(python), *arguments])
    missing = [name for name in needs if importlib.util.find_spec(name) is None]
    if "caffe" in missing:
        fail(f"the patched Caffe is not built: run {BUILD_COMMAND}")
    if missing:
        fail(f"the project's Python lacks {', '.join(missing)}: run {INSTALL_COMMAND}")
    # Before anything imports Caffe, which reports every layer of a network otherwise.
    os.environ.setdefault("GLOG_minloglevel", "2")


def run(main: Callable[[], int | None]) -> NoReturn:
    """Call `main` and exit with what it returns (None is 0).

    A UserError is said as `fail` says it; Ctrl-C ends with a sentence and 130; a
    reader that has gone away (`… | head`) ends the program silently with 141.
    """
    if hasattr(sys.stdout, "reconfigure"):
        # Names of files need not be text: print them as stderr does.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = main() or 0
        sys.stdout.flush()
    except UserError as error:
        fail(str(error))
    except KeyboardInterrupt:
        after_ctrl_c = "\n" if sys.stderr.isatty() else ""
        print(f"{after_ctrl_c}{Path(sys.argv[0]).name}: interrupted", file=sys.stderr)
        code = INTERRUPTED
    except BrokenPipeError:
        # Python flushes stdout once more at exit: let that succeed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = BROKEN_PIPE
    sys.exit(code)
