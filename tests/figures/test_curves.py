"""plot_curves.py: its lines are what a log says."""

import numpy as np
import pytest

from generator.errors import UserError
from swwae.commands import plot_curves
from swwae.engine.log import read_lines
from swwae.figures import curves as figure_curves
from swwae.figures.curves import (
    Curves,
    accuracies,
    draw,
    iterations_in_epoch,
    logged_stage,
    loss_names,
)
from swwae.runs.run import Run
from tests.helpers.made_runs import call, make, tool

PREFIX = "I1124 07:36:07.123456 25544 solver.cpp:239] "
DISPLAYS = (0, 20, 40, 60)
TESTS = (30, 60)


def total(iteration, factor=1.0):
    return factor * 4 / (1 + iteration)


def log_text(factor=1.0, decoder=True, until=60):
    """A log whose losses are known; the rate falls to a tenth between 20 and 40."""
    lines = []
    for iteration in sorted({*DISPLAYS, *TESTS}):
        if iteration > until:
            break
        if iteration in TESTS:
            lines.append(f"Iteration {iteration}, Testing net (#0)")
            accuracy = 0.5 + iteration / 1000 + factor / 100
            outputs = [("accuracy", accuracy, ""), ("loss", total(iteration) / 2, 1)]
            outputs += [("dec:loss@data", 8 * factor, 0.1)] if decoder else []
            lines += [output("Test", i, *each) for i, each in enumerate(outputs)]
        if iteration in DISPLAYS:
            lines.append(f"Iteration {iteration}, loss = {total(iteration, factor)}")
            outputs = [("loss", total(iteration) / 4, 1)]
            outputs += [("dec:loss@data", iteration + 1, 0.1)] if decoder else []
            lines += [output("Train", i, *each) for i, each in enumerate(outputs)]
            lines.append(
                f"Iteration {iteration}, lr = {0.1 if iteration < 40 else 0.01}"
            )
    return "".join(f"{PREFIX}{line}\n" for line in lines)


def output(phase, index, name, value, weight):
    loss = f" (* {weight} = {weight * value} loss)" if weight else ""
    return f"    {phase} net output #{index}: {name} = {value}{loss}"


def curves(label, epoch=None, **log):
    return Curves(label, read_lines(log_text(**log).splitlines()), epoch)


def by_title(figure):
    return {axes.get_title(): axes for axes in figure.axes}


def data(line):
    return [list(map(float, part)) for part in (line.get_xdata(), line.get_ydata())]


def test_lines_and_markers_are_the_logs_values():
    runs = [curves("a"), curves("b", factor=2, decoder=False)]
    figure = draw(runs, loss_names(runs, None), "title", epochs=False)
    panels = by_title(figure)
    assert list(panels) == [
        "validation accuracy, %",
        "total loss, weighted",
        "classification (loss)",
        "dec:loss@data",
    ]
    first, second = panels["validation accuracy, %"].lines[:2]
    assert data(first) == [[30, 60], pytest.approx([54, 57])]
    assert data(second) == [[30, 60], pytest.approx([55, 58])]
    lines = panels["total loss, weighted"].lines
    for line, factor in zip(lines[:2], (1, 2), strict=True):
        assert data(line) == [
            list(DISPLAYS),
            pytest.approx([total(i, factor) for i in DISPLAYS]),
        ]
    train, test = panels["dec:loss@data"].lines[:2]
    assert data(train) == [list(DISPLAYS), [1, 21, 41, 61]]
    assert data(test) == [[30, 60], [8, 8]]
    assert test.get_linestyle() == "None" and train.get_marker() == "None"
    for title, axes in panels.items():
        scale = "linear" if title.startswith("validation") else "log"
        assert axes.get_yscale() == scale
    assert len({axes.get_xlim() for axes in figure.axes}) == 1


def test_a_run_looks_the_same_in_every_panel():
    runs = [curves("a"), curves("b", factor=2)]
    figure = draw(runs, loss_names(runs, None), "title", epochs=False)
    panels = by_title(figure)
    styles = [
        [(line.get_color(), line.get_linestyle()) for line in lines]
        for lines in (
            panels["validation accuracy, %"].lines[:2],
            panels["total loss, weighted"].lines[:2],
            panels["dec:loss@data"].lines[:4:2],
        )
    ]
    assert styles[0] == styles[1] == styles[2]
    assert styles[0][0] != styles[0][1]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]
    assert [(h.get_color(), h.get_linestyle()) for h in legend.get_lines()] == styles[0]


