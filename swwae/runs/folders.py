"""From a folder, as a person names it, to the runs that are in it."""

import os
import re
from pathlib import Path
from typing import NamedTuple

from generator.errors import UserError
from generator.variants import VARIANTS
from swwae.base import project
from swwae.runs.networks import known_nets
from swwae.runs.run import Run


class FolderParts(NamedTuple):
    """What the path of a run's or a stage's folder says. depth, stage: None where it
    names none."""

    root: Path
    net: str
    variant: str
    depth: int | None
    stage: int | None


def folder_parts(folder: Path) -> FolderParts:
    """Splits <root>/<net>/<variant>[/depth<N>][/stage<k>]; nothing needs to exist."""
    path = Path(os.path.abspath(folder))
    stage = re.fullmatch(r"stage([0-4])", path.name)
    path = path.parent if stage else path
    depth = re.fullmatch(r"depth(\d{1,4})", path.name)
    path = path.parent if depth else path
    numbers = (int(match[1]) if match else None for match in (depth, stage))
    return FolderParts(path.parent.parent, path.parent.name, path.name, *numbers)


def stages_in(folder: Path) -> list[Run]:
    """Returns the stages of the run that a folder is, such as runs/vgg8/swwae-all.

    They are in order: all that it builds on, and only those that have been started.

    A stage's own folder stands for the run it is in. A stage with a status.json has
    been started, whether or not that can be read. Raises UserError where the folder is
    no run's, or none of its stages has been started.
    """
    root, net, variant, depth, _ = folder_parts(folder)
    path = root / net / variant
    wanted = "expected a run's folder, such as runs/vgg8/swwae-all"
    if not path.is_dir():
        raise UserError(f"there is no folder {project.relative(path)}; {wanted}.")
    if variant not in VARIANTS or net not in known_nets():
        raise UserError(
            f"{project.relative(folder)} is no run: {wanted}, the last two names being"
            " those of a network and a variant (python -m generator --list)."
        )
    last = Run(net, variant, 4, depth, root)
    chain = [last]
    while chain[0].previous is not None:
        chain.insert(0, chain[0].previous)
    started = [run for run in chain if run.status_file.exists()]
    if not started:
        raise UserError(
            f"{project.relative(folder)}: none of its stages has been started; the"
            f" first one is: {chain[0].command}"
        )
    return started
