"""What all figures share: told apart in grey, legible, the same bytes every time."""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from generator.errors import UserError
from swwae.base.project import ROOT
from swwae.figures import style
from swwae.tuning.plot import Curve, draw
from swwae.tuning.points import Choice, LossChange, Point


def lightness(color):
    return np.dot(color[:3], (0.299, 0.587, 0.114))


def test_marks_get_lighter_and_differ_without_colour():
    for count in (1, 2, 8):
        marks = style.marks(count)
        shades = [lightness(mark.color) for mark in marks]
        assert shades == sorted(shades) and shades[-1] < 0.65
        assert len({(mark.line, mark.marker) for mark in marks}) == count
    assert len({mark.hatch for mark in style.marks(6)}) == 6
    assert min(lightness(mark.fill["facecolor"]) for mark in marks) > 0.4


def test_no_font_is_smaller_than_8_points():
    sizes = [v for k, v in style.STYLE.items() if k.endswith("size")]
    assert min(v for v in sizes if v != style.STYLE["lines.markersize"]) >= 8


@pytest.mark.parametrize("name", ["a.jpg", "a", "png", "a.svgz", ".png"])
def test_other_formats_are_refused(name):
    with pytest.raises(argparse.ArgumentTypeError, match=r"\.png .* \.svg"):
        style.picture_path(name)
    assert style.picture_path("a/b.PNG") == Path("a/b.PNG")


def figure():
    with style.style():
        (axes,) = style.panels(1, (4, 3))
        axes.plot([1, 2], [1, 100], label="a $b$ 漢")
        style.log_scale(axes, "y")
        axes.legend()
    return axes.figure


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_same_figure_is_the_same_bytes(suffix, tmp_path, recwarn):
    paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for path in paths:
        style.save(figure(), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert [w for w in recwarn if "Glyph" in str(w.message)] == []


def test_text_stays_text_and_is_no_formula(tmp_path):
    path = tmp_path / "a.svg"
    style.save(figure(), path)
    text = path.read_text()
    assert ">a $b$ 漢</text>" in text
    assert set(re.findall(r">(1e?\d*)</text>", text)) >= {"1", "10", "100"}
    assert "<dc:date>" not in text


def test_a_figure_too_large_for_agg_is_drawn_coarser(tmp_path, monkeypatch):
    monkeypatch.setattr(style, "MAX_PIXELS", 200)
    style.save(figure(), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert max(picture.size) <= 200


def test_short_axes_are_labelled_between_the_powers_of_ten():
    def labels(low, high):
        with style.style():
            (axes,) = style.panels(1, (4, 3))
            axes.set_ylim(low, high)
            style.log_scale(axes, "y")
            axes.figure.draw_without_rendering()
            ticks = axes.get_yticklabels() + axes.get_yticklabels(minor=True)
            texts = {tick.get_text() for tick in ticks}
        return texts - {""}

    assert {"2", "3", "4", "6"} <= labels(1.5, 9)
    assert {"0.0001", "0.01", "1"} <= labels(1e-5, 10)
    assert not any(text.endswith("3") for text in labels(1e-5, 10))


@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "no"])
@pytest.mark.parametrize(
    "program",
    [
        ["tools/plot_results.py", "--help"],
        ["-c", "from swwae.figures import style"],
        ["-m", "generator", "vgg8", "--variant", "swwae-all", "--draw", "{out}"],
    ],
    ids=["figure", "library", "drawing"],
)
def test_a_backend_that_is_not_there_is_none_of_ours(program, backend, tmp_path):
    """A notebook names its own to every program that it starts."""
    out = tmp_path / "net.svg"
    done = subprocess.run(
        [sys.executable, *(word.format(out=out) for word in program)],
        cwd=ROOT,
        env=os.environ | {"MPLBACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert out.exists() == ("--draw" in program)


def test_a_backend_that_is_there_stays_chosen(monkeypatch):
    code = (
        "from swwae.figures import style; import matplotlib, os;"
        "print(matplotlib.rcParams['backend'], os.environ['MPLBACKEND'])"
    )
    monkeypatch.setenv("MPLBACKEND", "svg")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout == "svg svg\n"


def test_where_nothing_can_be_written_is_said(tmp_path):
    with pytest.raises(UserError, match="cannot write"):
        style.save(Figure(), tmp_path / "none" / "a.png")


def test_the_search_of_rates_is_drawn_as_it_went(tmp_path, monkeypatch):
    """What is left of the loss at every rate that did not diverge."""
    drawn = []
    monkeypatch.setattr(style, "save", lambda figure, path: drawn.append(figure))
    points = [
        Point(factor, 40, 1.0, {1: LossChange(100.0, end, None if end else 7)})
        for factor, end in ((3.0, 20.0), (1.0, 50.0), (10.0, None))
    ]
    choice = Choice(3.0, 80.0, 100.0, 3.0, 0)
    draw({1: Curve("1 data", 0.01, choice)}, points, "title", tmp_path / "a.png")
    (axes,) = drawn[0].axes
    line, ring, cross = axes.lines[:3]
    assert line.get_xdata() == pytest.approx([0.01, 0.03])
    assert line.get_ydata() == pytest.approx([50, 20])
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == pytest.approx((0.03, 20))
    assert cross.get_xdata()[0] == pytest.approx(0.1)
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert axes.yaxis_inverted()
