"""evaluate.py, reconstruct.py and their parts, against arithmetic of our own."""

import json
import shutil
import subprocess

import caffe
import lmdb
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from PIL import Image

from generator.errors import UserError
from swwae.base.project import ROOT
from swwae.evaluation.evaluate import evaluate, label_rank
from swwae.evaluation.model import FullyConvolutional, Model
from swwae.evaluation.reconstruct import reconstruct, squared_error
from swwae.images import grid
from swwae.images.database import Database
from swwae.images.pictures import from_picture, to_picture
from swwae.images.preprocessing import Preprocessing
from swwae.runs.run import Run


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights of vgg8 by variant: large enough that classes differ."""
    folder = tmp_path_factory.mktemp("weights")

    def make(variant):
        path = folder / f"{variant}.caffemodel"
        if not path.exists():
            prototxt = ROOT / f"models/vgg8/{variant}/deploy.prototxt"
            net = caffe.Net(str(prototxt), caffe.TEST)
            random = np.random.default_rng(11)
            for blobs in net.params.values():
                scale = (2 / np.prod(blobs[0].shape[1:])) ** 0.5
                blobs[0].data[...] = random.normal(0, scale, blobs[0].shape)
                blobs[1].data[...] = random.normal(0, 0.1, blobs[1].shape)
            net.save(str(path))
        return path

    return make


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """73 random images, so that the last batch is a short one."""
    path = tmp_path_factory.mktemp("data") / "images_lmdb"
    random = np.random.default_rng(2)
    pixels = random.integers(0, 256, (73, 1, 32, 32), dtype=np.uint8)
    labels = random.integers(0, 10, 73)
    environment = lmdb.open(str(path), map_size=1 << 24)
    with environment.begin(write=True) as transaction:
        for index, (image, label) in enumerate(zip(pixels, labels, strict=True)):
            datum = caffe_pb2.Datum(channels=1, height=32, width=32)
            datum.data, datum.label = image.tobytes(), int(label)
            transaction.put(b"%08d" % index, datum.SerializeToString())
    environment.close()
    return Database(path, Preprocessing((1, 32, 32), (55.845,))), pixels, labels


def one_by_one(prototxt, weights_file, pixels):
    """Scores and reconstructions through stock pycaffe, an image at a time."""
    net = caffe.Net(str(prototxt), caffe.TEST, weights=str(weights_file))
    scores, copies = [], []
    for image in pixels:
        net.blobs["data"].data[0] = image.astype(np.float64) - 55.845
        blobs = net.forward()
        scores.append(blobs["prob"][0].astype(np.float64))
        copies.append(
            blobs["dec:data"][0].astype(np.float64) if "dec:data" in blobs else None
        )
    return scores, copies


@pytest.mark.parametrize("variant", ["swwae-all", "sae-layerwise", "baseline"])
def test_errors_and_l2_equal_counting_image_by_image(variant, weights, database):
    data, pixels, labels = database
    model = Model("vgg8", variant, None, weights(variant))
    result = evaluate(model, data)
    scores, copies = one_by_one(
        ROOT / f"models/vgg8/{variant}/deploy.prototxt", weights(variant), pixels
    )
    wrong1 = wrong5 = 0
    for score, label in zip(scores, labels, strict=True):
        best = sorted(range(10), key=lambda k: -score[k])
        wrong1 += best[0] != label
        wrong5 += label not in best[:5]
    assert result["images"] == 73
    assert result["top1_error"] == pytest.approx(100 * wrong1 / 73)
    assert result["top5_error"] == pytest.approx(100 * wrong5 / 73)
    assert 0 < wrong5 < wrong1
    if variant == "baseline":
        assert result["recon_l2"] is None
    else:
        mean = 55.845
        l2 = [
            sum(((copy + mean / 255) - image / 255.0).ravel() ** 2)
            for copy, image in zip(copies, pixels, strict=True)
        ]
        assert result["recon_l2"] == pytest.approx(np.mean(l2), rel=1e-4)


def test_only_the_images_at_the_places_are_counted(weights, database):
    data, pixels, labels = database
    model = Model("vgg8", "baseline", None, weights("baseline"))
    result = evaluate(model, data, range(10))
    scores, _ = one_by_one(
        ROOT / "models/vgg8/baseline/deploy.prototxt", weights("baseline"), pixels[:10]
    )
    wrong = np.argmax(scores, axis=1) != labels[:10]
    assert result["images"] == 10
    assert result["top1_error"] == pytest.approx(100 * wrong.mean())


def test_decoding_from_a_lower_depth_uses_the_same_weights(weights, database):
    """From depth 2 of a stacked decoder: the encoder's a_2 in place of its own."""
    data, pixels, _ = database
    path = weights("swwae-all")
    model = Model("vgg8", "swwae-all", 2, path)
    output = model(np.stack([data.preprocessing(image) for image in pixels[:3]]))
    net = caffe.Net(
        str(ROOT / "models/vgg8/swwae-all/deploy.prototxt"),
        caffe.TEST,
        weights=str(path),
    )
    for image, copy in zip(pixels[:3], output.reconstructions, strict=True):
        net.blobs["data"].data[0] = image - np.float32(55.845)
        net.forward()
        net.blobs["dec:conv2_2"].data[...] = net.blobs["conv2_2/pool"].data
        net.forward(start="dec:conv2_2/unpool")
        np.testing.assert_allclose(copy, net.blobs["dec:data"].data[0], atol=1e-4)


