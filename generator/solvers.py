"""The solver of each stage (Section 4.1, Table A-1)."""

from dataclasses import dataclass, field
from math import ceil

from . import layout, paper
from .layers import Fields
from .recipe import Stage
from .sequence import Network
from .variants import Variant


@dataclass(frozen=True)
class SolverFile:
    """A stage's solver to be rendered.

    path, net, prefix: relative to the project's root, where `caffe train` runs.
    test_iter * the network's test batch covers the test set once; 0: there is none.
    fields: those of a user's own solver, which stand for all the others.
    """

    path: str
    purpose: str
    why: str
    net: str
    prefix: str
    base_lr: float
    step_values: tuple[int, ...]
    momentum: float
    weight_decay: float
    iter_size: int
    max_iter: int
    display: int
    snapshot: int
    test_iter: int
    test_interval: int
    fields: Fields = field(default_factory=dict)


def folder(network: Network, variant: Variant, depth: int) -> str:
    """Returns <net>/<variant>, with depth<N>/ below it where N is not the default."""
    shown = None if depth == network.depth else depth
    return layout.place(network.name, variant.name, shown)


def solver(network: Network, variant: Variant, depth: int, stage: Stage) -> SolverFile:
    """Returns the solver of a stage; the network has a data set to train with."""
    schedule = network.training.schedules[stage.number]
    data = network.data
    place = folder(network, variant, depth)
    update = schedule.batch_size * schedule.iter_size
    epoch = data.train_images / update
    # Caffe tests after the last iteration only where the interval divides it
    test_interval = ceil(schedule.epochs * epoch / schedule.tests)
    max_iter = test_interval * schedule.tests
    purpose = stage.purpose
    images = f"{update} images an update"
    few = getattr(data, "few_labels", None)
    if few and not stage.fixed_encoder:
        half = schedule.batch_size // 2 * schedule.iter_size
        images = f"{half} images with labels an update"
        if variant.has_decoder:
            images += f", {update - half} without"
    if stage.number == 4 and not variant.has_decoder:
        purpose = "Stage 4: the control, the classifier is trained further as it is."
    return SolverFile(
        path=layout.solver_path(place, stage.number),
        purpose=purpose,
        why=f"{schedule.why}. {images}, {schedule.epochs:g} epochs"
        + (f" of {data.train_images:,} images." if few else "."),
        net=layout.network_path(place, stage.network),
        prefix=f"runs/{place}/stage{stage.number}/snapshot",
        base_lr=schedule.base_lr,
        step_values=tuple(round(step * epoch) for step in schedule.steps),
        momentum=paper.MOMENTUM,
        weight_decay=schedule.weight_decay,
        iter_size=schedule.iter_size,
        max_iter=max_iter,
        display=schedule.display,
        snapshot=ceil(max_iter / schedule.snapshots),
        test_iter=ceil(data.test_images / data.test_batch),
        test_interval=test_interval,
        fields=_users_solver(network) if stage.number == 0 else {},
    )


_REPLACED = (
    *("net", "net_param", "train_net", "train_net_param", "test_net"),
    *("test_net_param", "snapshot_prefix", "solver_mode", "device_id", "random_seed"),
    *("weights", "train_state", "test_state", "snapshot_format"),
)
"""What the stage decides, whatever a user's solver says."""


def _users_solver(network: Network) -> Fields:
    fields = network.training.solver
    return {key: value for key, value in fields.items() if key not in _REPLACED}
