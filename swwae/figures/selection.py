"""Which runs a figure shows, what it calls them, and what it goes without."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from generator.errors import UserError
from swwae.base.program import print_error
from swwae.base.project import relative
from swwae.runs.run import Run


def runs_to_draw(folders: Iterable[Path], find: Callable[[Path], Run]) -> list[Run]:
    """Returns the run that `find` finds for each folder, each run once.

    Folders for which it raises UserError are named on stderr. Raises UserError where
    no run is left.
    """
    wanted = list(dict.fromkeys(folders))
    runs = []
    for folder in wanted:
        try:
            runs.append(find(folder))
        except UserError as error:
            if len(wanted) == 1:
                raise
            leave_out(error)
    if not runs:
        raise UserError("none of these runs can be drawn.")
    return list(dict.fromkeys(runs))


def leave_out(reason: object) -> None:
    """Prints on stderr what a figure goes without, and why."""
    print_error(f"left out: {reason}")


def labels(runs: Sequence[Run], usual_stage: int | None = 4) -> list[str]:
    """Returns short names of runs: the variant, and whatever else differs among them.

    usual_stage: named only where some run is of another one; None: never named.
    """

    def differ(values: Iterable[object]) -> bool:
        return len(set(values)) > 1

    roots = differ(run.root for run in runs)
    nets = differ(run.net for run in runs)
    depths = differ(run.depth for run in runs)
    stages = usual_stage is not None and any(run.stage != usual_stage for run in runs)
    return [
        (f"{relative(run.root)}: " if roots else "")
        + (f"{run.net} " if nets else "")
        + run.variant
        + (f" depth {run.depth or 'default'}" if depths else "")
        + (f" (stage {run.stage})" if stages else "")
        for run in runs
    ]


def nets_of(runs: Iterable[Run]) -> str:
    """Returns the names of the runs' networks, each once, for a title."""
    return ", ".join(dict.fromkeys(run.net for run in runs))
