"""plot_reconstructions.py: what its figure shows, pixel for pixel."""

import re

import numpy as np
import pytest
from PIL import Image

from generator.errors import UserError
from swwae.commands import plot_reconstructions
from swwae.figures import reconstructions
from swwae.figures.reconstructions import (
    Row,
    decoding_stage,
    depths_of,
    draw,
    layer_name,
)
from swwae.figures.style import save
from swwae.images import grid
from swwae.runs.run import Run
from tests.helpers.made_runs import call, make, pixels_of, random_weights, tool

MEAN = 55.845  # of vgg8's images
SCALE = grid.default_scale(32)


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """vgg8 sae-all with random weights, and the file of these."""
    path = tmp_path_factory.mktemp("weights") / "sae-all.caffemodel"
    return random_weights("sae-all", path), path


@pytest.fixture
def finished(net, tmp_path):
    return make(tmp_path, "sae-all", 4, net[1])


@pytest.fixture
def photo(tmp_path):
    """A grey image of vgg8's size, and its file."""
    image = np.random.default_rng(5).integers(0, 256, (32, 32), dtype=np.uint8)
    path = tmp_path / "photo.png"
    Image.fromarray(image).save(path)
    return image, path


def place_of(page, image):
    """Where an enlarged image begins in a page: y, x."""
    block = image.repeat(SCALE, 0).repeat(SCALE, 1)
    size = len(block)
    views = np.lib.stride_tricks.sliding_window_view(page[..., 0], (1, size))
    for y, x in np.argwhere((views[:, :, 0] == block[0]).all(axis=-1)):
        if (page[y : y + size, x : x + size] == block[..., np.newaxis]).all():
            return y, x
    raise AssertionError("the image is not in the page")


def test_every_pixel_of_every_row_is_in_the_picture(tmp_path):
    random = np.random.default_rng(3)
    images = random.integers(0, 256, (3, 2, 3, 32, 48), dtype=np.uint8)
    rows = [Row("a pool1", list(images[1]), 0.5), Row("b", list(images[2]), 1234.5)]
    path = tmp_path / "out.png"
    save(draw(list(images[0]), rows, "net"), path)
    page = pixels_of(path)
    shown = np.asarray(grid.grid([("", list(part)) for part in images], SCALE))
    size = np.array(shown.shape[:2])
    top = page.shape[0] - size[0]
    strip = page[top:]
    (left,) = (
        x
        for x in range(page.shape[1] - size[1] + 1)
        if (strip[: SCALE + 2, x : x + size[1]] == shown[: SCALE + 2]).all()
    )
    assert (strip[:, left : left + size[1]] == shown).all()
    assert (strip[:, :left].min(axis=(1, 2)) < 100).any(), "labels on the left"


def test_rows_have_their_labels_and_errors(tmp_path):
    image = [np.zeros((1, 32, 32), np.uint8)]
    rows = [Row("a pool1", image, 0.5), Row("b$c$ fc6", image, 1234.5)]
    figure = draw(image, rows, "net")
    texts = {text.get_text(): text.get_position() for text in figure.texts}
    assert list(texts) == [
        "net",
        "mean ‖x̂−x‖²",
        "original",
        "a pool1",
        "0.5000",
        "b$c$ fc6",
        "1234",
    ]
    assert texts["a pool1"][1] == texts["0.5000"][1] > texts["1234"][1]
    path = tmp_path / "out.svg"
    save(figure, path)
    written = path.read_text()
    assert ">b$c$ fc6</text>" in written
    assert "<dc:date>" not in written


