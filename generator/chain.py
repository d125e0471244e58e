"""From a user's layers to macro-layers: the chain from the image to the scores.

At every blob the chain takes the one reader from which a layer with weights can be
reached. It ends where nothing more follows, or where a layer cannot be mirrored; depths
up to there can still be decoded from.
"""

from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from . import names
from .errors import UserError
from .layers import PHASES, Layer, Shape
from .mirror import INVERTIBLE, obstacle
from .networks import macro_layer
from .sequence import WEIGHTED, Activation, MacroLayer
from .shapes import inferred

LEARNING = (*WEIGHTED, "Deconvolution", "Embed", "LSTM", "RNN", "Recurrent", "Python")
"""Layers that a chain must not pass by."""

CLASSIFYING = (names.CLASSIFICATION, "Softmax", "MultinomialLogisticLoss")

GROUPS = ("pooling", "layer")
"""Where a macro-layer of convolutions ends: behind a pooling, or behind every one."""


def has_source(layers: list[Layer], phase: str) -> bool:
    """Tells whether a layer yields data in a phase."""
    return any(not layer.bottoms and layer.in_phase(phase) for layer in layers)


@dataclass(frozen=True)
class Value:
    """What a blob holds after a layer has written it."""

    producer: int
    blob: str


class Walk:
    """Follows a network, in one phase of its file, from the image to the scores.

    start: the blob of the images.
    """

    def __init__(self, layers: list[Layer], phase: str, path: Path) -> None:
        self._layers = layers
        self._path = path
        self._readers: dict[Value, list[int]] = defaultdict(list)
        self._two_phases = has_source(layers, PHASES[1]) and phase == PHASES[0]
        self._connect(phase)
        self._leads = self._reach_weights()
        self.start = self._find_start()

    def _connect(self, phase: str) -> None:
        current: dict[str, Value] = {}
        for index, layer in enumerate(self._layers):
            if not layer.in_phase(phase):
                continue
            for blob in layer.bottoms:
                if blob not in current:
                    raise UserError(
                        f"{self._path}: layer '{layer.name}' reads '{blob}', which no"
                        f" layer before it makes in phase {phase}."
                    )
                self._readers[current[blob]].append(index)
            for blob in layer.tops:
                if blob in current and blob not in layer.bottoms:
                    raise UserError(
                        f"{self._path}: layer '{layer.name}' makes '{blob}', which is"
                        " there already."
                    )
                current[blob] = Value(index, blob)

    def _reach_weights(self) -> list[bool]:
        leads = [False] * len(self._layers)
        for index in range(len(self._layers) - 1, -1, -1):
            layer = self._layers[index]
            leads[index] = layer.type in LEARNING or any(
                leads[reader]
                for top in layer.tops
                for reader in self._readers.get(Value(index, top), ())
            )
        return leads

    def _find_start(self) -> Value:
        starts = [
            value
            for value, readers in self._readers.items()
            if not self._layers[value.producer].bottoms
            and any(self._leads[reader] for reader in readers)
        ]
        if not starts:
            raise UserError(
                f"{self._path}: no layer with weights reads what a data or Input layer"
                " yields; there is nothing to mirror."
            )
        if len(starts) > 1:
            second = min(self._readers[starts[1]])
            raise UserError(
                f"{self._path}: no depth can be decoded from, as layer"
                f" '{self._layers[second].name}' reads a second input,"
                f" '{starts[1].blob}', besides '{starts[0].blob}'."
            )
        return starts[0]

    def follow(self, shape: Shape) -> tuple[list[tuple[int, Layer]], str | None]:
        """Returns the chain, its layers with their places in the file, and what ends it
        before its time: a clause, or None.

        shape: of an image.
        """
        chain: list[tuple[int, Layer]] = []
        value = self.start
        while True:
            readers = list(dict.fromkeys(self._readers.get(value, ())))
            leading = [reader for reader in readers if self._leads[reader]]
            if len(leading) > 1:
                first = self._layers[leading[0]]
                return chain, (
                    f"layer '{first.name}' is in the way: it is one of {len(leading)}"
                    f" branches that read '{value.blob}'"
                )
            if not leading:
                leading = [r for r in readers if self._ends_with(r)]
                if len(leading) != 1:
                    return chain, None
            index = leading[0]
            layer = self._layers[index]
            problem = self._problem(layer, shape)
            if value == self.start and layer.tops[:1] == (value.blob,):
                problem = (
                    "works in place on the image, with which the reconstruction is"
                    " compared; give its top a name of its own"
                )
            if problem:
                return chain, f"layer '{layer.name}' is in the way: it {problem}"
            shape, blobs = inferred(layer, shape)
            chain.append((index, replace(layer, shape=shape, blobs=blobs)))
            value = Value(index, layer.tops[0])

    def _ends_with(self, index: int) -> bool:
        """Behind the last weights: an activation function or pooling still counts."""
        layer = self._layers[index]
        return layer.type in INVERTIBLE and len(layer.bottoms) == len(layer.tops) == 1

    def _problem(self, layer: Layer, shape: Shape) -> str | None:
        if layer.type not in INVERTIBLE:
            return obstacle(layer, shape)
        if len(layer.bottoms) != 1:
            return f"reads {len(layer.bottoms)} blobs"
        if len(layer.tops) > 1 and layer.type != "Pooling" or not layer.tops:
            return f"makes {len(layer.tops)} blobs"
        everywhere = all(layer.in_phase(phase) for phase in PHASES)
        if self._two_phases and not everywhere and layer.type != "Dropout":
            return "takes part in one phase only"
        return obstacle(layer, shape)


