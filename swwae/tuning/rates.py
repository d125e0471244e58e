"""The rates.json of a network: what trials have found, for the generator to use."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from generator import layout, manifest
from generator.rates import (
    Figures,
    RatesFile,
    rates_file_path,
    read_rates,
)
from swwae.base.files import whole_file
from swwae.base.project import ROOT, relative
from swwae.runs.networks import depths


def read_rates_file(net: str) -> RatesFile:
    """Returns what has been found for a network so far.

    Raises UserError where its rates.json is damaged.
    """
    return read_rates(ROOT, net, depths(net)[1])


def add_to_rates_file(
    net: str,
    layerwise_lr: Mapping[str, Figures] | None = None,
    loss_weights: Mapping[str, Figures] | None = None,
) -> Path:
    """Adds figures to the network's rates.json, in place of those of the same name.

    layerwise_lr: by family; loss_weights: by variant. Returns the file's path. Raises
    UserError where it is damaged or cannot be written; it stays as it was then.
    """
    before = read_rates_file(net)
    after = replace(
        before,
        layerwise_lr={**before.layerwise_lr, **(layerwise_lr or {})},
        loss_weights={**before.loss_weights, **(loss_weights or {})},
    )
    path = rates_file_path(ROOT, net)
    with whole_file(path, "w") as file:
        file.write(after.text())
    return path


def generator_commands(net: str, variants: str) -> list[str]:
    """Returns the commands that made the solvers of a network's variants, to make them
    again.

    variants: a regular expression for their names.
    """
    known = manifest.read(ROOT, net)
    return sorted(
        f".venv/bin/{made.command}"
        for made in (known.made if known else ())
        if re.fullmatch(variants, made.variant)
        and (ROOT / layout.solver_path(known.place(made), 4)).exists()
    )


def print_next_commands(path: Path, net: str, variants: str) -> None:
    """Prints where the figures are, and the commands that put them into the solvers.

    path: of rates.json; variants: as in `generator_commands`.
    """
    print(f"\nwritten to {relative(path)}, for the generator; it uses them with")
    commands = generator_commands(net, variants)
    for command in commands:
        print(f"  {command}")
    if any(" --base-lr " in command for command in commands):
        print(
            "--base-lr comes before what was found: leave it out to use that, and give"
            " --variant all, so that all variants learn alike."
        )
    print(
        "Stages that are finished are out of date then: tools/run_stage.sh says so, and"
        " what to do."
    )


def command_line(program: str, options: Mapping[str, object]) -> str:
    """Returns the command line by which figures were found.

    options: by name, without dashes; those whose value is None are left out.
    """
    words = [f"tools/{program}"]
    for name, value in options.items():
        if value is not None:
            words += [f"--{name}", str(value)]
    return shlex.join(words)
