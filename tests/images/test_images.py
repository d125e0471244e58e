"""Preprocessing in Python against the fork's data layers, on photographs."""

from pathlib import Path

import caffe
import numpy as np
import pytest
from skimage.transform import resize

from generator.errors import UserError
from swwae.images import database
from swwae.images.pictures import from_picture
from swwae.images.preprocessing import UNSCALED, Preprocessing, resized
from tests.helpers.photographs import COLOUR, encoded, jpeg, photograph, raw, write_lmdb

MEAN = (103.939, 116.779, 123.68)

PORTRAIT = photograph("coffee.png").crop((150, 10, 370, 390))
PICTURES = [*map(photograph, COLOUR), PORTRAIT]


@pytest.fixture(scope="module")
def databases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    return {
        "jpeg": write_lmdb(folder / "jpeg", [encoded(jpeg(p)) for p in PICTURES]),
        "raw": write_lmdb(folder / "raw", [raw(p) for p in PICTURES]),
    }


def train_val(path, database, transform):
    means = " ".join(f"mean_value: {mean}" for mean in MEAN)
    layers = [
        'layer { name: "data" type: "Data" top: "data" top: "label"'
        f" include {{ phase: {phase} }} transform_param {{ {means} {fields} }}"
        f' data_param {{ source: "{database}" backend: LMDB batch_size: 1 }} }}\n'
        for phase, fields in (("TRAIN", "mirror: true crop_size: 8"), transform)
    ]
    path.write_text("".join(layers))
    return path


@pytest.mark.parametrize("kind", ["jpeg", "raw"])
@pytest.mark.parametrize(
    ("fields", "crop"),
    [
        ("shorter_edge: 256 crop_size: 224", 224),
        ("shorter_edge: 256 crop_size: 227 center_square: true", 227),
        ("shorter_edge: 101 crop_size: 64", 64),  # by areas
        ("center_square: true crop_size: 200", 200),
        ("crop_size: 211", 211),
        ("shorter_edge: 300", None),
    ],
)
def test_it_does_what_the_forks_test_phase_does(
    kind, fields, crop, databases, tmp_path
):
    path = train_val(tmp_path / "train_val.prototxt", databases[kind], ("TEST", fields))
    net = caffe.Net(str(path), caffe.TEST)
    shape = (3, crop, crop) if crop else (3, 32, 32)
    found = database.database(path, "val", shape)
    prepare = found.preprocessing
    if crop is None:
        prepare = Preprocessing(shape, MEAN, 300, whole=True)
    assert len(found) == len(PICTURES)
    for image, _ in found:
        net.forward()
        expected = net.blobs["data"].data[0]
        ours = prepare(image)
        assert ours.shape == expected.shape
        assert (ours == expected).all()
        assert ours.std() > 10


def test_training_images_are_prepared_as_for_tests(databases, tmp_path):
    fields = "shorter_edge: 256 crop_size: 224"
    path = train_val(tmp_path / "net", databases["jpeg"], ("TEST", fields))
    shape = (3, 224, 224)
    train, val = (database.database(path, split, shape) for split in ("train", "val"))
    assert train == val
    assert val.preprocessing == Preprocessing(
        shape, tuple(np.float32(MEAN).tolist()), 256
    )


@pytest.mark.parametrize("size", [(256, 341), (400, 600), (133, 77), (5, 400)])
def test_bilinear_is_as_another_implementations(size):
    """But for the bits that OpenCV's integer arithmetic cuts off."""
    image = from_picture(photograph("coffee.png"))[:, :260, :400]
    wide = image if min(size) > 100 else image[:, : 2 * size[0], : 2 * size[1]]
    expected = resize(
        wide.transpose(1, 2, 0).astype(float),
        size,
        order=1,
        mode="edge",
        anti_aliasing=False,
    )
    found = resized(wide, *size).transpose(1, 2, 0)
    assert found.shape == (*size, 3)
    apart = np.abs(found - expected)
    assert apart.max() < 0.9
    assert apart.mean() < 0.27  # 0.25 is what rounding alone leaves