# --- macro-layers


def cut(
    layers: list[Layer], chain: list[tuple[int, Layer]], group: str
) -> tuple[tuple[MacroLayer, ...], tuple[Layer, ...], tuple[Layer, ...]]:
    """Returns macro-layers, what stands before the first one, what follows the last.

    chain: layers with their places in the file. group: one of GROUPS.
    """
    groups: list[list[tuple[int, Layer]]] = [[]]
    for index, layer in chain:
        if layer.type in WEIGHTED and (
            _complete([la for _, la in groups[-1]], layer)
            or (group == "layer" and _weighted(groups[-1]))
        ):
            groups.append([])
        groups[-1].append((index, layer))
    while groups and not _weighted(groups[-1]):
        groups.pop()
    if not groups:
        return (), tuple(layers), ()
    shaped = dict(chain)
    begins = [members[0][0] for members in groups]
    ends = [*begins[1:], groups[-1][-1][0] + 1]
    macro_layers = tuple(
        macro_layer(
            [layer for _, layer in members],
            tuple(shaped.get(i, layers[i]) for i in range(begin, end)),
        )
        for members, begin, end in zip(groups, begins, ends, strict=True)
    )
    return macro_layers, tuple(layers[: begins[0]]), tuple(layers[ends[-1] :])


def _weighted(members: list[tuple[int, Layer]]) -> list[Layer]:
    return [layer for _, layer in members if layer.type in WEIGHTED]


def _complete(group: list[Layer], following: Layer) -> bool:
    """Tells whether a macro-layer ends before the next layer with weights."""
    weighted = [i for i, layer in enumerate(group) if layer.type in WEIGHTED]
    if not weighted:
        return False
    inner = "InnerProduct" in (following.type, group[weighted[-1]].type)
    return inner or any(la.type == "Pooling" for la in group[weighted[-1] :])


def scores(
    layers: list[Layer], chain: list[tuple[int, Layer]], phase: str, limited: bool
) -> Activation | None:
    """Returns what a softmax reads: the chain's end, or behind it where it is cut short
    (`limited`); None where there is no softmax."""
    reading = [
        layer.bottoms[0]
        for layer in layers
        if layer.type in CLASSIFYING and layer.in_phase(phase) and layer.bottoms
    ]
    if not reading:
        return None
    last = chain[-1][1]
    if last.tops[0] in reading:
        return Activation(last.name, last.tops[0], last.shape)
    return Activation(reading[-1], reading[-1], ()) if limited else None
