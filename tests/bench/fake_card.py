"""A worker that takes the CPU for a card: the program of `serve`, for tests.

What is replaced is what asks CUDA: choosing a card, events, memory, rates.
"""

import runpy
import sys
from time import perf_counter

from swwae.bench.job import Job

FREE = 40 << 30
HELD = 3 << 20


class Timer:
    """caffe.Timer, whose CPU clock knows whole milliseconds alone."""

    def start(self) -> None:
        self._start = perf_counter()

    def stop(self) -> None:
        self.ms = 1000 * (perf_counter() - self._start)


def pretend_for_caffe() -> None:
    import caffe

    from swwae.bench import card

    def set_device(number: int) -> None:
        assert number == 0

    caffe.set_device, caffe.set_mode_gpu = set_device, caffe.set_mode_cpu
    caffe.Timer = Timer
    free = iter([FREE])
    card.free_memory = lambda gpu: next(free, FREE - HELD)
    card.describe = lambda gpu: {"name": "Fake", "driver": "1", "cuda": "13.0"}


def pretend_for_torch() -> None:
    from swwae.bench import torch_card

    def time_steps(step, count: int) -> list[float]:
        step()
        times = []
        for _ in range(count):
            start = perf_counter()
            step()
            times.append(1000 * (perf_counter() - start))
        return times

    torch_card.open_card = lambda job: None
    torch_card.device_of = lambda job: "cpu"
    torch_card.time_steps = time_steps
    torch_card.memory = lambda: {"peak": 5 << 20, "allocated": 4 << 20, "free": FREE}
    torch_card.describe = lambda maths: {
        "torch": "2",
        "cuda": "13.0",
        "cudnn": "9.19.0",
        "name": "Fake",
        "rates": {"copy": 100.0, "product": dict.fromkeys(maths, 1.0)},
    }


if __name__ == "__main__":
    job = Job.from_json(sys.argv[1])
    if job.gpu is not None:
        pretend_for_caffe() if job.kind == "caffe" else pretend_for_torch()
    runpy.run_module("swwae.bench.serve", run_name="__main__", alter_sys=True)