def test_rates_that_fall_are_marked_where_they_fell():
    figure = draw([curves("a")], ["total"], "title", epochs=False)
    for axes in figure.axes:
        assert [line.get_xdata()[0] for line in axes.lines if is_vertical(line)] == [40]


def is_vertical(line):
    return list(line.get_ydata()) == [0, 1]


def test_an_accuracy_of_both_phases_is_one_of_validation():
    lines = log_text().splitlines()
    place = next(i for i, line in enumerate(lines) if "Train net output" in line)
    lines.insert(place + 1, PREFIX + output("Train", 2, "accuracy", 0.25, None))
    log = read_lines(lines)
    assert "accuracy" in log.train
    assert accuracies([Curves("a", log, None)]) == ["accuracy"]


def test_epochs_are_images_seen():
    runs = [curves("a", epoch=20.0), curves("b", epoch=40.0)]
    figure = draw(runs, ["total"], "title", epochs=True)
    first, second = by_title(figure)["total loss, weighted"].lines[:2]
    assert data(first)[0] == [0, 1, 2, 3]
    assert data(second)[0] == [0, 0.5, 1, 1.5]
    assert {axes.get_xlabel() for axes in figure.axes} == {"epoch"}


def test_losses_without_a_positive_value_have_a_linear_axis():
    run = curves("a")
    for iterations, values in (run.log.train["loss"], run.log.test["loss"]):
        values[:] = 0
        values[0] = np.nan
        assert len(iterations)
    figure = draw([run], ["loss"], "title", epochs=False)
    assert by_title(figure)["classification (loss)"].get_yscale() == "linear"


def test_long_lines_are_means_and_the_figure_says_so():
    values = np.arange(250.0)
    iterations, means = figure_curves.averaged((20 * np.arange(250), values))
    assert len(means) == 84  # 83 groups of three, and one
    assert list(means[:2]) + list(means[-2:]) == [1, 4, 247, 249]
    assert list(iterations) == list(20 * means)
    few = (np.arange(100), np.arange(100.0))
    assert (figure_curves.averaged(few)[1] == few[1]).all()
    run = curves("a")
    assert (
        "means"
        not in draw([run], ["total"], "", False).legends[0].get_title().get_text()
    )
    run.log.loss[0].resize(250, refcheck=False)
    run.log.loss[1].resize(250, refcheck=False)
    title = draw([run], ["total"], "", False).legends[0].get_title().get_text()
    assert "means of up to 3 logged losses" in title


def test_losses_are_chosen_by_name():
    runs = [curves("a"), curves("b", decoder=False)]
    assert loss_names(runs, None) == ["total", "loss", "dec:loss@data"]
    assert loss_names(runs[1:], None) == ["total", "loss"]
    chosen = ["dec:loss@data", "classification", "loss"]
    assert loss_names(runs, chosen) == ["dec:loss@data", "loss"]
    with pytest.raises(UserError, match="--loss dec:x: no run has it; .*dec:loss@data"):
        loss_names(runs, ["dec:x"])


# --- runs


def test_an_epoch_counts_batches_and_their_accumulation(tmp_path):
    """vgg8's stage 4 has batches of 64 of 60,000 images."""
    once = make(tmp_path / "a", "swwae-all", 4)
    assert iterations_in_epoch(once) == 60_000 / 64
    gpus = {"solver": "iter_size: 2", "device": "GPU 0, 2"}
    assert iterations_in_epoch(make(tmp_path / "b", "swwae-all", 4, **gpus)) == (
        60_000 / 64 / 4
    )
    chosen = {"device": "GPU 0; 2 found, --gpu chooses"}
    assert iterations_in_epoch(make(tmp_path / "c", "swwae-all", 4, **chosen)) == (
        60_000 / 64
    )
    (once.folder / "solver.prototxt").unlink()
    assert iterations_in_epoch(once) is None


