"""Images against the layers that read them: which of them Caffe's data layer takes.

It decodes, resizes and crops as `transform_param` says, and converts nothing else: the
first image decides what the network is, and a later one that does not fit ends the
training.
"""

from collections.abc import Iterator, Sequence

from .datums import BYTES_EACH, FLOATS_EACH, PICTURE
from .layers import Fields, Layer
from .source import batch_size, image_shape, transformed
from .survey import Kind

COLOURS = {1: "grey", 3: "colour"}

FORCED = {1: "force_gray", 3: "force_color"}
"""Fields of transform_param that have pictures decoded so, by channels."""


def readers(layers: Sequence[Layer], blob: str) -> list[Layer]:
    """Returns the layers that read databases, or files, of a network's images.

    blob: the images', which may be joined from those of several layers.
    """
    joined = [la for la in layers if la.type == "Concat" and blob in la.tops]
    blobs = {blob, *(bottom for layer in joined for bottom in layer.bottoms)}
    kinds = ("Data", "ImageData")
    return [la for la in layers if la.type in kinds and blobs & set(la.tops[:1])]


def channels_fault(layer: Layer, channels: int, source: str, net: str) -> str | None:
    """Returns a sentence on a first image of another number of channels than a network
    reads; None where it has as many, or is not there.

    source, net: the data and the network, as a person is told them.
    """
    shape = image_shape(layer)
    if shape is None or shape[0] == channels:
        return None
    return (
        f"{source} holds images in {colour(shape[0])}, and {net} reads"
        f" {colour(channels)}: {_recolour(layer, channels, layer.type == 'Data')}."
    )


def faults(
    layer: Layer, kinds: Sequence[Kind], channels: int, source: str, net: str
) -> Iterator[str]:
    """Yields sentences on images of a database that a Data layer would end a training
    over, or read wrongly.

    kinds: that are in the database; those that are not known are passed over. channels:
    that the network reads. source, net: as in `channels_fault`.
    """
    transform = _transform(layer)
    resizes = bool(transform.get("shorter_edge") or transform.get("center_square"))
    known = [kind for kind in kinds if kind.channels]
    for kind in known:
        which = f"{source} holds {_images(kind, len(kinds) > 1)}"
        found = _read_channels(kind, transform)
        if kind.coding == PICTURE and kind.bits > 8 and not _forced(transform):
            force = FORCED.get(channels, FORCED[3])
            yield (
                f"{which} of {kind.bits} bits a channel, and layer '{layer.name}' of"
                f" {net} reads 8: write {force}: true in its transform_param, which"
                " decodes them to 8."
            )
        elif kind.coding == BYTES_EACH and kind.bits > 8:
            yield (
                f"{which} that have {kind.bits // 8} bytes for each value, of which"
                " Caffe would read single bytes: make it again with one byte a value,"
                " or with the values in float_data."
            )
        elif found != channels:
            yield (
                f"{which} in {colour(found)}, and {net} reads {colour(channels)}:"
                f" {_recolour(layer, channels, kind.coding == PICTURE)}."
            )
        elif kind.coding == FLOATS_EACH and resizes:
            yield (
                f"{which} of floating-point numbers (float_data), which layer"
                f" '{layer.name}' of {net} cannot resize: make it again in the size"
                " that the network reads, and leave shorter_edge and center_square out."
            )
    yield from _size_faults(layer, known, source, net)


def size(layer: Layer, kinds: Sequence[Kind]) -> tuple[int, int] | None:
    """Returns height and width of all images that a Data layer makes of a database's;
    None where they are not known, or differ."""
    transform = _transform(layer)
    if crop := transform.get("crop_size", 0):
        return crop, crop
    if "shorter_edge_max" in transform:
        return None
    if transform.get("center_square") and (edge := transform.get("shorter_edge")):
        return edge, edge
    sizes = {size for kind in kinds for size in (kind.least, kind.most)}
    shape = transformed(layer, (1, *sizes.pop())) if len(sizes) == 1 else None
    return shape and shape[1:]


def colour(channels: int) -> str:
    """Returns "grey", "colour", or "2-channel"."""
    return COLOURS.get(channels, f"{channels}-channel")


def _size_faults(
    layer: Layer, kinds: Sequence[Kind], source: str, net: str
) -> Iterator[str]:
    transform = _transform(layer)
    crop, edge = transform.get("crop_size", 0), transform.get("shorter_edge", 0)
    if not kinds or (edge and (crop or transform.get("center_square"))):
        return
    if crop:
        for kind in kinds:
            if min(kind.least) < crop:
                yield (
                    f"{source} holds images of down to {_pixels(kind.least)} pixels,"
                    f" and layer '{layer.name}' of {net} crops them to {crop}x{crop}:"
                    f" write shorter_edge: {crop} in its transform_param, which resizes"
                    " them first."
                )
        return
    sizes = {size for kind in kinds for size in (kind.least, kind.most)}
    made = {transformed(layer, (1, *size)) for size in sizes}
    if len(made) > 1 and batch_size(layer) > 1 and "shorter_edge_max" not in transform:
        least, most = (
            tuple(choose(size[axis] for size in sizes) for axis in (0, 1))
            for choose in (min, max)
        )
        yield (
            f"{source} holds images of several sizes, {_pixels(least)} to"
            f" {_pixels(most)} pixels, and layer '{layer.name}' of {net} takes"
            f" {batch_size(layer)} of them at a time: write crop_size, and shorter_edge"
            " where they are to be resized first, in its transform_param."
        )


def _images(kind: Kind, others: bool) -> str:
    if not others:
        return "images"
    if kind.images == 1:
        return f"an image (entry {kind.entry})"
    return f"{kind.images:,} images (the first is entry {kind.entry})"


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _transform(layer: Layer) -> Fields:
    return layer.fields.get("transform_param", {})


def _forced(transform: Fields) -> int | None:
    """Returns the channels that pictures are decoded with; None for their own."""
    return next((n for n, field in FORCED.items() if transform.get(field)), None)


def _read_channels(kind: Kind, transform: Fields) -> int:
    return (kind.coding == PICTURE and _forced(transform)) or kind.channels


def _recolour(layer: Layer, channels: int, encoded: bool) -> str:
    """Returns what to do about images of other channels than the network reads."""
    if layer.type == "ImageData":
        value = "true" if channels == 3 else "false"
        return f"write is_color: {value} in the image_data_param of '{layer.name}'"
    again = f"make it again in {colour(channels)}"
    if channels not in COLOURS:
        return f"{again}, or take a network file that reads what it holds"
    options = " --gray" if channels == 1 else ""
    mend = f"{again} (convert_imageset{options})"
    if encoded:
        mend += (
            f", or write {FORCED[channels]}: true in the transform_param of"
            f" '{layer.name}', if they are encoded (JPEG, PNG)"
        )
    return f"{mend}, or take a network file that reads what it holds"
