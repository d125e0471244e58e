"""What a soak does to a session: each kind of fault is a function, by its name."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from swwae.base.project import ROOT
from swwae.runs.run import Run
from swwae.soak import ground
from swwae.soak.session import (
    POLL,
    TRACEBACK,
    Circumstances,
    Session,
    last_sentence,
    settings,
)
from swwae.stages import snapshots

END = 60.0
"""Seconds within which a session ends that was killed or asked to stop (ours)."""

STOP = 30.0
"""Seconds within which it ends that was asked to stop: what is promised."""

LASTING = 15.0
"""Seconds that a disk stays full, or read-only, where the session does not end."""

SUSPENDED = (0.5, 3.0)
"""Seconds that a session is suspended, at least and at most."""

CLOCK = "-30d"
"""By how much the clock is set back, as libfaketime takes it."""


class Missed(Exception):
    """The session ended by itself before the fault could be caused."""


class Unmet(Exception):
    """A fault was not survived: a sentence says how."""


@dataclass
class Scene:
    """What a fault is caused to. command: that runs the stage; next: the circumstances
    under which its next session is to be started."""

    run: Run
    session: Session
    command: list[str]
    random: Random
    next: Circumstances | None = None

    def caffe(self) -> int:
        """Returns the process of the session's caffe, as soon as there is one."""
        while (pid := self.session.caffe()) is None:
            if self.session.wait(POLL):
                raise Missed
        return pid

    def end(self, seconds: float = END) -> None:
        """Waits for the session's end; raises Unmet where it does not come."""
        if not self.session.wait(seconds):
            raise Unmet(f"the session still runs {seconds:g} s later")

    def kill(self) -> None:
        """Kills run_stage.sh and its caffe."""
        caffe = self.session.caffe()
        self.session.send(signal.SIGKILL)
        if caffe is not None:
            _signal(caffe, signal.SIGKILL)
        self.end()

    def answer(self) -> tuple[int, str]:
        """Starts the same command once more; returns its exit code, and its words."""
        try:
            done = subprocess.run(
                self.command,
                cwd=ROOT,
                env=os.environ | settings(self.run),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=END,
            )
        except subprocess.TimeoutExpired:
            raise Unmet(f"the same command still runs {END:g} s later") from None
        said = done.stdout.decode("utf-8", "replace")
        if TRACEBACK in said:
            raise Unmet(f"the same command ended with a traceback: {said[-500:]}")
        return done.returncode, last_sentence(said)


def _kill_caffe(scene: Scene) -> str:
    _signal(scene.caffe(), signal.SIGKILL)
    scene.end()
    return ""


def _kill_python(scene: Scene) -> str:
    scene.session.send(signal.SIGKILL)
    scene.end()
    return ""


def _kill_both(scene: Scene) -> str:
    scene.caffe()
    scene.kill()
    return ""


def _kill_group(scene: Scene) -> str:
    os.killpg(scene.session.pid, signal.SIGKILL)
    scene.end()
    return ""


def _terminate(scene: Scene) -> str:
    scene.session.send(signal.SIGTERM)
    scene.end(STOP)
    return ""


def _interrupt(scene: Scene) -> str:
    scene.session.send(signal.SIGINT)
    scene.end(STOP)
    return ""


def _suspend(scene: Scene) -> str:
    seconds = scene.random.uniform(*SUSPENDED)
    caffe = scene.session.caffe()
    pids = [scene.session.pid, *([] if caffe is None else [caffe])]
    for pid in pids:
        _signal(pid, signal.SIGSTOP)
    scene.session.wait(seconds)
    for pid in pids:
        _signal(pid, signal.SIGCONT)
    return f"for {seconds:.1f} s"


def _second_run(scene: Scene) -> str:
    scene.caffe()  # it holds the folder
    code, sentence = scene.answer()
    if code == 2 and "is being run already" in sentence:
        return f"refused: {sentence}"
    if scene.session.code is not None:
        raise Missed
    raise Unmet(f"a second run ended with exit code {code}: {sentence}")


def _fill_disk(scene: Scene) -> str:
    """Full to the last byte, or so that a part of a snapshot fits."""
    sizes = [path.stat().st_size for path in _newest_snapshot(scene.run.folder)]
    left = scene.random.choice([0, scene.random.randrange(1 + max(sizes, default=0))])
    with ground.filled(scene.run.root, left):
        return f"{left:,} bytes left; {_answer_while(scene)}"


def _make_read_only(scene: Scene) -> str:
    with ground.read_only(scene.run.root):
        return _answer_while(scene)


