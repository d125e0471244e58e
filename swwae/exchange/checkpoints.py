"""What torch.save has written, read without running anything of it.

A pickle may name any function of any module and have it called. torch refuses those it
does not know; here they become `Unread`, which does nothing, so that a checkpoint's
tensors are found beside its author's options, and a whole module is told from them.
"""

import pickle
import pickletools
import warnings
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import IO
from zipfile import ZipFile, is_zipfile

from generator.errors import UserError
from swwae.base.project import relative

NESTED = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "module",
    "weights",
    "params",
)
"""Keys under which checkpoints have their state dict, the surest first."""

OTHERS = ("optim", "sched", "scaler")
"""How keys of a checkpoint begin that have no weights of a network, but numbers."""

MAX_NESTING = 4

WRITE = "torch.save(model.state_dict(), FILE)"


KNOWN = ("torch", "torch._utils", "torch.storage", "torch._tensor", "collections")
"""Modules whose names in a pickle are of tensors, and of dicts of them."""

MODULES = "torch.nn.modules."
"""How the names of torch's own modules begin, of which every other one is made."""

PROTOCOL = 2
"""Of pickles, torch.save's own: the one that torch follows without running anything."""

PICKLES = 5
"""In a file of torch before 1.6: three of numbers, the object, and its storages."""


class Unread:
    """Stands for an object whose class is not loaded; there is a subclass for each.

    path: of the class, as a pickle names it.
    """

    path = ""

    def __new__(cls, *_: object, **__: object) -> "Unread":
        return object.__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


def read_checkpoint(path: Path, torch: ModuleType) -> dict:
    """Returns the tensors of a file's state dict, by name.

    torch: the package. Raises UserError where the file is damaged, holds a whole
    module, or has no state dict or several.
    """
    named = _named_in(path)
    stand_ins = [(type("Unread", (Unread,), {"path": name}), name) for name in named]
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(stand_ins):
            warnings.simplefilter("ignore")  # what is wrong is said below
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes raise whatever they happen upon
        raise UserError(_unreadable(path, named)) from error
    tensors = None
    if isinstance(found, Mapping):
        tensors = _state_dict(found, torch.Tensor, path)
    if tensors:
        return tensors
    places = [found]
    if isinstance(found, Mapping):
        places = [found.get(key) for key in NESTED]
    for place in places:
        if isinstance(place, Unread):
            raise UserError(_of_module(path, place.path))
    raise UserError(
        f"{relative(path)} holds no state dict, neither by itself nor under a key such"
        f" as {', '.join(NESTED[:5])}."
    )


def _of_module(path: Path, name: str) -> str:
    return (
        f"{relative(path)} holds a whole module ({name}), not its tensors alone: to"
        " read it is to run its author's program, which is not done here. Where that"
        f" program is, load the file and write {WRITE}."
    )


def _unreadable(path: Path, named: Iterable[str]) -> str:
    foreign = [name for name in named if name.rpartition(".")[0] not in KNOWN]
    if any(name.startswith(MODULES) for name in foreign):
        return _of_module(path, foreign[0])
    if foreign:
        return (
            f"{relative(path)} holds other objects than tensors"
            f" ({', '.join(foreign[:3])}), and to read them may run any program, which"
            f" is not done here. Where the file was made, write {WRITE}."
        )
    protocol = _protocol(path)
    if protocol > PROTOCOL:
        return (
            f"{relative(path)} is a pickle of protocol {protocol}; torch reads those of"
            f" protocol {PROTOCOL} alone without running what they name. Where the file"
            f" was made, write {WRITE}."
        )
    return (
        f"{relative(path)} is not a whole state dict of torch: it is cut short, damaged"
        f" or another program's; what is expected is what {WRITE} writes."
    )


def _named_in(path: Path) -> list[str]:
    """Returns the classes and functions that a file's pickles name, as far as they can
    be followed."""
    found: dict[str, None] = {}
    with suppress(Exception), _pickles(path) as file:  # torch.load tells what is wrong
        for _ in range(1 if is_zipfile(path) else PICKLES):
            _follow(file, found)
    return list(found)


def _protocol(path: Path) -> int:
    """Returns the protocol that a file's pickle begins with; 0 where there is none."""
    with suppress(Exception), _pickles(path) as file:
        mark, protocol = file.read(2)
        return protocol if mark == ord(pickle.PROTO) else 0
    return 0


@contextmanager
def _pickles(path: Path) -> Iterator[IO[bytes]]:
    """Opens what torch.save has written where its pickles begin."""
    if not is_zipfile(path):
        with path.open("rb") as file:
            yield file
        return
    with ZipFile(path) as archive:
        names = [n for n in archive.namelist() if n.endswith("data.pkl")]
        with archive.open(names[0]) as file:
            yield file


def _follow(file: IO[bytes], found: dict[str, None]) -> None:
    for operation, argument, _ in pickletools.genops(file):
        if operation.name == "GLOBAL":
            module, name = argument.split(" ")
            module, name = NAME_MAPPING.get((module, name), (module, name))
            found[f"{IMPORT_MAPPING.get(module, module)}.{name}"] = None


def _state_dict(
    found: Mapping, tensor: type, path: Path, nesting: int = MAX_NESTING
) -> dict | None:
    """Returns the tensors of a state dict in a checkpoint; None where there is none.

    Raises UserError where there are several, and no key says which is meant.
    """
    nested = {
        key: value
        for key, value in found.items()
        if isinstance(key, str) and isinstance(value, Mapping)
        if not key.lower().startswith(OTHERS)
    }
    inner = {}
    if nesting:
        for key in sorted(nested, key=lambda k: NESTED.index(k) if k in NESTED else 99):
            tensors = _state_dict(nested[key], tensor, path, nesting - 1)
            if tensors and key in NESTED:
                return tensors
            if tensors:
                inner[key] = tensors
    own = {
        name: value
        for name, value in found.items()
        if isinstance(name, str) and isinstance(value, tensor)
    }
    if len(inner) == 0 or any(value.ndim > 1 for value in own.values()):
        return own or None
    if len(inner) > 1:
        raise UserError(
            f"{relative(path)} holds several state dicts, under {', '.join(inner)}:"
            " write the one that is meant to a file of its own, with"
            f" torch.save(torch.load(FILE)['{next(iter(inner))}'], OUT)."
        )
    return next(iter(inner.values()))
