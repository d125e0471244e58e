"""A network made from another one: another name, other training, fewer labels."""

import re
from collections.abc import Mapping
from dataclasses import replace

from .errors import UserError
from .layers import Layer
from .networks import head, macro_layer
from .rates import LARGEST, SMALLEST
from .sequence import DataSet, FewLabels, Network, Training
from .shapes import inferred

UNLABELLED = -1
"""The label of an image without one; the classification loss leaves it out."""

MOST_EPOCHS = 1e6


def folder_name(text: str) -> str:
    """Returns a network's name, or the nearest to it, as its folders can have it."""
    return re.sub(r"[^a-z0-9_.]+", "-", text.lower()).strip("-.")[:64]


def check_name(name: str, taken: Mapping[str, Network]) -> None:
    """Raises UserError for what no folder of a network other than those can have."""
    nearest = folder_name(name)
    if name != nearest:
        raise UserError(
            f"--name {name}: lower-case letters, digits, and _ . - between them, such"
            f" as {nearest or 'mynet'}."
        )
    if name in taken:
        raise UserError(f"--name {name}: a built-in network has it; give another one.")


def renamed(network: Network, name: str) -> Network:
    """Returns the same network with folders of its own."""
    title = f"{network.title}; default depth {network.depth} of {network.max_depth}"
    return replace(network, name=name, title=title)


def parse_epochs(text: str) -> dict[int, float]:
    """Returns {0: 10.0, 4: 2.0} for 0=10,4=2; raises UserError for anything else."""
    number = r"[0-9]{1,7}(?:\.[0-9]{1,6})?"
    epochs = _by_stage(text, number)
    if not epochs or not all(0 < count <= MOST_EPOCHS for count in epochs.values()):
        raise UserError(
            f"--epochs {text}: expected stages that train (0, 2, 3, 4) with their"
            " epochs, such as 0=10,4=2.5."
        )
    return epochs


def parse_base_lr(text: str) -> dict[int, float]:
    """Returns {2: 2.5e-05} for 2=2.5e-5, {} for nothing; else raises UserError."""
    if not text:
        return {}
    number = r"[0-9]{1,7}(?:\.[0-9]{1,20})?(?:[eE][+-]?[0-9]{1,2})?"
    rates = _by_stage(text, number)
    if not rates or not all(SMALLEST <= rate <= LARGEST for rate in rates.values()):
        raise UserError(
            f"--base-lr {text}: expected stages that train (0, 2, 3, 4) with their"
            f" learning rates, from {SMALLEST:g} to {LARGEST:g}, such as"
            " 2=2.5e-5,4=0.001."
        )
    return rates


def _by_stage(text: str, number: str) -> dict[int, float]:
    """number: a regular expression; {} for anything that is not such numbers."""
    numbers: dict[int, float] = {}
    for part in text.split(","):
        match = re.fullmatch(f"([0234])=({number})", part)
        if not match or int(match[1]) in numbers:
            return {}
        numbers[int(match[1])] = float(match[2])
    return numbers


def with_epochs(network: Network, epochs: Mapping[int, float]) -> Network:
    """Returns the network with stages of other lengths.

    The learning rate falls at the same shares of them.

    Raises UserError where the network has no data set, or a user's solver says how
    long stage 0 is.
    """
    training = _trained(network, "--epochs", epochs, "max_iter is the length")
    schedules = dict(training.schedules)
    for stage, length in epochs.items():
        schedule = schedules[stage]
        share = length / schedule.epochs
        schedules[stage] = replace(
            schedule,
            epochs=length,
            steps=tuple(step * share for step in schedule.steps),
            tests=max(schedule.tests, round(length)),  # about one an epoch
            why=f"{schedule.why}; its length by --epochs",
        )
    return replace(network, training=replace(training, schedules=schedules))


