"""How a user's network is trained: its data layers, its own solver or a common one."""

from dataclasses import replace
from pathlib import Path

from .errors import UserError
from .layers import Fields, Layer
from .schema import fields_of, read
from .sequence import Network, Schedule, Training, UserData
from .source import batch_size, count
from .training import CLASSIFIER_RATE, PIXEL_MAGNITUDE, classifier_rate, estimated

ASSUMED_IMAGES = 50000
"""An epoch of data that are not there to count (ours)."""

TRAINABLE = ("Data", "ImageData", "HDF5Data", "WindowData")


def data_of(layers_before: tuple[Layer, ...], layers: list[Layer]) -> UserData:
    """Returns the data that a file's layers read.

    layers_before: those before the first macro-layer; layers: all.
    """

    def reading(phase: str) -> Layer | None:
        return next(
            (
                layer
                for layer in layers
                if layer.type in TRAINABLE and layer.in_phase(phase)
            ),
            None,
        )

    train, test = reading("TRAIN"), reading("TEST")
    if train is None:
        return UserData(layers_before)
    return UserData(
        layers_before,
        train_batch=batch_size(train),
        train_images=count(train) or ASSUMED_IMAGES,
        test_batch=batch_size(test) if test else 1,
        test_images=(count(test) or 10000) if test else 0,
        counted=count(train) is not None,
    )


POLICIES = {
    "fixed": (),
    "step": ("gamma", "stepsize"),
    "exp": ("gamma",),
    "inv": ("gamma", "power"),
    "multistep": ("gamma", "stepvalue"),
    "poly": ("power",),
    "sigmoid": ("gamma", "stepsize"),
}
"""Caffe's learning rate policies, and what each needs."""


def _check_solver(fields: Fields, path: Path) -> None:
    """Raises UserError for a solver with which `caffe train` would end at once."""
    policy = fields.get("lr_policy")
    problem = None
    if not 0 < fields.get("base_lr", 0.0) < float("inf"):
        problem = f"its base_lr is {fields.get('base_lr', 'missing')}"
    elif fields.get("max_iter", 0) < 1:
        problem = f"its max_iter is {fields.get('max_iter', 'missing')}"
    elif policy not in POLICIES:
        problem = (
            f"its lr_policy is {policy or 'missing'}; known: {', '.join(POLICIES)}"
        )
    elif missing := [name for name in POLICIES[policy] if name not in fields]:
        problem = f"lr_policy '{policy}' needs {missing[0]}"
    elif fields.get("test_iter") and fields.get("test_interval", 0) < 1:
        problem = "it has a test_iter and no test_interval"
    elif len(fields.get("test_iter", ())) > 1:
        problem = "it tests several networks; one test_iter is understood here"
    if problem:
        raise UserError(f"--solver {path}: {problem}.")


def training_of(network: Network, solver: Path | None) -> Training:
    """Returns how a user's network is trained; solver: the user's own file, if any.

    Raises UserError for a solver with which `caffe train` would end at once.
    """
    data = network.data
    why = "ours, a common choice; --solver FILE takes your own"
    if not data.counted:
        why += f"; the data are not there to count, {ASSUMED_IMAGES:,} images assumed"
    fields: Fields = {}
    rate = classifier_rate(network)
    if rate < CLASSIFIER_RATE and solver is None:
        why += f"; {rate:g}, not {CLASSIFIER_RATE:g}, for gradients grow with pixels"
    schedule = Schedule(rate, 30, data.train_batch, why, steps=(20, 27))
    if solver is not None:
        fields = fields_of(read(solver, "SolverParameter"))
        _check_solver(fields, solver)
        schedule = replace(
            schedule,
            base_lr=fields.get("base_lr", schedule.base_lr),
            weight_decay=fields.get("weight_decay", 0.0),
        )
    training = estimated(network, schedule, data.train_batch, PIXEL_MAGNITUDE)
    return replace(training, solver=fields)
