"""Finds the learning rates of stage 2 by the rule of Table A-1.

For every macro-layer it is the rate with the largest decrease of the reconstruction
loss in the first 2000 iterations. The decrease is the mean loss without any update less
the mean over the last 5 % of the iterations, both over as many batches of training
images; all rates begin from the same weights and see the same images. A macro-layer has
diverged when its loss is no number, or ten times what it was. Rates above the smallest
that diverged are left out; where the best is at the end of the grid, it is extended.
"""

import argparse
import signal
import sys
from pathlib import Path

from generator.rates import FAMILIES, Figures
from swwae.base.arguments import at_least, number
from swwae.base.files import check_writable, require_file, write_json
from swwae.base.processes import cores
from swwae.base.project import CAFFE, ROOT, relative, require_caffe
from swwae.commands import options
from swwae.engine import devices
from swwae.engine.trial import reconstructions
from swwae.nets import network
from swwae.stages.sources import (
    require_databases,
    require_network,
    require_source,
    source_weights,
    starting_layers,
)
from swwae.tuning.display import SearchDisplay, print_plan
from swwae.tuning.grid import Grid
from swwae.tuning.journal import Journal, RateSearch
from swwae.tuning.rates import (
    add_to_rates_file,
    command_line,
    print_next_commands,
    read_rates_file,
)
from swwae.tuning.results import SearchResults
from swwae.tuning.search import Searcher, TrialSettings

PROGRAM = "find_lr.py"

NO_RATE_FOUND = 1

MOST_PER_DECADE = 100
"""Of a finer grid, three digits could not tell two rates apart."""


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.lowest > options.highest:
        parser.error("--from must not be larger than --to")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the trials, too
    search = RateSearch(options.net, f"{options.family}-layerwise", 2)
    require_caffe()
    for path in filter(None, (options.plot, options.json)):
        check_writable(path)
    read_rates_file(options.net)  # refuses what could not be written to in the end
    require_file(search.solver, "solver", search.generator_command)
    solver = network.read_solver(search.solver)
    net_path = ROOT / solver.net
    net = require_network(search, net_path)
    source = source_weights(search, options.weights)
    require_source(search, source)
    require_databases(net, net_path)
    starting_layers(search, net, net_path, source, chosen=options.weights is not None)
    grid = Grid(options.lowest, options.highest, options.per_decade)
    macro_layers = {decoder.index + 1: decoder for decoder in reconstructions(net)}
    journal = Journal(search, options.iterations, options.seed, source, macro_layers)
    gpus, device = devices.choose(CAFFE, options.gpu)
    threads = max(1, cores() // options.jobs)
    settings = TrialSettings(solver, net_path, source, options.seed, threads, gpus)
    points = {} if options.force else journal.read_points()
    print_plan(
        search, grid, options.iterations, len(points), options.jobs, settings, device
    )
    if options.dry_run:
        return 0
    display = SearchDisplay(options.iterations, macro_layers)
    blobs = {index: decoder.blob for index, decoder in macro_layers.items()}
    with search.locked(), display.kept_at_the_end():
        journal.begin(points)
        Searcher(
            grid,
            journal,
            options.iterations,
            blobs,
            settings,
            options.jobs,
            display,
        ).run(points)
    results = SearchResults(
        options.net,
        options.family,
        options.iterations,
        grid,
        macro_layers,
        solver.base_lr,
        points,
    )
    print(f"\n{results.table()}")
    return _write(results, options, source)


def _write(results: SearchResults, options: argparse.Namespace, source: Path) -> int:
    """Writes picture and JSON, and rates.json where any rate lowers a loss.

    Returns the exit code.
    """
    command = command_line(
        PROGRAM,
        {
            "net": options.net,
            "family": options.family,
            "weights": relative(source) if options.weights else None,
            "iterations": options.iterations,
            "from": f"{options.lowest:g}",
            "to": f"{options.highest:g}",
            "per-decade": options.per_decade,
            "seed": options.seed,
        },
    )
    if options.plot:
        results.plot(options.plot)
        print(f"drawn: {relative(options.plot)}")
    if options.json:
        write_json(options.json, results.as_json(command))
    rates = results.best_rates
    missing = [str(index) for index in results.macro_layers if index not in rates]
    if missing:
        print(
            f"{PROGRAM}: no rate lowers the loss of macro-layer {', '.join(missing)};"
            " it keeps what it has",
            file=sys.stderr,
        )
    if not rates:
        return NO_RATE_FOUND
    figures = Figures(rates, command, options.iterations)
    path = add_to_rates_file(options.net, layerwise_lr={options.family: figures})
    print_next_commands(path, options.net, f"{options.family}-.*")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_tuning_arguments(
        parser, weights="start from this .caffemodel (default: stage 1)"
    )
    parser.add_argument(
        "--family",
        choices=FAMILIES,
        default=FAMILIES[0],
        help="whose layerwise decoders are trained (default: %(default)s)",
    )
    parser.add_argument(
        "--iterations",
        type=at_least(2),
        default=2000,
        metavar="N",
        help="of each rate (default: 2000, the paper's)",
    )
    parser.add_argument(
        "--from",
        dest="lowest",
        type=_factor,
        default=0.01,
        metavar="X",
        help="the smallest rate, in present rates (default: 0.01)",
    )
    parser.add_argument(
        "--to",
        dest="highest",
        type=_factor,
        default=100.0,
        metavar="X",
        help="the largest, likewise (default: 100)",
    )
    parser.add_argument(
        "--per-decade",
        type=at_least(1, MOST_PER_DECADE),
        default=3,
        metavar="N",
        help="rates between one and ten times it, 100 at most (default: 3)",
    )
    parser.add_argument(
        "--jobs",
        type=at_least(1),
        default=1,
        metavar="N",
        help="rates that are tried at once, the cores divided among them",
    )
    options.add_gpus_argument(parser, "job")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE.png", help="draw the decreases"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be done, and stop"
    )
    parser.add_argument(
        "--force", action="store_true", help="start over, without what was tried before"
    )
    return parser


_factor = number(lambda x: 1e-12 <= x <= 1e12, "factor from 1e-12 to 1e12")
