"""The NVIDIA card that this process computes on: what it is, and its free memory.

pycaffe has no words for either, so the driver's libraries are asked by their C
interface. Nothing is loaded that the process does not hold already, but NVML, which
comes with the driver.
"""

import ctypes
from contextlib import suppress
from pathlib import Path
from typing import Any

TEXT_BYTES = 96


NO_CONTEXT = (3, 201)
"""What the driver answers a thread that has not begun to use a card."""


def free_memory(gpu: int) -> int:
    """Returns the bytes of the card that are free, whoever holds the others. gpu: its
    number, which this process computes on. Raises RuntimeError where CUDA refuses."""
    driver = ctypes.CDLL("libcuda.so.1")
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    wanted = ctypes.byref(free), ctypes.byref(total)
    code = driver.cuMemGetInfo_v2(*wanted)
    if code in NO_CONTEXT:  # that of CUDA's runtime, which Caffe will use
        device, context = ctypes.c_int(), ctypes.c_void_p()
        driver.cuInit(0)
        driver.cuDeviceGet(ctypes.byref(device), gpu)
        driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)
        driver.cuCtxSetCurrent(context)
        code = driver.cuMemGetInfo_v2(*wanted)
    if code:
        raise RuntimeError(f"cuMemGetInfo: error {code} of CUDA's driver")
    return free.value


def describe(gpu: int) -> dict[str, Any]:
    """Returns the card's name and the versions of driver, CUDA and cuDNN that this
    process uses; None for what cannot be found out. gpu: its number."""
    return {
        "name": _name(gpu),
        "driver": _driver_version(),
        "cuda": _number(_loaded("libcudart"), "cudaRuntimeGetVersion", 1000, 10),
        "cudnn": _cudnn_version(),
    }


def cudnn_text(number: int | None) -> str | None:
    """Returns cuDNN's version number in words: 91900 is 9.19.0, 8907 8.9.7."""
    if not number:
        return None
    major = 10000 if number >= 90000 else 1000
    return f"{number // major}.{number % major // 100}.{number % 100}"


def _name(gpu: int) -> str | None:
    with suppress(OSError, AttributeError):
        driver, device = ctypes.CDLL("libcuda.so.1"), ctypes.c_int()
        text = ctypes.create_string_buffer(TEXT_BYTES)
        if driver.cuDeviceGet(ctypes.byref(device), gpu) == 0:
            driver.cuDeviceGetName(text, TEXT_BYTES, device)
            return text.value.decode(errors="replace") or None
    return None


def _driver_version() -> str | None:
    with suppress(OSError, AttributeError):
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
        text = ctypes.create_string_buffer(TEXT_BYTES)
        if nvml.nvmlInit_v2() == 0:
            nvml.nvmlSystemGetDriverVersion(text, TEXT_BYTES)
            nvml.nvmlShutdown()
            return text.value.decode(errors="replace") or None
    return None


def _number(library: Path | None, name: str, major: int, minor: int) -> str | None:
    """Returns what a library's function, which fills in an int, says: 13000 is 13.0."""
    if library is None:
        return None
    number = ctypes.c_int()
    with suppress(OSError, AttributeError):
        if getattr(ctypes.CDLL(str(library)), name)(ctypes.byref(number)) == 0:
            return f"{number.value // major}.{number.value % major // minor}"
    return None


def _cudnn_version() -> str | None:
    library = _loaded("libcudnn")
    if library is None:
        return None
    with suppress(OSError, AttributeError):
        ask = ctypes.CDLL(str(library)).cudnnGetVersion
        ask.restype = ctypes.c_size_t
        return cudnn_text(ask())
    return None


def _loaded(name: str) -> Path | None:
    """Returns the file of a library that this process has loaded; None where it has
    not. name: as it is before .so."""
    with suppress(OSError):
        for line in Path("/proc/self/maps").read_text().splitlines():
            path = Path(line.split(maxsplit=5)[-1])
            if path.name.startswith(f"{name}.so"):
                return path
    return None
