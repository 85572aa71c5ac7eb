"""Progress: lines with the loss, the rate and the time that is left."""

import io

from experiments.cli.progress import Progress


class Clock:
    """A clock that is set by the test."""

    now = 100.0

    def __call__(self):
        return self.now


class Loss:
    """A loss that counts how often it is waited for."""

    def __init__(self, value):
        self.value, self.read = value, 0

    def __float__(self):
        self.read += 1
        return self.value


def test_lines_are_written_every_ten_seconds_and_at_the_end():
    stream, clock, loss = io.StringIO(), Clock(), Loss(0.12345)
    with Progress(95, batch_size=64, stream=stream, clock=clock) as progress:
        clock.now += 29
        for step in range(1, 96):
            clock.now += 1
            progress.update(step, loss)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "training 1/95 (1%)  loss 0.1235, first step after 30 s, compilation included"
    assert lines[1] == "training 11/95 (12%)  loss 0.1235, 64 examples/s, ETA 1 min 24 s"
    assert lines[-1] == "training 95/95 (100%)  loss 0.1235, 64 examples/s"
    assert len(lines) == 11
    assert loss.read == len(lines)  # a loss that is not shown is not waited for


def test_a_fast_training_says_how_long_it_takes_after_twenty_steps():
    stream, clock = io.StringIO(), Clock()
    with Progress(1000, batch_size=8, first_step=100, stream=stream, clock=clock) as progress:
        for step in range(101, 200):
            clock.now += 0.1
            progress.update(step)
    first, soon = stream.getvalue().splitlines()
    assert first.startswith("training 101/1,000 (10%)  first step")
    assert soon == "training 120/1,000 (12%)  80 examples/s, ETA 1 min 28 s"


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
