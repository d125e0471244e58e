"""From a folder, as a person names it, to the runs that are in it."""

import os
import re
from pathlib import Path

from generator.errors import UserError
from generator.variants import VARIANTS
from swwae.base import project
from swwae.runs.networks import known_nets
from swwae.runs.run import Run


def stages_in(folder: Path) -> list[Run]:
    """Returns the stages of the run that a folder is, such as runs/vgg8/swwae-all.

    They are in order: all that it builds on, and only those that have been started.

    A stage's own folder stands for the run it is in. A stage with a status.json has
    been started, whether or not that can be read. Raises UserError where the folder is
    no run's, or none of its stages has been started.
    """
    path = Path(os.path.abspath(folder))
    if re.fullmatch(r"stage[0-4]", path.name):
        path = path.parent
    depth = re.fullmatch(r"depth(\d{1,4})", path.name)
    if depth:
        path = path.parent
    wanted = "expected a run's folder, such as runs/vgg8/swwae-all"
    if not path.is_dir():
        raise UserError(f"there is no folder {project.relative(path)}; {wanted}.")
    if path.name not in VARIANTS or path.parent.name not in known_nets():
        raise UserError(
            f"{project.relative(folder)} is no run: {wanted}, the last two names being"
            " those of a network and a variant (python -m generator --list)."
        )
    last = Run(
        path.parent.name,
        path.name,
        4,
        int(depth[1]) if depth else None,
        path.parent.parent,
    )
    chain = [last]
    while chain[0].previous is not None:
        chain.insert(0, chain[0].previous)
    started = [run for run in chain if (run.folder / "status.json").exists()]
    if not started:
        raise UserError(
            f"{project.relative(folder)}: none of its stages has been started; the"
            f" first one is: {chain[0].command}"
        )
    return started
