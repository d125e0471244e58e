"""plot_filters.py: changes of known weights, and the filters' pixels."""

import re

import numpy as np
import pytest
from caffe.proto import caffe_pb2

from generator.errors import UserError
from swwae.commands import plot_filters
from swwae.figures import filters
from swwae.figures.filters import (
    Change,
    change,
    draw,
    mosaic,
    mosaics,
    tiles,
)
from tests.helpers.made_runs import call, make, pixels_of, random_weights, record, tool

FACTORS = {
    "conv1_1": 1.1,
    "conv1_2": 1.2,
    "conv2_1": 1.3,
    "conv2_2": 0.6,
    "conv3_1": 1.5,
    "conv3_2": 0.4,
    "fc4": 1.7,
    "fc5": 1.8,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """vgg8's weights, and the same with each layer's multiplied by its factor."""
    folder = tmp_path_factory.mktemp("weights")
    net = random_weights("swwae-all", folder / "before.caffemodel")
    for layer, factor in FACTORS.items():
        net.params[layer][0].data[...] *= factor
    net.save(str(folder / "after.caffemodel"))
    return folder / "before.caffemodel", folder / "after.caffemodel"


@pytest.fixture
def finetuned(files, tmp_path):
    """A run whose stage 4 began from the first file and left the second."""
    third = make(tmp_path, "swwae-all", 3, files[0])
    came = record(third.final_weights)
    return make(tmp_path, "swwae-all", 4, files[1], weights_in=came)


def printed(said):
    """Layer -> both columns of the table."""
    rows = re.findall(r"^(\S.*?)  +(\S+)  +(\S+)$", said, re.MULTILINE)
    return {name: (float(mean), float(median)) for name, mean, median in rows}


def test_changes_are_relative_to_the_weights_before():
    before = np.float32([[1, -2], [0, 4]])
    after = np.float32([[1.5, -2], [1, 3]])
    found = change("a", before, after)
    assert found.relative == pytest.approx(2.5 / 7)
    assert found.median == pytest.approx(0.25)  # of 0.5, 0, 0.25
    doubled = change("a", before, 2 * before)
    assert (doubled.relative, doubled.median) == (1, 1)
    assert np.isnan(change("a", 0 * before, after).relative)


def test_zero_is_mid_grey_and_a_filters_largest_weight_black_or_white():
    before = np.zeros((2, 1, 1, 3))
    before[0, 0, 0] = [0.5, 0, -0.25]
    before[1, 0, 0] = [0, 0, 10]
    after = before.copy()
    after[0, 0, 0] = [1, 0, -0.5]  # more contrast
    first, second = tiles(before, after)
    assert first[0, 0, :, 0].tolist() == [191, 128, 96]
    assert second[0, 0, :, 0].tolist() == [255, 128, 64]
    assert first[1, 0, :, 0].tolist() == second[1, 0, :, 0].tolist() == [128, 128, 255]
    assert (
        tiles(0 * before, 0 * before)[0].tolist() == np.full((2, 1, 3, 3), 128).tolist()
    )


def test_filters_of_colours_are_red_green_blue():
    weights = np.zeros((1, 3, 1, 1))
    weights[0, :, 0, 0] = [1, 0, -1]  # blue, green, red
    assert tiles(weights, weights)[0].tolist() == [[[[0, 128, 255]]]]


def test_a_mosaic_shows_every_element_as_a_square():
    random = np.random.default_rng(1)
    pixels = random.integers(0, 256, (5, 3, 2, 3), dtype=np.uint8)
    page = mosaic(pixels, 3)
    scale, line = filters.FINEST, filters.FINEST // 3
    step_y, step_x = 3 * scale + line, 2 * scale + line
    assert page.shape == (2 * step_y - line, 3 * step_x - line, 3)
    for place, tile in enumerate(pixels):
        y, x = place // 3 * step_y, place % 3 * step_x
        for dy in range(scale):
            shown = page[y + dy : y + 3 * scale : scale, x : x + 2 * scale]
            assert (shown == tile.repeat(scale, axis=1)).all()
    assert (page[3 * scale : step_y] == 255).all()
    assert (page[step_y:, 2 * step_x :] == 255).all(), "there is no sixth"


def test_inner_filters_are_a_row_each():
    random = np.random.default_rng(2)
    weights = random.normal(size=(3, 5, 2, 2))
    before, after = mosaics(weights, weights)
    scale, line = filters.FINEST, filters.FINEST // 3
    assert before.shape == (
        3 * (2 * scale + line) - line,
        5 * (2 * scale + line) - line,
        3,
    )
    assert (before == after).all()


def test_bars_are_as_long_as_the_changes():
    picture = np.zeros((4, 4, 3), np.uint8)
    changes = [Change("a", 0.25, 0.1), Change("b", 0.5, 0.1), Change("c", 0.03, 0.1)]
    figure = draw("a", (picture, picture + 9), changes)
    before, after, bars = figure.axes
    assert (before.images[0].get_array() == 0).all()
    assert (after.images[0].get_array() == 9).all()
    assert [bar.get_width() for bar in bars.patches] == [25, 50, 3]
    assert [label.get_text() for label in bars.get_yticklabels()] == ["a", "b", "c"]
    assert bars.lines[0].get_xdata()[0] == pytest.approx(26)


def test_a_run_is_compared_with_what_it_began_from(finetuned, tmp_path):
    out = tmp_path / "out.png"
    done = tool("plot_filters.py", finetuned.folder.parent, "--out", out)
    assert done.stderr == ""
    table = printed(done.stdout)
    for layer, factor in FACTORS.items():
        percent = pytest.approx(100 * abs(factor - 1), abs=0.06)
        assert table.pop(layer) == (percent, percent)
    assert table.pop("mean of the layers")[0] == pytest.approx(45, abs=0.06)
    assert not any(layer.startswith("dec:") for layer in table)
    width, height = pixels_of(out).shape[1::-1]
    assert (width, height) == (10 * 150, 3.6 * 150)


def test_two_files_do_as_well(files, tmp_path, capfd):
    out = tmp_path / "out.svg"
    call(
        plot_filters.main,
        *("--before", files[0], "--after", files[1], "--net", "vgg8"),
        *("--layer", "conv2_2", "--out", out),
    )
    table = printed(capfd.readouterr().out)
    assert table["conv2_2"] == (40, 40)
    text = out.read_text()
    assert ">conv2_2, before finetuning</text>" in text
    assert ">40.0</text>" in text


def test_weights_of_the_older_format_are_the_same(files, tmp_path):
    """There an inner product's are (1, 1, m, n)."""
    old = caffe_pb2.NetParameter.FromString(files[0].read_bytes())
    for layer in old.layer:
        if layer.name == "fc4":
            blob = layer.blobs[0]
            blob.num, blob.channels, (blob.height, blob.width) = 1, 1, blob.shape.dim
            blob.ClearField("shape")
    path = tmp_path / "old.caffemodel"
    path.write_bytes(old.SerializeToString())
    pairs = filters.weight_pairs({"fc4": "InnerProduct"}, "vgg8", path, files[1])
    assert change("fc4", *pairs["fc4"]).relative == pytest.approx(0.7, abs=1e-5)


# --- what is refused


def test_what_a_run_began_from_must_still_be_there(finetuned, files, tmp_path):
    before = tmp_path / "vgg8/swwae-all/stage3/final.caffemodel"
    before.write_bytes(files[1].read_bytes())
    with pytest.raises(UserError, match="no longer what stage 4 of vgg8/swwae-all"):
        filters.finetuned(finetuned.folder)
    before.unlink()
    with pytest.raises(UserError, match="no longer what stage 4 of vgg8/swwae-all"):
        filters.finetuned(finetuned.folder)


def test_another_stages_folder_is_refused(finetuned, tmp_path):
    folder = tmp_path / "vgg8/swwae-all"
    with pytest.raises(UserError, match="only stage 4 finetunes the classifier; name"):
        filters.finetuned(folder / "stage3")
    for named in (folder, folder / "stage4"):
        assert filters.finetuned(named)[2] == finetuned.final_weights


@pytest.mark.parametrize("came", ["x", {"path": 5}, {"path": "a"}, None])
def test_a_status_that_does_not_say_what_a_run_began_from(came, finetuned):
    finetuned.write_status(finetuned.status() | {"weights_in": came})
    with pytest.raises(UserError, match="does not say which weights"):
        filters.finetuned(finetuned.folder)


def test_a_run_that_has_not_finished_is_named(files, tmp_path):
    make(tmp_path, "sae-all", 3, files[0])
    with pytest.raises(UserError, match="stage 4, .* has not been run"):
        filters.finetuned(tmp_path / "vgg8/sae-all")
    make(tmp_path, "sae-all", 4, files[1], state="running")
    with pytest.raises(UserError, match="stage 4, .* is interrupted"):
        filters.finetuned(tmp_path / "vgg8/sae-all")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--layer", "fc4"], "an inner product of vgg8; its convolutions are conv1_1"),
        (["--layer", "conv9"], "no layer of vgg8"),
        (["--net", "vgg9"], "unknown network 'vgg9'"),
        (["--net", "vgg16"], "has no weights of conv3_3, a layer of vgg16"),
        (["--before", "none"], "none cannot be read"),
    ],
)
def test_a_mistake_is_a_sentence(arguments, words, files, tmp_path):
    out = tmp_path / "out.png"
    weights = ("--before", files[0], "--after", files[1], "--net", "vgg8")
    with pytest.raises(UserError, match=words):
        call(plot_filters.main, *weights, "--out", out, *arguments)
    assert not out.exists()


def test_weights_of_two_networks_are_refused(files, tmp_path):
    other = caffe_pb2.NetParameter.FromString(files[0].read_bytes())
    (layer,) = [layer for layer in other.layer if layer.name == "fc5"]
    shape = layer.blobs[0].shape.dim
    shape[0], shape[1] = shape[1], shape[0]
    path = tmp_path / "other.caffemodel"
    path.write_bytes(other.SerializeToString())
    with pytest.raises(UserError, match="layer fc5 has the shape 10x256 .* 256x10"):
        filters.weight_pairs({"fc5": "InnerProduct"}, "vgg8", files[0], path)


@pytest.mark.parametrize(
    "arguments", [[], ["--before", "a"], ["runs/vgg8/sae-all", "--net", "vgg8"]]
)
def test_either_a_run_or_files(arguments, tmp_path, capfd):
    with pytest.raises(SystemExit) as ended:
        call(plot_filters.main, *arguments, "--out", tmp_path / "out.png")
    assert ended.value.code == 2
    assert "either RUN, or --before" in capfd.readouterr().err
