"""Figures made of images, pixel for pixel."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from swwae.base.files import whole_file
from swwae.images.pictures import to_picture

GAP = 2
"""Pixels between images."""

PAPER, INK = (255, 255, 255), (32, 32, 32)


def grid(rows: list[tuple[str, list[np.ndarray]]], scale: int) -> Image.Image:
    """Draws rows of images under one another, each with its label on the left.

    The images are uint8 (C, H, W), C = 1 or 3 (BGR), all of one shape; each pixel
    becomes scale x scale pixels.
    """
    height, width = (side * scale for side in rows[0][1][0].shape[1:])
    font = ImageFont.load_default(size=min(max(height // 5, 11), 18))
    margin = label_width(rows, font)
    columns = max(len(images) for _, images in rows)
    page = Image.new(
        "RGB",
        (margin + columns * (width + GAP) + GAP, len(rows) * (height + GAP) + GAP),
        PAPER,
    )
    draw = ImageDraw.Draw(page)
    for line, (label, images) in enumerate(rows):
        top = GAP + line * (height + GAP)
        draw.multiline_text(
            (8, top + height // 2), label, fill=INK, font=font, anchor="lm"
        )
        for place, image in enumerate(images):
            picture = to_picture(image).resize(
                (width, height), Image.Resampling.NEAREST
            )
            page.paste(picture, (margin + GAP + place * (width + GAP), top))
    return page


def label_width(rows: list[tuple[str, list[np.ndarray]]], font) -> int:
    """Returns the pixels that labels take, with air on both sides; 0 without labels."""
    lines = [line for label, _ in rows for line in label.split("\n")]
    longest = max(font.getlength(line) for line in lines)
    return round(longest) + 16 if longest else 0


def default_scale(side: int) -> int:
    """Returns by how much an image of that side is enlarged: a small one to about 64
    pixels, a large one not at all."""
    return max(1, round(64 / side))


def save(page: Image.Image, path: Path) -> None:
    """Writes a PNG whole or not at all; raises UserError where it cannot."""
    with whole_file(path) as file:
        page.save(file, format="PNG")
