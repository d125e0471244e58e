"""What a stage needs before it can begin, and the command that makes it."""

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from caffe.proto import caffe_pb2

from generator import data_sources, text_files
from generator.errors import UserError
from generator.layers import shape_text
from generator.names import DECODER
from generator.schema import layer_of
from swwae.base.files import require_file
from swwae.base.project import ROOT, relative
from swwae.nets import building, data_kinds, data_layers, databases, network, weights
from swwae.runs.run import Run
from swwae.stages.changes import refuse_changes_before

RELEASED = {"vgg16": "VGG_ILSVRC_16_layers.caffemodel"}
"""The pretrained classifier that its authors have released, by network."""


def source_weights(run: Run, chosen: Path | None) -> Path | None:
    """Returns the weights that a stage starts from; None where it starts from nothing.

    chosen: a person's own weights (--weights); None for what the stage before has left.
    Raises UserError where those are no file.
    """
    if chosen is not None:
        if not chosen.is_file():
            reason = os.strerror(errno.EISDIR if chosen.is_dir() else errno.ENOENT)
            raise UserError(f"the weights {relative(chosen)} cannot be read: {reason}.")
        return chosen.absolute()
    return None if run.previous is None else run.previous.final_weights


def require_source(run: Run, source: Path | None) -> None:
    """Raises UserError where a stage before is missing, or out of date.

    source: as `source_weights` gives it; weights of a person's own need no stage.
    """
    if source is None or (run.previous and source != run.previous.final_weights):
        return
    missing = run.missing()
    if not missing:
        refuse_changes_before(run)
        return
    last = missing[-1].status()
    state = "has not been run"
    if last:
        state = f"is {last['state']} at iteration {last.get('iterations', 0):,}"
    hint = ""
    if missing[0].stage == 0:
        released = RELEASED.get(run.net)
        name = f" (such as {released})" if released else ""
        hint = (
            "\nA classifier that is trained already"
            f"{name} saves stage 0: give it to stage 1 with --weights FILE."
        )
    commands = "".join(f"\n  {before.command}" for before in missing)
    raise UserError(
        f"{run.title} starts from {missing[-1].title}, which {state}; run{commands}"
        f"{hint}"
    )


def require_network(run: Run, path: Path) -> caffe_pb2.NetParameter:
    """Reads a network; raises UserError, naming the generator's command, without it."""
    require_file(path, "network", run.generator_command)
    return network.read(path)


def require_databases(net: caffe_pb2.NetParameter, path: Path) -> None:
    """Raises UserError where a database that a network reads is missing, is named in a
    way that Caffe does not take, is damaged or empty, has labels that the network has
    no output for, or images of another kind than it reads.

    path: of the network's file.
    """
    for layer in net.layer:
        if layer.type != "Data":
            continue
        where = f"layer '{layer.name}' of {relative(path)}"
        if fault := data_sources.misnamed(layer_of(layer), ROOT):
            raise UserError(f"{where} {fault}.")
        if layer.data_param.source and not layer.data_param.batch_size:
            raise UserError(f"{where} has no batch_size in its data_param: write one.")
    data = [layer.data_param.source for layer in net.layer if layer.type == "Data"]
    for source in dict.fromkeys([*data_layers.sources(net), *data]):
        if not source:
            raise UserError(
                f"a data layer of {relative(path)} names no source: write data_param {{"
                ' source: "FOLDER" backend: LMDB } in the file that the network is'
                " generated from, and generate it again."
            )
        folder = ROOT / source
        if fault := folder.is_file() and text_files.unfit_for_caffe(folder):
            raise UserError(f"the list {source} cannot be used: {fault}.")
        if folder.is_file() or data_sources.is_database(folder):
            continue
        raise UserError(
            f"the data in {source}, which {relative(path)} reads, is missing:"
            f" {_where_to_find(source)}."
        )
    databases.check(net, path)
    data_kinds.check(net, path)


