"""Shows a training's progress: one refreshing block, or a table where it is no screen.

The losses are the raw ones, each with the weight it enters the sum with.
"""

from dataclasses import dataclass, field
from math import inf
from time import monotonic
from typing import TextIO

from swwae.base.progress import Display, duration
from swwae.engine.log import Output

TABLE_INTERVAL = 5.0
"""Seconds between lines where there is no screen."""


@dataclass
class Block:
    """What is displayed of an iteration. loss: the weighted sum; rate: iterations/s."""

    iteration: int
    loss: float
    rate: float | None
    outputs: list[Output] = field(default_factory=list)


class Progress:
    """The progress of one training, on a stream."""

    def __init__(
        self,
        title: str,
        max_iter: int,
        images: int | None,
        stream: TextIO | None = None,
    ) -> None:
        """title: of the run; images: in one iteration, None where that is unknown."""
        self._title = title
        self._max_iter = max_iter
        self._images = images
        self._display = Display(stream, line_interval=TABLE_INTERVAL)
        self._columns: list[str] = []  # outputs in the table's header
        self._first: tuple[int, float] | None = None  # iteration and time
        self._waiting: Block | None = None  # came too soon after the last one

    @property
    def broken(self) -> bool:
        """Whether the stream takes no more: its reader has gone."""
        return self._display.broken

    def show(self, block: Block) -> None:
        """Shows an iteration, now or as soon as it is time."""
        now = monotonic()
        if self._first is None:
            self._first = (block.iteration, now)
            block.rate = None  # Caffe's first one has nothing to measure
        if not 0 < (block.rate or 0) < inf:
            block.rate = None  # Caffe's clock was set back
        self._waiting = block
        if self._display.is_due(now):
            self._flush()

    def note(self, text: str) -> None:
        """Prints a line that stays, below what was shown before it."""
        self._flush()
        self._display.print_line(text)

    def end(self) -> None:
        """Shows what has waited; leaves what is on the screen where it is."""
        self._flush()
        self._display.keep()

    def _flush(self) -> None:
        if self._waiting is not None:
            block, self._waiting = self._waiting, None
            now = monotonic()
            if self._display.is_screen:
                self._display.show(*self._screenful(block, now))
            else:
                self._table_line(block, now)

    def _left(self, iteration: int, now: float) -> str:
        first, since = self._first or (iteration, now)
        if iteration == first:
            return "-"
        seconds = (now - since) / (iteration - first)
        return duration((self._max_iter - iteration) * seconds)

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
            term = ""
            if output.weight is not None:
                weighted = output.weight * output.value
                term = f"x {output.weight:g} = {weighted:.4g}"
            rows.append((output.name, f"{output.value:.4g}", term))
        width = max(len(name) for name, _, _ in rows)
        lines = [f"  {name:{width}}  {value:>10}  {term}" for name, value, term in rows]
        return [head, *lines]

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
        self._display.show(row)
