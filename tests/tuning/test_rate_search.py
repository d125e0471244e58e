"""The search of learning rates without Caffe: its grid, its choices, its display."""

import io
import math

import pytest

from generator.errors import UserError
from swwae.engine.trial import Reconstruction
from swwae.tuning import display
from swwae.tuning.display import SearchDisplay
from swwae.tuning.grid import Grid, untried_factors
from swwae.tuning.journal import Journal, RateSearch
from swwae.tuning.losses import LossRecord
from swwae.tuning.points import LossChange, Point, choose_factor
from swwae.tuning.search import RunningTrial


def point(factor: float, **ends: float | None) -> Point:
    """Of macro-layers a, b, ...: 1, 2, ...; None: diverged."""
    results = {
        i: LossChange(100.0, end, 3 if end is None else None)
        for i, end in enumerate(ends.values(), start=1)
    }
    return Point(factor, 10, 1.0, results)


def test_what_diverged_once_is_not_chosen_above():
    points = [point(1, a=50), point(2, a=None), point(4, a=10)]
    choice = choose_factor(points, 1)
    assert (choice.best, choice.decrease, choice.highest_stable) == (1, 50, 1)
    assert choice.at_end == -1


@pytest.mark.parametrize(
    ("ends", "best", "at_end"),
    [
        ((90, 50, 80), 2, 0),
        ((90, 80, 50), 4, 1),
        ((50, 80, 90), 1, -1),
        ((90, 50, None), 2, 0),
        ((120, 110, 130), None, 0),
        ((None, None, None), None, -1),
    ],
)
def test_the_end_of_the_grid_is_noticed(ends, best, at_end):
    points = [point(f, a=end) for f, end in zip((1, 2, 4), ends, strict=True)]
    choice = choose_factor(points, 1)
    assert (choice.best, choice.at_end) == (best, at_end)


def test_the_grid_goes_on_where_the_best_is_at_its_end():
    grid = Grid(1, 10, 3)
    assert grid.factors() == [1, 2.2, 4.6, 10]
    points = {f: point(f, a=100 - f, b=f) for f in (1, 2.2, 4.6)}
    assert untried_factors(grid, points, (1, 2)) == ([10], False)
    points[10] = point(10, a=90, b=10)
    assert untried_factors(grid, points, (1, 2)) == ([0.46, 22], True)
    points[22], points[0.46] = point(22, a=95, b=None), point(0.46, a=100, b=50)
    assert untried_factors(grid, points, (1, 2)) == ([], True)


def test_the_grid_does_not_go_on_for_ever():
    grid = Grid(1, 10, 1)
    points = {f: point(f, a=100 - f / 1e9) for f in (1.0, 10.0)}
    tried = []
    while left := untried_factors(grid, points, (1,))[0]:
        tried += left
        points |= {f: point(f, a=100 - f / 1e9) for f in left}
    assert tried == [100, 1000]


def test_what_all_diverged_below_is_not_tried():
    grid = Grid(1, 100, 1)
    points = {1: point(1, a=None, b=50)}
    assert untried_factors(grid, points, (1, 2))[0] == [10, 100]
    points[10] = point(10, a=None, b=None)
    assert 100 not in untried_factors(grid, points, (1, 2))[0]


def test_a_training_is_over_when_those_it_is_for_have_diverged():
    losses = LossRecord(100, {1: 10.0, 2: 10.0, 3: 10.0}, watched=(1, 2))
    losses.add({1: 99.0, 2: math.nan, 3: 1.0})
    assert not losses.all_diverged
    losses.add({1: 101.0, 2: 1.0, 3: 1.0})
    assert losses.all_diverged
    assert losses.results() == {
        1: LossChange(10.0, None, 1),
        2: LossChange(10.0, None, 0),
        3: LossChange(10.0, None, None),
    }


def test_the_end_is_the_mean_of_the_last_twentieth():
    losses = LossRecord(40, {1: 10.0}, watched=(1,))
    for number in range(40):
        losses.add({1: float(number)})
    assert losses.results() == {1: LossChange(10.0, 38.5, None)}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


MACRO_LAYERS = {
    1: Reconstruction(0, "dec:loss@data/scaled", 1.0, 1.0),
    2: Reconstruction(1, "dec:loss@conv1_2", 1.0, 1.0),
}


def test_a_row_a_point_is_shown_where_no_terminal_is():
    stream = io.StringIO()
    shown = SearchDisplay(40, MACRO_LAYERS, stream)
    shown.finished(point(2.2, a=75, b=None), False)
    shown.finished(point(0.46, a=90, b=95), True)
    assert stream.getvalue().split("\n") == [
        "     rates     macro-layer 1     macro-layer 2",
        "     x 2.2          -25.00 %     diverged at 3",
        "    x 0.46          -10.00 %           -5.00 %  (beyond the grid)",
        "",
    ]


def test_on_a_terminal_what_runs_is_below_the_rows(monkeypatch):
    monkeypatch.setattr(display, "SCREEN_INTERVAL", 0.0)
    stream = Terminal()
    shown = SearchDisplay(40, MACRO_LAYERS, stream)
    losses = LossRecord(40, {1: 10.0, 2: 10.0}, watched=(1, 2))
    losses.add({1: 9.0, 2: 9.0})
    running = [RunningTrial(4.6, 0, None, losses)]
    with shown.kept_at_the_end():
        shown.progressed(running, 3)
        assert stream.getvalue() == "x 4.6: 1 of 40"
        shown.finished(point(2.2, a=75, b=None), False)
        shown.progressed(running, 2)
    *_, row, state, end = stream.getvalue().split("\n")
    assert "x 2.2" in row and end == ""
    assert state.startswith("x 4.6: 1 of 40; 2 more, ") and "left at most" in state


def test_what_is_nested_deeper_than_python_reads_is_damaged(tmp_path):
    search = RateSearch("vgg8", "swwae-layerwise", 2, root=tmp_path)
    weights = tmp_path / "x.caffemodel"
    weights.touch()
    journal = Journal(search, 2000, 1, weights, [1, 2])
    search.folder.mkdir(parents=True)
    (search.folder / "search.json").write_text("[" * 5000)
    with pytest.raises(UserError, match="search.json is damaged .*--force starts"):
        journal.read_points()
