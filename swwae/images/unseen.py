"""Images of kinds that no data set here has, after those of Figure A-3: a screenshot of
text, a drawing, a depth map.

load("depth", 224)  # uint8 (3, 224, 224), BGR

All are computed: the same at every call, and square of any size.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from generator.errors import UserError
from swwae.images.pictures import from_picture

PREFIX = "unseen:"

FINER = 4
"""Drawings are made so many times larger, then averaged: their edges are smooth."""

LARGEST = 4096
"""Pixels of an edge."""

WHITE, INK, LINK, BAR = (255, 255, 255), (32, 33, 34), (51, 102, 204), (234, 236, 240)

PARAGRAPHS = (
    "Max pooling keeps the largest value of each window, and the switches say where it"
    " was. Given both, a decoder puts every value back in its place; given the values"
    " alone, it has to guess.",
    "A network that was trained to name objects has no use for letters, yet most of"
    " this text can be read in what its decoder makes of it.",
)

LINKED = frozenset({"switches", "decoder", "objects", "letters", "network"})
"""Words in another colour, as links are."""


def load(name: str, side: int) -> np.ndarray:
    """Returns uint8 (3, side, side), BGR, of one of NAMES; UserError where there is
    none.

    side: from 1 to 4096 pixels.
    """
    if name not in _PICTURES:
        known = ", ".join(PREFIX + known for known in NAMES)
        raise UserError(f"there is no image {PREFIX}{name}; there are {known}.")
    if not 1 <= side <= LARGEST:
        raise UserError(f"{PREFIX}{name} has from 1 to {LARGEST} pixels, not {side}.")
    return from_picture(_PICTURES[name](side).convert("RGB"))


def _text(side: int) -> Image.Image:
    """As many lines as fit of two paragraphs, below a heading where there is room."""
    page = Image.new("RGB", (side, side), WHITE)
    draw = ImageDraw.Draw(page)
    size = max(7, side / 17)
    font, bold = (ImageFont.load_default(size * factor) for factor in (1, 1.5))
    edge, leading = side / 24, 1.35 * size
    y = edge
    if side >= 10 * size:
        draw.rectangle((0, 0, side, 1.2 * size), fill=BAR)
        y = 1.6 * size
        draw.text((edge, y), "Unpooling", INK, bold)
        y += 1.5 * leading
        draw.line((edge, y, side - edge, y), fill=BAR, width=max(1, side // 160))
        y += leading / 2
    space = font.getlength(" ")
    for paragraph in PARAGRAPHS:
        x = edge
        for word in paragraph.split():
            width = font.getlength(word)
            if x > edge and x + width > side - edge:
                x, y = edge, y + leading
            draw.text((x, y), word, LINK if word.strip(",.;") in LINKED else INK, font)
            x += width + space
        y += 1.5 * leading
    return page


def _drawing(side: int) -> Image.Image:
    """Returns a house, a tree and a sun in flat colours with dark outlines."""
    scale = FINER * side
    page = Image.new("RGB", (scale, scale), (205, 232, 247))
    draw = ImageDraw.Draw(page)
    width = max(FINER, round(scale / 70))

    def at(*points: float) -> list[tuple[float, float]]:
        """Returns pixels of x, y, x, y … in [0, 1]."""
        return [
            (x * scale, y * scale)
            for x, y in zip(points[::2], points[1::2], strict=True)
        ]

    def shape(fill: tuple[int, int, int], *points: float) -> None:
        corners = at(*points)
        draw.polygon(corners, fill)
        draw.line([*corners, *corners[:2]], INK, width, joint="curve")

    def disc(fill: tuple[int, int, int], x: float, y: float, radius: float) -> None:
        box = at(x - radius, y - radius, x + radius, y + radius)
        draw.ellipse(box, fill, INK, width)

    shape((140, 198, 110), -0.1, 0.76, 1.1, 0.72, 1.1, 1.1, -0.1, 1.1)
    for angle in np.arange(0, 2 * np.pi, np.pi / 6):
        x, y = np.cos(angle), np.sin(angle)
        ray = (0.82 + 0.14 * x, 0.17 + 0.14 * y, 0.82 + 0.19 * x, 0.17 + 0.19 * y)
        draw.line(at(*ray), INK, width)
    disc((255, 214, 70), 0.82, 0.17, 0.1)
    shape((246, 226, 190), 0.12, 0.46, 0.54, 0.46, 0.54, 0.86, 0.12, 0.86)
    shape((205, 84, 64), 0.05, 0.47, 0.33, 0.2, 0.61, 0.47)
    shape((122, 82, 52), 0.37, 0.6, 0.48, 0.6, 0.48, 0.86, 0.37, 0.86)
    shape((250, 250, 250), 0.17, 0.54, 0.31, 0.54, 0.31, 0.68, 0.17, 0.68)
    draw.line(at(0.24, 0.54, 0.24, 0.68), INK, width)
    draw.line(at(0.17, 0.61, 0.31, 0.61), INK, width)
    disc((230, 190, 60), 0.455, 0.73, 0.012)
    shape((122, 82, 52), 0.75, 0.62, 0.8, 0.62, 0.81, 0.88, 0.74, 0.88)
    disc((80, 158, 84), 0.7, 0.56, 0.1)
    disc((80, 158, 84), 0.86, 0.55, 0.09)
    disc((96, 176, 96), 0.78, 0.47, 0.11)
    return page.resize((side, side), Image.Resampling.BOX)


SPHERES = (  # x, y, z of the centre, and the radius; y = 0 is the floor
    (-0.75, 0.6, 3.0, 0.6),
    (0.55, 0.4, 2.2, 0.4),
    (0.95, 0.9, 4.4, 0.9),
    (-0.1, 0.25, 1.7, 0.25),
)

EYE_HEIGHT, WALL, FOCAL_LENGTH = 1.0, 6.0, 1.1
"""Of the pinhole camera, which looks along z; in the units of SPHERES, the focal length
in widths of the image."""


def _depth(side: int) -> Image.Image:
    """Spheres on a floor before a wall: the nearer, the brighter."""
    place = (np.arange(side) + 0.5) / side - 0.5
    x, y = np.meshgrid(place / FOCAL_LENGTH, -place / FOCAL_LENGTH)
    with np.errstate(divide="ignore"):
        floor = np.where(y < 0, -EYE_HEIGHT / y, np.inf)
    depth = np.minimum(floor, WALL)  # z, as the rays (x, y, 1) have z = t
    squared = x**2 + y**2 + 1
    for centre_x, centre_y, centre_z, radius in SPHERES:
        up = centre_y - EYE_HEIGHT
        along = x * centre_x + y * up + centre_z
        distance = centre_x**2 + up**2 + centre_z**2 - radius**2
        inside = along**2 - squared * distance
        hit = (along - np.sqrt(np.maximum(inside, 0))) / squared
        depth = np.where((inside > 0) & (hit > 0), np.minimum(depth, hit), depth)
    near = min(centre_z - radius for _, _, centre_z, radius in SPHERES)
    bright = np.clip((WALL - depth) / (WALL - near), 0, 1)
    return Image.fromarray(np.rint(40 + 215 * bright).astype(np.uint8))


_PICTURES: dict[str, Callable[[int], Image.Image]] = {
    "text": _text,
    "drawing": _drawing,
    "depth": _depth,
}

NAMES = tuple(_PICTURES)
