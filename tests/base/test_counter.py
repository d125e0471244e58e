"""The one counter of the programs' progress: what is done, and what is left."""

import io

import pytest

from swwae.base import progress
from swwae.base.progress import Counter


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """Lets the counter's clock tell these seconds, one a call."""

    def at(*seconds):
        times = iter(seconds)
        monkeypatch.setattr(progress, "monotonic", lambda: next(times))

    return at


def test_a_title_and_the_last_line_stay_where_asked_for(clock):
    clock(0.0, 20.0, 40.0)
    stream = io.StringIO()
    count = Counter(2000, "images", stream, title="train_lmdb", keep_last=True)
    count(1000)
    count(2000)
    assert stream.getvalue() == (
        "train_lmdb: 1,000 of 2,000 images (50%), 50/s, 0:20 left\n"
        "train_lmdb: 2,000 of 2,000 images (100%), 50/s\n"
    )


def test_what_an_earlier_run_did_says_nothing_of_the_speed(clock):
    clock(0.0, 20.0)
    stream = io.StringIO()
    Counter(2000, "images", stream, already=800)(1000)
    assert stream.getvalue() == "1,000 of 2,000 images (50%), 10/s, 1:40 left\n"


def test_an_unknown_total_is_not_shown_and_its_line_is_cleared(clock):
    clock(0.0, 20.0)
    stream = Terminal()
    count = Counter(0, "images", stream, title="found")
    count(1000)
    assert stream.getvalue() == "found: 1,000 images, 50/s"
    count.clear()
    assert stream.getvalue().endswith("\r\x1b[J")