def _answer_while(scene: Scene) -> str:
    """Waits for the session's end; then starts the command while the fault lasts."""
    if not scene.session.wait(LASTING):
        return f"it went on for {LASTING:g} s"
    code, sentence = scene.answer()
    return f"started once more meanwhile: exit code {code}, {sentence}"


def _remove_network(scene: Scene) -> str:
    scene.session.send(signal.SIGTERM)
    scene.end(STOP)
    scene.next = Circumstances(prefix=("unshare", "--net"))
    return "the next session has none, not even the loopback"


def _set_clock_back(scene: Scene) -> str:
    scene.session.send(signal.SIGTERM)
    scene.end(STOP)
    scene.next = Circumstances(
        environment={
            "LD_PRELOAD": str(_faketime()),
            "FAKETIME": CLOCK,
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",  # its files are from the future
        }
    )
    return f"the next session's clock says {CLOCK}"


def _corrupting(damage: Callable[[Path, Random], str]) -> Callable[[Scene], str]:
    """Returns the fault that kills a session and damages a file of its newest
    snapshot."""

    def corrupt(scene: Scene) -> str:
        while not _newest_snapshot(scene.run.folder):
            if scene.session.wait(POLL):
                raise Missed
        scene.kill()
        path = scene.random.choice(_newest_snapshot(scene.run.folder))
        return f"{path.name}: {damage(path, scene.random)}"

    return corrupt


def _flip(path: Path, random: Random) -> str:
    content = bytearray(path.read_bytes())
    bit = random.randrange(8 * len(content))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    return f"bit {bit:,} flipped"


def _truncate(path: Path, random: Random) -> str:
    size = random.randrange(1, path.stat().st_size)
    os.truncate(path, size)
    return f"cut to {size:,} bytes"


def _clear(path: Path, random: Random) -> str:
    os.truncate(path, 0)
    return "emptied"


def _remove(path: Path, random: Random) -> str:
    path.unlink()
    return "removed"


FAULTS: dict[str, Callable[[Scene], str]] = {
    "kill-caffe": _kill_caffe,
    "kill-python": _kill_python,
    "kill-both": _kill_both,
    "kill-group": _kill_group,
    "terminate": _terminate,
    "interrupt": _interrupt,
    "suspend": _suspend,
    "second-run": _second_run,
    "disk-full": _fill_disk,
    "read-only": _make_read_only,
    "no-network": _remove_network,
    "clock-back": _set_clock_back,
    "snapshot-flipped": _corrupting(_flip),
    "snapshot-truncated": _corrupting(_truncate),
    "snapshot-emptied": _corrupting(_clear),
    "snapshot-removed": _corrupting(_remove),
}
"""Each causes its fault and, where that ends the session, waits for its end. It returns
what else is known of it; Missed and Unmet are raised."""

WORDS = {
    "kill-caffe": "SIGKILL to caffe",
    "kill-python": "SIGKILL to run_stage.sh",
    "kill-both": "SIGKILL to both",
    "kill-group": "SIGKILL to the process group",
    "terminate": "SIGTERM",
    "interrupt": "SIGINT",
    "suspend": "SIGSTOP, then SIGCONT",
    "second-run": "a second run in the folder",
    "disk-full": "the disk full",
    "read-only": "the folder read-only",
    "no-network": "the network removed",
    "clock-back": "the clock set back",
    "snapshot-flipped": "a bit of the newest snapshot flipped",
    "snapshot-truncated": "the newest snapshot truncated",
    "snapshot-emptied": "the newest snapshot emptied",
    "snapshot-removed": "a file of the newest snapshot removed",
}


def left_out() -> dict[str, str]:
    """Returns the faults that cannot be caused here, with the reasons."""
    found = {}
    if not ground.may_mount():
        reason = "it takes root, or a user namespace, to mount a file system"
        found |= {"disk-full": reason, "read-only": reason}
    if not _may_remove_network():
        found["no-network"] = "it takes root, or a user namespace"
    if _faketime() is None:
        found["clock-back"] = "it takes Debian's package libfaketime"
    return found


def _may_remove_network() -> bool:
    unshare = shutil.which("unshare")
    if unshare is None:
        return False
    done = subprocess.run([unshare, "--net", "true"], capture_output=True)
    return done.returncode == 0


def _faketime() -> Path | None:
    return next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


def _newest_snapshot(folder: Path) -> list[Path]:
    """Returns the files of the newest snapshot whose solver's state is there."""
    for iteration in snapshots.iterations(folder):
        state = snapshots.solver_state(folder, iteration)
        if state.is_file():
            both = (snapshots.weights_file(folder, iteration), state)
            return [path for path in both if path.is_file()]
    return []


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:  # ended meanwhile
        pass
