"""Several logs as one, written and read again."""

import numpy as np

from swwae.engine.log import Iteration, latest, read_lines
from swwae.engine.merged_log import lines, merged

PREFIX = "I1124 06:20:42.123456 12345 solver.cpp:239] "


def logged(name: str, weight: float, displayed: list[int]) -> list[str]:
    said = ["==== 2026-11-28T01:00:00+00:00 caffe train"]
    for n in displayed:
        said += [
            f"{PREFIX}Iteration {n} (2 iter/s, 1s/1 iters), loss = {weight * (n + 1)}",
            f"{PREFIX}    Train net output #0: {name} = {n + 1} (* {weight} = 1 loss)",
            f"{PREFIX}Iteration {n}, lr = 1e-05",
        ]
    said += [
        f"{PREFIX}Iteration 4, Testing net (#0)",
        f"{PREFIX}    Test net output #0: {name} = 7.5 (* {weight} = 1 loss)",
    ]
    return said


def test_sums_losses_and_keeps_every_output():
    """At iterations that all have: one may be further than another."""
    logs = [
        read_lines(logged("dec:loss@data", 0.5, [0, 2, 4])),
        read_lines(logged("dec:loss@conv1", 2.0, [0, 2])),
    ]
    log = read_lines(lines(merged(logs), "two logs"))
    np.testing.assert_array_equal(log.loss, ([0, 2], [2.5, 7.5]))
    np.testing.assert_array_equal(log.learning_rate, ([0, 2], [1e-5, 1e-5]))
    assert list(log.train) == ["dec:loss@conv1", "dec:loss@data"]
    for series in log.train.values():
        np.testing.assert_array_equal(series, ([0, 2], [1, 3]))
    for name in log.train:
        np.testing.assert_array_equal(log.test[name], ([4], [7.5]))
    assert log.weights == {"dec:loss@conv1": 2.0, "dec:loss@data": 0.5}


def test_the_latest_iteration_is_found_at_the_end(tmp_path):
    path = tmp_path / "train.log"
    assert latest(path) is None
    path.write_text("\n".join(logged("loss", 1.0, range(2000))))
    assert latest(path) == Iteration(1999, 2000.0, 2.0)
    with path.open("a") as file:
        file.write(f"\n{PREFIX}Iteration 2000 (2 iter/s, 1s/1 iters), loss = 2")
    assert latest(path).iteration == 1999  # the last line may go on
