"""One session of `caffe train`: begun, followed, and ended as its outcome asks."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from caffe.proto import caffe_pb2
from google.protobuf import text_format

from generator import recipe
from generator.errors import UserError
from generator.variants import find_variant
from swwae.base.files import whole_file
from swwae.base.program import INTERRUPTED, failure, print_error
from swwae.base.project import CAFFE, ROOT, relative
from swwae.base.settings import MATH_SETTING
from swwae.engine import cards, devices, process
from swwae.engine.cards import Card
from swwae.engine.log import NotFinite
from swwae.engine.progress import Progress
from swwae.nets import weights
from swwae.runs.run import Run
from swwae.stages import activations, checksums, faults, snapshots
from swwae.stages.memory import out_of_memory
from swwae.stages.status import Status, log_results, record_end, record_finish


@dataclass(frozen=True)
class Plan:
    """What a session does.

    solver: the effective one.
    target: iterations in all.
    start: the iteration of the snapshot that it resumes from; None for the beginning.
    source: the weights that the stage starts from; None for the fillers'.
    comparison, shapes: of those weights with the network, and of its parameters.
    gpus: their numbers; none for the CPU.
    math: that they compute with, one of `settings.MATH`.
    driver: the version of theirs; None where it is not known.
    batch: images at a time on each device; 0 where unknown.
    keep: whole snapshots that stay while it trains; behind the end, the last one.
    command: the command line to go on with.
    """

    solver: caffe_pb2.SolverParameter
    target: int
    start: int | None
    source: Path | None
    comparison: weights.Comparison
    shapes: weights.Shapes
    gpus: list[int]
    math: str
    driver: str | None
    batch: int
    keep: int
    command: str

    @property
    def images(self) -> int:
        """Returns how many there are in an iteration; 0 where unknown."""
        return self.batch * self.solver.iter_size * max(1, len(self.gpus))


@dataclass(frozen=True)
class Session:
    """A session of a stage. status: its record, which it keeps up to date."""

    run: Run
    plan: Plan
    status: Status

    def carry_out(self) -> int:
        """Trains to the target, or as far as it gets; returns the exit code."""
        outcome = self._train()
        self._record(outcome)
        if outcome.not_finite:
            return self._end_diverged(outcome.not_finite)
        whole, _ = snapshots.newest_whole(self.run.folder, self.plan.shapes)
        self._count_iterations(whole, outcome.seconds)
        if outcome.stopped and outcome.fatal is None:
            return self._end_interrupted()
        if outcome.fatal and devices.is_out_of_memory(outcome.fatal) and self.plan.gpus:
            return self._end_out_of_memory(outcome.cards)
        fault = faults.data_fault(self.run, outcome)
        fault = fault or faults.caffe_fault(self.run, outcome)
        if fault is None and self.status["iterations"] < self.plan.target:
            fault = faults.snapshot_fault(self.run.folder)
        if fault is not None:
            return self._end_failed(fault)
        return self._end_finished()

    # --- training

    def _train(self) -> process.Outcome:
        """Runs Caffe, unless nothing is left to be done."""
        plan = self.plan
        command = self._caffe_command(self._write_solver())
        self.status.update(
            state="running",
            caffe_command=command,
            iterations=plan.start or 0,
            max_iter=plan.target,
        )
        self.run.write_status(self.status)
        if plan.start is not None and plan.start >= plan.target:
            return process.Outcome()
        progress = Progress(self.run.title, plan.target, plan.images or None)
        return process.train(
            command,
            self.run.log,
            progress,
            self._snapshot_written,
            self._cards_named,
            {MATH_SETTING: plan.math} if plan.gpus else None,
        )

    def _write_solver(self) -> Path:
        path = self.run.effective_solver
        with whole_file(path, "w") as file:
            file.write(text_format.MessageToString(self.plan.solver))
        return path

    def _caffe_command(self, solver: Path) -> list[str]:
        plan = self.plan
        command = [relative(CAFFE), "train", f"--solver={relative(solver)}"]
        if plan.start is not None:
            state = snapshots.solver_state(self.run.folder, plan.start)
            command.append(f"--snapshot={relative(state)}")
        elif plan.source is not None:
            command.append(f"--weights={relative(plan.source)}")
        if plan.gpus:
            command.append(f"--gpu={','.join(map(str, plan.gpus))}")
        return command

    def _snapshot_written(self, path: Path) -> None:
        """A solver's state comes after its weights."""
        if path.suffix == snapshots.SOLVER_STATE:
            with suppress(OSError):  # in a folder that is read-only now, say
                snapshots.prune(self.run.folder, self.plan.keep)
            self.status["iterations"] = snapshots.iteration_of(path)
            self._write_status()

    def _cards_named(self, found: list[Card]) -> None:
        self.status["gpu"] = cards.record(found, self.plan.driver)
        self._write_status()

    def _write_status(self) -> None:
        """Where it cannot be written, as on a full disk, training goes on: the next
        snapshot writes it again."""
        with suppress(UserError):
            self.run.write_status(self.status)

    # --- what is known when Caffe has ended

    def _record(self, outcome: process.Outcome) -> None:
        status = self.status
        status["seconds"] = round(status["seconds"] + outcome.seconds, 3)
        peaks = (status["peak_memory_bytes"], outcome.peak_memory)
        status["peak_memory_bytes"] = max(filter(None, peaks), default=None)
        status |= log_results(self.run.log)
        # The same ones are met again in every session.
        damaged = max(outcome.damaged or 0, status.get("damaged_records", 0))
        if damaged:
            status["damaged_records"] = damaged

    def _count_iterations(self, whole: int | None, seconds: float) -> None:
        """whole: the newest whole snapshot's iteration; seconds: of the session."""
        self.status["iterations"] = whole or 0
        done = self.status["iterations"] - (self.plan.start or 0)
        if seconds and done > 0:
            self.status["iterations_per_second"] = round(done / seconds, 4)

    def _end_diverged(self, found: NotFinite) -> int:
        """Keeps the snapshots of before, whose losses were finite."""
        snapshots.remove_after(self.run.folder, found.iteration - 1)
        left = snapshots.iterations(self.run.folder)
        self.status["iterations"] = left[0] if left else 0
        self._record_end("failed", found.message)
        search = ""
        if command := faults.search_command(self.run, self.plan.source):
            search = f" {command} finds the rates of stage 2, and with them the others."
        go_on = ""
        if left:
            go_on = (
                f" (Where something else was the reason, {self.plan.command} goes on"
                f" from iteration {left[0]:,}.)"
            )
        return failure(
            f"{found.message} Lower base_lr ({self.plan.solver.base_lr:g}) in"
            f" {relative(self.run.solver)}, or a loss's weight, and start over:"
            f" {self.plan.command} --force{search}{go_on}"
        )

    def _end_interrupted(self) -> int:
        self._record_end("interrupted")
        print(
            f"stopped at iteration {self.status['iterations']:,} of"
            f" {self.plan.target:,}; go on with {self.plan.command}"
        )
        return INTERRUPTED

    def _end_failed(self, fault: str) -> int:
        self._record_end("failed", fault)
        return failure(f"{fault} Go on with {self.plan.command}")

    def _record_end(self, state: str, fault: str = "") -> None:
        """What is said must not depend on room for the record: without one, the run
        counts as interrupted."""
        try:
            record_end(self.run, self.status, state, fault)
        except UserError as error:
            print_error(error)

    def _end_out_of_memory(self, found: list[Card]) -> int:
        plan = self.plan
        fault = out_of_memory(
            self.run,
            plan.solver.net,
            plan.batch,
            plan.solver.iter_size,
            found,
            plan.command,
        )
        self._record_end("failed", fault)
        return failure(f"{fault} (The log is {relative(self.run.log)}.)")

    def _end_finished(self) -> int:
        iterations = self.status["iterations"]
        write_final_weights(self.run, self.plan, iterations)
        before = self.plan.source if self.run.stage == 4 else None
        diagnose(self.run, ROOT / self.plan.solver.net, before, self.status)
        record_finish(self.run, self.status, iterations)
        return 0


