"""What a file of weights is: told from its content, whatever its name is.

Here is everything that is said of files that no weights can be read from. What is read:
.caffemodel (`swwae.nets.weights`), and the state dicts of other programs
(`swwae.exchange.torch_files`), which `tools/import_weights.py` turns into the first.
"""

import re
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from generator.errors import UserError
from swwae.base.project import relative

CAFFE, SAFETENSORS, TORCH = "a .caffemodel", "a .safetensors file", "a file of torch"
"""The kinds that can be read."""

HEAD = 4096
"""Bytes that are looked at."""

LFS = b"version https://git-lfs.github.com/spec/"

ARCHIVES = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"7z\xbc\xaf'\x1c", "7-zip"),
    (b"Rar!\x1a\x07", "RAR"),
    (b"\x28\xb5\x2f\xfd", "Zstandard"),
)
HDF5 = b"\x89HDF\r\n\x1a\n"
MATLAB = b"MATLAB "
ZIP = b"PK\x03\x04"
PICKLE = re.compile(rb"\x80[\x02-\x05]")
WEB_PAGE = re.compile(rb"\s*<(!doctype|html|\?xml)", re.IGNORECASE)
TEXT = re.compile(rb"[^\n\0-\x08\x0e-\x1f\x7f][^\0-\x08\x0e-\x1f\x7f]*")
"""Of a .caffemodel, the first byte is that of \\n or of none of these."""

MAX_HEADER = 100 << 20
"""Bytes of a .safetensors' header: the format's own limit."""

AGAIN = "get the file again"


def kind(path: Path) -> str:
    """Returns what a file of weights is: CAFFE, SAFETENSORS or TORCH.

    Raises UserError where it cannot be read, or is known to be something else.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise UserError(
            f"the weights {relative(path)} cannot be read: {error.strerror}."
        ) from error
    if not head:
        raise UserError(f"{relative(path)} is empty, truncated to nothing: {AGAIN}.")
    if fault := _fault(head):
        raise UserError(f"{relative(path)} is {fault}.")
    if head.startswith(ZIP):
        _require_whole(path, size)
        return TORCH
    if PICKLE.match(head):
        return TORCH
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= MAX_HEADER:
        return SAFETENSORS
    return CAFFE


def _fault(head: bytes) -> str | None:
    """Returns what a file is that begins so, and what is to be done instead; None where
    there may be weights in it."""
    if head.startswith(LFS):
        found = re.search(rb"^size (\d{1,15})$", head, re.MULTILINE)
        size = f" of {int(found[1]):,} bytes" if found else ""
        return (
            f"a git-lfs pointer, which stands for a file{size}: run `git lfs pull` in"
            " the repository that it is from, or download the file itself"
        )
    if head.startswith(HDF5):
        return "HDF5; a binary .caffemodel is expected (snapshot_format: BINARYPROTO)"
    if head.startswith(MATLAB):
        return "a file of MATLAB, which is not read here; a .caffemodel is expected"
    for start, name in ARCHIVES:
        if head.startswith(start):
            return f"a packed file ({name}): unpack it, and give what is in it"
    if head[257:262] == b"ustar":
        return "a packed file (tar): unpack it, and give what is in it"
    if WEB_PAGE.match(head):
        return f"a web page, not the weights that it may lead to: {AGAIN}"
    if TEXT.fullmatch(head):
        return "text (a network's .prototxt, or a list?), not weights"
    return None


def _require_whole(path: Path, size: int) -> None:
    """Raises UserError where a zip archive is cut short, or none of torch's."""
    try:
        with ZipFile(path) as archive:
            names = archive.namelist()
    except (BadZipFile, OSError, ValueError, NotImplementedError):
        raise UserError(
            f"{relative(path)} is not a whole file of torch: the end of its"
            f" {size:,} bytes is missing or damaged; {AGAIN}."
        ) from None
    if any(name.rpartition("/")[2] == "constants.pkl" for name in names):
        raise UserError(
            f"{relative(path)} is a program for TorchScript (torch.jit.save), no state"
            " dict: write one with torch.save(torch.jit.load(FILE).state_dict(), OUT)."
        )
    if not any(name.rpartition("/")[2] == "data.pkl" for name in names):
        raise UserError(
            f"{relative(path)} is a packed file (zip) of other things than torch's:"
            " unpack it, and give the weights that are in it."
        )
