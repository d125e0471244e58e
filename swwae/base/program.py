"""How a program ends: with an exit code and, where something went wrong, a sentence.

Anywhere in the project `raise UserError(sentence)` says what a user can mend.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from generator.errors import UserError

FAILED = 1
USER_ERROR = 2
INTERRUPTED = 130
BROKEN_PIPE = 141


def print_error(message: object) -> None:
    """Prints `program: message` on stderr."""
    print(f"{Path(sys.argv[0]).name}: {message}", file=sys.stderr)


def fail(message: str) -> NoReturn:
    """Prints `program: message` on stderr and ends with exit code 2, a user's
    mistake."""
    print_error(message)
    raise SystemExit(USER_ERROR)


def run(main: Callable[[], int | None]) -> NoReturn:
    """Calls `main` and exits with what it returns (None is 0).

    A UserError is printed as `fail` does, and so is what the system refuses (a full
    disk, say); Ctrl-C ends with a sentence and 130; a reader that has gone away
    (`… | head`) ends the program silently with 141.
    """
    if hasattr(sys.stdout, "reconfigure"):
        # Names of files need not be text: print them as stderr does.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            code = main() or 0
        except SystemExit as ended:  # argparse, which passes over a full disk
            code = ended.code
        sys.stdout.flush()
    except UserError as error:
        fail(str(error))
    except KeyboardInterrupt:
        if sys.stderr.isatty():
            print(file=sys.stderr)  # below the terminal's ^C
        print_error("interrupted")
        code = INTERRUPTED
    except BrokenPipeError:
        discard_output()
        code = BROKEN_PIPE
    except OSError as error:
        discard_output()
        what = error.filename or "the output cannot be written"
        fail(f"{what}: {error.strerror or error}")
    sys.exit(code)


def discard_output() -> None:
    """Sends what is still to be written on stdout nowhere: Python flushes it once more
    at exit, which must succeed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def failure(message: str) -> int:
    """Prints `program: message` on stderr; returns the exit code of what has failed."""
    print_error(message)
    return FAILED