def with_base_lr(network: Network, rates: Mapping[int, float]) -> Network:
    """Returns the network with other base_lr; stage 2's decoders keep their shares.

    Raises UserError as `with_epochs` does.
    """
    training = _trained(network, "--base-lr", rates, "base_lr is the rate")
    schedules, layerwise = dict(training.schedules), training.layerwise_lr
    for stage, rate in rates.items():
        schedule = schedules[stage]
        if stage == 2:
            share = rate / schedule.base_lr
            layerwise = tuple(rate * share for rate in layerwise)
        schedules[stage] = replace(
            schedule,
            base_lr=rate,
            why=f"base_lr by --base-lr; otherwise {schedule.why}",
        )
    return replace(
        network,
        training=replace(training, schedules=schedules, layerwise_lr=layerwise),
    )


def _trained(
    network: Network, option: str, stages: Mapping[int, float], decided: str
) -> Training:
    """Returns a network's training, where an option for those stages can change it.

    decided: what a user's own solver says instead, a clause.
    """
    training = network.training
    if training is None:
        raise UserError(f"{option}: {network.name} has no data set to train with.")
    if training.solver and 0 in stages:
        raise UserError(f"{option} 0=…: your own solver's {decided}.")
    return training


def with_few_labels(network: Network, labels: int, seed: int) -> Network:
    """Returns the network trained with the labels of `labels` images, drawn by `seed`.

    All images are reconstructed.

    Raises UserError where there are not as many labels, or where the network's data
    are a user's own layers.
    """
    data = network.data
    if not isinstance(data, DataSet):
        raise UserError(
            "--labels is for built-in networks: in your own file, read images without"
            f" a label with the label {UNLABELLED}, and give the loss ignore_label."
        )
    classes = network.scores.shape[0]
    if not classes <= labels <= data.train_images:
        raise UserError(
            f"--labels {labels}: {network.name} has {classes} classes and"
            f" {data.train_images:,} training images; give a number from one to the"
            " other."
        )
    few = FewLabels(labels, seed)
    head = tuple(_without_unlabelled(layer) for layer in network.head)
    return replace(network, data=replace(data, few_labels=few), head=head)


MOST_CLASSES = 2**16
"""As many as the labels that data/ilsvrc12/create.py stores."""


def with_classes(network: Network, classes: int) -> Network:
    """Returns a built-in network that scores another number of classes.

    Raises UserError for less than two, and for more than MOST_CLASSES.
    """
    if not 2 <= classes <= MOST_CLASSES:
        raise UserError(f"--classes {classes}: a number from 2 to {MOST_CLASSES}.")
    *below, last = network.macro_layers
    [scores] = last.layers
    product = scores.fields["inner_product_param"] | {"num_output": classes}
    scores = replace(scores, fields=scores.fields | {"inner_product_param": product})
    shape, blobs = inferred(scores, network.activations[-2].shape)
    last = macro_layer([replace(scores, shape=shape, blobs=blobs)])
    return replace(
        network,
        macro_layers=(*below, last),
        scores=last.output,
        head=head(last.output),
    )


def classes_name(network: Network, classes: int) -> str:
    """Returns vgg8_32_classes100."""
    return f"{network.name}_classes{classes}"


def few_labels_name(network: Network, labels: int, seed: int) -> str:
    """Returns vgg8_labels100, and vgg8_labels100_seed2 for another seed than 1."""
    name = f"{network.name}_labels{labels}"
    return name if seed == 1 else f"{name}_seed{seed}"


def base_lr_text(rates: Mapping[int, float]) -> str:
    """Returns the text that `parse_base_lr` reads."""
    return ",".join(f"{stage}={rate:.12g}" for stage, rate in rates.items())


def _without_unlabelled(layer: Layer) -> Layer:
    """Returns the same loss, of images with a label alone."""
    if layer.type != "SoftmaxWithLoss":
        return layer
    ignored = {"loss_param": {"ignore_label": UNLABELLED}}
    return replace(layer, fields=layer.fields | ignored)


def epochs_text(epochs: Mapping[int, float]) -> str:
    """Returns the text that `parse_epochs` reads."""
    return ",".join(
        f"{stage}={f'{count:.6f}'.rstrip('0').rstrip('.')}"
        for stage, count in epochs.items()
    )
