"""One page that shows whole runs: how they were made, errors beside the paper's
Table 1, training curves, reconstructions, filters, losses, time and memory.

RUN is a run's folder, such as runs/vgg8/swwae-all; the stages that it builds on are
shown, too. The page is one file that needs nothing else. What is missing of the runs
is named, and the rest is shown.
"""

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

from swwae.base.arguments import at_least
from swwae.base.files import check_writable, whole_file
from swwae.base.progress import Counter
from swwae.base.project import relative
from swwae.base.provenance import now
from swwae.commands.reconstruct import IMAGE_HELP
from swwae.report import live
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
from swwae.report.tables import evaluate_missing

PORT = 8000


REFRESH = 2
"""Seconds between a page's questions to --live."""


def main() -> int:
    options = _arguments()
    if options.out is not None:
        check_writable(options.out)
    experiment = collect(options.runs)
    say(
        f"{experiment.net}: {len(experiment.stages)} stages,"
        f" {len(experiment.decoders)} of them to reconstruct with"
    )
    out = options.out or experiment.stages[0].run.root / "report.html"
    server = None
    if options.live:
        server = live.Server(options.port)
    else:
        check_writable(out)
    failed: list[str] = []
    if options.evaluate:
        evaluate_missing(experiment.stages, failed, Evaluation())
    report = Report(options, experiment, failed)
    for notice in report.tables().notices:
        say(f"note: {notice}")
    if server is not None:
        live.serve(server, report.page, report.data, announce)
        say("ended")
        return 0
    text = report.page()
    with whole_file(out, "w") as file:
        file.write(text)
    print(f"{relative(out)}: {len(text.encode()) / 1e6:.1f} MB, for any browser")
    return 0


class Report:
    """The page of runs that may go on while it is shown."""

    def __init__(
        self, options: argparse.Namespace, experiment: Experiment, failed: list[str]
    ) -> None:
        """failed: notices on what was asked for and could not be done."""
        self._options = options
        self._failed = failed
        self._made = now()
        self._drawing = Lock()
        self._draw(experiment)

    def tables(self) -> Tables:
        """As the runs are now."""
        return self._tables(collect(self._options.runs))

    def page(self) -> str:
        """As the runs are now, with the pictures of all stages that are finished."""
        experiment = collect(self._options.runs)
        with self._drawing:
            if finished(experiment) != self._drawn:
                self._draw(experiment)
        return page(
            self._tables(experiment),
            self._pictures,
            made=self._made,
            command=shlex.join(["tools/report.py", *sys.argv[1:]]),
            live=REFRESH if self._options.live else None,
        )

    def data(self) -> dict[str, Any]:
        """What a page asks for to follow the runs."""
        experiment = collect(self._options.runs)
        newly = finished(experiment) - self._drawn
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
            "without_pictures": sorted(title for title, _ in newly),
        }

    def _tables(self, experiment: Experiment) -> Tables:
        return tables_of(experiment, [*self._failed, *self._picture_faults])

    def _draw(self, experiment: Experiment) -> None:
        faults: list[str] = []
        drawn = reconstructions(experiment.decoders, self._options.images, faults, say)
        self._pictures = Pictures(drawn, filters(experiment.stages, faults))
        self._picture_faults = faults
        self._drawn = finished(experiment)


def finished(experiment: Experiment) -> set[tuple[str, str]]:
    """Title and time of every finished stage."""
    return {
        (stage.title, str(stage.status.get("ended")))
        for stage in experiment.stages
        if stage.is_finished
    }


class Evaluation:
    """Shows the progress of evaluations, one after another."""

    def __init__(self) -> None:
        self._what = ""
        self._counter: Callable[[int], None] = lambda done: None

    def __call__(self, what: str, done: int, total: int) -> None:
        if what != self._what:
            self._what = what
            self._counter = Counter(total, "images")
            say(f"evaluating {what}: {total:,} images")
        self._counter(done)


def announce(address: str) -> None:
    print(f"{address} shows the runs as they are now; Ctrl-C ends it", flush=True)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE.html",
        help="default: report.html in the folder of the runs, such as runs/",
    )
    parser.add_argument(
        "--live",
        action="store_true",
        help="write nothing; serve the page on this machine, and follow running stages",
    )
    parser.add_argument(
        "--port",
        type=at_least(0, 65535),
        metavar="N",
        help=f"of --live; 0 for any that is free (default: {PORT})",
    )
    parser.add_argument(
        "--evaluate",
        action="store_true",
        help="first compute what Table 1 lacks, and record it beside the weights",
    )
    parser.add_argument(
        "--images",
        nargs="+",
        default=[],
        metavar="IMAGE",
        help=f"to reconstruct beside one of each class: {IMAGE_HELP}",
    )
    options = parser.parse_args()
    if options.live and options.out is not None:
        parser.error("--live writes no file; leave --out out, or --live")
    if options.port is not None and not options.live:
        parser.error("--port is that of --live; give both")
    if options.out is not None and options.out.suffix.lower() not in (".html", ".htm"):
        parser.error(f"--out {options.out}: the page is a .html file")
    options.port = PORT if options.port is None else options.port
    return options
