"""The tables of a report, and what becomes of values that make no sense."""

import json
import math
import re

import pytest

from swwae.engine import cards
from swwae.evaluation import results
from swwae.report import tables, values
from swwae.report.images import Filters
from swwae.report.page import (
    Pictures,
    page,
    sections,
    tables_of,
)
from swwae.report.stages import collect
from swwae.report.table_1 import table_1
from swwae.runs.run import Run
from tests.helpers.fake_gpu import CARDS
from tests.helpers.reported import log_lines, write


def result(**values: object) -> dict:
    return {
        "net": "vgg8",
        "variant": "swwae-all",
        "depth": None,
        "weights": "final.caffemodel",
        "scheme": "single-crop",
        "split": "val",
        "seed": None,
        "images": 100,
        "top1_error": 9.02,
        "top5_error": 0.25,
        "recon_l2": 8.68,
    } | values


def record(run: Run, found: dict) -> None:
    assert results.record(run, found, results.checksum_of(run.final_weights))


def test_table_1_has_what_is_known_beside_the_papers(tmp_path, swwae):
    record(swwae[4], result(images=10, top1_error=50.0))
    record(swwae[4], result(depth=3))
    record(swwae[4], result(depth=1, images=999, recon_l2=1.0))
    notices = []
    experiment = collect([tmp_path / "vgg8/swwae-all"])
    table = table_1(experiment.stages, notices)
    ours, paper = table.groups["swwae-all"]
    assert ours.title == "swwae-all, stage 4" and ours.l2 == 8.68
    # single-crop top-1 train, val; top-5 train, val; convolution top-1, top-5 val
    assert ours.errors == [None, 9.02, None, 0.25, None, None]
    assert paper.errors == [15.67, 27.39, 3.24, 9.06, 25.79, 8.13]
    assert table.images == {"val": [100]}
    commands = dict(table.commands)
    assert commands["swwae-all, stage 4: convolution, val"] == (
        f"tools/evaluate.py --net vgg8 --variant swwae-all --weights"
        f" {swwae[4].final_weights} --scheme convolution --split val"
    )
    assert "swwae-all, stage 4: single-crop, val" not in commands
    assert not notices


def test_damaged_results_are_named(tmp_path, swwae):
    (swwae[4].folder / results.NAME).write_text("[")
    notices = []
    experiment = collect([tmp_path / "vgg8/swwae-all"])
    table_1(experiment.stages, notices)
    assert any("results.json is no JSON file" in notice for notice in notices)


@pytest.mark.parametrize(
    ("depth", "words"), [("a", "holds other things"), (9, "--depth 9: vgg8")]
)
def test_results_of_no_depth_are_named(depth, words, tmp_path, swwae):
    record(swwae[4], result())
    path = swwae[4].folder / results.NAME
    (recorded,) = json.loads(path.read_text())
    path.write_text(json.dumps([recorded | {"depth": depth}]))
    notices = []
    table_1(collect([tmp_path / "vgg8/swwae-all"]).stages, notices)
    assert len(notices) == 1 and words in notices[0]


def test_losses_are_in_the_order_of_the_macro_layers(tmp_path, swwae):
    values = {"total": 0.2, "loss": 0.15, "dec:loss@conv2_2": 31.0}
    values |= {"dec:loss@data/scaled": 5.8, "dec:loss@conv1_2": "nan"}
    weights = {"loss": 1.0, "total": 1.0}
    final = {
        name: {"iteration": 640, "value": value, "weight": weights.get(name, 0.5)}
        for name, value in values.items()
    }
    test = {"accuracy": {"iteration": 658, "value": 0.91}}
    write(swwae[4], final_losses=final, test_outputs=test)
    stage = collect([tmp_path / "vgg8/swwae-all"]).stages[-1]
    found = tables.losses(stage)
    assert [loss.name for loss in found] == [
        "dec:loss@data/scaled",
        "dec:loss@conv1_2",
        "dec:loss@conv2_2",
        "loss",
        "accuracy",
        "total",
    ]
    assert found[2].weighted(found[2].training) == 15.5
    assert found[1].weighted(found[1].training) is None
    assert (found[4].weight, found[4].test) == (None, 0.91)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (values.number_text(0.00123456), "0.001235"),
        (values.number_text("nan"), "nan"),
        (values.number_text(None), "–"),
        (values.bytes_text(61_685_760), "61.7 MB"),
        (values.bytes_text(7.3e9), "7.3 GB"),
        (values.bytes_text(12), "12 bytes"),
        (values.seconds_text(3700), "1:01:40"),
        (values.seconds_text("x"), "–"),
        (values.seconds_text(math.inf), "–"),
        (values.bytes_text(math.nan), "–"),
        (values.number_text(10**400, ",.0f"), str(10**400)),
    ],
)
def test_figures_for_people(text, shown):
    assert text == shown