def test_ranks_count_ties_against_the_label():
    scores = np.array([[0.1, 0.7, 0.2], [0.4, 0.4, 0.2], [0.2, 0.3, 0.5]])
    assert label_rank(scores, np.array([1, 0, 0])).tolist() == [0, 1, 2]


def test_squared_error_is_the_papers_and_twice_caffes():
    random = np.random.default_rng(0)
    data = random.uniform(-100, 150, (4, 3, 5, 6)).astype(np.float32)
    copies = random.uniform(-1, 1, data.shape).astype(np.float32)
    by_hand = [
        sum(
            (float(c) - float(d) / 255) ** 2
            for c, d in zip(x.ravel(), y.ravel(), strict=True)
        )
        for x, y in zip(copies, data, strict=True)
    ]
    np.testing.assert_allclose(squared_error(copies, data), by_hand, rtol=1e-5)


# --- images


def test_an_image_of_the_right_size_is_only_mean_subtracted():
    image = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
    prepared = Preprocessing((3, 4, 5), (1.0, 2.0, 3.0))(image)
    for channel, mean in enumerate((1, 2, 3)):
        assert (prepared[channel] == image[channel].astype(int) - mean).all()
    back = Preprocessing((3, 4, 5), (1.0, 2.0, 3.0)).pixels(prepared / 255)
    assert (back == image).all()


def test_channels_are_blue_green_red():
    picture = Image.new("RGB", (2, 1), (10, 20, 30))
    assert from_picture(picture)[:, 0, 0].tolist() == [30, 20, 10]
    assert to_picture(from_picture(picture)).getpixel((1, 0)) == (10, 20, 30)


def test_the_grid_shows_every_pixel():
    random = np.random.default_rng(1)
    top = [random.integers(0, 256, (3, 4, 5), dtype=np.uint8) for _ in range(3)]
    below = [random.integers(0, 256, (3, 4, 5), dtype=np.uint8) for _ in range(3)]
    page = np.asarray(grid.grid([("", top), ("", below)], scale=2)).astype(int)
    assert page.shape == (2 * (8 + 2) + 2, 3 * (10 + 2) + 2, 3)
    for line, row in enumerate((top, below)):
        for place, image in enumerate(row):
            y, x = 2 + line * 10, 2 + place * 12
            block = page[y : y + 8, x : x + 10]
            for dy in range(2):
                for dx in range(2):
                    shown = block[dy::2, dx::2, ::-1].transpose(2, 0, 1)
                    assert (shown == image).all()


def test_labels_do_not_cover_the_images():
    image = np.zeros((1, 8, 8), np.uint8)
    page = np.asarray(grid.grid([("a long label\nin two lines", [image])], 4))
    assert (page[2:34, -34:-2] == 0).all()
    assert (page[:, : page.shape[1] - 34] < 100).any(), "the label is there"


