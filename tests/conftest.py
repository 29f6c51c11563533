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


class Clock:
    """Time that passes by what is done alone: 10 seconds an epoch, 3 an evaluation."""

    now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    from deepaug.training import loop
    from deepaug.training.modalities.vision.task import ImageTask

    clock, epoch, evaluate = Clock(), loop.Training.epoch, ImageTask.evaluate

    def slow_epoch(self, number):
        clock.now += 10.0
        return epoch(self, number)

    def slow_evaluate(self, embed, final):
        clock.now += 3.0
        return evaluate(self, embed, final)

    monkeypatch.setattr(loop, "time", clock)
    monkeypatch.setattr(loop.Training, "epoch", slow_epoch)
    monkeypatch.setattr(ImageTask, "evaluate", slow_evaluate)
    return clock
