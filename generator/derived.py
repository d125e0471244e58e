"""A network made from another one: another name, longer training, fewer labels."""

import re
from collections.abc import Mapping
from dataclasses import replace

from .errors import UserError
from .layers import Layer
from .sequence import DataSet, FewLabels, Network

UNLABELLED = -1
"""The label of an image without one; the classification loss leaves it out."""

MOST_EPOCHS = 1e6


def folder_name(text: str) -> str:
    """A network's name, or the nearest to it, as its folders can have it."""
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
    """The same network in folders of its own."""
    title = f"{network.title}; default depth {network.depth} of {network.max_depth}"
    return replace(network, name=name, title=title)


def parse_epochs(text: str) -> dict[int, float]:
    """{0: 10.0, 4: 2.0} from 0=10,4=2; raises UserError for anything else."""
    epochs: dict[int, float] = {}
    for part in text.split(","):
        match = re.fullmatch(r"([0234])=([0-9]{1,7}(?:\.[0-9]{1,6})?)", part)
        if (
            not match
            or not 0 < float(match[2]) <= MOST_EPOCHS
            or int(match[1]) in epochs
        ):
            raise UserError(
                f"--epochs {text}: expected stages that train (0, 2, 3, 4) with their"
                " epochs, such as 0=10,4=2.5."
            )
        epochs[int(match[1])] = float(match[2])
    return epochs


def with_epochs(network: Network, epochs: Mapping[int, float]) -> Network:
    """Stages of other lengths; the learning rate falls at the same shares of them.

    Raises UserError where the network has no data set, or a user's solver says how
    long stage 0 is.
    """
    training = network.training
    if training is None:
        raise UserError(f"--epochs: {network.name} has no data set to train with.")
    if training.solver and 0 in epochs:
        raise UserError("--epochs 0=…: your own solver's max_iter is the length.")
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


def with_few_labels(network: Network, labels: int, seed: int) -> Network:
    """Trained with the labels of `labels` images, drawn by `seed`; all images are
    reconstructed.

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


def few_labels_name(network: Network, labels: int, seed: int) -> str:
    """vgg8_labels100, and vgg8_labels100_seed2 for another seed than 1."""
    name = f"{network.name}_labels{labels}"
    return name if seed == 1 else f"{name}_seed{seed}"


def _without_unlabelled(layer: Layer) -> Layer:
    """The same loss, of images with a label alone."""
    if layer.type != "SoftmaxWithLoss":
        return layer
    ignored = {"loss_param": {"ignore_label": UNLABELLED}}
    return replace(layer, fields=layer.fields | ignored)


def epochs_text(epochs: Mapping[int, float]) -> str:
    """As `parse_epochs` reads them."""
    return ",".join(
        f"{stage}={f'{each:.6f}'.rstrip('0').rstrip('.')}"
        for stage, each in epochs.items()
    )
