"""plot_results.py: bars, whiskers, dots and lines against arithmetic."""

import json
import statistics

import pytest

from generator.errors import UserError
from swwae.commands import plot_results
from swwae.figures.results import by_model, draw_labels, draw_table
from tests.helpers.made_runs import call, tool

SEEDS = (1, 2, 3)
ERRORS = {
    ("baseline", "val"): (9.0, 9.4, 9.2),
    ("baseline", "train"): (4.0, 4.2, 4.5),
    ("swwae-all", "val"): (8.0, 8.1, 8.6),
    ("swwae-all", "train"): (3.0, 3.1, 3.5),
}


def row(model, split, seed, error, **more):
    return {
        "model": model,
        "net": "vgg8_long",
        "variant": "baseline",
        "stage": 4,
        "labels": None,
        "training_seed": seed,
        "depth": None,
        "scheme": "single-crop",
        "split": split,
        "images": 10000,
        "top1_error": error,
        "top5_error": 0.4,
        "recon_l2": None,
    } | more


TABLE = [
    row(model, split, seed, error)
    for (model, split), errors in ERRORS.items()
    for seed, error in zip(SEEDS, errors, strict=True)
]
FEW = [
    row(model, "val", seed, share * 50 + seed, labels=count, net=f"vgg8_labels{count}")
    for model, factor in (("baseline", 1.0), ("swwae-all", 0.5))
    for count, share in ((100, factor), (1000, factor / 2))
    for seed in SEEDS
]


def bars(figure):
    """Label -> heights above 0 % of its bars."""
    (axes,) = figure.axes
    return {
        bar.get_label(): [p.get_y() + p.get_height() for p in bar.patches]
        for bar in axes.containers
        if bar.get_label() in ("validation", "training")
    }


def whiskers(axes):
    """The ends of all vertical whiskers."""
    return [
        (float(low[1]), float(high[1]))
        for lines in axes.collections
        for low, high in lines.get_segments()
    ]


def test_bars_are_means_and_whiskers_deviations():
    figure = draw_table(TABLE)
    (axes,) = figure.axes
    assert bars(figure) == {
        "validation": pytest.approx([9.2, 24.7 / 3]),
        "training": pytest.approx([12.7 / 3, 3.2]),
    }
    wanted = [
        (mean - deviation, mean + deviation)
        for key in sorted(ERRORS, key=lambda key: key[1], reverse=True)
        for mean in [statistics.mean(ERRORS[key])]
        for deviation in [statistics.stdev(ERRORS[key])]
    ]
    assert whiskers(axes) == [pytest.approx(pair) for pair in wanted]
    assert axes.get_ylim()[0] == 0
    ticks = [label.get_text() for label in axes.get_xticklabels()]
    assert ticks == ["baseline", "swwae-\nall"]
    assert {text.get_text() for text in axes.texts} == {"9.20", "8.23", "4.23", "3.20"}
    assert axes.get_ylabel() == "top-1 error, %"


def test_every_seed_is_a_dot_on_its_bar():
    (axes,) = draw_table(TABLE).axes
    dots = [line for line in axes.lines if line.get_gid() == "seeds"]
    assert sorted(float(y) for line in dots for y in line.get_ydata()) == sorted(
        error for errors in ERRORS.values() for error in errors
    )
    for line in dots:
        x = float(line.get_xdata()[0])
        (bar,) = [p for p in axes.patches if p.get_x() < x < p.get_x() + p.get_width()]
        top = bar.get_y() + bar.get_height()
        assert top == pytest.approx(statistics.mean(line.get_ydata()))


def test_an_axis_that_does_not_begin_at_0_says_so():
    figure = draw_table(TABLE, 2.5)
    (axes,) = figure.axes
    assert axes.get_ylim()[0] == 2.5
    assert "from 2.5 %" in axes.get_ylabel()
    assert bars(figure)["validation"] == pytest.approx([9.2, 24.7 / 3])
    with pytest.raises(UserError, match=r"the lowest error is 3\.00 %"):
        draw_table(TABLE, 3)


def test_rows_that_are_not_of_the_table_change_nothing():
    more = [
        row("baseline", "val", 1, 50.0, scheme="convolution"),
        row("baseline", "val", 1, 50.0, labels=100),
        row("baseline", "val", 4, None),
        row("swwae-all, pretrained", "val", 1, 50.0, stage=3),
    ]
    assert bars(draw_table([*more, *TABLE])) == bars(draw_table(TABLE))


def test_the_deepest_of_several_depths_counts():
    rows = [row("a", "val", 1, error, depth=d) for d, error in ((1, 9), (3, 7), (2, 8))]
    (seeds,) = by_model(rows).values()
    assert (seeds.mean, seeds.deviation) == (7, None)
    with pytest.raises(UserError, match="a, val, seed 1: two rows say 7.0 % and 6 %"):
        by_model([*rows, row("a", "val", 1, 6, depth=3)])


