"""Models of the same quantised data: bits and speed, and the effect of guidance and truncation on the conditionals.

    python -m experiments.benchmarks.sequences --runs=runs/digits_pixels,runs/digits_masked,runs/digits
    python -m experiments.benchmarks.sequences --counted=runs/digits_short
    python -m experiments.benchmarks.sequences --guided=runs/digits_pixels --temperatures=0.5,0.7
    python -m experiments.benchmarks.sequences --trap=runs/digits_wavenet --pictures=docs/typicality

``--runs`` are runs of experiments.train on the same quantised data, in any order of the symbols: models of sequences,
whose bits per value are exact or a bound, and continuous diffusion models, with the exact likelihood of the
probability-flow ODE (dequantised uniformly) and the variational bound of the quantised values, all on the first
``--examples`` test examples. ``--counted`` is an autoregressive run of short sequences, all of which are enumerated:
guidance of each conditional alongside guidance of the joint; temperature, top-k, nucleus and typical sampling of the
conditionals alongside the joint at the temperature of equal entropy; the joint at low temperatures, and its most
probable sequences. ``--guided`` is an autoregressive run of sequences that are too long for that: guidance and
temperature of the conditionals alongside guidance and temperature of the joint, by particles. ``--trap`` are
autoregressive runs of images or piano rolls: the quality of samples against ``-log p`` by temperature, top-k, nucleus
and typical sampling, beam search and minimum Bayes risk, with the typical set; ``--pictures`` is a folder of the plots.
"""

from absl import flags

from experiments import tasks
from experiments.benchmarks.sequences import bits, counted, joint, trap
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.models import sequence_sampling
from experiments.models.runs import Run, write_results
from experiments.reporting.tables import Table, tables_as_text
from scorekit.io import as_path

_RUNS = shared.define(flags.DEFINE_list, "runs", [], "Folders of runs of experiments.train on the same data.")
_COUNTED = shared.define(flags.DEFINE_string, "counted", None, "Folder of an autoregressive run of short sequences.")
_GUIDED = shared.define(flags.DEFINE_string, "guided", None, "Folder of an autoregressive run of images.")
_SCALES = shared.define(
    flags.DEFINE_list, "scales", ["0", "0.5", "1", "2", "3", "4"], "Guidance scales, with --counted and --guided."
)
_TEMPERATURES = shared.define(
    flags.DEFINE_list, "temperatures", ["0.1", "0.3", "0.5", "0.7", "1"], "Of the joint, with --counted and --guided."
)
_TRAP = shared.define(flags.DEFINE_list, "trap", [], "Folders of autoregressive runs of images or piano rolls.")
_SEEDS = shared.count("seeds", 3, "Seeds of the samples, with --trap.")
_PICTURES = shared.define(flags.DEFINE_string, "pictures", None, "Folder of the plots, with --trap; none by default.")
_PARTICLES = shared.define(flags.DEFINE_list, "particles", ["1", "16", "64"], "Numbers of them, with --guided.")
_DRAWN = shared.count("drawn", 200, "Samples of each row, with --guided and --trap.", 2)
_EXAMPLES = shared.define(
    flags.DEFINE_integer, "examples", None, "Test examples of every likelihood; all by default.", lower_bound=2
)
_SAMPLES = shared.count("samples", 100, "Samples that are timed.")
_OUT = shared.out("JSON file of the tables; none by default.")
shared.reinterpret_weights()


def opened(flag: str, folder: str, scales: list[float]) -> Run:
    """The run of a model of sequences that a flag names."""
    config: Config = tasks.saved(folder, "diffusion", "sequence")
    if config.task != "sequence":
        raise ConfigError(f"--{flag}={folder}: must be a run of a model of sequences")
    return sequence_sampling.open_run(config, as_path(folder).absolute(), scales=scales)


def guided_tables(folder: str, scales: list[float], temperatures: list[float]) -> list[Table]:
    """Guidance and temperature of the conditionals and of the joint, for sequences that are not enumerated."""
    particles = [round(n) for n in shared.increasing("particles", _PARTICLES.value)]
    if not particles or ",".join(map(str, particles)) != ",".join(_PARTICLES.value):
        raise ConfigError(f"--particles={','.join(_PARTICLES.value)}: must be integers >= 1, as in 1,16,64")
    run = opened("guided", folder, scales)
    joint.check(run, folder)
    tables = [joint.joint_table(run, scales, particles, _DRAWN.value)]
    return [*tables, joint.joint_table(run, temperatures, particles, _DRAWN.value, temperature=True)]


def main(_) -> None:
    if not (_RUNS.value or _COUNTED.value or _GUIDED.value or _TRAP.value):
        raise ConfigError("--runs=…, --counted=…, --guided=… or --trap=… must be given: runs of experiments.train")
    out = shared.results(_OUT, None, "") if _OUT.value else None
    tables = bits.likelihood_table(_RUNS.value, _EXAMPLES.value, _SAMPLES.value) if _RUNS.value else []
    if _COUNTED.value or _GUIDED.value:
        scales = shared.guidance_scales("scales", _SCALES.value)
        temperatures = shared.increasing("temperatures", _TEMPERATURES.value)
        if _COUNTED.value:
            tables += counted.tables(opened("counted", _COUNTED.value, scales), scales, temperatures)
        tables += guided_tables(_GUIDED.value, scales, temperatures) if _GUIDED.value else []
    for folder in _TRAP.value:
        name, rows = as_path(folder).name, trap.measure(opened("trap", folder, [1.0]), _DRAWN.value, _SEEDS.value)
        tables.append(trap.table(name, rows, _DRAWN.value, _SEEDS.value))
        if _PICTURES.value:
            print(f"wrote {trap.figure(as_path(_PICTURES.value) / f'trap_{name}.png', name, rows)}")
    print(tables_as_text(tables))
    if out is not None:
        print(f"wrote {write_results(out, [table.records() for table in tables])}")


if __name__ == "__main__":
    command_line.run(main)
