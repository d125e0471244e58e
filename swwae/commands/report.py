"""One page that shows whole runs: how they were made, errors beside the paper's
Table 1, training curves, reconstructions, filters, losses, time and memory.

RUN is a run's folder, such as runs/vgg8/swwae-all; the stages that it builds on are
shown, too. The page is one file that needs nothing else. What is missing of the runs
is named, and the rest is shown.
"""

import argparse
import shlex
import sys
from functools import partial
from pathlib import Path

from swwae.base.arguments import at_least
from swwae.base.files import check_writable, whole_file
from swwae.base.project import relative
from swwae.commands.reconstruct import IMAGE_HELP
from swwae.report import live
from swwae.report.report import Report
from swwae.report.stages import collect
from swwae.report.table_1 import EvaluationProgress, evaluate_missing

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
    notices: list[str] = []
    if options.evaluate:
        evaluate_missing(experiment.stages, notices, EvaluationProgress(say))
    report = Report(
        options.runs,
        experiment,
        image_names=options.images,
        notices=notices,
        command=shlex.join(["tools/report.py", *sys.argv[1:]]),
        progress=say,
    )
    for notice in report.tables().notices:
        say(f"note: {notice}")
    if server is not None:
        live.serve(server, partial(report.page, REFRESH), report.data, announce)
        say("ended")
        return 0
    text = report.page()
    with whole_file(out, "w") as file:
        file.write(text)
    print(f"{relative(out)}: {len(text.encode()) / 1e6:.1f} MB, for any browser")
    return 0


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
