"""Quality and cost of every guidance rule: fidelity against diversity, evaluations, time, recompilation.

    python -m experiments.benchmarks.guidance --workdir=runs/guidance                     # a mixture, exact denoisers
    python -m experiments.benchmarks.guidance --digits=runs/digits                        # and a trained network
    python -m experiments.benchmarks.guidance --fast                                      # runs in seconds

Fidelity is precision and the fraction of samples that are classified as the class they are conditioned on (by the exact
posterior, or by a reference classifier fitted to real images); diversity is recall, coverage, and the Vendi score
within a class. The energy and Fréchet distances measure both. All rules start from the same noise.
"""

import functools

from absl import flags

from experiments.benchmarks.guidance import cost, quality
from experiments.benchmarks.guidance.problems import digits_problem, mixture_problem
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.endings import one_line
from experiments.reporting.grids import grid
from scorekit.networks import UNet

_DIGITS = flags.DEFINE_string("digits", None, "folder of a trained run, to measure its network too")
_MIXTURE = flags.DEFINE_bool("mixture", True, "whether to measure the mixture")
_SCALES = flags.DEFINE_list("scales", ["0", "1", "2", "3", "5", "10"], "guidance scales")
_SAMPLES = flags.DEFINE_integer("samples", 300, "samples of the network; the mixture has four times as many")
_STEPS = flags.DEFINE_integer("steps", 16, "steps of the sampler")
_TURNS = flags.DEFINE_integer("turns", 9, "repetitions of every timing")
_BATCH = flags.DEFINE_integer("batch", 32, "batch of the timings")
_FAST = flags.DEFINE_bool("fast", False, "the smallest sizes, as a test that everything runs")
_WORKDIR = shared.out("folder for the plots", "runs/guidance", "workdir")


def main(_) -> None:
    fast = _FAST.value
    given = shared.all_of("scales", _SCALES.value, float, lambda scale: 0 <= scale <= 10, "in 0 to 10")
    scales = [0.0, 4.0] if fast else sorted(given)
    samples, steps = (40, 4) if fast else (_SAMPLES.value, _STEPS.value)
    folder = shared.results_folder(_WORKDIR)
    makers = [functools.partial(mixture_problem, 4 * samples)] if _MIXTURE.value else []
    if _DIGITS.value:
        makers.append(functools.partial(digits_problem, _DIGITS.value, samples))
    for make in makers:
        with one_line():
            problem = make()
        found, pictures = quality.measure(problem, scales, steps)
        quality.show(problem, found, steps)
        quality.draw(folder / f"{problem.name}.png", problem, found)
        if problem.name == "digits":
            for name, strip in pictures.items():
                words = name.replace(" ", "_").replace(",", "").replace("*", "").replace("γ(t)", "scale")
                title = f"{name}: samples by guidance scale γ"
                rows = [f"γ = {scale:g}" for scale in strip]
                grid(folder / f"digits_{words}.png", list(strip.values()), rows, "0123456789", title=title)
        print(f"plot: {folder / f'{problem.name}.png'}", flush=True)
    if fast:
        cost.show(UNet(channels=8, multipliers=(1,), num_classes=10), 4, 2, 1)
    else:
        cost.show(UNet(channels=24, num_classes=10), _BATCH.value, _STEPS.value, _TURNS.value)
    cost.recompilation()


if __name__ == "__main__":
    command_line.run(main)