def test_a_status_of_the_wrong_types_is_shown_as_far_as_it_goes(tmp_path):
    wrong = {"max_iter": "many", "seconds": [], "command": 3, "host": "h", "seed": {}}
    wrong |= {"final_losses": {"loss": 4}, "test_outputs": [], "weights_in": "w"}
    run = write(Run("vgg8", "baseline", 0, root=tmp_path), versions=None, **wrong)
    shown = tables_of(collect([run.folder]), [])
    assert ">loss</th>" in sections(shown)["losses"]
    assert "<dd>h</dd>" in sections(shown)["provenance"]


def test_what_files_say_is_text(tmp_path):
    attack = "</script><script>alert(1)</script>"
    run = Run("vgg8", "baseline", 0, root=tmp_path)
    write(run, "failed", fault=attack, device=attack)
    run.log.write_text(log_lines(0, 2.5).replace("loss = 2.5 (", f"{attack} = 2.5 ("))
    shown = tables_of(collect([run.folder]), [])
    text = page(shown, Pictures(None, []), created="today", command=attack)
    assert "<script>alert" not in text
    assert text.count("<script>") == 1 and text.count("</script>") == 2


def test_what_is_no_number_or_no_text_leaves_the_page_whole(tmp_path):
    run = write(Run("vgg8", "baseline", 0, root=tmp_path))
    status = json.dumps(run.status() | {"device": "\ud800"})
    (run.folder / "status.json").write_text(status)
    change = {"conv1": math.nan, "conv2": 5.0}
    shown = tables_of(collect([run.folder]), [])
    pictures = Pictures(None, [Filters("baseline", None, None, None, change)])
    text = page(shown, pictures, created="today", command="\udcff")
    text.encode()
    start = text.index('<script type="application/json" id="data">')
    source = text[text.index(">", start) + 1 : text.index("</script>", start)]

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    assert json.loads(source, parse_constant=refuse)["filters"] == [
        {"title": "baseline", "layer": None, "before": None, "after": None}
    ]
    assert ">5.0</span>" in text  # the table has them


def test_a_stage_keeps_its_id_when_another_one_begins(tmp_path):
    late = write(Run("vgg8", "baseline", 1, root=tmp_path))

    def ids():
        html = sections(tables_of(collect([late.folder]), []))["provenance"]
        return re.findall(r'<details id="(.+?)"', html)

    (before,) = ids()
    write(Run("vgg8", "baseline", 0, root=tmp_path))
    assert ids() == ["made-baseline-stage-0", before]


def test_provenance_names_the_card_and_what_computed_on_it(swwae):
    run = swwae[4]
    card = cards.parse_card(CARDS[0])
    status = run.status() | {
        "device": "GPU 0",
        "earlier_sessions": [{"device": "CPU", "iterations": [0, 8]}, "what", {}],
        "gpu": cards.record([card], "580.159.04"),
    }
    run.write_status(status)
    (stage,) = (s for s in collect([run.folder]).stages if s.run == run)
    rows = dict(tables.provenance(stage))
    assert rows["GPU"] == "0: NVIDIA H200"
    assert rows["driver"] == "580.159.04 (for CUDA 13.0)"
    assert rows["trained before on"] == "CPU to iteration 8"
    assert (rows["CUDA"], rows["cuDNN"], rows["math"]) == ("13.0", "9.19.1", "fp32")
    run.write_status(status | {"gpu": ["what", {"cards": 7}], "earlier_sessions": 7})
    (stage,) = (s for s in collect([run.folder]).stages if s.run == run)
    assert "GPU" not in dict(tables.provenance(stage))
