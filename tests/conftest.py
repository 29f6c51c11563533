import signal

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def limit(request):
    """Whatever a test waits for, a process or a lock: it fails rather than wait for ever."""
    minutes = 120 if request.node.get_closest_marker("slow") else 20

    def late(*_):
        raise TimeoutError(f"the test has not ended after {minutes} minutes")

    if hasattr(signal, "SIGALRM"):  # not Windows
        signal.signal(signal.SIGALRM, late)
        signal.alarm(60 * minutes)
        yield
        signal.alarm(0)
    else:
        yield