def diagnose(run: Run, net_path: Path, before: Path | None, status: Status) -> None:
    """Records, and says, whether an encoder has collapsed or a decoder is dead.

    net_path: of the network that was trained. before: as of `activations.diagnose`.
    """
    try:
        found = activations.diagnose(net_path, run.final_weights, before)
    except UserError as error:
        print(f"whether training ruined anything is not known: {error}")
        return
    if found.mean_squares:
        status["activations"] = found.mean_squares
    status["warning"] = found.warning
    if found.warning:
        print(f"warning: {found.warning}")


def write_final_weights(run: Run, plan: Plan, iteration: int) -> None:
    """Makes final.caffemodel of the last snapshot, which alone stays.

    It has every layer's weights: also those that the stage's network lacks, but not a
    ladder's noisy encoder, which shares its weights with the clean one. A part's has
    those of its network alone.
    """
    last = snapshots.weights_file(run.folder, iteration)
    if run.macro_layer is None and recipe.STAGES[run.stage].fixed_encoder:
        final = weights.load(last)
        final.DiscardUnknownFields()  # the checksum, which is the snapshot's
        incoming = weights.load(plan.source)
        weights.copy_layers(incoming, final, plan.comparison.unused)
        weights.save(final, run.final_weights)
    elif find_variant(run.variant).ladder:
        final = weights.load(last)
        final.DiscardUnknownFields()
        weights.save(final, run.final_weights)
    else:
        with whole_file(run.final_weights) as file:
            file.write(checksums.removed(last.read_bytes()))
    snapshots.prune(run.folder, keep=1)
