"""The demo's table, and what it is made from."""

import pytest

from generator.errors import UserError
from swwae.experiments.demonstration import demo_evaluations, demo_table


def row(model, depth, error, distance):
    row = {"model": model, "depth": depth, "recon_l2": distance}
    return row | {"top1_error": error, "top5_error": error / 10}


def test_a_row_a_model_and_a_column_a_depth():
    rows = [
        row("baseline", None, 12.5, None),
        row("swwae-all", 2, 11.0, 7.25),
        row("swwae-all", 1, 11.0, 103.5),
    ]
    assert demo_table(rows, [1, 2]).split("\n") == [
        "           top-1 error  top-5 error  L2 from 1  L2 from 2",
        "baseline       12.50 %       1.25 %          -          -",
        "swwae-all      11.00 %       1.10 %     103.50       7.25",
    ]


def test_two_decoders_are_evaluated_from_every_depth():
    evaluations = demo_evaluations("vgg8")
    stages = [each.run.stage for each in evaluations]
    assert stages == [0, 4, 4, 4, 4, 4, 4, 4]
    depths = [each.depth for each in evaluations if each.model == "swwae-all"]
    assert depths == [3, 2, 1]


def test_what_is_not_finished_is_named(monkeypatch):
    monkeypatch.setattr("swwae.runs.run.Run.is_finished", lambda run: False)
    with pytest.raises(UserError, match="vgg8/baseline is not finished; run"):
        demo_evaluations("vgg8")[0].check_finished()