def test_reconstructions_are_the_decoders_pixels(weights, database):
    data, pixels, _ = database
    model = Model("vgg8", "swwae-all", None, weights("swwae-all"))
    model.images = lambda split: data
    originals, copies, errors = reconstruct(model, list(pixels[:2]))
    _, decoded = one_by_one(
        ROOT / "models/vgg8/swwae-all/deploy.prototxt", weights("swwae-all"), pixels[:2]
    )
    assert (np.array(originals) == pixels[:2]).all()
    for copy, value in zip(copies, decoded, strict=True):
        wanted = np.clip(value * 255 + 55.845, 0, 255)
        assert np.abs(copy - wanted).max() <= 0.51
    assert errors.shape == (2,)


# --- what is refused


def tool(name, *arguments, cwd=ROOT):
    return subprocess.run(
        [ROOT / "tools" / name, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--net", "vgg61", "--variant", "swwae-all"], ["vgg61", "vgg16"]),
        (["--net", "vgg8", "--variant", "swae-all"], ["swae-all", "swwae-all"]),
        (["--net", "vgg8", "--variant", "sae-all", "--depth", "6"], ["--depth 6", "5"]),
        (
            ["--net", "vgg8", "--variant", "sae-all", "--weights", "no.caffemodel"],
            ["no.caffemodel", "cannot be read"],
        ),
        (
            ["--net", "vgg8", "--variant", "sae-all", "--weights", "README.md"],
            ["README.md", "README.md is text"],
        ),
        (
            ["--net", "vgg16", "--variant", "sae-first"],
            ["tools/run_stage.sh 4 --net vgg16 --variant sae-first"],
        ),
    ],
)
@pytest.mark.parametrize("name", ["evaluate.py", "reconstruct.py"])
def test_a_mistake_is_one_sentence(name, arguments, words, tmp_path):
    out = tmp_path / "out.png"
    more = ["val:0", "--out", out] if name == "reconstruct.py" else []
    done = tool(name, *arguments, *more)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_baseline_has_no_depth(weights):
    with pytest.raises(UserError, match="no decoder; leave --depth out"):
        Model("vgg8", "baseline", 2, weights("baseline"))


def test_a_depth_of_its_own_has_weights_of_its_own(weights, tmp_path, monkeypatch):
    monkeypatch.setattr("swwae.base.project.RUNS", tmp_path)
    default = tmp_path / "vgg8/sae-all/stage4/final.caffemodel"
    own = tmp_path / "vgg8/sae-all/depth2/stage4/final.caffemodel"
    with pytest.raises(UserError, match="tools/run_stage.sh 4 --net vgg8"):
        Model("vgg8", "sae-all", 2)
    for path in (default, own):
        path.parent.mkdir(parents=True)
        path.write_bytes(weights("sae-all").read_bytes())
        assert Model("vgg8", "sae-all", 2).weights_file == path
    assert Model("vgg8", "sae-all").weights_file == default
    with pytest.raises(UserError, match="--depth 4"):
        Model("vgg8", "sae-all", 4)


@pytest.mark.parametrize("name", ["evaluate.py", "reconstruct.py"])
def test_where_nothing_can_be_written_is_said_at_once(name, weights):
    arguments = ["--net", "vgg8", "--variant", "sae-all", "--weights"]
    arguments += [weights("sae-all")]
    more = {
        "evaluate.py": ["--json", "/nowhere/result.json"],
        "reconstruct.py": ["val:0", "--out", "/nowhere/out.png"],
    }
    done = tool(name, *arguments, *more[name])
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "no folder /nowhere" in done.stderr


def test_weights_of_another_variant_are_named(weights):
    with pytest.raises(UserError, match=r"lacks layer dec:conv3_2 .*another variant"):
        Model("vgg8", "sae-all", None, weights("baseline"))
    with pytest.raises(UserError, match=r"layer conv1_1 has the shapes .* vgg16 has"):
        Model("vgg16", "baseline", None, weights("baseline"))


def test_a_depth_that_is_not_generated_has_the_same_mirror_images(weights):
    lower = FullyConvolutional("vgg8", "swwae-all", 2, weights("baseline"))
    assert not lower.mirrors


