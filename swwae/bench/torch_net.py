"""A training network of Caffe's as PyTorch computes it, for comparison (`bench.py`).

Parameters with `lr_mult: 0` need no gradient; nor, then, does what is below them.
Networks are read by the generator's own schema, so that pycaffe is not imported: two
libraries with threads of their own in a process would disturb each other.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from generator.layers import Layer, as_list
from generator.schema import fields_of
from swwae.bench.torch_layers import (
    BUILDERS,
    NOT_COMPUTED,
    SAVES_NO_TOP,
    Missing,
    Parameter,
    check,
    loss_weight,
)
from swwae.bench.torch_pooling import Step


def layers_of(net: object) -> list[Layer]:
    """Returns a NetParameter's layers. net: of `generator.schema`, in its syntax."""
    named = ("name", "type", "bottom", "top")
    return [
        Layer(
            layer.name,
            layer.type,
            tuple(layer.bottom),
            tuple(layer.top),
            fields_of(layer, *named),
        )
        for layer in net.layer
    ]


def missing(layers: Iterable[Layer]) -> list[str]:
    """Returns the layers that have no counterpart here, as `name (type, why)`."""
    lacking = []
    for layer in layers:
        try:
            check(layer)
        except Missing as error:
            lacking.append(str(error))
    return lacking


class TorchNet:
    """The network of a list of layers, all of which are there in training.

    parameters: (layer, place) -> Parameter; tied ones are listed under their first
    layer. Raises Missing where a layer has no counterpart.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        weights: Mapping[str, Sequence[np.ndarray]],
        device: str = "cpu",
    ):
        """weights: layer -> its parameters in Caffe's shapes. device: PyTorch's name of
        where they are to be."""
        self._device = device
        self.parameters: dict[tuple[str, int], Parameter] = {}
        self._steps: list[tuple[Layer, Step]] = []
        tied: dict[str, Parameter] = {}
        computed_by: dict[str, str] = {}  # blob -> type of the layer
        for layer in layers:
            check(layer)
        for layer in layers:
            if layer.type in NOT_COMPUTED:
                computed_by |= dict.fromkeys(layer.tops, layer.type)
                continue
            parameters = self._parameters_of(layer, weights.get(layer.name, ()), tied)
            in_place = (
                layer.bottoms == layer.tops
                and computed_by.get(layer.bottoms[0]) in SAVES_NO_TOP
            )
            build = BUILDERS[layer.type]
            self._steps.append((layer, build(layer, parameters, in_place)))
            computed_by |= dict.fromkeys(layer.tops, layer.type)
        self._last_use = {
            blob: place
            for place, (layer, _) in enumerate(self._steps)
            for blob in (*layer.bottoms, *layer.tops)
        }

    def _parameters_of(
        self,
        layer: Layer,
        arrays: Sequence[np.ndarray],
        tied: dict[str, Parameter],
    ) -> list[Parameter]:
        """Returns a layer's parameters. tied: name -> Parameter, which is added to."""
        specs = as_list(layer.fields.get("param"))
        specs += [{}] * (len(arrays) - len(specs))
        parameters = []
        for place, (array, spec) in enumerate(zip(arrays, specs, strict=False)):
            name = spec.get("name")
            if name in tied:
                parameters.append(tied[name])
                continue
            values = torch.from_numpy(np.array(array, np.float32)).to(self._device)
            rate, decay = spec.get("lr_mult", 1.0), spec.get("decay_mult", 1.0)
            if layer.type == "BatchNorm":  # statistics, which no gradient reaches
                rate = 0.0
            values.requires_grad_(rate != 0)
            parameter = Parameter(values, rate, decay)
            self.parameters[layer.name, place] = parameter
            parameters.append(parameter)
            if name:
                tied[name] = parameter
        return parameters

    def channels_last(self) -> None:
        """Lays four-dimensional parameters out with their channels innermost."""
        for parameter in self.parameters.values():
            values = parameter.values
            if values.dim() == 4:
                values.data = values.data.contiguous(memory_format=torch.channels_last)

    def __call__(
        self, inputs: Mapping[str, Tensor], wanted: Iterable[str] = ()
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Computes the weighted sum of the losses; returns it and the blobs that are
        wanted.

        inputs: the blobs of the Input layers. Raises Missing where there is no loss.
        """
        blobs, kept = dict(inputs), set(wanted)
        total = None
        for place, (layer, step) in enumerate(self._steps):
            bottoms = [blobs[name] for name in layer.bottoms]
            flags = as_list(layer.fields.get("propagate_down"))
            for at, goes_down in enumerate(flags):
                if not goes_down:
                    bottoms[at] = bottoms[at].detach()
            result = step(*bottoms)
            tops = result if isinstance(result, tuple) else (result,)
            blobs.update(zip(layer.tops, tops, strict=False))
            if weight := loss_weight(layer):
                loss = tops[0] if weight == 1 else weight * tops[0]
                total = loss if total is None else total + loss
            del bottoms, result, tops
            for name in {*layer.bottoms, *layer.tops} - kept:
                if self._last_use[name] == place:
                    del blobs[name]  # autograd keeps what it needs
        if total is None:
            raise Missing("any loss")
        return total, {name: blobs[name] for name in kept}


def optimizer(
    net: TorchNet, rate: float, momentum: float, decay: float
) -> torch.optim.SGD:
    """Returns Caffe's SGD. rate: base_lr; decay: weight_decay; each is multiplied by a
    parameter's own factor.

    PyTorch multiplies the momentum's sum by the rate, Caffe sums multiples: the same,
    as long as the rate stays.
    """
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for parameter in net.parameters.values():
        if parameter.rate:
            factors = parameter.rate, parameter.decay
            groups.setdefault(factors, []).append(parameter.values)
    return torch.optim.SGD(
        [
            {"params": values, "lr": rate * of_rate, "weight_decay": decay * of_decay}
            for (of_rate, of_decay), values in groups.items()
        ],
        momentum=momentum,
        fused=True,
    )
