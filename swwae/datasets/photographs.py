"""Photographs of free software, cut into images of the size that ILSVRC 2012 has."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from PIL import Image

from generator.errors import UserError
from swwae.base.files import whole_file
from swwae.base.project import ROOT
from swwae.datasets import debian

HOME = ROOT / "data" / "photographs"

PARTS = ROOT / "build" / "photographs"
"""Where the pieces go, with a folder for each split and photograph."""

SIZE = (500, 375)
"""Pixels, width and height of a piece: a typical image's of ILSVRC 2012."""

PIECES = 48
"""Of each photograph; every VALIDATION-th is for validation."""

VALIDATION = 8
QUALITY = 95

SKIMAGE = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png")

# A package, the folder of its photographs, and its megabytes.
MATE = ("mate-backgrounds", Path("/usr/share/backgrounds/mate/nature"), 47)
WALLPAPERS = (
    "BytheWater",
    "ColdRipple",
    "ColorfulCups",
    "DarkestHour",
    "EveningGlow",
    "FallenLeaf",
    "Grey",
    "Kite",
    "OneStandsOut",
    "Path",
    "summer_1am",
)
# Other packages have wallpapers in the folder around.
PLASMA = (
    "plasma-workspace-wallpapers",
    Path("/usr/share/wallpapers", WALLPAPERS[0]),
    95,
)

OTHERWISE = (
    "make databases of photographs of yours, a folder for each class, with "
    "data/ilsvrc12/create.py"
)


def photographs() -> dict[str, Path]:
    """Returns the file of every photograph, by name.

    Debian's packages are installed where they are missing. Raises UserError where that
    fails, or a file is missing.
    """
    import skimage  # here, because it is slow to import

    folder = Path(skimage.__file__).parent / "data"
    files = {Path(name).stem: folder / name for name in SKIMAGE}
    mate, plasma = (
        debian.package_folder(
            package, folder, "a part of the photographs", megabytes, OTHERWISE
        )
        for package, folder, megabytes in (MATE, PLASMA)
    )
    files |= {path.stem: path for path in sorted(mate.glob("*.jpg"))}
    files |= {
        name: plasma.with_name(name) / "contents/images/2560x1600.jpg"
        for name in WALLPAPERS
    }
    missing = [str(path) for path in files.values() if not path.is_file()]
    if missing:
        raise UserError(
            f"{missing[0]} is missing, a photograph of scikit-image or of Debian 12's "
            f"{MATE[0]} and {PLASMA[0]}: run tools/venv.sh and apt-get install "
            f"--reinstall {MATE[0]} {PLASMA[0]}, or {OTHERWISE}"
        )
    return files


def pieces(photograph: Image.Image) -> Iterator[Image.Image]:
    """Yields PIECES parts of SIZE at places and scales that are spread evenly.

    A third each is taken from the whole, from a half and from a quarter of its sides,
    as far as those are large enough; what is too small is enlarged.
    """
    for number in range(PIECES):
        part, place = number % 3, number // 3
        share = 2**-part
        scale = max(
            SIZE[0] / (share * photograph.width), SIZE[1] / (share * photograph.height)
        )
        if part and scale > 1:
            scale = max(SIZE[0] / photograph.width, SIZE[1] / photograph.height)
        width, height = SIZE[0] / scale, SIZE[1] / scale
        across, down = (place * 0.618034) % 1, (place + 0.5) * 3 / PIECES
        left = across * (photograph.width - width)
        top = down * (photograph.height - height)
        yield photograph.resize(
            SIZE,
            Image.Resampling.BILINEAR,
            (left, top, left + width, top + height),
        )


def cut(files: Mapping[str, Path], folder: Path) -> None:
    """Writes folder/{train,val}/<photograph>/<number>.jpg; what is there stays."""
    for name, path in files.items():
        targets = [
            folder
            / ("train" if place % VALIDATION else "val")
            / name
            / f"{place:02d}.jpg"
            for place in range(PIECES)
        ]
        if all(target.is_file() for target in targets):
            continue
        print(f"cutting {path}", flush=True)
        with Image.open(path) as image:
            photograph = image.convert("RGB")
        for target, piece in zip(targets, pieces(photograph), strict=True):
            target.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(target) as file:
                piece.save(file, "JPEG", quality=QUALITY)
