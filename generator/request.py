"""What is to be generated: network, variants, depths, in the command line's words."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from . import ladder, names
from .chain import GROUPS
from .derived import (
    base_lr_text,
    check_name,
    classes_name,
    epochs_text,
    few_labels_name,
    parse_base_lr,
    parse_epochs,
    renamed,
    with_base_lr,
    with_classes,
    with_epochs,
    with_few_labels,
)
from .errors import UserError
from .layers import number_text
from .networks import NETWORKS
from .sequence import Network
from .small_networks import BUILT_IN, find_network
from .source import is_file_name, parse_shape
from .summary import depth_names
from .user_network import Options, read_user_network
from .variants import VARIANTS, Variant, find_variant


@dataclass(frozen=True)
class Request:
    """The options of `python -m generator`, as they are typed.

    net: a built-in network's name, or a Caffe file. variant: a name, or all. depth: a
    number, or all; None for the default one. data, mean_value, images, classes: of a
    built-in network.
    image, group, solver: of a user's file. also: kinds of networks that are made on
    request alone, separated by commas.
    """

    net: str
    variant: str = "all"
    depth: str | None = None
    batch_norm: bool = False
    data: str | None = None
    mean_value: str | None = None
    images: str | None = None
    classes: int | None = None
    name: str | None = None
    epochs: str | None = None
    base_lr: str = ""
    labels: int | None = None
    labels_seed: int | None = None
    image: str | None = None
    group: str = GROUPS[0]
    solver: Path | None = None
    also: str = ""

    @property
    def built_in(self) -> bool:
        """Whether NET is the name of a built-in network."""
        return self.net in BUILT_IN

    @property
    def data_options(self) -> str:
        """The part of the command line that changed a built-in network's data."""
        text = f" --data {shlex.quote(self.data)}" if self.data else ""
        if self.mean_value:
            text += f" --mean-value {self.mean_value}"
        if self.images:
            text += f" --images {self.images}"
        return text

    @cached_property
    def base_lrs(self) -> dict[int, float]:
        """Stage -> its base_lr, where one is asked for; raises UserError."""
        return parse_base_lr(self.base_lr)

    @cached_property
    def left_out(self) -> set[str]:
        """The kinds of networks that are not made; raises UserError for what is no kind
        that is made on request."""
        wanted = self.also.split(",") if self.also else []
        for kind in wanted:
            if kind not in names.ON_REQUEST:
                raise UserError(
                    f"--with {self.also}: expected {' or '.join(names.ON_REQUEST)}, or"
                    " both, separated by a comma."
                )
        return set(names.ON_REQUEST) - set(wanted)


# --- the network


def requested_network(request: Request) -> Network:
    """Returns a built-in network, or the user's own, as the request changes it.

    Raises UserError where there is no such network, or it cannot be changed so.
    """
    network = _base_network(request)
    changes = []
    if request.classes is not None:
        network = with_classes(network, request.classes)
        network = replace(network, name=classes_name(network, request.classes))
        changes.append(f"--classes {request.classes}")
    if request.labels is not None:
        network, options = _with_few_labels(network, request)
        changes += options
    elif request.labels_seed is not None:
        raise UserError("--labels-seed is for --labels N; give both.")
    if request.epochs is not None:
        epochs = parse_epochs(request.epochs)
        network = with_epochs(network, epochs)
        changes.append(f"--epochs {epochs_text(epochs)}")
    if request.base_lrs:
        with_base_lr(network, request.base_lrs)  # or it cannot be changed so
        changes.append(f"--base-lr {base_lr_text(request.base_lrs)}")
    name = request.name if request.built_in else None
    if name is not None:
        check_name(name, BUILT_IN)
        changes.append(f"--name {name}")
    if (name or request.classes) and not request.labels:
        network = renamed(network, name or network.name)
    return replace(network, source=" ".join([network.source, *changes]))


def _with_few_labels(network: Network, request: Request) -> tuple[Network, list[str]]:
    """Returns the network with few labels, and the options that say so."""
    seed = 1 if request.labels_seed is None else request.labels_seed
    if seed < 0:
        raise UserError(f"--labels-seed {seed}: 0 or more.")
    name = request.name or few_labels_name(network, request.labels, seed)
    network = renamed(with_few_labels(network, request.labels, seed), name)
    options = [f"--labels {request.labels}"]
    return network, options + ([f"--labels-seed {seed}"] if seed != 1 else [])


def _base_network(request: Request) -> Network:
    """Returns a built-in network with other data, or the user's own."""
    if is_file_name(request.net) and not request.built_in:
        return _users_network(request)
    network = find_network(request.net)
    for option, value in {
        "--image": request.image,
        "--group": request.group if request.group != GROUPS[0] else None,
        "--solver": request.solver,
    }.items():
        if value is not None:
            raise UserError(
                f"{option} is for a network file of your own; {network.name} is built"
                " in."
            )
    if request.data is not None:
        if not request.data.isprintable() or not request.data:
            raise UserError("--data: a folder's name, in printable characters.")
        network = replace(network, data=replace(network.data, folder=request.data))
    if request.mean_value is not None:
        mean = _parse_mean(request.mean_value, network)
        network = replace(network, data=replace(network.data, mean_value=mean))
    if request.images is not None:
        train, test = _parse_images(request.images)
        data = replace(network.data, train_images=train, test_images=test)
        network = replace(network, data=data)
    return network


