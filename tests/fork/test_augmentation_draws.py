"""What the data layers draw at random: evenly, and by the seed alone."""

import hashlib

import numpy as np
import pytest
from scipy import stats

from tests.helpers.augmentation import (
    SEED,
    VGG,
    Drawn,
    data_layer,
    in_child,
    outputs,
    predictions,
    raw_datum,
)
from tests.helpers.photographs import write_lmdb

ONE_IN_A_MILLION = 1e-6

# --- what is drawn


def test_draws_are_uniform(tmp_path):
    # The first channel of the image grows by 2 a row, the second by 1 a column, so that
    # slope and mean of an output tell how it was drawn.
    height, width, low, high, crop, count = 128, 192, 64, 96, 56, 8192
    y, x = np.mgrid[:height, :width]
    ramps = np.stack([2 * y, x, x]).astype(np.uint8)
    source = write_lmdb(tmp_path / "ramps", [raw_datum(ramps)])
    transform = f"shorter_edge: {low} shorter_edge_max: {high} crop_size: {crop}"
    layer = data_layer(source, f"{transform} mirror: true", batch=1024)
    made = outputs(layer, batches=count // 1024)
    down = made[:, 0, :, 0] / 2
    across = made[:, 1, 0, :]
    middle = np.arange(crop) - (crop - 1) / 2
    step = down @ middle / (middle @ middle)
    edges = np.rint(height / step)
    widths = np.rint(width * edges / height)
    rows = np.rint((down.mean(axis=1) + 0.5) * edges / height - crop / 2)
    columns = np.rint((across.mean(axis=1) + 0.5) * widths / width - crop / 2)
    mirrors = across @ middle < 0
    found = zip(edges, rows, columns, mirrors, strict=True)
    expected = predictions([(height, width)] * count, crop, (low, high))
    assert [Drawn(*map(int, drawn)) for drawn in found] == expected

    counts = np.bincount(edges.astype(int) - low, minlength=high - low + 1)
    assert stats.chisquare(counts).pvalue > ONE_IN_A_MILLION
    assert stats.binomtest(int(mirrors.sum()), count).pvalue > ONE_IN_A_MILLION
    # Each place among those that there are, spread evenly over its share.
    spread = np.random.default_rng(0).random((2, count))
    for offset, length, within in zip(
        (rows, columns), (edges, widths), spread, strict=True
    ):
        share = (offset + within) / (length - crop + 1)
        assert stats.kstest(share, "uniform").pvalue > ONE_IN_A_MILLION


def test_the_seed_alone_decides(databases):
    layer = data_layer(databases["jpeg"], VGG, batch=4)
    first = outputs(layer, batches=2)
    np.testing.assert_array_equal(outputs(layer, batches=2), first)
    assert (outputs(layer, batches=2, seed=SEED + 1) != first).any(axis=(1, 2, 3)).all()


def test_lists_of_files_are_drawn_as_databases(databases):
    from_lmdb = outputs(data_layer(databases["jpeg"], VGG, batch=4), batches=2)
    from_files = outputs(data_layer(databases["list"], VGG, batch=4), batches=2)
    np.testing.assert_array_equal(from_lmdb, from_files)


@pytest.mark.parametrize("kind", ["jpeg", "list"])
def test_the_number_of_threads_changes_nothing(databases, tmp_path, kind):
    layer = data_layer(databases[kind], VGG, batch=16)
    here = hashlib.sha256()
    for batch in np.split(outputs(layer, batches=2), 2):
        here.update(batch.tobytes())
    for threads in ("1", "2", "4"):
        done = in_child(tmp_path, layer, batches=2, OMP_NUM_THREADS=threads)
        assert done.stdout == here.hexdigest() + "\n", done.stderr
