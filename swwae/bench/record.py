"""What a comparison found, for JSON; null where there is no such number."""

import importlib.metadata
from collections.abc import Sequence
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

from swwae.base.project import CAFFE, relative
from swwae.base.provenance import host, versions
from swwae.bench.contender import Contender, references, speed_up
from swwae.bench.cost import Cost
from swwae.bench.setup import Comparison, has_torch
from swwae.bench.verdict import BOUND
from swwae.runs.run import Run


def comparison_record(
    run: Run,
    comparison: Comparison,
    *,
    weights: Path | None,
    seed: int,
    rounds: int,
    seconds: float,
) -> dict[str, Any]:
    """Returns all figures of a comparison, and what they were measured with."""
    made_with = versions(CAFFE)
    if has_torch():
        made_with["torch"] = importlib.metadata.version("torch")
    costs, contenders = comparison.costs, comparison.contenders
    return {
        "net": run.net,
        "variant": run.variant,
        "stage": run.stage,
        "network": relative(run.network),
        "weights": relative(weights) if weights else None,
        "seed": seed,
        "rounds": rounds,
        "seconds": seconds,
        "bound": BOUND,
        "host": host(),
        "versions": made_with,
        "operations": {
            str(batch): asdict(cost) | {"total": cost.total}
            for batch, cost in costs.items()
        },
        "contenders": [
            contender_record(one, contenders, costs[one.batch]) for one in contenders
        ],
    }


def contender_record(
    one: Contender, contenders: Sequence[Contender], cost: Cost
) -> dict[str, Any]:
    """Returns one contender's figures. contenders: all of the comparison."""
    record = {
        "name": one.name,
        "batch": one.batch,
        "threads": one.job.threads,
        "refused": one.refused,
    }
    if not one.times:
        return record
    caffe, torch = references([o for o in contenders if o.setting == one.setting])
    rates = one.gigabytes and one.gigabytes | {"copying": [one.copied] * 2}
    return record | {
        "steps_a_turn": one.count,
        "turns_ms": one.times,
        "ms": one.milliseconds,
        "images_per_second": 1000 * one.batch / one.milliseconds,
        "gflop_per_second": cost.total / one.milliseconds / 1e6,
        "peak_memory": one.peak,
        "times_caffe": speed_up(one, caffe) if caffe else None,
        "times_pytorch": speed_up(one, torch) if torch else None,
        "differences": {
            part: {
                "l2": _finite(difference.l2),
                "l2_of": difference.l2_of,
                "max": _finite(difference.most),
                "max_of": difference.most_of,
            }
            for part, difference in one.differences.items()
        },
        "finite": one.finite,
        "layers_ms": one.layers or None,
        "gigabytes_per_second": rates or None,
    }


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None