@pytest.mark.parametrize(
    ("variant", "layer", "blob"),
    [("baseline", "fc5", "prob"), ("swwae-all", "dec:conv1_1", "dec:data")],
)
def test_weights_that_diverged_have_no_errors(variant, layer, blob, weights, tmp_path):
    """Numbers that compare with none would be no error at all."""
    given = caffe_pb2.NetParameter.FromString(weights(variant).read_bytes())
    (found,) = [la for la in given.layer if la.name == layer]
    path = tmp_path / "diverged.caffemodel"
    found.blobs[0].data[0] = float("nan")
    path.write_bytes(given.SerializeToString())
    with pytest.raises(UserError, match=f"layer {layer} of {path} holds numbers"):
        Model("vgg8", variant, None, path)
    for number in range(len(found.blobs[0].data)):
        found.blobs[0].data[number] = (-1) ** number * 3e38
    path.write_bytes(given.SerializeToString())
    model = Model("vgg8", variant, None, path)
    with pytest.raises(UserError, match=f"'{blob}' that are not finite"):
        model(np.zeros((2, 1, 32, 32), np.float32))


def test_labels_of_another_data_set_are_refused(weights, tmp_path):
    path = tmp_path / "foreign_lmdb"
    environment = lmdb.open(str(path), map_size=1 << 20)
    with environment.begin(write=True) as transaction:
        datum = caffe_pb2.Datum(channels=1, height=32, width=32, label=812)
        datum.data = bytes(1024)
        transaction.put(b"0", datum.SerializeToString())
    environment.close()
    model = Model("vgg8", "baseline", None, weights("baseline"))
    images = Database(path, Preprocessing((1, 32, 32), (0.0,)))
    with pytest.raises(UserError, match=r"label 812, the network 10 classes"):
        evaluate(model, images)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("missing.png", "no image"),
        ("README.md", "cannot be read as an image"),
        ("tests", "is a folder"),
        ("val:10000", "0 to 9999"),
    ],
)
def test_what_is_no_image_is_named(image, words, weights, tmp_path):
    out = tmp_path / "out.png"
    arguments = ["--net", "vgg8", "--variant", "sae-all", image, "--out", out]
    done = tool("reconstruct.py", *arguments, "--weights", weights("sae-all"))
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not out.exists()


@pytest.mark.parametrize("damaged", [False, True])
def test_a_result_that_cannot_be_recorded_is_printed(
    damaged, weights, tmp_path, monkeypatch
):
    monkeypatch.setenv("RUNS_DIR", str(tmp_path))
    own = Run("vgg8", "baseline", 4, None, tmp_path)
    own.folder.mkdir(parents=True)
    shutil.copy(weights("baseline"), own.final_weights)
    own.write_status({"state": "finished", "iterations": 5})
    record = own.folder / "results.json"
    if damaged:
        record.write_text("{")
    else:
        record.mkdir()  # which stands for what nobody may write, root included
    arguments = ["--net", "vgg8", "--variant", "baseline", "--split", "train"]
    arguments += ["--images", 3, "--json", tmp_path / "result.json"]
    done = tool("evaluate.py", *arguments)
    assert done.returncode == 0, done.stderr
    assert "top-1 error" in done.stdout
    note = done.stderr.splitlines()[-1]
    assert note.startswith("note: not recorded for tools/report.py: ")
    assert str(record) in note
    assert json.loads((tmp_path / "result.json").read_text())["images"] == 3


def test_both_commands_on_the_real_test_images(weights, tmp_path):
    """From another folder; the JSON has the promised keys."""
    path = weights("swwae-all")
    arguments = ["--net", "vgg8", "--variant", "swwae-all", "--weights", path]
    report = tmp_path / "result.json"
    done = tool(
        "evaluate.py", *arguments, "--limit", 60, "--json", report, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(report.read_text())
    wanted = {"net", "variant", "weights", "scheme", "split", "images"}
    wanted |= {"top1_error", "top5_error", "recon_l2"}
    assert wanted <= set(result)
    assert result["images"] == 60
    assert result["scheme"] == "single-crop"
    photo = tmp_path / "photo.png"
    Image.fromarray(
        np.arange(0, 200 * 120, dtype=np.uint32).reshape(120, 200).astype(np.uint8)
    ).save(photo)
    out = tmp_path / "out.png"
    done = tool(
        "reconstruct.py",
        *arguments,
        "val:3",
        photo,
        "--out",
        out,
        "--scale",
        2,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert Image.open(out).height == 2 * (64 + 2) + 2
