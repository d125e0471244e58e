"""What a card's rates allow: the least time that the layers of a step can take.

Each layer for itself, as Caffe has them: it reads its bottoms and writes its tops once,
and gradients likewise. A layer that multiplies takes as long as its multiply-adds at
the card's matrix rate, or as its numbers at the rate of a copy, whichever is longer;
any other as long as its numbers. Fusing layers moves fewer numbers, and Winograd's
algorithm multiplies less, so a step may be below this floor.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from caffe.proto import caffe_pb2

from swwae.bench.maths import MATHS
from swwae.nets.cost import (
    MULTIPLYING,
    Shapes,
    multiply_adds,
    reached_by_losses,
    wanted_gradients,
)

SHARING = ("Flatten", "Input", "Reshape", "Silence", "Split")
"""Layers that move nothing forward; of these, Split adds gradients up."""

PARAMETER_BYTES = 4

UPDATED = 5
"""Numbers a parameter that an update reads (the gradient, the momentum, itself) and
writes (both of these)."""


@dataclass(frozen=True)
class Pass:
    """What a pass of a layer needs: operations, values and parameters that it moves."""

    operations: int = 0
    values: int = 0
    parameters: int = 0

    def seconds(self, rates: Mapping, math: str) -> float:
        """Returns the least time. rates: as `torch_card.describe` measures them."""
        bytes_ = self.values * MATHS[math].value_bytes
        bytes_ += self.parameters * PARAMETER_BYTES
        moving = bytes_ / rates["copy"] / 1e9
        return max(moving, self.operations / rates["product"][math] / 1e12)


@dataclass(frozen=True)
class Work:
    """What a layer of a type needs, forward and backward, each in so many passes."""

    type: str
    forward: tuple[Pass, ...]
    backward: tuple[Pass, ...]


def step_work(
    net: caffe_pb2.NetParameter,
    blobs: Shapes,
    parameters: Mapping[str, Sequence[Sequence[int]]],
) -> list[Work]:
    """Returns what each layer of a training step needs, and the "update".

    blobs, parameters: shapes, the batch included, by blob and by layer.
    """
    sizes = {name: prod(shape) for name, shape in blobs.items()}
    wanted = wanted_gradients(net, {name: len(p) for name, p in parameters.items()})
    reached = reached_by_losses(net)
    works, learned, seen = [], 0, set()
    for place, layer in enumerate(net.layer):
        of_data, of_weights = (flag and place in reached for flag in wanted[place])
        weights = sum(map(prod, parameters.get(layer.name, ())))
        if layer.type in MULTIPLYING:
            operations = 2 * multiply_adds(layer, blobs, parameters[layer.name][0])
            values = sizes[layer.bottom[0]] + sizes[layer.top[0]]
            once = Pass(operations, values, weights)
            works.append(Work(layer.type, (once,), (once,) * (of_data + of_weights)))
        else:
            forward, backward = _moved(layer, sizes)
            passes = (Pass(values=backward),) if of_data else ()
            works.append(Work(layer.type, (Pass(values=forward),), passes))
        names = {param.name for param in layer.param if param.name}
        if of_weights and not (names and names <= seen):
            learned += weights
        seen |= names
    update = Pass(parameters=UPDATED * learned)
    return [*works, Work("update", (), (update,))]


def floors(
    works: Sequence[Work], rates: Mapping, math: str
) -> dict[str, tuple[float, float]]:
    """Returns type of layers, or "update" -> milliseconds forward and backward."""
    spent: dict[str, tuple[float, float]] = {}
    for work in works:
        forward, backward = spent.get(work.type, (0.0, 0.0))
        forward += sum(1000 * each.seconds(rates, math) for each in work.forward)
        backward += sum(1000 * each.seconds(rates, math) for each in work.backward)
        spent[work.type] = forward, backward
    return spent


def at_batch(shapes: Shapes, batch: int, wanted: int) -> dict[str, tuple[int, ...]]:
    """Returns blobs' shapes as they are with another batch size."""
    return {
        name: (shape[0] * wanted // batch, *shape[1:]) if shape else ()
        for name, shape in shapes.items()
    }


def _moved(
    layer: caffe_pb2.LayerParameter, sizes: Mapping[str, int]
) -> tuple[int, int]:
    """Returns the values that a layer that does not multiply moves, forward and, where
    its bottoms' gradients are wanted, backward."""
    bottoms = list(layer.bottom)
    if layer.type == "Depooling":  # the last bottom may be there for its shape alone
        fixed = layer.pooling_param.pool == caffe_pb2.PoolingParameter.FIX
        bottoms = bottoms[: 1 if fixed else 2]
    read = sum(sizes[blob] for blob in bottoms)
    written = sum(sizes[blob] for blob in layer.top)
    if layer.type in SHARING:
        return 0, read + written if layer.type == "Split" else 0
    if layer.type.endswith("Loss"):  # the gradient of one bottom at least
        return read, read + sizes[bottoms[0]]
    if layer.type == "ReLU":  # its own values say which gradients pass
        return read + written, read + 2 * written
    return read + written, read + written