def _users_network(request: Request) -> Network:
    for option, value in (
        ("--data", request.data),
        ("--mean-value", request.mean_value),
        ("--images", request.images),
        ("--classes", request.classes),
    ):
        if value is not None:
            raise UserError(
                f"{option} is for built-in networks: the data layers of your own file"
                " stay as they are."
            )
    image = parse_shape(request.image) if request.image is not None else None
    options = Options(request.name, image, request.group, request.solver)
    return read_user_network(Path(request.net), options)


def _parse_mean(text: str, network: Network) -> tuple[float, ...]:
    """(103.53, 116.28, 123.675) from 103.53,116.28,123.675: one number a channel, in
    the channels' order (BGR); raises UserError for anything else."""
    channels = network.image.shape[0]
    number = r"[0-9]{1,3}(\.[0-9]{1,6})?"
    if re.fullmatch(rf"{number}(,{number}){{{channels - 1}}}", text):
        mean = tuple(map(float, text.split(",")))
        if max(mean) <= 255:
            return mean
    wanted = "blue, green and red" if channels == 3 else f"{channels} of them"
    raise UserError(
        f"--mean-value {text}: expected numbers from 0 to 255, separated by commas,"
        f" {wanted}, such as {','.join(map(number_text, network.data.mean_value))}."
    )


def _parse_images(text: str) -> tuple[int, int]:
    """Returns (73257, 26032) of 73257,26032; raises UserError for anything else."""
    match = re.fullmatch(r"([1-9][0-9]{0,8}),([1-9][0-9]{0,8})", text)
    if not match:
        raise UserError(
            f"--images {text}: expected how many are trained with and tested on, such"
            " as 50000,10000."
        )
    return int(match[1]), int(match[2])


# --- its variants and depths


def requested_variants(request: Request, network: Network) -> list[Variant]:
    """Returns the variant asked for and those that have its stages 0 to 2, or all that
    the network can have; raises UserError where it can have none."""
    variants = _with_needed(request, network)
    if not request.batch_norm:
        return variants
    if not any(variant.ladder for variant in variants):
        raise UserError("--batch-norm is for --variant ladder.")
    if not ladder.has_batch_norm(network):
        raise UserError(
            f"--batch-norm: {network.name} has no BatchNorm layer to add noise behind;"
            " leave the option out, as the paper does (A2.4)."
        )
    return [
        replace(variant, batch_norm=True) if variant.ladder else variant
        for variant in variants
    ]


def _with_needed(request: Request, network: Network) -> list[Variant]:
    """Returns the variants, without what --batch-norm changes."""
    problem = ladder.obstacle(network)
    if request.variant == "all":
        return [v for v in VARIANTS.values() if not (v.ladder and problem)]
    variant = find_variant(request.variant)
    if variant.ladder and problem:
        raise UserError(
            f"--variant ladder: {network.name} can have none, as {problem}."
        )
    variants = [variant]
    if variant.layerwise is not variant:
        variants.append(variant.layerwise)
    if network.name not in NETWORKS and variant.has_decoder:
        variants.append(VARIANTS["baseline"])  # has stage 0
    return variants


def shown_variant(request: Request, variants: Sequence[Variant]) -> Variant:
    """Returns the variant whose figures are shown: of all, swwae-all."""
    return VARIANTS["swwae-all"] if request.variant == "all" else variants[0]


def requested_depths(
    request: Request, network: Network, variants: Sequence[Variant]
) -> list[int]:
    """Returns one depth, or all that there are; raises UserError where it cannot be
    decoded from."""
    if request.depth == "all":
        return list(range(1, network.max_depth + 1))
    decodes = any(variant.has_decoder for variant in variants)
    if request.depth is None:
        if network.limit and decodes:
            raise UserError(f"{request.net}: {network.limit}.")
        return [network.depth]
    if not re.fullmatch(r"-?[0-9]{1,9}", request.depth):
        raise UserError(f"--depth {request.depth}: a number, or all.")
    depth = int(request.depth)
    if not 1 <= depth <= network.max_depth:
        limit = (
            f" {network.limit[0].upper()}{network.limit[1:]}." if network.limit else ""
        )
        raise UserError(
            f"--depth {depth}: {network.name} can be decoded from 1 to"
            f" {network.max_depth}: {depth_names(network)}.{limit}"
        )
    if depth != network.depth and not decodes:
        raise UserError("--depth: the baseline has no decoder; leave it out.")
    return [depth]
