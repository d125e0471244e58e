"""Caffe's layers as ONNX operators: a deploy network, or a part of it, as a model.

Sizes are those of the deploy file; the batch is free. Caffe's and ONNX's layers agree
but for this (both sides' definitions, the rest is ours):

    Pooling      Caffe rounds up; the padding behind the last pixel is given such that
                 ONNX, rounding down, has the same windows. Caffe's means count padding,
                 but not what lies beyond it: a factor a place
    switches     a place's index in its plane, as Caffe's, int64; where values are equal
                 but for rounding, as in plain parts of an image, another may be chosen
    Depooling    ScatterElements that adds, on zeros: values that meet sum. AVE is a
                 transposed convolution with ones
    SafeInv      Reciprocal, and 0 at 0
    BatchNorm    statistics by their factor
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from onnx import ModelProto

from generator.errors import UserError
from generator.names import is_decoder
from swwae.exchange.built import Built
from swwae.exchange.onnx_graph import Graph, LayerParameter, Value
from swwae.exchange.onnx_layers import CONVERTERS
from swwae.exchange.onnx_pooling import by_switches
from swwae.nets.normalisation import Normalisation


def model(source: Built, part: str, pixels: Normalisation | None) -> ModelProto:
    """Returns the model of a part: encoder, decoder or both.

    pixels: how the network's images are normalised, so that the model takes and yields
    RGB in [0, 1]; None: it takes what the network itself does, and yields dec:data.
    encoder: image -> probabilities and what the decoder reads. decoder: that -> the
    reconstruction. both: image -> probabilities, reconstruction. Raises UserError where
    a layer has no counterpart.
    """
    steps = _steps(source.layers)
    graph = Graph(source)
    probabilities = _last(steps, source.probabilities)
    outputs = [] if part == "decoder" else [probabilities]
    decoder: list[Step] = []
    between: list[Value] = []
    if source.reconstruction is not None:
        reconstruction = _last(steps, source.reconstruction)
        decoder, between = _decoder(steps, reconstruction)
        if part == "encoder":
            image = {Value(source.image)} if pixels is None else set()
            outputs += [value for value in between if value not in image]
        else:
            outputs.append(reconstruction)
    if part == "decoder":
        steps = decoder
        for value in between:
            graph.add_input(value)
    else:
        steps = _needed(steps, outputs)
        graph.add_image_input(pixels)
    for step in steps:
        _convert(graph, step)
    for value in outputs:
        if value == probabilities:
            graph.add_output(value, "probabilities")
        elif value in between:
            graph.add_output(value, value.blob)
        else:
            graph.add_image_output(value, pixels)
    return graph.model


def _convert(graph: Graph, step: "Step") -> None:
    """Adds a layer to the graph; UserError where it has no counterpart."""
    layer = step.layer
    converter = CONVERTERS.get(layer.type)
    if converter is None:
        raise UserError(
            f"layer {layer.name} is of type {layer.type}, which is not exported to"
            " ONNX."
        )
    graph.scope = layer.name
    bottoms = [graph.names.get(value, "") for value in step.bottoms]
    tops = converter(graph, layer, bottoms)
    if isinstance(tops, str):
        tops = [tops]
    graph.names.update(zip(step.tops, tops, strict=False))


# --- which layers, and what they read


@dataclass(frozen=True)
class Step:
    """A layer with its values. read: those whose numbers matter, not their shape."""

    layer: LayerParameter
    bottoms: tuple[Value, ...]
    tops: tuple[Value, ...]

    @property
    def read(self) -> tuple[Value, ...]:
        if self.layer.type == "Crop":
            return self.bottoms[:1]
        if self.layer.type == "Depooling":
            return self.bottoms[: 2 if by_switches(self.layer) else 1]
        return self.bottoms


def _steps(layers: Iterable[LayerParameter]) -> list[Step]:
    """Layers that work in place told apart by versions of their blob."""
    versions: dict[str, int] = {}
    steps = []
    for layer in layers:
        bottoms = tuple(Value(blob, versions.get(blob, 0)) for blob in layer.bottom)
        for top in layer.top:
            rewritten = top in versions or top in layer.bottom
            versions[top] = versions.get(top, 0) + rewritten
        tops = tuple(Value(blob, versions[blob]) for blob in layer.top)
        steps.append(Step(layer, bottoms, tops))
    return steps


def _last(steps: Sequence[Step], blob: str) -> Value:
    return [value for step in steps for value in step.tops if value.blob == blob][-1]


def _decoder(
    steps: Sequence[Step], reconstruction: Value
) -> tuple[list[Step], list[Value]]:
    """Returns the decoder's steps, and the encoder's values that they read."""
    needed = _needed(steps, [reconstruction])
    decoder = [step for step in needed if is_decoder(step.layer.name)]
    computed = {value for step in decoder for value in step.tops}
    read = dict.fromkeys(value for step in decoder for value in step.read)
    return decoder, [value for value in read if value not in computed]


def _needed(steps: Sequence[Step], ends: Iterable[Value]) -> list[Step]:
    """Returns the steps that the ends depend on, in order."""
    wanted = set(ends)
    kept = []
    for step in reversed(steps):
        if wanted.intersection(step.tops):
            kept.append(step)
            wanted.update(step.read)
    return kept[::-1]
