"""data/photographs/create.py, on a picture whose pixels tell their places."""

import numpy as np
import pytest
from PIL import Image

from generator.errors import UserError
from swwae.datasets import photographs


def slope(width, height):
    """Red grows from left to right, green from top to bottom, both from 0 to 250."""
    red = np.linspace(0, 250, width)[np.newaxis] + np.zeros((height, 1))
    green = np.linspace(0, 250, height)[:, np.newaxis] + np.zeros((1, width))
    values = np.stack([red, green, np.zeros((height, width))], axis=-1)
    return Image.fromarray(np.rint(values).astype(np.uint8))


def test_a_missing_photograph_is_told_with_the_command(monkeypatch, tmp_path):
    def installed(package, folder, *_):
        return tmp_path / folder.name

    monkeypatch.setattr(photographs.debian, "package_folder", installed)
    with pytest.raises(UserError) as error:
        photographs.photographs()
    missing = tmp_path / "BytheWater/contents/images/2560x1600.jpg"
    assert f"{missing} is missing" in str(error.value)
    assert "apt-get install --reinstall mate-backgrounds plasma" in str(error.value)


@pytest.mark.parametrize("size", [(2560, 1600), (640, 427), (512, 512), (300, 700)])
def test_pieces_lie_inside_and_cover_the_photograph(size):
    pieces = [np.asarray(piece) for piece in photographs.pieces(slope(*size))]
    assert len(pieces) == photographs.PIECES
    assert {piece.shape for piece in pieces} == {(375, 500, 3)}
    reds = np.array([(piece[..., 0].min(), piece[..., 0].max()) for piece in pieces])
    greens = np.array([(piece[..., 1].min(), piece[..., 1].max()) for piece in pieces])
    # together they reach nearly every edge
    assert reds[:, 0].min() <= 12 and reds[:, 1].max() >= 238
    assert greens[:, 0].min() <= 12 and greens[:, 1].max() >= 238
    # nothing is stretched: a pixel is as wide as it is high
    wide = (reds[:, 1] - reds[:, 0]) / 250 * size[0] / 500
    high = (greens[:, 1] - greens[:, 0]) / 250 * size[1] / 375
    np.testing.assert_allclose(wide, high, atol=0.03 * max(size) / 375)


def test_large_photographs_are_seen_at_three_scales():
    pieces = [np.asarray(piece) for piece in photographs.pieces(slope(2560, 1600))]
    seen = [np.ptp(piece[..., 1].astype(int)) / 250 for piece in pieces]
    third = photographs.PIECES // 3
    expected = [1] * third + [0.5] * third + [0.25] * third
    np.testing.assert_allclose(sorted(seen, reverse=True), expected, atol=0.03)


def test_what_is_cut_already_stays(tmp_path, capsys):
    picture = tmp_path / "hill.png"
    slope(600, 450).save(picture)
    folder = tmp_path / "parts"
    photographs.cut({"hill": picture}, folder)
    files = sorted(folder.rglob("*.jpg"))
    assert len(files) == photographs.PIECES
    assert len(list((folder / "val/hill").iterdir())) == 6
    assert "cutting" in capsys.readouterr().out
    times = [file.stat().st_mtime_ns for file in files]
    photographs.cut({"hill": picture}, folder)
    assert capsys.readouterr().out == ""
    assert [file.stat().st_mtime_ns for file in files] == times
    files[3].unlink()
    photographs.cut({"hill": picture}, folder)
    assert files[3].is_file()
