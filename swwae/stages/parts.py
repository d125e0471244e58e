"""Stage 2 in parts: the decoder of each macro-layer trained alone, by a run of its own.

A part has the network that its loss needs, and its folder lies in the stage's:
stage2/macro-layer-<N>/. All parts together make the stage's final weights, the same as
one training of the whole network at the same number of threads.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from caffe.proto import caffe_pb2
from google.protobuf import text_format

from generator.errors import UserError
from swwae.base.files import whole_file
from swwae.base.project import relative
from swwae.nets import building, cutting, weights
from swwae.runs.run import Run
from swwae.stages import snapshots
from swwae.stages.request import Request

IN_PARTS = re.compile(r" --(?:parallel(?: \d+)?|macro-layer \d+)")
"""What a command has that asks for parts."""


def parts_of(run: Run, net: caffe_pb2.NetParameter) -> list[Run]:
    """Returns the parts of a stage, macro-layer 1's first. net: the stage's."""
    return [run.part(number) for number, _ in enumerate(cutting.losses(net), start=1)]


def network_of(part: Run, net: caffe_pb2.NetParameter) -> caffe_pb2.NetParameter:
    """Returns what a part needs of a stage's network.

    Raises UserError where there is no such macro-layer.
    """
    found = cutting.losses(net)
    if not 1 <= part.macro_layer <= len(found):
        raise UserError(
            f"--macro-layer {part.macro_layer}: {part.place} has decoders of the"
            f" macro-layers 1 to {len(found)}."
        )
    return cutting.cut(net, found[part.macro_layer - 1])


def write_network(
    part: Run, net: caffe_pb2.NetParameter, net_path: Path
) -> caffe_pb2.NetParameter:
    """Returns what a part needs of a stage's network, and writes it to its folder.

    net_path: of the stage's network. Raises UserError where there is no such
    macro-layer, or the file cannot be written.
    """
    result = network_of(part, net)
    with whole_file(part.part_network, "w") as file:
        file.write(
            f"# What macro-layer {part.macro_layer} needs of {relative(net_path)}.\n"
        )
        file.write(text_format.MessageToString(result))
    return result


def write_final_weights(
    run: Run,
    parts: Iterable[Run],
    net_path: Path,
    source: Path,
    comparison: weights.Comparison,
) -> None:
    """Makes a stage's final.caffemodel of its parts': every layer's weights, also those
    that the stage's network lacks.

    net_path: of the stage's network. source, comparison: the weights that the stage
    starts from, compared with it.
    """
    final = building.assembled(
        net_path, [part.final_weights for part in parts], run.folder
    )
    weights.drop_tied(final)
    weights.copy_layers(weights.load(source), final, comparison.unused)
    weights.save(final, run.final_weights)


def require_independent(
    run: Run,
    net: caffe_pb2.NetParameter,
    net_path: Path,
    settings: caffe_pb2.SolverParameter,
    shapes: weights.Shapes,
    comparison: weights.Comparison,
) -> None:
    """Raises UserError where a stage's decoders cannot be trained each on its own with
    the same result.

    run: the stage, or a part of it. net, net_path, settings: the stage's network and
    solver. shapes, comparison: of the parameters of the run's network, and of the
    weights that it starts from.
    """
    counts = {layer: len(found) for layer, found in shapes.items()}
    fault = cutting.fault(net, cutting.losses(net), counts)
    where = relative(net_path)
    if fault is None and settings.clip_gradients > 0:
        where = relative(run.solver)
        fault = "clip_gradients looks at the gradients of all decoders together"
    if fault is None and comparison.missing:
        fault = (
            f"layer {comparison.missing[0]} is not in the weights, and what it is"
            " filled with depends on the layers before it"
        )
    if fault is not None:
        raise UserError(
            f"{run.title} cannot be trained in parts: {fault} ({where}); leave out"
            " --parallel or --macro-layer."
        )


def refuse_parts(run: Run, request: Request) -> None:
    """Raises UserError where a stage was begun in parts, and is to go on as a whole."""
    refuse_running(run)
    if request.force:
        return
    if begun := run.begun_parts():
        raise UserError(
            f"{run.title} was begun in parts ({relative(begun[0].folder)}): go on with"
            f" {request.command} --parallel, or start over with {request.command}"
            " --force"
        )


def refuse_running(run: Run) -> None:
    """Raises UserError where a part of a stage is being trained now."""
    for part in run.begun_parts():
        if part.is_locked():
            raise UserError(
                f"{part.title} is being run already; its log is {relative(part.log)}."
            )


def refuse_whole(run: Run, command: str) -> None:
    """Raises UserError where a stage was begun as a whole, and is to go on in parts.

    run: the stage, or one of its parts. command: that asks for that.
    """
    whole = replace(run, macro_layer=None)
    # A stage in parts is held by the program whose jobs they are.
    is_running = run != whole and whole.is_locked() and "parts" not in whole.status()
    if is_running or snapshots.iterations(whole.folder):
        as_whole = IN_PARTS.sub("", command)
        raise UserError(
            f"{whole.title} was begun as a whole: go on with {as_whole}, or start over"
            f" with {as_whole} --parallel --force"
        )