def test_one_seed_has_no_whisker():
    figure = draw_table([r for r in TABLE if r["training_seed"] == 1])
    (axes,) = figure.axes
    assert whiskers(axes) == []
    assert axes.get_title() == "vgg8_long, single-crop, one seed"


def test_lines_are_means_by_the_number_of_labels():
    (axes,) = draw_labels(FEW).axes
    assert axes.get_xscale() == "log"
    assert axes.get_title() == "single-crop; mean and standard deviation of 3 seeds"
    lines = {bar.get_label(): bar.lines[0] for bar in axes.containers}
    assert list(lines) == ["baseline", "swwae-all"]
    for label, wanted in (("baseline", [52, 27]), ("swwae-all", [27, 14.5])):
        assert lines[label].get_xdata() == pytest.approx([100, 1000], rel=0.02)
        assert list(lines[label].get_ydata()) == pytest.approx(wanted)
    assert whiskers(axes)[0] == pytest.approx((51, 53))  # of seeds 1, 2, 3 apart
    ticks = [axes.xaxis.get_major_formatter()(x) for x in axes.get_xticks()]
    assert ticks == ["100", "1,000"]


def test_differences_from_the_finetuned_baseline_are_of_the_same_seed():
    """Of the seeds 1 and 2 alone, where it lacks the third."""
    errors = {1: 40.0, 2: 20.0}
    control = [
        row("baseline, finetuned", "val", seed, error, labels=100)
        for seed, error in errors.items()
    ]
    own = [
        row("swwae-all", "val", seed, error, labels=100)
        for seed, error in {1: 39.0, 2: 16.0, 3: 1.0}.items()
    ]
    _, axes = draw_labels([*control, *own]).axes
    (bar,) = axes.containers
    assert bar.get_label() == "swwae-all"
    assert list(bar.lines[0].get_ydata()) == pytest.approx([-2.5])
    assert whiskers(axes) == [pytest.approx((-2.5 - 4.5**0.5, -2.5 + 4.5**0.5))]
    seeds = [line for line in axes.lines if line.get_gid() == "seeds"]
    assert [list(line.get_ydata()) for line in seeds] == [[-1.0, -4.0]]


def test_a_figure_of_a_file(tmp_path):
    path, out = tmp_path / "results.json", tmp_path / "out.svg"
    path.write_text(json.dumps({"rows": TABLE + FEW}))
    tool("plot_results.py", path, "--out", out)
    table = out.read_text()
    assert ">9.20</text>" in table and ">training</text>" in table
    call(plot_results.main, path, "--what", "labels", "--out", out)
    assert ">labelled images</text>" in out.read_text()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is no JSON file"),
        ("[]", "no list of 'rows'"),
        ('{"rows": []}', "no list of 'rows'"),
        ('{"rows": [3]}', "row 0 has no 'model'"),
        (
            json.dumps({"rows": [TABLE[0], TABLE[0] | {"labels": "x"}]}),
            "row 1 .*'labels'",
        ),
        (
            json.dumps({"rows": [TABLE[0] | {"top1_error": True}]}),
            "row 0 .*'top1_error'",
        ),
        (
            json.dumps({"rows": [TABLE[0] | {"top1_error": float("nan")}]}),
            "row 0 .*'top1_error'",
        ),
        (json.dumps({"rows": FEW}), "no row is of the single-crop scheme and all"),
        (json.dumps({"rows": [*TABLE, row("a", "val", 1, 5, net="x")]}), "with --net"),
    ],
)
def test_what_are_no_results_is_named(text, words, tmp_path):
    path, out = tmp_path / "results.json", tmp_path / "out.png"
    path.write_text(text)
    with pytest.raises(UserError, match=words):
        call(plot_results.main, path, "--out", out)
    assert not out.exists()


def test_other_mistakes(tmp_path):
    path, out = tmp_path / "results.json", tmp_path / "out.png"
    with pytest.raises(UserError, match="reproduce.sh"):
        call(plot_results.main, path, "--out", out)
    path.write_text(json.dumps({"rows": TABLE}))
    with pytest.raises(UserError, match="--net vgg9: the results are of vgg8_long"):
        call(plot_results.main, path, "--net", "vgg9", "--out", out)
    with pytest.raises(UserError, match="no row is of few labels"):
        call(plot_results.main, path, "--what", "labels", "--out", out)
    assert (
        "neither a .png" in tool("plot_results.py", path, "--out", "a", code=2).stderr
    )
    for start in ("nan", "inf", "x"):
        refused = tool("plot_results.py", path, "--start", start, "--out", out, code=2)
        assert f"'{start}' is no finite number" in refused.stderr
