"""Makes the JPEG that a database stores of an image file, or says why it is unfit."""

import io
import os
import warnings
from dataclasses import dataclass

import cv2
import numpy as np
import PIL
from PIL import Image, UnidentifiedImageError

from swwae.datasets.image_files import SUFFIXES

ORIENTATION = 0x0112
"""The Exif tag."""

EXIF_START = b"Exif\0\0"
APP1, START_OF_SCAN = 0xE1, 0xDA
"""JPEG's markers."""

LARGEST_SIDE = 2**16 - 1
"""Pixels; of a JPEG."""

PNG_DEPTH = 24
"""The byte where a PNG says how many bits a channel has."""

# What was changed of an image, as info.json counts it.
SHRUNK = "shrunk"
GREY = "grey made colour"
PNG = "PNG made JPEG"
TURNED = "orientation tag removed"

# How many times smaller OpenCV's JPEG decoder can make an image, most first.
REDUCED = (
    (8, cv2.IMREAD_REDUCED_COLOR_8),
    (4, cv2.IMREAD_REDUCED_COLOR_4),
    (2, cv2.IMREAD_REDUCED_COLOR_2),
    (1, cv2.IMREAD_COLOR),
)


class UnfitImage(Exception):
    """Why an image is not stored, in words that follow its name."""


@dataclass(frozen=True)
class Jpeg:
    """content: a colour JPEG. mean: of its pixels, BGR, of 0 to 255."""

    content: bytes
    mean: tuple[float, float, float]
    changes: tuple[str, ...]


def encoder() -> str:
    """Returns the libraries on whose versions the bytes depend."""
    return f"OpenCV {cv2.__version__}, Pillow {PIL.__version__}"


