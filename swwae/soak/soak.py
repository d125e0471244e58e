"""Rounds of two trainings, undisturbed and under faults, that must end alike."""

import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from time import monotonic

from generator.errors import UserError
from swwae.base.files import require_file
from swwae.base.project import ROOT, relative
from swwae.nets import network
from swwae.runs.run import Run
from swwae.soak import ground
from swwae.soak.comparison import Compared, compare
from swwae.soak.faults import FAULTS, Missed, Scene, Unmet
from swwae.soak.session import (
    TRACEBACK,
    Circumstances,
    Session,
    last_iteration,
    last_sentence,
)

SHARE = 0.5
"""Of a stage's undisturbed time, within which a session meets its fault (ours)."""

PATIENCE = 20.0
"""Times a stage's undisturbed time, and LEAST_PATIENCE, that a session may take."""

LEAST_PATIENCE = 120.0
"""Seconds."""

ROOM = 3
"""Times what an undisturbed training leaves, that the small file system holds."""

LEAST_ROOM = 16 << 20
"""Bytes."""


@dataclass(frozen=True)
class Settings:
    """What is asked of a soak.

    seed: of the first round's trainings and, with the round, of its faults. intervals:
    between snapshots, that a stage trains. hours: after which no fault and no round
    begins. most: faults in all, None for as many as fit. a_stage: faults at most in a
    stage of a round. kinds: of faults, names of FAULTS. out: the folder of the runs.
    """

    net: str
    variant: str
    seed: int
    intervals: int
    hours: float
    most: int | None
    a_stage: int
    kinds: Sequence[str]
    out: Path


@dataclass
class Record:
    """One fault.

    seconds: since the soak began. iteration: that the log named last, None before one.
    detail: what else is known of it. code: the exit code with which the session ended,
    negative for a signal, None where it went on; said: its last words. ended_after:
    seconds until its end. trained_after: seconds from the next session's start until it
    had trained an iteration that is displayed; None where none was seen to.
    """

    seconds: float
    round: int
    stage: int
    iteration: int | None
    fault: str
    detail: str = ""
    code: int | None = None
    said: str = ""
    ended_after: float | None = None
    trained_after: float | None = None


@dataclass
class Result:
    """What a soak has found. iterations: of each stage. unmet: a sentence on the fault
    that was not survived, which ended it."""

    iterations: dict[int, int] = field(default_factory=dict)
    rounds: int = 0
    faults: list[Record] = field(default_factory=list)
    files: list[Compared] = field(default_factory=list)
    seconds: float = 0.0
    unmet: str | None = None

    @property
    def differing(self) -> int:
        """Returns how many bits differ in all."""
        return sum(file.differing for file in self.files)

    @property
    def bits(self) -> int:
        """Returns how many bits were compared."""
        return sum(file.bits for file in self.files)


