"""Learning rates and loss weights that trials have found: solvers/<net>/rates.json.

tools/find_lr.py and tools/balance_losses.py write the file; the generator uses what it
says in place of the figures in networks.py. It reads

    {
      "net": "vgg8",
      "layerwise_lr": {
        "swwae": {"values": {"1": 0.0002, "2": 0.0005}, "iterations": 2000,
                  "found_by": "tools/find_lr.py --net vgg8 --family swwae"}
      },
      "loss_weights": {"swwae-all": {"values": {"0": 0.004}, ...}}
    }

with the rates of stage 2 by family and macro-layer (1, 2, ...), and the loss weights
by variant and activation (0, the image, 1, ...). Figures it does not give stay as they
are.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from . import layout, text_files
from .errors import UserError
from .sequence import Network
from .text import json_text
from .training import WHY_JOINT, WHY_STACKED, joint_rate, stacked_rate
from .variants import VARIANTS, Variant

FAMILIES = ("swwae", "sae")
"""Those with a layerwise variant, whose stage 2 has rates to be found."""

SMALLEST, LARGEST = 1e-18, 1e18
"""So that a float32, in which Caffe computes, holds the ratio of any two."""


@dataclass(frozen=True)
class Figures:
    """values: by macro-layer or activation. found_by: a command; iterations: of the
    training, or of the measurement, that they were found with.

    Raises UserError for a value below SMALLEST or above LARGEST.
    """

    values: Mapping[int, float]
    found_by: str
    iterations: int

    def __post_init__(self) -> None:
        for place, value in self.values.items():
            if not SMALLEST <= value <= LARGEST:
                raise UserError(
                    f"`{self.found_by}` found {value:g} for {place}; rates and weights"
                    f" are from {SMALLEST:g} to {LARGEST:g}."
                )


@dataclass(frozen=True)
class RatesFile:
    """What a rates.json says. layerwise_lr: by family; loss_weights: by variant."""

    net: str
    layerwise_lr: Mapping[str, Figures] = field(default_factory=dict)
    loss_weights: Mapping[str, Figures] = field(default_factory=dict)

    def text(self) -> str:
        """Returns the file's text, as `read_rates` reads it."""
        content: dict[str, Any] = {"net": self.net}
        for part in ("layerwise_lr", "loss_weights"):
            content[part] = {
                name: {
                    "values": {str(i): v for i, v in sorted(figures.values.items())},
                    "iterations": figures.iterations,
                    "found_by": figures.found_by,
                }
                for name, figures in sorted(getattr(self, part).items())
            }
        return json_text(content)

    def applied(self, network: Network, variant: Variant, depth: int) -> Network:
        """Returns the network with what was found for a variant, decoded from `depth`.

        Stage 3's and stage 4's base rates follow from rates and weights, as where those
        are estimated; their other settings stay. A network without a data set to train
        with is returned as it is, and so is one that nothing was found for.
        """
        training = network.training
        rates = self.layerwise_lr.get(family(variant))
        weights = self.loss_weights.get(variant.name)
        if training is None or not (rates or weights):
            return network
        layerwise = _merged(training.layerwise_lr, rates, 1, depth)
        gamma = _merged(training.loss_weights, weights, 0, depth)
        schedules = dict(training.schedules)
        by = " and ".join(_tool(found) for found in (rates, weights) if found)
        if rates:
            schedules[2] = replace(
                schedules[2],
                base_lr=min(layerwise[:depth]),
                why=f"{_places(rates, depth)} found by {_tool(rates)} in"
                f" {rates.iterations:,} iterations: base_lr times a decoder's lr_mult"
                " is its macro-layer's rate",
            )
        stacked = stacked_rate(layerwise[:depth], gamma[:depth])
        schedules[3] = replace(
            schedules[3], base_lr=stacked, why=f"{WHY_STACKED}, with what {by} found"
        )
        schedules[4] = replace(
            schedules[4],
            base_lr=joint_rate(stacked, schedules[0].base_lr),
            why=f"{WHY_JOINT}, from what {by} found",
        )
        return replace(
            network,
            training=replace(
                training,
                loss_weights=gamma,
                layerwise_lr=layerwise,
                schedules=schedules,
            ),
        )


