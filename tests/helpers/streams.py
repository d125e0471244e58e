"""Streams that are no files."""

import io


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


class Broken(io.StringIO):
    """What a pipe is whose reader has gone."""

    def flush(self) -> None:
        raise BrokenPipeError
