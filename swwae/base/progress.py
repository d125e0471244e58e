"""How far a work has come: what passes on a terminal, or a line now and then."""

import shutil
import sys
from time import monotonic
from typing import TextIO

SCREEN_INTERVAL = 0.1
LINE_INTERVAL = 10.0
"""Seconds between refreshes of a terminal, and between lines elsewhere."""


class Display:
    """Progress on a stream.

    On a terminal, what is shown replaces what was shown last; elsewhere it is printed.
    Whoever has something to show asks `is_due` first.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        screen_interval: float = SCREEN_INTERVAL,
        line_interval: float = LINE_INTERVAL,
        at_once: bool = True,
    ) -> None:
        """stream: stdout where it is None. at_once: whether something is due before
        the first interval is over."""
        self._stream = sys.stdout if stream is None else stream
        self.is_screen = self._stream.isatty()
        self._interval = screen_interval if self.is_screen else line_interval
        self.began = monotonic()
        self._shown = self.began - (self._interval if at_once else 0)
        self._height = 0  # lines on the terminal that the next ones replace
        self.broken = False
        """Whether the stream takes no more: its reader has gone."""

    def is_due(self, now: float | None = None) -> bool:
        """Whether it is time to show something; the next time is an interval later.

        now: of time.monotonic(), where the caller has asked it already.
        """
        now = monotonic() if now is None else now
        due = now - self._shown >= self._interval
        if due:
            self._shown = now
        return due

    def show(self, *lines: str) -> None:
        """What passes. On a terminal a line is cut at its width."""
        if self.is_screen:
            width = shutil.get_terminal_size().columns
            self._write(self._erased() + "\n".join(ln[: width - 1] for ln in lines))
            self._height = len(lines)
        else:
            self._write("".join(line + "\n" for line in lines))

    def print_line(self, line: str) -> None:
        """A line that stays, in place of what was passing."""
        self._write(f"{self._erased()}{line}\n")
        self._height = 0

    def clear(self) -> None:
        """Takes what was passing off the terminal."""
        if self._height:
            self._write(self._erased())
            self._height = 0

    def keep(self) -> None:
        """Leaves what was passing where it is."""
        if self._height:
            self._write("\n")
            self._height = 0

    def _erased(self) -> str:
        if not self._height:
            return ""
        up = f"\x1b[{self._height - 1}A" if self._height > 1 else ""
        return f"\r{up}\x1b[J"

    def _write(self, text: str) -> None:
        if self.broken:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            self.broken = True


class Counter:
    """How many of `total` are done, how fast, and how long the rest takes.

    Call it with the number that is done. At the total, what was passing goes.
    """

    def __init__(
        self,
        total: int,
        what: str,
        stream: TextIO | None = None,
        line_interval: float = LINE_INTERVAL,
        title: str = "",
        already: int = 0,
        keep_last: bool = False,
    ) -> None:
        """total: 0 where it is unknown. what: is counted, such as "images". stream:
        stderr where it is None. title: put before each line. already: how many an
        earlier run has done, which say nothing of the speed. keep_last: whether a line
        stays that shows the total."""
        self._total = total
        self._what = what
        self._title = f"{title}: " if title else ""
        self._already = already
        self._keep_last = keep_last
        self._display = Display(
            sys.stderr if stream is None else stream,
            line_interval=line_interval,
            at_once=False,
        )

    def __call__(self, done: int) -> None:
        now = monotonic()
        seconds = now - self._display.began
        if done == self._total and self._keep_last:
            self._display.print_line(self._line(done, seconds))
        elif done == self._total:
            self._display.clear()
        elif self._display.is_due(now):
            self._display.show(self._line(done, seconds))

    def clear(self) -> None:
        """Takes what was passing off the terminal, where the total is unknown."""
        self._display.clear()

    def _line(self, done: int, seconds: float) -> str:
        rate = (done - self._already) / seconds if seconds else 0.0
        speed = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
        line = f"{self._title}{done:,}"
        if self._total:
            line += f" of {self._total:,}"
        line += f" {self._what}"
        if self._total:
            line += f" ({done / self._total:.0%})"
        line += f", {speed}/s"
        if self._total > done and rate:
            line += f", {duration((self._total - done) / rate)} left"
        return line


def duration(seconds: float) -> str:
    """75 -> 1:15, 3700 -> 1:01:40."""
    minutes, second = divmod(round(max(0, seconds)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
