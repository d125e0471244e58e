"""How the build's programs end: with an exit code and, where need be, a sentence."""

import sys
from collections.abc import Callable
from typing import NoReturn

INTERRUPTED = 130


class Refusal(Exception):
    """One sentence for the person; `code` is 2 where they can mend it."""

    def __init__(self, sentence: str, code: int = 1):
        super().__init__(sentence)
        self.code = code


def run(main: Callable[[], None]) -> NoReturn:
    """Calls `main` and exits; a Refusal, and what the system refuses, is printed."""
    try:
        main()
    except Refusal as refusal:
        print(f"fork/build.sh: {refusal}", file=sys.stderr)
        sys.exit(refusal.code)
    except OSError as error:
        print(f"fork/build.sh: {error.strerror}: {error.filename}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    sys.exit()
