"""Progress: plain lines away from a terminal, a bar on one."""

import io
import re

from experiments.cli.progress import Progress


class Clock:
    """A clock that is set by the test."""

    now = 100.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Loss:
    """A loss that counts how often it is waited for."""

    def __init__(self, value):
        self.value, self.read = value, 0

    def __float__(self):
        self.read += 1
        return self.value


def run(stream, steps, seconds=1.0, first_step=0, total=100, compile_seconds=30.0):
    clock, loss = Clock(), Loss(0.12345)
    with Progress(total, batch_size=64, first_step=first_step, stream=stream, clock=clock) as progress:
        clock.now += compile_seconds - seconds
        for step in range(first_step + 1, first_step + steps + 1):
            clock.now += seconds
            progress.update(step, loss)
    return loss


def test_plain_lines_are_written_every_ten_seconds_and_at_the_end():
    stream = io.StringIO()
    loss = run(stream, 95, total=95)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "training 1/95 (1%)  loss 0.1235, first step after 30 s, compilation included"
    assert lines[1] == "training 11/95 (12%)  loss 0.1235, 64 examples/s, ETA 1 min 24 s"
    assert lines[-1] == "training 95/95 (100%)  loss 0.1235, 64 examples/s"
    assert len(lines) == 11
    assert loss.read == len(lines)  # a loss that is not shown is not waited for


def test_the_rate_includes_the_wait_for_steps_that_are_still_running():
    class Behind:
        def __float__(self):
            clock.now += 10  # 20 steps were dispatched in 10 s, and are done after 20 s
            return 0.5

    stream, clock = io.StringIO(), Clock()
    progress = Progress(100, batch_size=10, stream=stream, clock=clock)
    progress.update(1)
    clock.now += 10
    progress.update(21, Behind())
    clock.now += 10
    progress.update(31)
    _, second, third = stream.getvalue().splitlines()
    assert second == "training 21/100 (21%)  loss 0.5, 10 examples/s, ETA 1 min 19 s"
    assert third == "training 31/100 (31%)  10 examples/s, ETA 1 min 09 s"


def test_a_terminal_shows_a_bar_with_loss_rate_and_eta(monkeypatch):
    monkeypatch.setenv("COLUMNS", "90")
    stream = Terminal()
    run(stream, 20, first_step=80)
    states = [x for x in stream.getvalue().split("\r") if x.strip()]
    assert "80/100" in states[0]
    assert "100/100" in states[-1]
    assert "loss 0.1235, 64 examples/s" in states[-1]
    assert re.search(r"\[\d\d:\d\d<", states[-1])  # elapsed and remaining time