def test_a_run_is_drawn_with_what_its_decoder_makes(
    net, finished, photo, tmp_path, capfd
):
    """Against pycaffe alone: pixels, and the error at the right edge."""
    image, path = photo
    built, _ = net
    out = tmp_path / "out.png"
    run = finished.folder.parent
    arguments = (run, "--depth", 3, "--out", out, "--images", path)
    done = tool("plot_reconstructions.py", *arguments, "unseen:depth")
    assert done.stderr == ""
    built.blobs["data"].data[...] = image - MEAN
    decoded = built.forward()["dec:data"][0, 0]
    page = pixels_of(out)
    y, x = place_of(page, image)
    step = 32 * SCALE + grid.GAP
    copy = page[y + step : y + step + 32 * SCALE, x : x + 32 * SCALE]
    wanted = np.clip(decoded * 255 + MEAN, 0, 255)
    for offset in range(SCALE):
        shown = copy[offset::SCALE, offset::SCALE, 0]
        assert np.abs(shown - wanted).max() <= 0.51
    assert wanted.std() > 10
    call(plot_reconstructions.main, *arguments)
    alone = capfd.readouterr().out
    error = np.square(decoded - (image - MEAN) / 255).sum()
    assert float(re.search(r"(\S+)  sae-all pool3$", alone, re.M)[1]) == pytest.approx(
        error, rel=1e-3
    )


def test_what_cannot_be_drawn_is_named_and_the_rest_drawn(
    net, finished, photo, tmp_path, capfd
):
    make(tmp_path, "swwae-all", 4, state="running", iterations=7)
    make(tmp_path, "baseline", 4, net[1])
    out = tmp_path / "out.png"
    runs = [tmp_path / "vgg8" / name for name in ("swwae-all", "baseline", "sae-first")]
    arguments = (*runs, finished.folder.parent, "--images", photo[1], "--out", out)
    call(plot_reconstructions.main, *arguments)
    said = capfd.readouterr()
    reasons = said.err.splitlines()
    assert len(reasons) == 3
    assert "stage 4 of vgg8/swwae-all is interrupted at iteration 7" in reasons[0]
    assert "baseline has no decoder" in reasons[1]
    assert "there is no folder" in reasons[2]
    labels = re.findall(r"\S+  (sae.*)$", said.out, re.MULTILINE)
    assert labels == ["sae-all pool1", "sae-all pool2", "sae-all pool3"]
    place_of(pixels_of(out), photo[0])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["vgg8/sae-first"], "there is no folder"),
        (["vgg8/sae-all", "--depth", "5"], "no run decodes from there"),
        (["vgg8/sae-all", "--images", "none.png"], "there is no image none.png"),
        (["vgg8/sae-all", "--images", "unseen:cat"], "unseen:text, unseen:drawing"),
        (["vgg8/sae-all", "--out", "nowhere/out.png"], "no folder nowhere"),
    ],
)
def test_a_mistake_is_a_sentence(arguments, words, finished, tmp_path):
    runs = [tmp_path / a if a.startswith("vgg8") else a for a in arguments]
    out = tmp_path / "out.png"
    with pytest.raises(UserError, match=words):
        call(plot_reconstructions.main, "--out", out, *runs)
    assert not out.exists()


def test_nothing_that_can_be_drawn_is_a_mistake(tmp_path):
    out = tmp_path / "out.png"
    runs = [tmp_path / "vgg8" / name for name in ("swwae-all", "sae-first")]
    done = tool("plot_reconstructions.py", *runs, "--out", out, code=2)
    lines = done.stderr.splitlines()
    assert len(lines) == 3 and "none of these runs can be drawn" in lines[2]
    assert not out.exists()


def test_originals_that_differ_keep_a_network_out(
    net, finished, photo, tmp_path, monkeypatch, capfd
):
    """Another network's pixels would not be comparable below the first one's."""
    make(tmp_path, "swwae-layerwise", 4, net[1])
    monkeypatch.setattr(reconstructions, "Model", lambda *each: each)
    monkeypatch.setattr(reconstructions, "load", lambda model, name: photo[0])

    def decoded(model, images):
        size = 32 if model[1] == "sae-all" else 40
        copies = [np.zeros((1, size, size), np.uint8)]
        return copies, copies, 1.0

    monkeypatch.setattr(reconstructions, "decoded", decoded)
    runs = [tmp_path / "vgg8" / name for name in ("sae-all", "swwae-layerwise")]
    call(plot_reconstructions.main, *runs, "--out", tmp_path / "out.png")
    said = capfd.readouterr()
    assert "reads images as 1x40x40" in said.err and "as 1x32x32" in said.err
    assert "swwae-layerwise" not in said.out