class Soak:
    """A soak on its way. on_fault is called with every fault when all is known of it,
    on_round after every round with the result so far."""

    def __init__(
        self,
        settings: Settings,
        on_fault: Callable[[Record], None],
        on_round: Callable[[Result], None],
    ) -> None:
        self._settings = settings
        self._on_fault = on_fault
        self._on_round = on_round
        self._result = Result()
        self._began = monotonic()
        self._random = Random(settings.seed)
        self._kinds = self._shuffled()
        self._kind = next(self._kinds)
        self._waiting: Record | None = None

    def run(self) -> Result:
        """Runs rounds until the hours are over or the faults are survived, or until one
        is not, or bits differ. Raises UserError where an undisturbed one fails."""
        for number in count(1):
            self._result.rounds = number
            folder = self._settings.out / f"round{number}"
            shutil.rmtree(folder, ignore_errors=True)
            try:
                self._round(number, folder)
            except Unmet as unmet:
                self._result.unmet = str(unmet)
                self._tell(None)
            self._result.seconds = monotonic() - self._began
            self._on_round(self._result)
            if self._result.unmet or self._result.differing:
                return self._result
            shutil.rmtree(folder)
            if self._is_over():
                return self._result

    def _shuffled(self) -> Iterator[str]:
        """Yields all kinds in a random order, then all in another, and so on."""
        while True:
            kinds = list(self._settings.kinds)
            self._random.shuffle(kinds)
            yield from kinds

    def _is_over(self) -> bool:
        most = self._settings.most
        if most is not None and len(self._result.faults) >= most:
            return True
        return monotonic() - self._began >= 3600 * self._settings.hours

    def _round(self, number: int, folder: Path) -> None:
        plain, harsh = folder / "undisturbed", folder / "disturbed"
        harsh.mkdir(parents=True)
        undisturbed, disturbed = self._stages(plain), self._stages(harsh)
        seconds = [self._undisturbed(run, number, folder) for run in undisturbed]
        size = sum(p.stat().st_size for p in plain.rglob("*") if p.is_file())
        mounts = {"disk-full", "read-only"}.intersection(self._settings.kinds)
        small = ground.small_file_system(harsh, max(LEAST_ROOM, ROOM * size))
        with small if mounts else nullcontext():
            try:
                for run, usual in zip(disturbed, seconds, strict=True):
                    self._disturbed(run, number, folder, usual)
            except Unmet:
                shutil.copytree(harsh, folder / "failed")
                raise
            pairs = zip(undisturbed, disturbed, strict=True)
            found = [file for pair in pairs for file in compare(*pair)]
            self._result.files += found
            if any(file.differing for file in found):
                shutil.copytree(harsh, folder / "differing")

    def _stages(self, root: Path) -> list[Run]:
        chain = [Run(self._settings.net, self._settings.variant, 4, root=root)]
        while (before := chain[0].previous) is not None:
            chain.insert(0, before)
        return chain

    def _command(self, run: Run, number: int) -> list[str]:
        """Returns the command line that makes a run. number: of the round."""
        command = [str(ROOT / "tools" / "run_stage.sh"), str(run.stage)]
        command += ["--net", run.net, "--variant", run.variant]
        command += ["--seed", str(self._settings.seed + number - 1)]
        if run.stage != 1:
            require_file(run.solver, "solver", run.generator_command)
            interval = network.read_solver(run.solver).snapshot
            iterations = self._settings.intervals * max(1, interval)
            self._result.iterations[run.stage] = iterations
            command += ["--max-iter", str(iterations)]
        return command

    def _undisturbed(self, run: Run, number: int, folder: Path) -> float:
        """Runs a stage; returns the seconds that it took."""
        began = monotonic()
        output = folder / f"undisturbed-stage{run.stage}.txt"
        session = Session(run, self._command(run, number), output)
        try:
            while not session.wait(LEAST_PATIENCE):
                pass
        finally:
            session.close()
        if session.code != 0:
            raise UserError(
                f"the undisturbed {run.title} ended with exit code {session.code}:"
                f" {last_sentence(session.said())} (all that it said:"
                f" {relative(output)})"
            )
        return monotonic() - began

    def _disturbed(self, run: Run, number: int, folder: Path, usual: float) -> None:
        """Runs a stage under faults to its end. usual: seconds it takes without."""
        command = self._command(run, number)
        sessions = count(1)

        def start(circumstances: Circumstances | None = None) -> Session:
            output = folder / f"stage{run.stage}-session{next(sessions)}.txt"
            return Session(run, command, output, circumstances)

        left = self._settings.a_stage
        session = start()
        try:
            while True:
                if left == 0 or self._is_over():
                    session.wait(max(LEAST_PATIENCE, PATIENCE * usual))
                else:
                    session.wait(self._random.uniform(0, SHARE * usual))
                self._tell(session)
                if session.code is not None or left == 0 or self._is_over():
                    break
                scene = Scene(run, session, command, self._random)
                if not self._cause(scene, number):
                    break
                left -= 1
                if session.code is not None:
                    session = start(scene.next)
        finally:
            session.close()
        self._require_finished(run, session)

    def _cause(self, scene: Scene, number: int) -> bool:
        """Causes the next fault; returns whether the session was still there for it."""
        session = scene.session
        began = monotonic()
        record = Record(
            round(began - self._began, 1),
            number,
            scene.run.stage,
            last_iteration(scene.run),
            self._kind,
        )
        try:
            record.detail = FAULTS[self._kind](scene)
        except Missed:
            return False
        except Unmet as unmet:
            raise Unmet(f"{_place(record)}: {unmet}") from None
        self._kind = next(self._kinds)
        self._waiting = record
        self._result.faults.append(record)
        if session.code is not None:
            record.code = session.code
            record.said = last_sentence(session.said())
            record.ended_after = round(monotonic() - began, 1)
        if TRACEBACK in session.said():
            raise Unmet(f"{_place(record)}: a traceback: {session.said()[-500:]}")
        return True

    def _tell(self, session: Session | None) -> None:
        """Says what is now known of the fault before. session: that goes on behind it;
        None where none does."""
        if (record := self._waiting) is None:
            return
        self._waiting = None
        if record.code is not None and session and session.trained_after is not None:
            record.trained_after = round(session.trained_after, 1)
        self._on_fault(record)

    def _require_finished(self, run: Run, session: Session) -> None:
        """Raises Unmet where the last session of a stage did not finish it."""
        if session.code == 0 and run.is_finished():
            return
        how = f"ended with exit code {session.code}"
        if session.code == -signal.SIGKILL:
            how = "did not end"
        last = self._result.faults[-1:]
        behind = f", behind {_place(last[0])}" if last else ""
        raise Unmet(
            f"{run.title} {how}{behind}: {last_sentence(session.said()) or 'no word'}"
        )


def _place(record: Record) -> str:
    return (
        f"fault {record.fault} in stage {record.stage} of round {record.round}, at"
        f" {record.seconds:g} s"
    )
