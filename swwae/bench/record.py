"""What a comparison found, for JSON; null where there is no such number."""

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

from swwae.base.project import CAFFE, relative
from swwae.base.provenance import host, versions
from swwae.bench.contender import Contender, references, speed_up
from swwae.bench.floor import Work, floors
from swwae.bench.gpu_setup import LAYOUTS, GpuComparison
from swwae.bench.gpu_table import step_floor, torch_reference
from swwae.bench.maths import MATHS
from swwae.bench.setup import Comparison, has_torch
from swwae.bench.verdict import BOUND
from swwae.nets.cost import Cost
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
    return _about(run, weights, seed, rounds, seconds) | {
        "bound": BOUND,
        "versions": made_with,
        "operations": _operations(costs),
        "contenders": [
            contender_record(one, contenders, costs[one.batch]) for one in contenders
        ],
    }


def gpu_record(
    run: Run,
    comparison: GpuComparison,
    described: Mapping[str, Any],
    *,
    command: str,
    weights: Path | None,
    seed: int,
    rounds: int,
    seconds: float,
) -> dict[str, Any]:
    """Returns all figures of a comparison on a card. described: as `measure_on_gpu`
    returns it. command: as it was typed."""
    rates = described.get("torch", {}).get("rates")
    contenders = comparison.contenders
    return _about(run, weights, seed, rounds, seconds) | {
        "command": command,
        "gpu": comparison.gpu,
        "card": described,
        "compared_images": comparison.compared if comparison.reference else None,
        "versions": versions(CAFFE),
        "operations": _operations(comparison.costs),
        "contenders": [
            gpu_contender_record(
                one,
                contenders,
                comparison.costs[one.batch],
                comparison.works[one.batch],
                rates,
            )
            for one in contenders
        ],
    }


def gpu_contender_record(
    one: Contender,
    contenders: Sequence[Contender],
    cost: Cost,
    works: Sequence[Work],
    rates: Mapping | None,
) -> dict[str, Any]:
    """Returns one contender's figures on a card. contenders: all of the comparison;
    cost, works: of its batch size."""
    math = one.job.math
    record = {
        "name": one.name,
        "batch": one.batch,
        "math": math,
        "channels_last": one.job.kind == LAYOUTS["nhwc"],
        "compiled": one.job.compiled,
        "refused": one.refused,
        "differences": _differences(one),
        "bound": MATHS[math].bound if one.job.kind == "caffe" else None,
    }
    if not one.times:
        return record
    floor = step_floor(works, rates, math)
    same = [other for other in contenders if other.batch == one.batch]
    other = torch_reference(one, same)
    return record | {
        "steps_a_turn": one.count,
        "turns_ms": one.times,
        "busy_cores": one.others,
        "ms": one.milliseconds,
        "images_per_second": 1000 * one.batch / one.milliseconds,
        "tflop_per_second": cost.total / one.milliseconds / 1e9,
        "memory": one.peak,
        "allocated": one.allocated,
        "floor_ms": floor,
        "times_pytorch": speed_up(one, other) if other else None,
        "finite": one.finite,
        "layers_ms": one.layers or None,
        "layers_floor_ms": floors(works, rates, math) if floor and one.layers else None,
    }


def _about(
    run: Run, weights: Path | None, seed: int, rounds: int, seconds: float
) -> dict[str, Any]:
    """Returns what was run, and where."""
    return {
        "net": run.net,
        "variant": run.variant,
        "stage": run.stage,
        "network": relative(run.network),
        "weights": relative(weights) if weights else None,
        "seed": seed,
        "rounds": rounds,
        "seconds": seconds,
        "host": host(),
    }


def _operations(costs: Mapping[int, Cost]) -> dict[str, Any]:
    return {
        str(batch): asdict(cost) | {"total": cost.total}
        for batch, cost in costs.items()
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
        "busy_cores": one.others,
        "ms": one.milliseconds,
        "images_per_second": 1000 * one.batch / one.milliseconds,
        "gflop_per_second": cost.total / one.milliseconds / 1e6,
        "peak_memory": one.peak,
        "times_caffe": speed_up(one, caffe) if caffe else None,
        "times_pytorch": speed_up(one, torch) if torch else None,
        "differences": _differences(one),
        "finite": one.finite,
        "layers_ms": one.layers or None,
        "gigabytes_per_second": rates or None,
    }


def _differences(one: Contender) -> dict[str, Any]:
    return {
        part: {
            "l2": _finite(difference.l2),
            "l2_of": difference.l2_of,
            "max": _finite(difference.most),
            "max_of": difference.most_of,
        }
        for part, difference in one.differences.items()
    }


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None
