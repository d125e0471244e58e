"""Stage 1: weights without training."""

import argparse

from swwae.base.files import require_file
from swwae.base.project import relative
from swwae.base.tables import print_summary
from swwae.nets import building, network, weights
from swwae.runs.run import STAGES, Run
from swwae.stages.sources import (
    check_weights,
    is_done,
    require_network,
    require_source,
    source_weights,
)
from swwae.stages.status import (
    counts,
    finish,
    new_status,
    weight_rows,
)

DEFAULT_SEED = 1


def initialise(stage: Run, options: argparse.Namespace) -> int:
    """Fresh weights by the network's fillers, then all that the classifier has."""
    source = source_weights(stage, options)
    if not options.force and is_done(stage, options, source, None):
        return 0
    require_source(stage, source)
    incoming = weights.load(source)
    net = require_network(stage, stage.network)
    deploy = stage.network.with_name("deploy.prototxt")
    require_file(deploy, "network", stage.generator_command)
    seed = DEFAULT_SEED if options.seed is None else options.seed
    status = new_status(stage, options, seed, "CPU", source)
    print_summary(
        f"{stage.title}: {STAGES[1]}",
        [("network", relative(stage.network)), ("weights", relative(source))],
    )
    image, blob = network.image_shape(deploy), network.image_blob(deploy)
    built = building.initial(stage.network, seed, image, blob, stage.folder)
    weights.drop_tied(built)
    shapes = weights.shapes(built)
    comparison = weights.compare(shapes, incoming)
    check_weights(stage, net, stage.network, source, shapes, incoming, options)
    weights.copy_layers(incoming, built, comparison.copied)
    weights.save(built, stage.final_weights)
    print_summary(None, weight_rows(comparison, shapes, kept=False))
    status |= counts(comparison, shapes)
    finish(stage, status, iterations=0)
    return 0
