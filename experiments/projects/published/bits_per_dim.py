"""Bits per dimension of published weights on test data: the exact likelihood and the variational bound.

    python -m experiments.projects.published.bits_per_dim --weights=edm-cifar10-32x32-uncond-vp.pkl \\
        --config=experiments/configs/published/cifar10_edm.py --config.evaluation.exact_examples=1000
    python -m experiments.projects.published.bits_per_dim --weights=checkpoint_26.pth --preconditioning=vp --config=…

``--weights`` is any file or folder that ``scorekit.io.load`` reads, whose layout is recognised. Of the config only
``data``, ``evaluation`` and ``seed`` are used. ``--preconditioning`` gives the meaning of the network's input and
output where the file does not. Prints the tables that ``experiments.evaluate --bits_per_dim`` prints for a run, with
the offset and the kind of dequantisation; ``--out`` writes the values as JSON.
"""

from absl import flags

from experiments import data, tasks
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config
from experiments.cli.outputs import write_results
from experiments.models.devices import everywhere
from experiments.projects.published.published_weights import PRECONDITIONINGS, open_foreign
from experiments.reporting.tables import tables_as_text
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.metrics.exact import exact_bits
from experiments.tasks.diffusion.metrics.run_metrics import variational_bound
from experiments.tasks.diffusion.report import bound_table, exact_table

_CONFIG = shared.config()
_WEIGHTS = flags.DEFINE_string("weights", None, "File or folder of published weights.", required=True)
_MEANING = flags.DEFINE_enum("preconditioning", None, list(PRECONDITIONINGS), "Preconditioning, if not in the file.")
_OUT = shared.out("The .json file to write.")


def main(config: Config) -> str:
    out = shared.results(_OUT, None, "") if _OUT.value else None
    dataset = data.load(config)
    dataset.num_samples(config.evaluation.num_samples)
    model, params = open_foreign(_WEIGHTS.value, _MEANING.value, dataset)
    params = everywhere(params)
    print(f"{_WEIGHTS.value} on test data of {dataset.name} …", flush=True)
    exact, bound = exact_bits(config, model, dataset, params), variational_bound(config, model, dataset, params)
    print(tables_as_text([exact_table(exact), bound_table(bound)]))
    if out is not None:
        found = {"weights": _WEIGHTS.value, "exact": exact._asdict(), "bound": bound._asdict()}
        write_results(out, found)
    return _OUT.value or _WEIGHTS.value


if __name__ == "__main__":
    command_line.run(main, lambda: tasks.opened(_CONFIG.value), diffusion.check_fields)
