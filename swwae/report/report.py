"""A report of runs that may go on while it is shown."""

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from swwae.base.provenance import now
from swwae.report.images import filters, reconstructions
from swwae.report.page import (
    Pictures,
    Tables,
    curve_data,
    page,
    sections,
    tables_of,
)
from swwae.report.stages import Experiment, collect


class Report:
    """The page of some runs. Tables and curves are read whenever they are asked for;
    pictures, which take long, are drawn again only when another stage has finished."""

    def __init__(
        self,
        runs: Sequence[Path],
        experiment: Experiment,
        *,
        image_names: list[str],
        notices: list[str],
        command: str,
        progress: Callable[[str], None],
    ) -> None:
        """Draws the pictures of a first page.

        runs: the runs' folders; experiment: what they hold now, as of `collect`.
        image_names: images to reconstruct beside those of the data set. notices:
        sentences to show beside those on the runs. command: the command line that makes
        the page. progress: is called with what is being drawn.
        """
        self._runs = runs
        self._image_names = image_names
        self._notices = notices
        self._command = command
        self._progress = progress
        self._created = now()
        self._drawing = Lock()
        self._draw(experiment)

    def tables(self) -> Tables:
        """Returns the tables as the runs are now."""
        return self._tables(collect(self._runs))

    def page(self, refresh: int | None = None) -> str:
        """Returns the page as the runs are now, with pictures of all finished stages.

        refresh: as of `page.page`.
        """
        experiment = collect(self._runs)
        with self._drawing:
            if finished_stages(experiment) != self._drawn:
                self._draw(experiment)
        return page(
            self._tables(experiment),
            self._pictures,
            created=self._created,
            command=self._command,
            refresh=refresh,
        )

    def data(self) -> dict[str, Any]:
        """Returns what a page asks for to follow the runs: /data.json."""
        experiment = collect(self._runs)
        not_drawn = finished_stages(experiment) - self._drawn
        return {
            "sections": sections(self._tables(experiment)),
            "curves": curve_data(experiment),
            "running": [
                {
                    "title": stage.title,
                    "iterations": stage.iterations,
                    "seconds_left": stage.seconds_left,
                }
                for stage in experiment.stages
                if stage.state == "running"
            ],
            "without_pictures": sorted(title for title, _ in not_drawn),
        }

    def _tables(self, experiment: Experiment) -> Tables:
        return tables_of(experiment, [*self._notices, *self._picture_notices])

    def _draw(self, experiment: Experiment) -> None:
        notices: list[str] = []
        drawn = reconstructions(
            experiment.decoders, self._image_names, notices, self._progress
        )
        self._pictures = Pictures(drawn, filters(experiment.stages, notices))
        self._picture_notices = notices
        self._drawn = finished_stages(experiment)


def finished_stages(experiment: Experiment) -> set[tuple[str, str]]:
    """Returns (title, when it ended) of every finished stage."""
    return {
        (stage.title, str(stage.status.get("ended")))
        for stage in experiment.stages
        if stage.is_finished
    }
