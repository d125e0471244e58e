"""Shows a training's progress: one refreshing block, or a table where it is no screen.

The losses are the raw ones, each with the weight it enters the sum with.
"""

import shutil
import sys
from dataclasses import dataclass, field
from time import monotonic
from typing import TextIO

from caffelog import Output

SCREEN_INTERVAL = 0.1
TABLE_INTERVAL = 5.0
COUNTER_INTERVAL = 10.0
"""Seconds between refreshes of a screen, and between lines where there is none."""


@dataclass
class Block:
    """What is displayed of one iteration. rate: iterations/s; loss: the sum."""

    iteration: int
    loss: float
    rate: float | None
    outputs: list[Output] = field(default_factory=list)


class Progress:
    """title: of the run; images: in one iteration, None where that is unknown."""

    def __init__(
        self,
        title: str,
        max_iter: int,
        images: int | None,
        stream: TextIO = sys.stdout,
    ) -> None:
        self._title = title
        self._max_iter = max_iter
        self._images = images
        self._stream = stream
        self._screen = stream.isatty()
        self._interval = SCREEN_INTERVAL if self._screen else TABLE_INTERVAL
        self._height = 0  # lines of the block that is on the screen
        self._columns: list[str] = []  # outputs in the table's header
        self._first: tuple[int, float] | None = None  # iteration and time
        self._shown = -self._interval  # when
        self._waiting: Block | None = None  # came too soon after the last one
        self.broken = False  # whether the stream takes no more: its reader has gone

    def show(self, block: Block) -> None:
        now = monotonic()
        if self._first is None:
            self._first = (block.iteration, now)
            block.rate = None  # Caffe's first one has nothing to measure
        self._waiting = block
        if now - self._shown >= self._interval:
            self._flush()

    def note(self, text: str) -> None:
        """A line that stays, below what was shown before it."""
        self._flush()
        self._refresh([])
        self._write(text + "\n")

    def end(self) -> None:
        """Shows what has waited; leaves what is on the screen where it is."""
        self._flush()
        self._height = 0

    def _flush(self) -> None:
        if self._waiting is not None:
            block, self._waiting = self._waiting, None
            self._shown = monotonic()
            if self._screen:
                self._refresh(self._screenful(block, self._shown))
            else:
                self._table_line(block, self._shown)

    def _left(self, iteration: int, now: float) -> str:
        first, since = self._first or (iteration, now)
        if iteration == first:
            return "-"
        each = (now - since) / (iteration - first)
        return duration((self._max_iter - iteration) * each)

    def _screenful(self, block: Block, now: float) -> list[str]:
        share = block.iteration / self._max_iter
        head = f"{self._title}: {block.iteration:,} of {self._max_iter:,} ({share:.0%})"
        if block.rate:
            head += f", {block.rate:.3g} it/s"
            if self._images:
                head += f", {block.rate * self._images:,.0f} images/s"
        head += f", {self._left(block.iteration, now)} left"
        rows = [("total loss", f"{block.loss:.4g}", "")]
        for output in block.outputs:
            share_text = ""
            if output.weight is not None:
                weighted = output.weight * output.value
                share_text = f"x {output.weight:g} = {weighted:.4g}"
            rows.append((output.name, f"{output.value:.4g}", share_text))
        width = max(len(name) for name, _, _ in rows)
        lines = [f"  {name:{width}}  {value:>10}  {s}" for name, value, s in rows]
        return [head, *lines]

    def _refresh(self, lines: list[str]) -> None:
        """Replaces the block on the screen; a line is never wider than it."""
        text = f"\x1b[{self._height}A\x1b[J" if self._height else ""
        width = shutil.get_terminal_size().columns
        text += "".join(line[: width - 1] + "\n" for line in lines)
        self._height = len(lines)
        self._write(text)

    def _table_line(self, block: Block, now: float) -> None:
        names = [output.name for output in block.outputs]
        if names and names != self._columns:
            self._columns = names
            self._table_row("iteration", "it/s", "left", "total loss", names)
            weights = [
                "" if output.weight is None else f"x {output.weight:g}"
                for output in block.outputs
            ]
            if any(weights):
                self._table_row("", "", "", "", weights)
        rate = "-" if not block.rate else f"{block.rate:.3g}"
        self._table_row(
            f"{block.iteration}/{self._max_iter}",
            rate,
            self._left(block.iteration, now),
            f"{block.loss:.4g}",
            [f"{output.value:.4g}" for output in block.outputs],
        )

    def _table_row(
        self, iteration: str, rate: str, left: str, loss: str, cells: list[str]
    ) -> None:
        first = max(9, 2 * len(str(self._max_iter)) + 1)
        row = f"{iteration:>{first}}  {rate:>6}  {left:>8}  {loss:>10}"
        for name, cell in zip(self._columns, cells, strict=False):
            row += f"  {cell:>{max(10, len(name))}}"
        self._write(row + "\n")

    def _write(self, text: str) -> None:
        if self.broken:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            self.broken = True


class Counter:
    """How many of `total` are done: a line on a terminal, else one every few seconds.

    what: they are, such as "images".
    """

    def __init__(self, total: int, what: str, stream: TextIO = sys.stderr) -> None:
        self._total = total
        self._what = what
        self._stream = stream
        self._start = self._last = monotonic()
        self._screen = stream.isatty()

    def __call__(self, done: int) -> None:
        now = monotonic()
        complete = done == self._total
        if complete and self._screen:
            print("\r\x1b[K", end="", file=self._stream, flush=True)
        interval = SCREEN_INTERVAL if self._screen else COUNTER_INTERVAL
        if complete or now - self._last < interval:
            return
        self._last = now
        rate = done / (now - self._start)
        speed = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
        start, end = ("\r", "\x1b[K") if self._screen else ("", "\n")
        print(
            f"{start}{done:,} of {self._total:,} {self._what}, {speed}/s,"
            f" {duration((self._total - done) / rate)} left",
            end=end,
            file=self._stream,
            flush=True,
        )


def duration(seconds: float) -> str:
    """75 -> 1:15, 3700 -> 1:01:40."""
    minutes, second = divmod(round(max(0, seconds)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
