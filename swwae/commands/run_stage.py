"""Runs one training stage of Section 4.1 with `caffe train`.

What a re-run does follows from the run's folder: nothing where the stage is finished,
and otherwise it resumes from the newest whole snapshot. A resumed run ends with the
same weights, bit for bit, as one that was never stopped, if it computes with as many
threads: images and random numbers go on where they were, since they follow from the
seed and the iteration. On a GPU that needs CAFFE_DETERMINISTIC=1.
"""

import argparse
import shlex
import sys
from pathlib import Path

from swwae.base.arguments import at_least, gpu_list
from swwae.base.program import failure
from swwae.base.project import relative, require_caffe
from swwae.base.settings import MATH
from swwae.runs.run import STAGES, Run
from swwae.stages.request import DEFAULT_KEEP, Request

PROGRAM = "run_stage.sh"
"""What people start, and see in errors."""

DEFAULT_VARIANT = "swwae-all"


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments)
    variant = options.variant or DEFAULT_VARIANT
    stage = Run(
        options.net,
        variant,
        options.stage,
        options.depth,
        macro_layer=options.macro_layer,
    )
    repeated = [a for a in arguments if a != "--force"]
    request = Request(
        command=stage.setting + shlex.join([f"tools/{PROGRAM}", *repeated]),
        weights=options.weights,
        max_iter=options.max_iter,
        seed=options.seed,
        gpus=options.gpu,
        math=options.math,
        keep=options.keep,
        force=options.force,
    )
    if options.status:
        from swwae.stages.status import print_status

        print_status(stage)
        return 0
    require_caffe()
    from swwae.stages.initialise import initialise
    from swwae.stages.repair import repair
    from swwae.stages.train import train

    if stage.variant != variant and (options.variant or stage.stage != 0):
        print(f"{variant} takes stage {stage.stage} from {stage.variant}")
    try:
        with stage.locked():
            if not request.force:
                repair(stage, request.command)
            if options.parallel is not None:
                from swwae.experiments.parallel_stage import train_in_parts

                return train_in_parts(stage, request, options.parallel or None)
            return (initialise if stage.stage == 1 else train)(stage, request)
    except BrokenPipeError:
        raise  # the reader of our output has gone: see base.program.run
    except OSError as error:
        return failure(
            f"{error.filename or relative(stage.folder)}: {error.strerror}; mend that"
            f" and go on with {request.command}"
        )


def _parser() -> argparse.ArgumentParser:
    stages = "\n".join(f"  {stage}  {what}" for stage, what in STAGES.items())
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=f"Runs one training stage with `caffe train`:\n\n{stages}",
        epilog=__doc__.partition("\n\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("stage", type=int, choices=STAGES, metavar="STAGE")
    parser.add_argument("--net", default="vgg16", help="default: %(default)s")
    parser.add_argument("--variant", help="default: swwae-all")
    parser.add_argument(
        "--depth",
        type=int,
        metavar="N",
        help="the macro-layer that is decoded from (default: the last one)",
    )
    parser.add_argument(
        "--gpu",
        type=gpu_list,
        metavar="LIST|all",
        help="such as 0 or 0,1 (default: the first GPU, the CPU where there is none)",
    )
    parser.add_argument(
        "--math",
        choices=MATH,
        help="of a GPU's convolutions and matrix products: fp32, or tf32, whose factors"
        " have 10 bits of mantissa (default: CAFFE_GPU_MATH in the environment, or"
        " the network's gpu_math, or fp32)",
    )
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="start from this .caffemodel (default: the stage before)",
    )
    parser.add_argument(
        "--max-iter",
        type=at_least(1),
        metavar="N",
        help="iterations in all (default: the solver's)",
    )
    parser.add_argument(
        "--seed",
        type=at_least(0),
        metavar="N",
        help="of Caffe's random numbers (default: the solver's, or 1)",
    )
    parser.add_argument(
        "--keep",
        type=at_least(1),
        default=DEFAULT_KEEP,
        metavar="N",
        help="snapshots that stay while it trains; while another one is written, there"
        " are N + 1 (default: %(default)s)",
    )
    in_parts = parser.add_mutually_exclusive_group()
    in_parts.add_argument(
        "--parallel",
        type=at_least(1),
        nargs="?",
        const=0,
        metavar="N",
        help="stage 2: train every macro-layer's decoder by itself, N at a time, with"
        " the same result (default: one a core, or one on each GPU of --gpu)",
    )
    in_parts.add_argument(
        "--macro-layer",
        type=at_least(1),
        metavar="N",
        help="stage 2: train the decoder of macro-layer N alone, for another --parallel"
        " to take up",
    )
    parser.add_argument(
        "--force", action="store_true", help="start over, replacing the run's folder"
    )
    parser.add_argument(
        "--status", action="store_true", help="run nothing: say how the stage stands"
    )
    return parser
