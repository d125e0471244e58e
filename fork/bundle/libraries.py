"""Which libraries a program needs, and stand-ins for those that it never calls."""

import re
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

FROM_THE_MACHINE = re.compile(
    r"(ld-linux-x86-64|lib(c|m|dl|rt|pthread|util|resolv|anl|mvec|nsl_?\w*))\.so\b"
)
"""The C library's own."""

NVIDIA = re.compile(
    r"lib(cuda|cudart|cu(blas|dnn|fft|rand|solver|sparse)\w*|nccl|nv\w+)\.so\b"
)
"""The driver's and the toolkit's, which a bundle does not hold."""

COMPILERS = ("libstdc++.so.6", "libgcc_s.so.1")
"""Carried for machines whose own are older, or that have none."""

NEVER_CALLED = re.compile(
    r"lib(gdal|gdcm\w*|OpenEXR\S*|Imath\S*|avif|GLX?|curl|crypto)\.so"
)
"""What Caffe's libraries link with for what Caffe never asks of them: OpenCV for OpenGL
and for image formats beside JPEG, PNG, TIFF, WebP and JPEG 2000, HDF5 for files in the
network. With all that they need in turn, they take 200 MB."""

LAPACK = re.compile(r"lib(blas|lapack)\.so\.3$")
"""Debian's names for whichever library has these functions: OpenBLAS has them all."""

OPENBLAS = "libopenblas.so.0"

DATA_BYTES = 64
"""At least so many for a stand-in's variable, whose size may not be known."""


@dataclass(frozen=True)
class Libraries:
    """What programs need. carried: by the names under which they are looked for.
    stand_ins: likewise, the originals. nvidia: names."""

    carried: dict[str, Path]
    stand_ins: dict[str, Path]
    nvidia: list[str]


@dataclass(frozen=True)
class Symbol:
    """What a library defines. version: of a library that has versions."""

    name: str
    version: str
    is_function: bool
    size: int


def output_of(*command: str | Path) -> str:
    """Returns what a program prints."""
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout


def needed_by(file: Path) -> list[str]:
    """Returns the names of the libraries that a program or library links with."""
    return re.findall(r"\(NEEDED\).*\[(.+)\]", output_of("readelf", "-dW", file))


def located(files: Iterable[Path]) -> dict[str, Path]:
    """Returns where the dynamic loader finds all that files need, by names."""
    lines = [line for file in files for line in output_of("ldd", file).splitlines()]
    found = (re.fullmatch(r"\s*(\S+) => (/.+) \(0x\w+\)", line) for line in lines)
    return {match[1]: Path(match[2]).resolve() for match in found if match}


def closure(files: Iterable[Path], find: Callable[[str], Path]) -> Libraries:
    """Returns all that files need, and what that needs, but for the C library.

    find: a library by its name; raises where there is none.
    """
    found = Libraries({}, {}, [])
    files = list(files)
    has_openblas = any(OPENBLAS in needed_by(file) for file in files)
    wanted = [name for file in files for name in needed_by(file)]
    while wanted:
        name = wanted.pop()
        if FROM_THE_MACHINE.match(name) or name in found.carried | found.stand_ins:
            continue
        if NVIDIA.match(name):
            if name not in found.nvidia:
                found.nvidia.append(name)
        elif NEVER_CALLED.match(name):
            found.stand_ins[name] = find(name)
        else:
            alias = has_openblas and LAPACK.match(name)
            found.carried[name] = find(OPENBLAS if alias else name)
            wanted += needed_by(found.carried[name])
    found.nvidia.sort()
    return found


def wanted_symbols(file: Path) -> set[str]:
    """Returns the names, without versions, that a file takes from libraries."""
    lines = output_of("nm", "-D", "--undefined-only", file).splitlines()
    return {line.split()[-1].partition("@")[0] for line in lines}


def defined_symbols(file: Path) -> list[Symbol]:
    """Returns all that a library defines for others."""
    symbols = []
    for line in output_of("nm", "-DS", "--defined-only", file).splitlines():
        address, *rest = line.split()
        size = int(rest.pop(0), 16) if len(rest) == 3 else 0
        kind, name = rest
        name, _, version = name.partition("@")
        if kind != "A":  # a version's own name
            symbols.append(Symbol(name, version.lstrip("@"), kind in "TtWi", size))
    return symbols


def make_stand_in(original: Path, name: str, users: Iterable[Path], out: Path) -> None:
    """Makes a library that has what `users` take from `original`, and does nothing.

    Its functions return 0 and its variables are zeros; versions are the original's.
    name: under which it is looked for. out: the file.
    """
    wanted = set().union(*map(wanted_symbols, users))
    symbols = {s.name: s for s in defined_symbols(original) if s.name in wanted}
    code, data, versions = [], [], {}
    for symbol in symbols.values():
        label = f'"{symbol.name}"'
        lines = [f".globl {label}", f".type {label}, @function", f"{label}:"]
        if symbol.is_function:
            code += [*lines, "xorl %eax, %eax", "ret"]
        else:
            size = max(symbol.size, DATA_BYTES)
            lines[1] = f".type {label}, @object"
            data += [".balign 16", *lines, f".zero {size}", f".size {label}, {size}"]
        if symbol.version:
            versions.setdefault(symbol.version, []).append(symbol.name)
    assembly = out.with_suffix(".s")
    script = out.with_suffix(".map")
    sections = [".text", *code, ".data", *data, '.section .note.GNU-stack,"",@progbits']
    assembly.write_text("\n".join(sections) + "\n")
    options = []
    if versions:
        nodes = {
            version: " ".join(f'"{one}";' for one in names)
            for version, names in versions.items()
        }
        script.write_text(
            "".join(f"{v} {{ global: {names} }};\n" for v, names in nodes.items())
        )
        options = [f"-Wl,--version-script={script}"]
    output_of(
        "gcc", "-shared", "-nostdlib", f"-Wl,-soname,{name}", *options,
        "-o", out, assembly,
    )  # fmt: skip
    assembly.unlink()
    script.unlink(missing_ok=True)


def newest_version(files: Iterable[Path], kind: str) -> str:
    """Returns the newest version that files want of a library's symbols, such as "2.36"
    of kind GLIBC or "3.4.30" of GLIBCXX."""
    found = set()
    for file in files:
        text = output_of("readelf", "-VW", file)
        needs = text.partition("Version needs section")[2]
        found |= set(re.findall(rf"\bName: {kind}_([\d.]+)", needs))
    return max(found, key=lambda v: tuple(map(int, v.split("."))), default="0")
