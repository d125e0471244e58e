"""Files of state dicts: .safetensors, and what torch.save writes (.pth, .pt …)."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from generator.errors import UserError
from generator.layers import Shape
from swwae.base.project import relative
from swwae.exchange.checkpoints import read_checkpoint
from swwae.nets import weight_files

WRAPPED = re.compile(r"^(?:module\.|_orig_mod\.)+")
"""What distributed training and torch.compile put before the names of tensors."""

NUMPY_TYPES = ("F32", "F16", "F64", "I8", "I16", "I32", "I64", "U8", "BOOL")
"""Those of a .safetensors' types that are read: NumPy has no BF16 and no F8."""


@dataclass(frozen=True)
class StateDict:
    """The tensors of a file, read one by one. shapes: of all of them, in order."""

    path: Path
    shapes: Mapping[str, Shape]
    _source: object = field(repr=False)

    def array(self, name: str) -> np.ndarray:
        """Returns a tensor, float32; raises UserError where it is not finite then."""
        with np.errstate(over="ignore"):
            values = np.asarray(self._source[name], np.float32)
        if not np.isfinite(values).all():
            raise UserError(
                f"{name} in {relative(self.path)} holds numbers that are not finite."
            )
        return values


def read_state_dict(path: Path) -> StateDict:
    """Reads a file of torch's or a .safetensors; nested checkpoints are unwrapped.

    Which it is, its content tells. Raises UserError where it cannot be read, holds no
    tensors, or torch is needed and not installed.
    """
    kind = weight_files.kind(path)
    if kind == weight_files.SAFETENSORS:
        source = _Safetensors(path)
        shapes = source.shapes
    elif kind == weight_files.TORCH:
        source = _torch_tensors(path)
        shapes = {name: tuple(values.shape) for name, values in source.items()}
    else:
        raise UserError(
            f"{relative(path)} is no state dict: neither a .safetensors file nor what"
            " torch.save(model.state_dict(), FILE) writes."
        )
    if not shapes:
        raise UserError(f"{relative(path)} holds no tensors.")
    return StateDict(path, shapes, source)


class _Safetensors:
    """Tensors by name, read when they are asked for."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = safe_open(path, framework="numpy")
            # The format keeps no order.
            names = sorted(self._file.keys(), key=_by_number)
            self.shapes = {
                name: tuple(self._file.get_slice(name).get_shape()) for name in names
            }
        except (SafetensorError, OSError) as error:
            raise UserError(
                f"{relative(path)} is not a whole .safetensors file:"
                f" {_fault(path)}; get the file again."
            ) from error

    def __getitem__(self, name: str) -> np.ndarray:
        kind = self._file.get_slice(name).get_dtype()
        if kind not in NUMPY_TYPES:
            raise UserError(
                f"{name} is of type {kind}, which is not read here: save the state dict"
                " in float32."
            )
        return self._file.get_tensor(name)


def _fault(path: Path) -> str:
    """Returns why a .safetensors file cannot be read: how much of it is missing, where
    its header tells."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        header = file.read(start - 8)
    end = start
    with suppress(ValueError, TypeError, LookupError, AttributeError, RecursionError):
        tensors = json.loads(header)
        tensors.pop("__metadata__", None)
        end += max(tensor["data_offsets"][1] for tensor in tensors.values())
    if size < end:
        return f"it has {size:,} bytes, and its header announces {end:,}"
    return "its header is damaged"


def _by_number(name: str) -> list:
    """features.2 before features.10."""
    parts = re.split(r"(\d+)", name)
    return [int(part) if part.isdecimal() else part for part in parts]


class _Torch(dict):
    """Tensors by name, as numpy arrays."""

    def __getitem__(self, name: str) -> np.ndarray:
        return super().__getitem__(name).detach().float().numpy()


def _torch_tensors(path: Path) -> _Torch:
    try:
        import torch
    except ModuleNotFoundError:
        raise UserError(
            f"{relative(path)} is read with torch, which is not installed: run"
            " .venv/bin/pip install -e '.[torch]', or save the weights as .safetensors."
        ) from None
    found = read_checkpoint(path, torch)
    for name, values in found.items():
        dense = values.layout is torch.strided and not values.is_meta
        if not dense or values.is_quantized or values.is_complex():
            raise UserError(
                f"{name} in {relative(path)} is no plain tensor ({values.dtype},"
                f" {values.layout}, {values.device}): save the state dict in float32."
            )
    return _Torch({WRAPPED.sub("", name): values for name, values in found.items()})
