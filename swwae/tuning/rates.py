"""What programs that find figures by trial share: options, and where those go."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from generator import layout, manifest
from generator.rates import (
    Figures,
    Found,
    path_of,
    read_found,
)
from swwae.base.files import whole_file
from swwae.base.project import ROOT, relative
from swwae.runs.networks import depths


def read(net: str) -> Found:
    """What has been found for a network before; raises UserError as `read_found`."""
    return read_found(ROOT, net, depths(net)[1])


def write(
    net: str,
    layerwise_lr: Mapping[str, Figures] | None = None,
    loss_weights: Mapping[str, Figures] | None = None,
) -> Path:
    """Adds figures to the network's rates.json, in place of those of the same name.

    layerwise_lr: by family; loss_weights: by variant. Returns the file's path. Raises
    UserError where it is damaged or cannot be written; it stays as it was then.
    """
    before = read(net)
    after = replace(
        before,
        layerwise_lr={**before.layerwise_lr, **(layerwise_lr or {})},
        loss_weights={**before.loss_weights, **(loss_weights or {})},
    )
    path = path_of(ROOT, net)
    with whole_file(path, "w") as file:
        file.write(after.text())
    return path


def generator_commands(net: str, variants: str) -> list[str]:
    """The commands that made the solvers of a network's variants, to make them again.

    variants: a regular expression for their names.
    """
    known = manifest.read(ROOT, net)
    return sorted(
        f".venv/bin/{made.command}"
        for made in (known.made if known else ())
        if re.fullmatch(variants, made.variant)
        and (ROOT / layout.solver_path(known.place(made), 4)).exists()
    )


def tell(path: Path, net: str, variants: str) -> None:
    """Says where the figures are, and the commands that put them into the solvers."""
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


def command(program: str, options: Mapping[str, object]) -> str:
    """A command line, without what has no value: how the figures were found."""
    words = [f"tools/{program}"]
    for name, value in options.items():
        if value is not None:
            words += [f"--{name}", str(value)]
    return shlex.join(words)
