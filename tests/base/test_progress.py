"""How far a work has come, on terminals, elsewhere, and where nobody reads."""

import io
import os
import shutil

import pytest

from swwae.base import progress
from swwae.base.progress import Counter, Display, duration
from tests.helpers.streams import Broken, Screen


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (75, "1:15"), (3700, "1:01:40"), (-3, "0:00"), (59.6, "1:00")],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("stream", "shown"),
    [
        (io.StringIO(), "40 of 400 images (10%), 2.5/s, 2:24 left\n"),
        (Screen(), "40 of 400 images (10%), 2.5/s, 2:24 left\r\x1b[J"),
    ],
)
def test_what_is_done_is_counted(monkeypatch, stream, shown):
    times = iter([0.0, 0.01, 16.0, 16.01, 200.0])
    monkeypatch.setattr(progress, "monotonic", lambda: next(times))
    count = Counter(400, "images", stream)
    for done in (1, 40, 41, 400):  # the first and third come too soon
        count(done)
    assert stream.getvalue() == shown


def test_a_count_of_what_is_unknown_has_no_end(monkeypatch):
    times = iter([0.0, 5.0, 20.0])
    monkeypatch.setattr(progress, "monotonic", lambda: next(times))
    stream = io.StringIO()
    count = Counter(0, "images", stream)
    count(1000)
    count(4000)
    assert stream.getvalue() == "4,000 images, 200/s\n"


@pytest.fixture
def narrow(monkeypatch):
    size = os.terminal_size((10, 24))
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: size)


def test_a_screen_shows_the_last_in_place_of_the_one_before(narrow):
    stream = Screen()
    display = Display(stream)
    display.show("one", "two", "three")
    display.show("0123456789abc", "x")  # a line that is cut must not be wrapped
    assert stream.getvalue() == "one\ntwo\nthree\r\x1b[2A\x1b[J012345678\nx"
    display.print_line("0123456789abc stays as it is")
    display.show("last")
    display.clear()
    display.clear()
    shown = stream.getvalue().partition("x\r")[2]
    assert shown == ("\x1b[1A\x1b[J0123456789abc stays as it is\nlast\r\x1b[J")


def test_what_is_kept_is_not_replaced(narrow):
    stream = Screen()
    display = Display(stream)
    display.keep()
    display.show("one", "two")
    display.keep()
    display.show("three")
    assert stream.getvalue() == "one\ntwo\nthree"


def test_where_there_is_no_screen_lines_are_whole_and_stay(narrow):
    stream = io.StringIO()
    display = Display(stream)
    display.show("0123456789abc", "x")
    display.clear()
    display.print_line("y")
    display.keep()
    assert stream.getvalue() == "0123456789abc\nx\ny\n"


@pytest.mark.parametrize(
    ("stream", "at_once", "due"),
    [
        (Screen(), True, [True, False, True, True]),
        (Screen(), False, [False, False, True, True]),
        (io.StringIO(), True, [True, False, False, True]),
        (io.StringIO(), False, [False, False, False, True]),
    ],
)
def test_screens_are_refreshed_more_often(monkeypatch, stream, at_once, due):
    monkeypatch.setattr(progress, "monotonic", lambda: 100.0)
    display = Display(stream, screen_interval=1, line_interval=5, at_once=at_once)
    assert [display.is_due(now) for now in (100.0, 100.9, 101.5, 106)] == due


@pytest.mark.parametrize("terminal", [True, False])
def test_a_stream_that_nobody_reads_breaks_nothing(monkeypatch, terminal):
    stream = Broken()
    monkeypatch.setattr(stream, "isatty", lambda: terminal)
    display = Display(stream)
    assert not display.broken
    display.show("one")
    assert display.broken
    written = stream.getvalue()
    display.show("two")
    display.print_line("three")
    display.keep()
    assert stream.getvalue() == written
