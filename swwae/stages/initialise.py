"""Stage 1: weights without training."""

from swwae.base.files import require_file
from swwae.base.project import relative
from swwae.base.tables import print_summary
from swwae.nets import building, network, weights
from swwae.runs.run import STAGES, Run
from swwae.stages.request import DEFAULT_SEED, Request
from swwae.stages.reruns import is_done, refuse_loss
from swwae.stages.sources import (
    check_weights,
    require_network,
    require_source,
    source_weights,
)
from swwae.stages.status import (
    new_status,
    parameter_counts,
    record_finish,
    weight_rows,
)


def initialise(run: Run, request: Request) -> int:
    """Makes fresh weights by the network's fillers, then copies the classifier's.

    Returns the exit code. Raises UserError where what it needs is missing or unfit.
    """
    source = source_weights(run, request.weights)
    if not request.force:
        if is_done(run, request, source, None):
            return 0
        refuse_loss(run, request.command)
    require_source(run, source)
    incoming = weights.load(source)
    net = require_network(run, run.network)
    deploy = run.network.with_name("deploy.prototxt")
    require_file(deploy, "network", run.generator_command)
    seed = DEFAULT_SEED if request.seed is None else request.seed
    status = new_status(run, request.command, seed, "CPU", source)
    print_summary(
        f"{run.title}: {STAGES[1]}",
        [("network", relative(run.network)), ("weights", relative(source))],
    )
    image, blob = network.image_shape(deploy), network.image_blob(deploy)
    built = building.initial(run.network, seed, image, blob, run.folder)
    weights.drop_tied(built)
    shapes = weights.shapes(built)
    comparison = check_weights(
        run,
        net,
        run.network,
        source,
        shapes,
        incoming,
        chosen=request.weights is not None,
    )
    weights.copy_layers(incoming, built, comparison.copied)
    weights.save(built, run.final_weights)
    print_summary(None, weight_rows(comparison, shapes, kept=False))
    status |= parameter_counts(comparison, shapes)
    record_finish(run, status, iterations=0)
    return 0