# --- which weights, which depths


def test_the_newest_finished_stage_serves_or_the_one_that_is_named(net, tmp_path):
    third = make(tmp_path, "sae-all", 3, net[1])
    folder = tmp_path / "vgg8/sae-all"
    assert decoding_stage(folder) == third
    fourth = make(tmp_path, "sae-all", 4, state="running")
    assert decoding_stage(folder) == third
    fourth.final_weights.write_bytes(b"weights")
    fourth.write_status({"state": "finished", "iterations": 60})
    assert decoding_stage(folder) == fourth
    assert decoding_stage(folder / "stage3") == third
    second = make(tmp_path, "sae-layerwise", 2, net[1])
    assert decoding_stage(tmp_path / "vgg8/sae-layerwise") == second
    with pytest.raises(UserError, match="stage 2 trains no decoder of sae-all"):
        decoding_stage(folder / "stage2")
    (folder / "depth2").mkdir()
    with pytest.raises(UserError, match="none of its stages has been started"):
        decoding_stage(folder / "depth2")


def test_another_variants_stage_does_not_serve(net, tmp_path):
    """Stage 2 is shared, but its decoders are not those that swwae-all ends with."""
    make(tmp_path, "swwae-layerwise", 2, net[1])
    (tmp_path / "vgg8/swwae-all").mkdir()
    with pytest.raises(UserError, match="stage 3 of vgg8/swwae-all has not been run"):
        decoding_stage(tmp_path / "vgg8/swwae-all")


def test_a_run_serves_its_depth_and_all_below(tmp_path, capfd):
    def run(variant, depth=None):
        return Run("vgg8", variant, 4, depth, tmp_path)

    assert depths_of(run("sae-all"), None) == [1, 2, 3]
    assert depths_of(run("sae-first", 2), None) == [1, 2]
    assert depths_of(run("sae-first", 4), None) == [1, 2, 3, 4]
    assert depths_of(run("swwae-layerwise"), None) == [1]
    assert depths_of(run("sae-first", 4), [4, 1, 4]) == [1, 4]
    assert capfd.readouterr().err == ""
    assert depths_of(run("sae-all"), [5, 2]) == [2]
    assert depths_of(run("swwae-layerwise"), [1, 3]) == [1]
    first, second = capfd.readouterr().err.splitlines()
    assert "stage 4 of vgg8/sae-all at --depth 5: it decodes from 3 at most" in first
    assert "inverts every other macro-layer alone" in second


@pytest.mark.parametrize(
    ("net", "depth", "name"),
    [
        ("vgg8", 2, "pool2"),
        ("alexnet", 3, "conv3"),
        ("alexnet", 5, "pool5"),
        ("alexnet", 6, "fc6"),
        ("vgg16", 8, "fc8"),
    ],
)
def test_layers_have_the_papers_names(net, depth, name):
    assert layer_name(Run(net, "swwae-all", 4), depth) == name


@pytest.mark.parametrize("variant", ["swwae-all", "sae-layerwise"])
def test_layers_of_other_networks_are_found_in_their_files(variant, monkeypatch):
    monkeypatch.setattr(reconstructions, "NETWORKS", {})
    depth = 3 if variant == "swwae-all" else 1
    assert layer_name(Run("vgg8", variant, 4), depth) == f"pool{depth}"
    assert layer_name(Run("alexnet", "sae-all", 4), None) == "conv5/pool"
