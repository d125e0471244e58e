"""PyTorch on a card: how it multiplies, what it holds, what the card can do."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from swwae.bench.card import cudnn_text
from swwae.bench.job import Job, Refused

PRODUCT = 8192
"""Rows and columns of the matrices whose product tells the card's matrix rate."""

COPY_BYTES = 1 << 30

REPETITIONS = 10
"""Of each product and copy, after WARM_UP that do not count."""

WARM_UP = 3


def open_card(job: Job) -> None:
    """Lets this process compute on the job's card. Raises Refused where PyTorch has no
    such card."""
    if not torch.cuda.is_available():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else ""
        raise Refused(
            f"PyTorch {torch.__version__} ({built or 'built without CUDA'}) finds no"
            " card here: name an interpreter whose PyTorch does with --torch-python"
        )
    if job.gpu >= torch.cuda.device_count():
        raise Refused(
            f"PyTorch finds {torch.cuda.device_count()} cards, and none with the number"
            f" {job.gpu}"
        )
    torch.cuda.set_device(job.gpu)
    torch.zeros(1, device="cuda")  # the context


def device_of(job: Job) -> str:
    """Returns PyTorch's name of what a job is computed on."""
    return "cpu" if job.gpu is None else f"cuda:{job.gpu}"


def set_math(name: str) -> None:
    """Lets fp32 products use TF32, unless they are to be fp32 throughout."""
    torch.backends.cuda.matmul.allow_tf32 = name != "fp32"
    torch.backends.cudnn.allow_tf32 = name != "fp32"


def autocast(name: str) -> AbstractContextManager:
    """Returns the context that a forward pass of this math is computed in."""
    if name == "bf16":
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return nullcontext()


def time_steps(step: Callable[[], object], count: int) -> list[float]:
    """Takes so many steps after one that does not count; returns the milliseconds of
    each, between two events."""
    step()
    events = [torch.cuda.Event(enable_timing=True) for _ in range(count + 1)]
    events[0].record()
    for event in events[1:]:
        step()
        event.record()
    torch.cuda.synchronize()
    return [
        one.elapsed_time(other) for one, other in zip(events, events[1:], strict=False)
    ]


def memory() -> dict[str, int]:
    """Returns bytes of the card since the last call: "peak" that PyTorch took from the
    driver, "allocated" that tensors had of them, "free", what is left.

    What no tensor needs is given back first, for the others' sake.
    """
    most = torch.cuda.max_memory_reserved(), torch.cuda.max_memory_allocated()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    free, _ = torch.cuda.mem_get_info()
    return {"peak": most[0], "allocated": most[1], "free": free}


def describe(maths: Sequence[str]) -> dict[str, Any]:
    """Returns the versions of PyTorch, its CUDA and cuDNN, the card's name, and its
    rates: GB/s read and written of a "copy", and by math, TFLOP/s of a "product"."""
    rates = {
        "copy": _copy_rate(),
        "product": {name: _product_rate(name) for name in maths},
    }
    return {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": cudnn_text(torch.backends.cudnn.version()),
        "name": torch.cuda.get_device_name(),
        "rates": rates,
    }


def _copy_rate() -> float:
    source = torch.empty(COPY_BYTES // 4, device="cuda").normal_()
    target = torch.empty_like(source)
    return 2 * COPY_BYTES / _seconds(lambda: target.copy_(source)) / 1e9


def _product_rate(math: str) -> float:
    kind = torch.bfloat16 if math == "bf16" else torch.float32
    with _math(math):
        left, right, result = (
            torch.randn(PRODUCT, PRODUCT, device="cuda").to(kind) for _ in range(3)
        )
        seconds = _seconds(lambda: torch.mm(left, right, out=result))
    return 2 * PRODUCT**3 / seconds / 1e12


@contextmanager
def _math(name: str) -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32
    set_math(name)
    try:
        yield
    finally:
        set_math("tf32" if before else "fp32")


def _seconds(run: Callable[[], object]) -> float:
    for _ in range(WARM_UP):
        run()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(REPETITIONS):
        run()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1000 / REPETITIONS
