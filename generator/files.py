"""Renders plans and writes them: all the files or none."""

import contextlib
import fcntl
import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

from . import layout
from .errors import UserError
from .layers import Layer, as_list, value_text
from .manifest import MARK, command
from .stages import Plan

HERE = Path(__file__).resolve().parent

MANIFEST_MARK = '{\n  "net": '
"""How every manifest begins."""

OURS = (layout.MODELS, layout.SOLVERS)


def project_root() -> Path:
    """Returns the checkout that holds this package; installed, the current folder."""
    root = HERE.parent
    return root if (root / "templates").is_dir() else Path.cwd()


def _environment():
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ModuleNotFoundError:
        raise UserError(
            "this Python has no jinja2: run tools/venv.sh once, and then"
            " .venv/bin/python -m generator …"
        ) from None
    folders = [HERE / "templates", HERE.parent / "templates"]
    environment = Environment(
        loader=FileSystemLoader(folders),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["value_text"] = value_text
    environment.filters["as_list"] = as_list
    return environment


def render(plans: Iterable[Plan], data_options: str = "") -> dict[str, str]:
    """Returns path relative to the output folder -> text, for every file of the plans.

    data_options: the part of the command line that changed the data.
    """
    environment = _environment()
    layer_macro = environment.get_template("layer.j2").module.layer
    known: dict[str, str] = {}

    def layer_text(layer: Layer) -> str:
        """Renders a layer, once however many files have the layer."""
        parts = (layer.name, layer.type, layer.bottoms, layer.tops, layer.fields)
        key = repr(parts)
        if key not in known:
            known[key] = layer_macro(layer)
        return known[key]

    net_template = environment.get_template("net.prototxt.j2")
    solver_template = environment.get_template("solver.prototxt.j2")
    texts = {}
    for plan in plans:
        head = f"{MARK}{command(plan, data_options)}`; do not edit."
        for net in plan.networks:
            texts[net.path] = net_template.render(
                head=head, title=plan.network.title, net=net, layer_text=layer_text
            )
        for solver in plan.solvers:
            texts[solver.path] = solver_template.render(head=head, solver=solver)
    return texts


@contextlib.contextmanager
def one_writer(out: Path) -> Iterator[None]:
    """Waits until nobody else generates below `out`, and keeps others waiting: what a
    manifest said when it was read holds until it is written again.

    `out` is made, and removed where nothing came to be in it. Where it cannot be, or
    cannot be locked, nobody waits.
    """
    created: list[Path] = []
    descriptor = None
    try:
        with contextlib.suppress(OSError):
            while descriptor is None:
                _make_folder(out, created)
                descriptor = _locked(out)
        yield
    finally:
        _remove_empty(created)
        if descriptor is not None:
            os.close(descriptor)


def _locked(folder: Path) -> int | None:
    """A descriptor that holds a folder; None where it was removed meanwhile."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.path.samestat(os.fstat(descriptor), os.stat(folder)):
            return descriptor
    except FileNotFoundError:
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Lets Ctrl-C and a request to end wait, for the moment that renaming takes."""
    ends = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def write(texts: dict[str, str], out: Path) -> None:
    """Writes every text below `out`, or raises UserError and leaves `out` as it was.

    Refused: an `out` that is no folder, cannot be written, or holds other things than
    networks and solvers (the project's own folder aside), and a file in the way that
    is not ours.
    """
    _check(texts, out)
    staged: list[tuple[Path, Path]] = []
    created: list[Path] = []
    try:
        for name, text in texts.items():
            target = out / name
            _make_folder(target.parent, created)
            # One name for one file, so that the next run replaces what a kill left.
            temporary = target.with_name(f".new-{target.name}")
            staged.append((temporary, target))
            temporary.write_text(text, encoding="utf-8")
            os.chmod(temporary, 0o644)
        with _uninterrupted():
            for temporary, target in staged:
                temporary.replace(target)
    except OSError as error:
        _undo(staged, created)
        raise UserError(
            f"cannot write below {out}: {error.strerror or error} ({error.filename});"
            " nothing was changed. Choose another folder with --out DIR."
        ) from error
    except BaseException:
        _undo(staged, created)
        raise


def _undo(staged: list[tuple[Path, Path]], created: list[Path]) -> None:
    for temporary, _ in staged:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    _remove_empty(created)


def _remove_empty(created: list[Path]) -> None:
    for folder in reversed(created):
        with contextlib.suppress(OSError):  # it holds something by now: it stays
            folder.rmdir()


def _make_folder(folder: Path, created: list[Path]) -> None:
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for folder in reversed(missing):
        created.append(folder)
        folder.mkdir(exist_ok=True)


def _check(texts: dict[str, str], out: Path) -> None:
    choose = "choose another folder with --out DIR"
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is not a folder; {choose}.")
    try:
        if out.is_dir() and out.resolve() != project_root():
            foreign = sorted(p.name for p in out.iterdir() if p.name not in OURS)
            if foreign:
                raise UserError(
                    f"{out} is not empty and holds {foreign[0]!r}, which the generator"
                    f" did not make; {choose}, or empty it first."
                )
        for name in texts:
            target = out / name
            if target.is_dir():
                raise UserError(
                    f"{target} is a folder, a file must go there; {choose}."
                )
            if target.exists() and not _is_ours(target):
                raise UserError(
                    f"{target} was not written by the generator, or was changed in its"
                    f" first line; move it away, or {choose}."
                )
    except OSError as error:
        raise UserError(
            f"cannot read {error.filename or out}: {error.strerror}; {choose}."
        ) from error


def _is_ours(path: Path) -> bool:
    mark = MANIFEST_MARK if path.name == layout.MANIFEST else MARK
    with path.open("rb") as file:
        return file.read(len(mark)) == mark.encode()
