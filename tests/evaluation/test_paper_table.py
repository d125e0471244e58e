"""Results beside the paper's Table 1."""

import json

import pytest

from generator.errors import UserError
from generator.paper import TABLE_1, TABLE_1_COLUMNS
from generator.variants import VARIANTS
from swwae.evaluation import paper_table
from swwae.evaluation.paper_table import comparison


def result(variant="swwae-all", top1=27.0, top5=9.0, **changes):
    return {
        "net": "vgg16",
        "variant": variant,
        "weights": f"runs/vgg16/{variant}/stage4/final.caffemodel",
        "scheme": "single-crop",
        "split": "val",
        "images": 50000,
        "top1_error": top1,
        "top5_error": top5,
    } | changes


def line(text, start):
    """The cells of the line that starts so."""
    (found,) = [row for row in text.splitlines() if row.strip().startswith(start)]
    return found.strip().removeprefix(start).split()


def test_the_table_agrees_with_the_papers_text():
    """Section 4.3: by how much SWWAE-all is better, in points and relatively."""
    columns = dict(zip(TABLE_1_COLUMNS, range(6), strict=True))
    baseline, best = TABLE_1["baseline"][1], TABLE_1["swwae-all"][1]

    def better(*column):
        at = columns[column]
        return round(baseline[at] - best[at], 2)

    assert better("single-crop", 1, "val") == 1.66
    assert better("convolution", 1, "val") == 1.18
    assert better("single-crop", 5, "val") == 1.01
    assert better("convolution", 5, "val") == 0.81
    first = columns["single-crop", 1, "train"]
    assert all(row[first] < baseline[first] for _, row in list(TABLE_1.values())[1:])
    for family in ("sae", "swwae"):
        every, one = (TABLE_1[f"{family}-{kind}"][1] for kind in ("all", "first"))
        assert one[first] < every[first]
        assert one[first + 1] > every[first + 1]


def test_every_variant_but_the_ladder_has_a_row():
    assert set(TABLE_1) == set(VARIANTS) - {"ladder"}


def test_a_row_stands_beside_the_papers():
    text = comparison([result()])
    assert line(text, "VGGNet, paper") == ["29.05", "10.07"]
    assert line(text, "SWWAE-all, paper") == ["27.39", "9.06"]
    assert line(text, "difference, points") == ["-0.39", "-0.06"]
    ours, gain = [row.split() for row in text.splitlines() if "  ours" in row]
    assert ours == ["ours", "27.00", "9.00"]
    assert gain == ["ours", "+7.1", "%", "+10.6", "%"]
    assert text.splitlines()[-1].split() == ["paper", "+5.7", "%", "+10.0", "%"]
    assert "train" not in text
    assert "convolution" not in text


def test_the_baselines_row_is_the_papers_baseline():
    text = comparison([result("baseline", 29.55, 10.07)])
    assert line(text, "difference, points") == ["+0.50", "+0.00"]
    assert text.count("VGGNet, paper") == 1


def test_results_of_a_model_share_a_row_in_table_1s_layout():
    text = comparison(
        [
            result(scheme="convolution", top1=26.0, top5=8.0),
            result("baseline", 30.0, 11.0),
            result(split="train", top1=15.0, top5=3.0),
            result(),
        ]
    )
    head = [row.split() for row in text.splitlines()[:3]]
    assert head[0] == ["single-crop"] * 4 + ["convolution"] * 2
    assert head[1][-6:] == ["top-1", "top-1", "top-5", "top-5", "top-1", "top-5"]
    assert head[2] == ["train", "val", "train", "val", "val", "val"]
    ours = [row.split() for row in text.splitlines() if row.startswith("  ours")]
    assert ours[0] == ["ours", "15.00", "27.00", "3.00", "9.00", "26.00", "8.00"]
    assert ours[1] == ["ours", "-", "30.00", "-", "11.00", "-", "-"]
    assert line(text, "SWWAE-all, paper")[-2:] == ["25.79", "8.13"]


def test_other_networks_and_variants_are_said_to_be_none_of_the_papers():
    assert "VGG-16 on ILSVRC 2012" not in comparison([result()])
    text = comparison([result(net="vgg8"), result("ladder", net="alexnet")])
    assert "of VGG-16 on ILSVRC 2012, vgg8 and alexnet are not." in text
    assert "no row for ladder." in text


def test_fewer_images_than_the_papers_are_noted():
    text = comparison([result(images=500), result(split="train")])
    assert "of 500 val images, the paper's of 50,000" in text
    assert text.count("the paper's of") == 1


def test_training_errors_of_the_convolution_scheme_have_no_figure():
    text = comparison([result(scheme="convolution", split="train")])
    assert line(text, "VGGNet, paper") == ["-", "-"]


def test_files_are_read_one_result_or_several(tmp_path):
    one, several = tmp_path / "one.json", tmp_path / "several.json"
    one.write_text(json.dumps(result()))
    several.write_text(json.dumps([result(), result("baseline")]))
    assert paper_table.read(one) == [result()]
    assert len(paper_table.read(several)) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read"),
        ("{", "is no JSON file"),
        ("\udcff", "is no JSON file"),
        ("3", "no result of tools/evaluate.py"),
        ("[]", "no result of tools/evaluate.py"),
        ("[" * 100_000, "is no JSON file"),
        (json.dumps({"top1_error": 3.0}), "no result of tools/evaluate.py"),
        (json.dumps(result(top1=float("nan"))), "no result of tools/evaluate.py"),
    ],
)
def test_what_is_no_result_is_a_sentence(text, words, tmp_path):
    path = tmp_path / "file.json"
    if text is not None:
        path.write_text(text, errors="surrogateescape")
    with pytest.raises(UserError, match=words):
        paper_table.read(path)
