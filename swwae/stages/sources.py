"""What a stage needs before it can begin, and the command that makes it."""

import argparse
import re
from pathlib import Path

from caffe.proto import caffe_pb2

from generator.errors import UserError
from generator.names import DECODER
from swwae.base.files import require_file
from swwae.base.project import ROOT, relative
from swwae.nets import data_layers, network, weights
from swwae.runs.run import Run
from swwae.stages.changes import refuse_changes, refuse_changes_before

RELEASED = {"vgg16": "VGG_ILSVRC_16_layers.caffemodel"}
"""The pretrained classifier that its authors have released, by network."""


def source_weights(stage: Run, options: argparse.Namespace) -> Path | None:
    """Where the stage starts from; None: from nothing."""
    if options.weights is not None:
        return options.weights.absolute()
    return None if stage.previous is None else stage.previous.final_weights


def require_source(stage: Run, source: Path | None) -> None:
    """Raises UserError where a stage before is missing, or out of date."""
    if source is None or (stage.previous and source != stage.previous.final_weights):
        return
    missing = [] if stage.previous is None else stage.missing()
    if not missing:
        refuse_changes_before(stage)
        return
    last = missing[-1].status()
    found = "has not been run"
    if last:
        found = f"is {last['state']} at iteration {last.get('iterations', 0):,}"
    hint = ""
    if missing[0].stage == 0:
        released = RELEASED.get(stage.net)
        name = f" (such as {released})" if released else ""
        hint = (
            "\nA classifier that is trained already"
            f"{name} saves stage 0: give it to stage 1 with --weights FILE."
        )
    commands = "".join(f"\n  {before.command}" for before in missing)
    raise UserError(
        f"{stage.title} starts from {missing[-1].title}, which {found}; run{commands}"
        f"{hint}"
    )


def require_network(stage: Run, path: Path) -> caffe_pb2.NetParameter:
    """The network, once it is there."""
    require_file(path, "network", stage.generator_command)
    return network.read(path)


def require_databases(net: caffe_pb2.NetParameter, path: Path) -> None:
    """Raises UserError where one that a network reads is not there."""
    for source in data_layers.sources(net):
        folder = ROOT / source
        database = (folder / "data.mdb", folder / "CURRENT")
        if folder.is_file() or any(file.is_file() for file in database):
            continue
        script = folder.parent / "create.py"
        mend = "data/README.md says how one is made"
        few = re.fullmatch(r"(?:un)?labelled(?:(\d+)_seed(\d+))?_lmdb", folder.name)
        if few and few[1]:
            mend = f"run data/few_labels.py --labels {few[1]} --seed {few[2]}"
            mend += f" --data {relative(folder.parent)}"
        elif few:
            mend = "data/few_labels.py makes it"
        elif script.is_file():
            mend = f"run {relative(script)}"
        raise UserError(
            f"the data in {source}, which {relative(path)} reads, is missing: {mend}."
        )


def is_done(
    stage: Run, options: argparse.Namespace, source: Path | None, target: int | None
) -> bool:
    """Says so if the stage has been finished.

    Raises UserError where what it was made with has changed since.
    """
    if not stage.is_finished():
        return False
    refuse_changes(stage, source, options.again)
    status = stage.status()
    if target is not None and status["iterations"] < target:
        done = status["iterations"]
        print(f"{stage.title} has done {done:,} of now {target:,} iterations")
        return False
    iterations = f", {status['iterations']:,} iterations" if target else ""
    print(
        f"{stage.title} is finished{iterations}: {relative(stage.final_weights)}"
        " (--force starts it over)"
    )
    return True


def check_weights(
    stage: Run,
    net: caffe_pb2.NetParameter,
    net_path: Path,
    source: Path,
    shapes: weights.Shapes,
    incoming: caffe_pb2.NetParameter,
    options: argparse.Namespace,
) -> None:
    """Refuses weights that are not this network's.

    shapes: of the network's parameters. Only stage 0 may begin with fresh layers
    anywhere; stage 1 has fresh decoders, and a fresh classifier where the weights are
    for other classes; later stages have fresh decoders with --weights alone.
    """
    mend = "give weights of this network with --weights FILE."
    if options.weights is None:
        mend = f"make it again: {stage.previous.command} --force"
    comparison = weights.compare(shapes, incoming)
    where = relative(source)
    if layer := weights.not_finite(incoming):
        raise UserError(
            f"layer {layer} of {where} holds numbers that are not finite: {mend}"
        )
    if comparison.different:
        name = comparison.different[0]
        more = len(comparison.different) - 1
        others = f" ({more} more layers differ)" if more else ""
        found = shapes_text(weights.shapes(incoming)[name])
        raise UserError(
            f"layer {name} has shapes {shapes_text(shapes[name])} in"
            f" {relative(net_path)} but {found} in {where}{others}: {mend}"
        )
    if not comparison.copied:
        held = ", ".join(comparison.unused[:5]) or "none"
        raise UserError(
            f"not a single layer of {relative(net_path)} is in {where}; its layers:"
            f" {held}{', …' if len(comparison.unused) > 5 else ''}; {mend}"
        )
    types = {layer.name: layer.type for layer in net.layer}
    for name in comparison.missing:
        if stage.stage == 0:
            continue
        if name.startswith(DECODER):
            allowed = stage.stage == 1 or options.weights is not None
        else:
            allowed = stage.stage == 1 and types[name] == "InnerProduct"
        if not allowed:
            raise UserError(
                f"layer {name} of {relative(net_path)} is not in {where}, and"
                f" {stage.title} must not start it from random numbers: {mend}"
            )


def shapes_text(shapes: list[weights.Shape]) -> str:
    return ", ".join("x".join(map(str, s)) for s in shapes)