def be_quiet() -> None:
    """Lets no library speak up, or start threads, in this process of many.

    Their JPEG decoders write of every flaw to stderr, which is closed. What Pillow
    takes for a decompression bomb becomes an unfit image.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    cv2.setNumThreads(1)


def stored(content: bytes, name: str, max_side: int, quality: int) -> Jpeg:
    """Returns the JPEG to store of the image file `content`, called `name`.

    A colour JPEG whose shorter edge has at most `max_side` pixels (0: any number)
    keeps its bytes; a larger one is shrunk to that, and what is grey or a PNG becomes
    colour; these are encoded anew with `quality`. An Exif orientation other than
    upright is dropped, the pixels staying as they lie in the file: OpenCV, so Caffe,
    would turn them, Pillow not. Raises UnfitImage.
    """
    if not content:
        raise UnfitImage("is empty (zero bytes)")
    try:
        with Image.open(io.BytesIO(content)) as picture:
            _check_kind(picture, content, name)
            return _stored(picture, content, max_side, quality)
    except UnidentifiedImageError as error:
        raise UnfitImage("is no image of any known format") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnfitImage(f"is too large ({Image.MAX_IMAGE_PIXELS} pixels)") from error
    except (OSError, SyntaxError, ValueError, IndexError, cv2.error) as error:
        # Pillow's own words: "image file is truncated (7 bytes not processed)", …
        raise UnfitImage(f"cannot be decoded: {error}") from error


def mean_of(content: bytes) -> tuple[tuple[int, int], tuple[float, float, float]]:
    """Returns (width, height) and BGR mean of a stored JPEG; raises UnfitImage."""
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as picture:
            if picture.mode != "RGB":
                raise UnfitImage(f"is no colour JPEG but {picture.mode}")
            if _orientation(picture) != 1:
                raise UnfitImage("has an orientation that is not upright")
            return picture.size, cv2.mean(_jpeg_pixels(picture, content))[:3]
    except (OSError, SyntaxError, ValueError, IndexError, cv2.error) as error:
        raise UnfitImage(f"cannot be decoded: {error}") from error


def _check_kind(picture: Image.Image, content: bytes, name: str) -> None:
    # A JPEG with a preview or a second view beside it is an MPO to Pillow.
    found = "JPEG" if picture.format == "MPO" else picture.format
    suffix = os.path.splitext(name)[1]
    if found != SUFFIXES[suffix.lower()]:
        raise UnfitImage(f"is a {found}, named {suffix}")
    if found == "PNG" and getattr(picture, "is_animated", False):
        raise UnfitImage(f"is animated ({picture.n_frames} frames)")
    if picture.mode == "CMYK":
        raise UnfitImage("is CMYK or YCCK, expected grey or RGB")
    if found == "PNG" and content[PNG_DEPTH] > 8:
        # Pillow makes 8 of them, without a word, where they are in colour.
        raise UnfitImage(f"has {content[PNG_DEPTH]} bits a channel, expected 8")


def _stored(picture: Image.Image, content: bytes, max_side: int, quality: int) -> Jpeg:
    size, shorter = picture.size, min(picture.size)
    is_png = picture.format == "PNG"
    changes = []
    if 0 < max_side < shorter:
        changes.append(SHRUNK)
        size = tuple(round(max_side * length / shorter) for length in size)
    if picture.mode in ("1", "L", "LA"):
        changes.append(GREY)
    if is_png:
        changes.append(PNG)
    encode_anew = bool(changes)
    if not is_png and _orientation(picture) != 1:
        changes.append(TURNED)
        if not encode_anew:
            upright = _upright(content)
            encode_anew = upright is None
            content = upright or content
    times = shorter // min(size)
    pixels = _png_pixels(picture) if is_png else _jpeg_pixels(picture, content, times)
    if SHRUNK in changes:
        pixels = _resized(pixels, size)
    if encode_anew:
        parameters = [cv2.IMWRITE_JPEG_QUALITY, quality]
        possible, buffer = cv2.imencode(".jpg", pixels, parameters)
        if not possible:
            width, height = size
            raise UnfitImage(f"is too large for a JPEG ({width} × {height} pixels)")
        content = buffer.tobytes()
    return Jpeg(content, cv2.mean(pixels)[:3], tuple(changes))


def _jpeg_pixels(picture: Image.Image, content: bytes, times: int = 1) -> np.ndarray:
    """uint8 (h, w, 3), BGR, of a JPEG as it lies in the file.

    Where it may be up to `times` smaller, the decoder halves it as often as that
    allows. OpenCV decodes it, as Caffe will. Raises what Pillow raises where it is
    truncated.
    """
    flag = next(flag for smaller, flag in REDUCED if smaller <= times)
    buffer = np.frombuffer(content, np.uint8)
    pixels = cv2.imdecode(buffer, flag | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        picture.load()  # tells the reason
        raise UnfitImage("cannot be decoded by OpenCV, nor so by Caffe")
    return pixels


def _png_pixels(picture: Image.Image) -> np.ndarray:
    """uint8 (h, w, 3), BGR, without any transparency."""
    return np.asarray(picture.convert("RGB"))[..., ::-1]


def _resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    # Below twice the size each pixel counts among the four nearest; above it, as for
    # PNGs, some would be passed over.
    twice = pixels.shape[1] >= 2 * size[0]
    interpolation = cv2.INTER_AREA if twice else cv2.INTER_LINEAR
    return cv2.resize(pixels, size, interpolation=interpolation)


def _orientation(picture: Image.Image) -> int | None:
    """1 is upright; None where the Exif data are damaged, and readers may differ."""
    if "exif" not in picture.info:
        return 1
    try:
        return picture.getexif().get(ORIENTATION, 1)
    except Exception:  # Pillow promises no kind of exception here
        return None


def _upright(content: bytes) -> bytes | None:
    """Returns a JPEG's bytes without orientation; None where damaged segments hide
    it."""
    try:
        content = _without_exif(content)
        with Image.open(io.BytesIO(content)) as picture:
            return content if _orientation(picture) == 1 else None
    except (IndexError, OSError):
        return None


def _without_exif(content: bytes) -> bytes:
    """Returns a JPEG's bytes but for its Exif segments."""
    kept, place = [content[:2]], 2
    while content[place + 1] != START_OF_SCAN:
        if content[place + 1] == 0xFF:  # a byte that fills
            place += 1
            continue
        end = place + 2 + int.from_bytes(content[place + 2 : place + 4], "big")
        is_exif = content[place + 1] == APP1 and content.startswith(
            EXIF_START, place + 4
        )
        if not is_exif:
            kept.append(content[place:end])
        place = end
    return b"".join([*kept, content[place:]])
