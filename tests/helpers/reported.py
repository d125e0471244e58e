"""Runs that say what they are, without anything having been trained."""

from swwae.runs.run import Run

PREFIX = "I1124 06:20:42.123456 12345 solver.cpp:239] "


def log_lines(iteration: int, loss: object, rate: float = 2.0) -> str:
    return (
        f"{PREFIX}Iteration {iteration} ({rate} iter/s, 1s/1 iters), loss = {loss}\n"
        f"{PREFIX}    Train net output #0: loss = {loss} (* 1 = {loss} loss)\n"
        f"{PREFIX}Iteration {iteration}, lr = 0.1\n"
    )


def write(run: Run, state: str = "finished", **status: object) -> Run:
    """A run that says so; where it is finished, with weights that nobody reads."""
    run.folder.mkdir(parents=True, exist_ok=True)
    whole = {"state": state, "iterations": 0, "weights_out": {"sha256": "0"}} | status
    run.write_status(whole)
    if state == "finished":
        run.final_weights.touch()
    return run