def family(variant: Variant) -> str:
    """Returns what a variant's stage-2 rates go by: swwae of swwae-all."""
    return variant.name.partition("-")[0]


def rates_file_path(root: Path, net: str) -> Path:
    """Returns a network's rates.json. root: the folder that solvers/ is in."""
    return root / layout.rates_path(net)


def read_rates(root: Path, net: str, max_depth: int | None) -> RatesFile:
    """Returns what was found for a network; nothing where there is no file.

    root: the folder that solvers/ is in. max_depth: the network's largest, where it is
    known. Raises UserError where the file cannot be read, is damaged, or is another
    network's.
    """
    path = rates_file_path(root, net)
    try:
        content = json.loads(text_files.read(path), parse_constant=_refused)
        return _parsed(content, net, max_depth)
    except (FileNotFoundError, NotADirectoryError):
        return RatesFile(net)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror}; mend that, or move it away."
        ) from error
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path} is no file of rates for {net}: {error}. Remove it and make it"
            f" again with tools/find_lr.py --net {net}, or go without."
        ) from error


def _parsed(content: Any, net: str, max_depth: int | None) -> RatesFile:
    """Returns what a file says; raises ValueError for what `text` cannot have made."""
    _check_keys(content, "it", ("net", "layerwise_lr", "loss_weights"))
    if content["net"] != net:
        raise ValueError(f"it is of the network {content['net']!r}")
    variants = [v.name for v in VARIANTS.values() if v.has_decoder]
    return RatesFile(
        net,
        _part(content["layerwise_lr"], "layerwise_lr", FAMILIES, 1, max_depth),
        _part(content["loss_weights"], "loss_weights", variants, 0, max_depth),
    )


def _part(
    content: Any, name: str, known: Sequence[str], first: int, last: int | None
) -> dict[str, Figures]:
    if not isinstance(content, dict):
        raise ValueError(f"{name} is no object")
    for key in content:
        if key not in known:
            raise ValueError(f"{name} has {key!r}; expected {', '.join(known)}")
    return {
        key: _figures(v, f"{name}/{key}", first, last) for key, v in content.items()
    }


def _figures(content: Any, name: str, first: int, last: int | None) -> Figures:
    _check_keys(content, name, ("values", "iterations", "found_by"))
    values, iterations = content["values"], content["iterations"]
    found_by = content["found_by"]
    if not isinstance(found_by, str) or not found_by or not found_by.isprintable():
        raise ValueError(f"{name}/found_by is no command")
    if type(iterations) is not int or iterations < 1:
        raise ValueError(f"{name}/iterations is no number from 1 on")
    if not isinstance(values, dict) or not values:
        raise ValueError(f"{name}/values has no figures")
    places = {str(i): i for i in range(first, 1 + (last or first + len(values)))}
    for key, value in values.items():
        if key not in places:
            raise ValueError(f"{name}/values has {key!r}, which the network has not")
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not SMALLEST <= value <= LARGEST:
            raise ValueError(
                f"{name}/values/{key} is no number from {SMALLEST:g} to {LARGEST:g}"
            )
    return Figures(
        {places[key]: float(value) for key, value in values.items()},
        found_by,
        iterations,
    )


def _check_keys(content: Any, name: str, keys: tuple[str, ...]) -> None:
    if not isinstance(content, dict) or set(content) != set(keys):
        raise ValueError(f"{name} must have {', '.join(keys)}, and nothing else")


def _refused(constant: str) -> None:
    raise ValueError(f"it holds {constant}")


def _merged(
    given: tuple[float, ...], found: Figures | None, first: int, depth: int
) -> tuple[float, ...]:
    """Returns the given figures, the last one serving all deeper places, with those
    found."""
    values = {} if found is None else found.values
    length = max([len(given), depth, *(1 + place - first for place in values)])
    extended = given + given[-1:] * (length - len(given))
    return tuple(values.get(i, old) for i, old in enumerate(extended, start=first))


def _places(figures: Figures, depth: int) -> str:
    missing = [str(i) for i in range(1, depth + 1) if i not in figures.values]
    return f"rates, but of macro-layer {', '.join(missing)}," if missing else "rates"


def _tool(figures: Figures) -> str:
    return figures.found_by.partition(" ")[0]
