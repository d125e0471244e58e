"""Reads pickles of NumPy arrays, text, numbers, lists and dictionaries, and no others.

A pickle may name any function of any module, and call it. Here the few names that an
array's pickle has stand for inert objects; every other name ends the reading.
"""

import io
import pickle
from typing import Any

import numpy as np


class Unfit(Exception):
    """Why a pickle is not read, in words that follow "it"."""


def read(content: bytes) -> Any:
    """Returns what a pickle holds; Python 2's strings are bytes, arrays are uint8.

    Raises Unfit for anything but arrays of unsigned bytes in dictionaries and lists.
    """
    try:
        return _plain(_Unpickler(io.BytesIO(content), encoding="bytes").load())
    except Unfit:
        raise
    except MemoryError:
        raise Unfit("asks for more memory than there is") from None
    except RecursionError:
        raise Unfit("is nested too deeply") from None
    except Exception as error:  # pickle promises no kind of exception
        raise Unfit(f"is no whole pickle ({error})") from error


class _Dtype:
    """The type of an array's values, by its name alone."""

    def __init__(self, name: str | bytes, *flags: object) -> None:
        self.name = name.decode("latin-1") if isinstance(name, bytes) else name

    def __setstate__(self, state: object) -> None:
        """Byte order and the like, which bytes do not have."""


class _Array:
    """An array as it is pickled: shape, type and bytes."""

    def __setstate__(self, state: tuple) -> None:
        _, self.shape, self.dtype, self.by_columns, self.content = state

    def values(self) -> np.ndarray:
        if not isinstance(self.dtype, _Dtype) or self.dtype.name != "u1":
            raise Unfit("holds an array of other values than unsigned bytes")
        order = "F" if self.by_columns else "C"
        return np.frombuffer(self.content, np.uint8).reshape(self.shape, order=order)


def _reconstruct(*arguments: object) -> _Array:
    return _Array()


def _encode(text: str, encoding: str) -> bytes:
    """Bytes, as Python 3 pickles them for Python 2."""
    if encoding != "latin1":
        raise Unfit(f"encodes text as {encoding}")
    return text.encode("latin-1")


_KNOWN = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise Unfit(f"names {module}.{name}, which no array needs")
        return _KNOWN[module, name]


def _plain(value: Any, depth: int = 0) -> Any:
    if depth > 4:
        raise Unfit("is nested too deeply")
    if isinstance(value, _Array):
        return value.values()
    if isinstance(value, dict):
        return {key: _plain(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each, depth + 1) for each in value]
    if value is None or isinstance(value, bytes | str | int | float):
        return value
    raise Unfit(f"holds a {type(value).__name__}")