def require_room(folder: Path, shapes: weights.Shapes) -> None:
    """Raises UserError where a folder's disk has no room for the weights of a single
    snapshot. shapes: of the network's parameters, 4 bytes a number."""
    numbers = weights.count(shape for layer in shapes.values() for shape in layer)
    needed, free = 4 * numbers, shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"a snapshot takes at least {needed / 1e6:,.1f} MB, and {free / 1e6:,.1f}"
            f" MB are free in {relative(folder)}: make room, or set RUNS_DIR to a"
            " folder on another disk."
        )


def _where_to_find(source: str) -> str:
    """Returns what to do about data that are not in the project's folder: a clause."""
    if there := data_sources.elsewhere(source, [Path.cwd()], ROOT):
        return there
    command = databases.how_made(ROOT / source)
    return f"run {command}" if command else "data/README.md says how one is made"


def starting_layers(
    run: Run,
    net: caffe_pb2.NetParameter,
    net_path: Path,
    source: Path | None,
    *,
    chosen: bool,
) -> tuple[weights.Shapes, weights.Comparison]:
    """Returns the shapes of a network's parameters, and which of them weights have.

    source: the weights' file; None: every layer is fresh. Raises UserError where the
    file cannot be read, Caffe refuses the network, and as `check_weights` does. (The
    weights themselves are large, and what follows takes long: they are not kept.)
    """
    incoming = None if source is None else weights.load(source)
    shapes = building.parameter_shapes(net_path)
    if incoming is None:
        return shapes, weights.Comparison([], list(shapes), [], [])
    comparison = check_weights(
        run, net, net_path, source, shapes, incoming, chosen=chosen
    )
    return shapes, comparison


def check_weights(
    run: Run,
    net: caffe_pb2.NetParameter,
    net_path: Path,
    source: Path,
    shapes: weights.Shapes,
    incoming: caffe_pb2.NetParameter,
    *,
    chosen: bool,
) -> weights.Comparison:
    """Compares weights with a stage's network; raises UserError where they don't fit.

    shapes: of the network's parameters; incoming: the weights in `source`; chosen:
    whether a person gave them (--weights).

    Only stage 0 may begin with fresh layers anywhere; stage 1 has fresh decoders, and a
    fresh classifier where the weights are for other classes; later stages have fresh
    decoders with chosen weights alone.
    """
    comparison = weights.compare(shapes, incoming)
    where = relative(source)
    fault = next(_faults(comparison, shapes, incoming, relative(net_path), where), None)
    if fault is None:
        types = {layer.name: layer.type for layer in net.layer}
        for name in comparison.missing:
            if not _may_be_fresh(run.stage, name, types[name], chosen):
                fault = (
                    f"layer {name} of {relative(net_path)} is not in {where}, and"
                    f" {run.title} must not start it from random numbers:"
                )
                break
    if fault is not None:
        mend = "give weights of this network with --weights FILE."
        if not chosen:
            mend = f"make it again: {run.previous.command} --force"
        raise UserError(f"{fault} {mend}")
    return comparison


def _faults(
    comparison: weights.Comparison,
    shapes: weights.Shapes,
    incoming: caffe_pb2.NetParameter,
    net: str,
    source: str,
) -> Iterator[str]:
    """Yields what makes weights unfit for every stage.

    net, source: the files of the network and the weights, as a person is told them.
    """
    if layer := weights.not_finite(incoming):
        yield f"layer {layer} of {source} holds numbers that are not finite:"
    if comparison.different:
        name = comparison.different[0]
        more = len(comparison.different) - 1
        others = f" ({more} more layers differ)" if more else ""
        wanted = _shapes_text(shapes[name])
        found = _shapes_text(weights.shapes(incoming)[name])
        yield (
            f"layer {name} has shapes {wanted} in {net} but {found} in {source}"
            f"{others}:"
        )
    if not comparison.copied:
        held = ", ".join(comparison.unused[:5]) or "none"
        more = ", …" if len(comparison.unused) > 5 else ""
        yield (f"not a single layer of {net} is in {source}; its layers: {held}{more};")


def _may_be_fresh(stage: int, layer: str, kind: str, chosen: bool) -> bool:
    if stage == 0:
        return True
    if layer.startswith(DECODER):
        return stage == 1 or chosen
    return stage == 1 and kind == "InnerProduct"


def _shapes_text(shapes: list[weights.Shape]) -> str:
    return ", ".join(map(shape_text, shapes))
