"""A training's progress: a table, or a block on a screen."""

import io
import math

import pytest

from swwae.engine.log import Output
from swwae.engine.progress import Block, Progress
from tests.helpers.streams import Screen

OUTPUTS = [
    Output("Train", 0, "dec:loss@data/scaled", 61.25, 1e-4),
    Output("Train", 1, "loss", 0.3512, 1.0),
]


def test_a_table_is_aligned_where_there_is_no_screen():
    stream = io.StringIO()
    progress = Progress("stage 4", 1000, 64, stream)
    for iteration in (0, 20, 40):
        progress.show(Block(iteration, 0.357, 12.5, OUTPUTS))
    progress.end()
    lines = stream.getvalue().splitlines()
    # header, weights, the first one, and the last one that came too soon for a line
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1
    assert "dec:loss@data/scaled" in lines[0] and "x 0.0001" in lines[1]
    assert lines[2].split() == ["0/1000", "-", "-", "0.357", "61.25", "0.3512"]
    assert lines[3].split()[:2] == ["40/1000", "12.5"]


def test_a_screen_is_refreshed():
    stream = Screen()
    progress = Progress("stage 4", 1000, 64, stream)
    for iteration in (0, 500):
        progress.show(Block(iteration, 0.357, 12.5, OUTPUTS))
    progress.end()
    text = stream.getvalue()
    _, second = text.split(
        "\r\x1b[3A\x1b[J"
    )  # from the last of three losses to the head
    assert "500 of 1,000 (50%), 12.5 it/s, 800 images/s" in second
    assert "x 0.0001 = 0.006125" in second


@pytest.mark.parametrize("rate", [-12.5, 0.0, math.inf, math.nan])
def test_a_rate_of_a_clock_that_was_set_back_is_not_shown(rate):
    for stream in (io.StringIO(), Screen()):
        progress = Progress("stage 4", 1000, 64, stream)
        for iteration in (0, 500):
            progress.show(Block(iteration, 0.357, rate, OUTPUTS))
        progress.end()
        last = stream.getvalue().splitlines()[-4 if stream.isatty() else -1]
        shown = "500 of 1,000 (50%), 0:00 left" if stream.isatty() else " -      0:00 "
        assert shown in last
