"""Image files made square, in colour or grey, for a database of one size."""

import hashlib
import json
import warnings
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from generator.errors import UserError
from swwae.datasets import image_folders, jpegs
from swwae.datasets.encoded_records import MAX_FILE_BYTES
from swwae.datasets.image_folders import Files
from swwae.datasets.raw_databases import Pairs, ToStore
from swwae.datasets.workers import ordered_map
from swwae.images.pictures import from_picture, grey_or_colour

DEFAULT_SIDE = 32


@dataclass(frozen=True)
class Form:
    """side: pixels. channels: 3 of colour, or 1."""

    side: int
    channels: int


class Unreadable(Exception):
    """Why a file is no image to store, in words that follow its name."""


def square(path: Path, form: Form) -> np.ndarray:
    """Returns uint8 (C, side, side) of an image file: its shorter edge becomes `side`
    long, and the middle of the other one is kept. Raises Unreadable."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise Unreadable("is too large")
        with Image.open(path) as picture:
            # A large JPEG is decoded at a half, a quarter or an eighth.
            picture.draft(None, (2 * form.side, 2 * form.side))
            plain = grey_or_colour(picture).convert(
                "L" if form.channels == 1 else "RGB"
            )
    except UnidentifiedImageError:
        raise Unreadable("is no image of any known format") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Unreadable(f"has more than {Image.MAX_IMAGE_PIXELS} pixels") from None
    except (OSError, SyntaxError, ValueError, IndexError) as error:
        raise Unreadable(f"cannot be decoded ({error})") from None
    shorter = min(plain.size)
    left, top = ((length - shorter) // 2 for length in plain.size)
    middle = plain.crop((left, top, left + shorter, top + shorter))
    size = (form.side, form.side)
    return from_picture(middle.resize(size, Image.Resampling.BILINEAR))


def to_store(files: Files, form: Form, jobs: int, skip: bool) -> ToStore:
    """Returns the files as images of a database.

    jobs: processes that decode. skip: leaves out what cannot be read, and says so on
    stdout; else the last image is followed by a UserError that names the first.
    """
    rows = image_folders.identity(files)
    digest = hashlib.sha256(json.dumps(rows).encode()).hexdigest()
    count = len(files.paths)
    shape = (form.channels, form.side, form.side)

    def pairs(order: np.ndarray) -> Pairs:
        return _pairs(files, form, order, jobs, skip)

    return ToStore(count, shape, {"files_sha256": digest, "side": form.side}, pairs)


def _pairs(
    files: Files, form: Form, order: np.ndarray, jobs: int, skip: bool
) -> Iterator[tuple[np.ndarray, int]]:
    places = order.tolist()
    images = ordered_map(_decode, places, jobs, _start, (files, form))
    faults = []
    with closing(images):
        for place, image in zip(places, images, strict=True):
            if isinstance(image, str):
                faults.append(f"{files.paths[place]} {image}")
            else:
                yield image, int(files.labels[place])
    if faults and not skip:
        others = f" (and {len(faults) - 1} more files)" if len(faults) > 1 else ""
        raise UserError(
            f"{faults[0]}{others}: mend or remove it, or give --skip-unreadable"
        )
    for fault in faults:
        print(f"left out: {fault}")


_shared: tuple = ()
"""What a process gets when it starts, and works with."""


def _start(files: Files, form: Form) -> None:
    global _shared
    _shared = files, form
    jpegs.be_quiet()


def _decode(place: int) -> np.ndarray | str:
    """Returns an image, or why there is none."""
    files, form = _shared
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            return square(files.paths[place], form)
        except Unreadable as error:
            return str(error)
