"""Files of state dicts: .safetensors, and what torch.save writes (.pth, .pt)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from generator.errors import UserError
from generator.layers import Shape
from swwae.base.project import relative

SUFFIXES = (".safetensors", ".pth", ".pt")

NESTED = ("state_dict", "model_state_dict", "model")
"""Keys under which a checkpoint has its state dict, beside an optimizer's."""

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
    """Reads a .safetensors, .pth or .pt file; nested checkpoints are unwrapped.

    Raises UserError where it cannot be read, holds no tensors, or torch is needed and
    not installed.
    """
    try:
        path.open("rb").close()
    except OSError as error:
        raise UserError(
            f"the weights {relative(path)} cannot be read: {error.strerror}."
        ) from error
    if path.suffix == ".safetensors":
        source = _Safetensors(path)
        shapes = source.shapes
    else:
        source = _torch_tensors(path)
        shapes = {name: tuple(values.shape) for name, values in source.items()}
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
                f"{relative(path)} is not a whole .safetensors file: {error}."
            ) from error

    def __getitem__(self, name: str) -> np.ndarray:
        kind = self._file.get_slice(name).get_dtype()
        if kind not in NUMPY_TYPES:
            raise UserError(
                f"{name} is of type {kind}, which is not read here: save the state dict"
                " in float32."
            )
        return self._file.get_tensor(name)


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
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # bytes that are no pickle raise whatever they happen upon
        reason = str(e).splitlines()[0].rstrip(".") if str(e) else type(e).__name__
        raise UserError(
            f"{relative(path)} is not a whole state dict of torch ({reason}); what is"
            " expected is what torch.save(model.state_dict(), FILE) writes."
        ) from e
    found = _unwrapped(found, torch.Tensor)
    if found is None:
        raise UserError(
            f"{relative(path)} holds no state dict, neither by itself nor under"
            f" {', '.join(NESTED)}."
        )
    for name, values in found.items():
        dense = values.layout is torch.strided and not values.is_meta
        if not dense or values.is_quantized or values.is_complex():
            raise UserError(
                f"{name} in {relative(path)} is no plain tensor ({values.dtype},"
                f" {values.layout}, {values.device}): save the state dict in float32."
            )
    return _Torch({name.removeprefix("module."): t for name, t in found.items()})


def _unwrapped(found: object, tensor: type) -> dict | None:
    if not isinstance(found, Mapping):
        return None
    for _ in NESTED:  # a checkpoint in a checkpoint, but not without end
        inner = (found.get(key) for key in NESTED)
        found = next((value for value in inner if isinstance(value, Mapping)), found)
    tensors = {
        name: value
        for name, value in found.items()
        if isinstance(name, str) and isinstance(value, tensor)
    }
    return tensors or None
