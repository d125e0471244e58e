"""How many floating-point operations a training step needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from caffe.proto import caffe_pb2

MULTIPLYING = ("Convolution", "Deconvolution", "InnerProduct")

Shapes = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class Cost:
    """Floating-point operations of a training step, two a multiply-add.

    Of convolutions, deconvolutions and inner products, without biases, as the direct
    algorithm needs them (Winograd's needs fewer). forward: of every such layer; data:
    gradients with respect to bottoms; weights: those with respect to parameters. Both
    are counted where Caffe computes them: none for the first layer's bottom, for
    parameters with lr_mult 0, and for what no loss depends on.
    """

    forward: int
    data: int
    weights: int

    @property
    def total(self) -> int:
        return self.forward + self.data + self.weights


def step_cost(
    net: caffe_pb2.NetParameter,
    blobs: Shapes,
    parameters: Mapping[str, Sequence[Sequence[int]]],
) -> Cost:
    """Returns what a training step costs.

    blobs, parameters: shapes, the batch included, by blob and by layer.
    """
    counts = {layer: len(shapes) for layer, shapes in parameters.items()}
    wanted = wanted_gradients(net, counts)
    reached = reached_by_losses(net)
    forward = data = weights = 0
    for place, layer in enumerate(net.layer):
        if layer.type in MULTIPLYING:
            operations = 2 * multiply_adds(layer, blobs, parameters[layer.name][0])
            of_data, of_weights = wanted[place]
            forward += operations
            data += operations * (of_data and place in reached)
            weights += operations * (of_weights and place in reached)
    return Cost(forward, data, weights)


def wanted_gradients(
    net: caffe_pb2.NetParameter, counts: Mapping[str, int]
) -> list[tuple[bool, bool]]:
    """Returns for each layer whether gradients are wanted with respect to its bottoms,
    and to its weights. counts: layer -> how many parameters it has."""
    blobs: set[str] = set()  # with respect to which they are
    wanted = []
    for layer in net.layer:
        rates = [param.lr_mult for param in layer.param]
        rates += [1.0] * (counts.get(layer.name, 0) - len(rates))
        if layer.type == "BatchNorm":  # statistics, which are not learned
            rates = []
        flows = list(layer.propagate_down) or [True] * len(layer.bottom)
        data = any(
            blob in blobs and flow
            for blob, flow in zip(layer.bottom, flows, strict=True)
        )
        wanted.append((data, bool(rates and rates[0])))
        if data or any(rates):
            blobs.update(layer.top)
        else:
            blobs.difference_update(layer.top)
    return wanted


def reached_by_losses(net: caffe_pb2.NetParameter) -> set[int]:
    """Returns the places of the layers that some loss depends on."""
    blobs: set[str] = set()
    places = set()
    for place in reversed(range(len(net.layer))):
        layer = net.layer[place]
        if loss_weight(layer) or not blobs.isdisjoint(layer.top):
            blobs.update(layer.bottom)
            places.add(place)
    return places


def multiply_adds(
    layer: caffe_pb2.LayerParameter, blobs: Shapes, weights: Sequence[int]
) -> int:
    """Returns how many a layer of MULTIPLYING needs forward. weights: their shape."""
    bottom, top = blobs[layer.bottom[0]], blobs[layer.top[0]]
    if layer.type == "Convolution":
        return top[0] * prod(top[2:]) * prod(weights)
    if layer.type == "Deconvolution":
        return bottom[0] * prod(bottom[2:]) * prod(weights)
    axis = layer.inner_product_param.axis
    return prod(bottom[:axis]) * prod(weights)


def loss_weight(layer: caffe_pb2.LayerParameter) -> float:
    """Returns the weight of a layer's first top in the total loss; 0 of no loss."""
    if layer.loss_weight:
        return layer.loss_weight[0]
    return float(layer.type.endswith("Loss") and bool(layer.top))