def test_the_last_stage_that_was_started_is_drawn_or_the_one_that_is_named(tmp_path):
    make(tmp_path, "baseline", 1)
    with pytest.raises(UserError, match="no stage of it has left a training log"):
        logged_stage(tmp_path / "vgg8/baseline", None)
    first, last = make(tmp_path, "baseline", 0), make(tmp_path, "baseline", 4)
    folder = tmp_path / "vgg8/baseline"
    assert logged_stage(folder, None) == last
    assert logged_stage(folder, 0) == logged_stage(folder / "stage0", None) == first
    with pytest.raises(UserError, match="no stage 3 of it has left a training log"):
        logged_stage(folder, 3)
    with pytest.raises(UserError, match="is not of --stage 4"):
        logged_stage(folder / "stage0", 4)


def test_a_stage_whose_log_is_gone_is_named(tmp_path, capfd):
    third = make(tmp_path, "sae-all", 3, log=log_text(), device=5)
    make(tmp_path, "sae-all", 4).log.unlink()
    assert logged_stage(tmp_path / "vgg8/sae-all", None) == third
    said = capfd.readouterr().err
    assert "left out: stage 4 of vgg8/sae-all: there is no" in said
    logged_stage(tmp_path / "vgg8/sae-all/stage3", None)
    assert capfd.readouterr().err == ""
    assert figure_curves._gpus(third) == 1


def test_what_is_missing_or_half_finished_is_named_and_the_rest_drawn(tmp_path):
    make(tmp_path, "sae-all", 4, log=log_text())
    half = {"state": "running", "iterations": 40}
    make(tmp_path, "swwae-all", 4, log=log_text(until=40), **half)
    make(tmp_path, "swwae-first", 4)
    names = ("sae-all", "swwae-all", "swwae-first", "sae-first")
    out = tmp_path / "out.svg"
    runs = [tmp_path / "vgg8" / name for name in names]
    done = tool("plot_curves.py", *runs, "--out", out)
    reasons = done.stderr.splitlines()
    assert len(reasons) == 3
    assert "no folder" in reasons[0]
    assert "the rest of stage 4 of vgg8/swwae-all" in reasons[1]
    assert "stage 4 of vgg8/swwae-first: no iteration has been logged" in reasons[2]
    text = out.read_text()
    assert ">sae-all</text>" in text
    assert ">swwae-all, interrupted at iteration 40</text>" in text
    assert ">vgg8, stage 4</text>" in text
    assert ">epoch</text>" in text
    assert "swwae-first" not in text


def test_nothing_to_draw_is_a_mistake(tmp_path):
    make(tmp_path, "sae-all", 4)
    out = tmp_path / "out.png"
    with pytest.raises(UserError, match="none of these runs has curves"):
        call(plot_curves.main, tmp_path / "vgg8/sae-all", "--out", out)
    with pytest.raises(UserError, match="no folder"):
        call(plot_curves.main, tmp_path / "vgg8/sae-first", "--out", out)
    assert not out.exists()


def test_stages_of_one_run_are_told_apart(tmp_path, capfd):
    make(tmp_path, "sae-all", 3, log=log_text())
    make(tmp_path, "sae-all", 4, log=log_text(factor=3))
    runs = [tmp_path / "vgg8/sae-all", tmp_path / "vgg8/sae-all/stage3"]
    call(
        plot_curves.main, *runs, runs[0], "--out", tmp_path / "out.png", "--iterations"
    )
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].startswith("sae-all (stage 4): total 0.1967 at 60, accuracy 0.59")
    assert lines[1].startswith("sae-all (stage 3): total 0.06557 at 60, accuracy 0.57")
    assert len(lines) == 3


def test_runs_are_named_by_what_differs(tmp_path):
    from swwae.figures.selection import labels

    run = Run("vgg8", "sae-all", 4, None, tmp_path)
    other = Run("vgg8", "swwae-all", 4, 2, tmp_path / "b")
    assert labels([run]) == ["sae-all"]
    assert labels([Run("vgg8", "sae-all", 3)]) == ["sae-all (stage 3)"]
    assert labels([Run("vgg8", "sae-all", 3)], 3) == ["sae-all"]
    assert labels([run, other]) == [
        f"{tmp_path}: sae-all depth default",
        f"{tmp_path}/b: swwae-all depth 2",
    ]
    nets = [Run(net, "sae-all", 4, None, tmp_path) for net in ("vgg8", "vgg16")]
    assert labels(nets) == ["vgg8 sae-all", "vgg16 sae-all"]
