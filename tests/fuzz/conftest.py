"""Says how many inputs there were, where FUZZ_TIMES asks for many."""

from tests.helpers import fuzzing


def pytest_terminal_summary(terminalreporter):
    if not fuzzing.TIMES:
        return
    for kind, count in sorted(fuzzing.inputs.items()):
        terminalreporter.write_line(f"{kind:40}{count:>12,}")
    terminalreporter.write_line(f"{'inputs':40}{fuzzing.inputs.total():>12,}")
