"""Labels against outputs: which databases name the classes that a network scores.

Caffe does not compare them: a label beyond the outputs is read past the scores' memory.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .layers import PHASES, Layer, as_list
from .survey import Ranges

COMPARED = {
    "SoftmaxWithLoss": ("softmax_param", "loss_param"),
    "Accuracy": ("accuracy_param", "accuracy_param"),
    "InfogainLoss": ("infogain_loss_param", "loss_param"),
    "HingeLoss": (None, None),
    "MultinomialLogisticLoss": (None, None),
}
"""Layers whose second bottom holds classes: where their axis and ignore_label stand."""

UNITS = {
    "InnerProduct": "inner_product_param",
    "Convolution": "convolution_param",
    "Deconvolution": "convolution_param",
}
"""Layers that say how many channels they yield: as num_output."""

ALIKE = {
    *("ReLU", "PReLU", "ELU", "Sigmoid", "TanH", "AbsVal", "BNLL", "Swish", "Clip"),
    *("Power", "Exp", "Log", "Dropout", "BatchNorm", "Scale", "Bias", "LRN", "MVN"),
    *("Softmax", "Split", "Pooling", "Eltwise"),
}
"""Layers that yield as many channels as they read."""

WITH_LABELS = ("Data", "ImageData")
"""Layers whose second top holds labels, and whose labels can be looked at."""


@dataclass(frozen=True)
class Comparison:
    """A layer that compares a data layer's labels with scores.

    by: its name; outputs: how many scores there are; ignored: the label that it passes
    over, if any; ignored_in: the message that says so, None where it cannot.
    """

    data: Layer
    by: str
    outputs: int
    ignored: int | None
    ignored_in: str | None

    def fault(self, labels: Ranges, source: str, net: str) -> str | None:
        """Returns a sentence on labels that have no output; None where all have one.

        source, net: the data and the network, as a person is told them.
        """
        classes = tuple(_without(labels, self.ignored))
        if not classes or 0 <= classes[0][0] <= classes[-1][1] < self.outputs:
            return None
        return (
            f"{source} has the labels {ranges_text(labels)}, and '{self.by}' of {net}"
            f" compares {_outputs(self.outputs)}: {self._mend(classes)}."
        )

    def _mend(self, labels: Sequence[tuple[int, int]]) -> str:
        """Returns what to do about labels that have no output."""
        least, most = labels[0][0], labels[-1][1]
        if least == 1 and most == self.outputs:
            return (
                "Caffe counts classes from 0; make the data again with labels from 0 on"
            )
        if least == -1 and most < self.outputs and self.ignored_in:
            return (
                "-1 is no class; where it means no label, give the layer"
                f" {self.ignored_in} {{ ignore_label: -1 }}"
            )
        if least < 0:
            return (
                "classes are counted from 0; make the data again with labels from 0 on"
            )
        return (
            "take other data, or a network file whose scores have num_output:"
            f" {most + 1}"
        )


def comparisons(layers: Sequence[Layer]) -> list[Comparison]:
    """Returns what compares labels with scores in a network, each once, as far as the
    layers tell: a blob of unknown origin, or of an unknown number of channels, is left
    out."""
    found: dict[tuple, Comparison] = {}
    for phase in PHASES:
        present = [layer for layer in layers if layer.in_phase(phase)]
        for comparison in _in_phase(present):
            data = comparison.data
            key = (data.name, str(data.fields), comparison.outputs, comparison.ignored)
            found.setdefault(key, comparison)
    return list(found.values())


def _in_phase(layers: Sequence[Layer]) -> Iterator[Comparison]:
    for place, layer in enumerate(layers):
        if layer.type not in COMPARED or len(layer.bottoms) < 2:
            continue
        axis_in, ignore_in = COMPARED[layer.type]
        if layer.fields.get(axis_in, {}).get("axis", 1) != 1:
            continue
        outputs = channels(layers[:place], layer.bottoms[0])
        if outputs is None:
            continue
        ignored = layer.fields.get(ignore_in, {}).get("ignore_label")
        for data in _origins(layers[:place], layer.bottoms[1]):
            yield Comparison(data, layer.name, outputs, ignored, ignore_in)


def channels(layers: Sequence[Layer], blob: str) -> int | None:
    """Returns how many channels the last of these layers to make a blob gives it; None
    where that is not said."""
    place = _producer(layers, blob)
    if place is None:
        return None
    layer, before = layers[place], layers[:place]
    if layer.type in UNITS:
        fields = layer.fields.get(UNITS[layer.type], {})
        return fields.get("num_output") if fields.get("axis", 1) == 1 else None
    if layer.type in ALIKE and layer.bottoms:
        return channels(before, layer.bottoms[0])
    if layer.type == "Concat" and _axis(layer) == 1:
        parts = [channels(before, bottom) for bottom in layer.bottoms]
        return None if None in parts else sum(parts)
    if layer.type in ("Flatten", "Reshape"):
        return _reshaped(layer, before)
    return None


def _reshaped(layer: Layer, before: Sequence[Layer]) -> int | None:
    """Returns how many channels a Flatten or Reshape yields; None where the layers
    before it do not tell."""
    if layer.type == "Flatten":
        fields = layer.fields.get("flatten_param", {})
        known = (fields.get("axis", 1), fields.get("end_axis", -1)) == (1, -1)
        sides = [-1] if known else []
    else:
        fields = layer.fields.get("reshape_param", {})
        known = fields.get("axis", 0) in (0, 1) and "num_axes" not in fields
        sides = as_list(fields.get("shape", {}).get("dim")) if known else []
        sides = sides if fields.get("axis", 0) else sides[1:]
    if not sides or sides[0] > 0:
        return sides[0] if sides else None
    if sides[0] == -1 and not (
        _is_flat(before, layer.bottoms[0]) and all(side == 1 for side in sides[1:])
    ):
        return None
    return channels(before, layer.bottoms[0])


def _is_flat(layers: Sequence[Layer], blob: str) -> bool:
    """Tells whether a channel of a blob is known to be one number."""
    place = _producer(layers, blob)
    if place is None:
        return False
    layer = layers[place]
    if layer.type in ("InnerProduct", "Flatten"):
        return True
    if layer.fields.get("pooling_param", {}).get("global_pooling"):
        return True
    return layer.type in ALIKE and _is_flat(layers[:place], layer.bottoms[0])


def _origins(layers: Sequence[Layer], blob: str) -> list[Layer]:
    """Returns the data layers whose labels a blob holds."""
    place = _producer(layers, blob)
    if place is None:
        return []
    layer, before = layers[place], layers[:place]
    if layer.type in WITH_LABELS:
        return [layer] if blob in layer.tops[1:] else []
    if layer.type == "Split" or (layer.type == "Concat" and _axis(layer) == 0):
        return [data for bottom in layer.bottoms for data in _origins(before, bottom)]
    return []


def _producer(layers: Sequence[Layer], blob: str) -> int | None:
    places = (place for place in range(len(layers) - 1, -1, -1))
    return next((place for place in places if blob in layers[place].tops), None)


def _axis(layer: Layer) -> int:
    fields = layer.fields.get("concat_param", {})
    return fields.get("axis", fields.get("concat_dim", 1))


# --- words


def ranges_text(labels: Ranges) -> str:
    """Returns "0 to 9" or "-1 and 1 to 10"; of many runs, those at the ends."""
    runs = [
        str(first) if first == last else f"{first} to {last}" for first, last in labels
    ]
    if len(runs) > 4:
        runs[2:-1] = ["…"]
    return runs[0] if len(runs) == 1 else f"{', '.join(runs[:-1])} and {runs[-1]}"


def _without(labels: Ranges, ignored: int | None) -> Iterator[tuple[int, int]]:
    for first, last in labels:
        if ignored is None or not first <= ignored <= last:
            yield first, last
            continue
        if first < ignored:
            yield first, ignored - 1
        if ignored < last:
            yield ignored + 1, last


def _outputs(count: int) -> str:
    return (
        "one output, for the label 0"
        if count == 1
        else (f"{count:,} outputs, for the labels 0 to {count - 1}")
    )
