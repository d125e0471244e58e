"""Chooses what Caffe computes on."""

import os
import subprocess
from pathlib import Path

from generator.errors import UserError
from swwae.engine.log import fatal_messages


def choose(caffe: Path, wanted: str | None) -> tuple[list[int], str]:
    """Returns GPU numbers (none: the CPU) and the choice in words.

    caffe: the program, which is asked: to ask CUDA itself would be to hold a GPU.
    wanted: "all", "0,2" or None for the first one, where there is any. Raises
    UserError where what is wanted is not there.
    """
    found, refusal = _query(caffe, "all" if wanted is None else wanted)
    if wanted is None:
        if not found:
            return [], "CPU (no GPU found)"
        others = f"; {len(found)} found, --gpu chooses" if len(found) > 1 else ""
        return found[:1], f"GPU {found[0]}{others}"
    if found:
        return found, "GPU " + ", ".join(map(str, found))
    if refusal and "CPU-only" in refusal:
        raise UserError(
            f"--gpu {wanted}: this Caffe was built for the CPU alone; leave --gpu out."
        )
    reason = f" (Caffe: {refusal})" if refusal else ""
    raise UserError(
        f"--gpu {wanted}: no such GPU{reason}; leave --gpu out for the CPU."
    )


def _query(caffe: Path, gpus: str) -> tuple[list[int], str | None]:
    """Returns the GPUs of a list, or why Caffe cannot use all of them."""
    done = subprocess.run(
        [caffe, "device_query", f"--gpu={gpus}"],
        env=os.environ | {"GLOG_logtostderr": "1", "GLOG_minloglevel": "0"},
        capture_output=True,
        text=True,
        errors="replace",
    )
    lines = done.stderr.splitlines()
    if done.returncode:
        fatal = fatal_messages(lines)
        return [], (fatal or lines or [f"exit code {done.returncode}"])[-1]
    numbers = (line.partition("Device id:")[2].strip() for line in lines)
    return [int(number) for number in numbers if number.isdecimal()], None
