"""What compares with PyTorch needs it, and it is an optional extra."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("torch") else ["test_torch_net.py"]


def pytest_report_header():
    if collect_ignore:
        return "torch is not installed: left out are " + ", ".join(collect_ignore)
    return None