def test_shrinking_by_more_averages_areas():
    image = from_picture(photograph("astronaut.png"))
    by_four = image.reshape(3, 128, 4, 128, 4).mean((2, 4))
    assert np.abs(resized(image, 128, 128) - by_four).max() <= 0.51
    # 512 / 100 = 5.12: each pixel counts by the part of it that is covered
    fine = image.repeat(25, 1).repeat(25, 2).astype(np.float32)
    exact = fine.reshape(3, 100, 128, 100, 128).mean((2, 4))
    assert np.abs(resized(image, 100, 100) - exact).max() <= 0.51


def test_the_longer_edge_is_rounded():
    prepare = Preprocessing((3, 224, 224), MEAN, 256, whole=True)
    for height, width, wanted in ((375, 500, (256, 341)), (499, 333, (384, 256))):
        image = np.zeros((3, height, width), np.uint8)
        assert prepare.framed(image).shape[1:] == wanted


def test_an_image_of_the_edges_size_is_only_cropped():
    image = from_picture(photograph("chelsea.png"))  # 300 x 451
    prepare = Preprocessing((3, 224, 224), MEAN, 300)
    assert (prepare.framed(image) == image[:, 38:262, 113:337]).all()


def test_a_whole_image_is_never_smaller_than_the_networks():
    prepare = Preprocessing((3, 48, 48), MEAN, whole=True)
    shapes = [(3, 50, 90), (3, 48, 48), (3, 20, 30)]
    found = [prepare.framed(np.zeros(shape, np.uint8)).shape for shape in shapes]
    assert found == [(3, 50, 90), (3, 48, 48), (3, 48, 72)]


def test_what_has_no_edge_is_made_to_fit():
    image = np.zeros((3, 90, 400), np.uint8)
    image[:, :, 150:250] = 200  # around the middle square
    assert (Preprocessing((3, 32, 32), MEAN).framed(image) == 200).all()
    unscaled = Preprocessing((3, 32, 32), MEAN, UNSCALED)
    assert (unscaled.framed(image) == image[:, 29:61, 184:216]).all()


def test_channels_are_those_of_the_network():
    picture = photograph("coffee.png").resize((32, 32))
    grey = Preprocessing((1, 32, 32), (0.0,)).framed(from_picture(picture))
    assert (grey[0] == np.asarray(picture.convert("L"))).all()
    colour = Preprocessing((3, 32, 32), (0.0,)).framed(grey)
    assert (colour == grey).all()


def test_an_image_is_found_by_its_place(databases, tmp_path):
    path = train_val(tmp_path / "net", databases["raw"], ("TEST", "crop_size: 8"))
    found = database.database(path, "val", (3, 8, 8))
    for place in (0, 3, len(PICTURES) - 1):
        assert (found.image(place) == from_picture(PICTURES[place])).all()
    assert found.keys([1, 4, 5]) == [b"00000001", b"00000004", b"00000005"]


def test_a_damaged_record_is_named(tmp_path):
    path = write_lmdb(tmp_path / "lmdb", [encoded(jpeg(PORTRAIT)[:900])])
    opened = database.Database(path, Preprocessing((3, 8, 8), MEAN))
    with pytest.raises(UserError, match="entry 00000000 is not a readable"):
        list(opened)


def test_a_database_that_lacks_its_end_is_refused(databases, tmp_path):
    """Reading it would end the process, with no word."""
    whole = (Path(databases["jpeg"]) / "data.mdb").read_bytes()
    (tmp_path / "data.mdb").write_bytes(whole[: len(whole) // 2])
    opened = database.Database(tmp_path, Preprocessing((3, 8, 8), MEAN))
    with pytest.raises(
        UserError, match="lacks its end: .*; make the database"
    ):
        len(opened)


def test_a_mean_image_is_refused(tmp_path):
    path = train_val(tmp_path / "net", "some", ("TEST", ""))
    path.write_text(path.read_text().replace("mean_value: 103.939", 'mean_file: "m"'))
    with pytest.raises(UserError, match="mean_value, a number a channel"):
        database.database(path, "val", (3, 8, 8))
