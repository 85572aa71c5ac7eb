"""Methods for inverse problems: their distance from the true posterior, and their restorations of images.

    python -m experiments.projects.posteriors.inverse
    python -m experiments.projects.posteriors.inverse --workdir=runs/digits
    python -m experiments.projects.posteriors.inverse --table=bridge --workdir=runs/digits_bridge \
        --compare=runs/digits_superres

``methods``: problems whose posterior is known (:mod:`.posteriors`), and with ``--workdir`` PSNR, consistency and cost
on held-out images with a trained model. ``bridge``: super-resolution by a diffusion bridge, and with ``--compare`` by a
conditional model and the methods for inverse problems, at the same numbers of evaluations (:mod:`.images`).
"""

import jax
from absl import flags

from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.projects.posteriors.inverse import images, posteriors
from experiments.reporting.tables import tables_as_text

_TABLE = flags.DEFINE_enum("table", "methods", ["methods", "bridge"], "Table to print.")
_WORKDIR = shared.workdir("Folder of a run on images; of a bridge, one with loss.coupling.name=bridge.")
_SAMPLES = shared.count("samples", 4000, "methods: samples for each observation.", 16)
_STEPS = shared.count("steps", 200, "methods: steps of the samplers on exact densities.", 2)
shared.count("images", 100, "Held-out images.")
flags.DEFINE_string("compare", None, "bridge: folder of a run with conditions.map.name=average_pool.")
flags.DEFINE_list("evaluations", ["1", "2", "5", "10", "25"], "bridge: numbers of evaluations.")
flags.DEFINE_float("noise_std", 0.02, "bridge: noise that the methods for inverse problems assume.", lower_bound=0.0)
flags.DEFINE_list("method", ["replacement", "pigdm", "mmps", "dps"], "bridge: methods for inverse problems.")


def main(_) -> None:
    show = lambda table: print(f"\n{tables_as_text([table])}({table.caption})", flush=True)
    if _TABLE.value == "bridge":
        shared.path(_WORKDIR)
        show(images.bridge_table(_WORKDIR.value, flags.FLAGS))
        return
    with jax.enable_x64(True):
        for name, problem in posteriors.problems().items():
            show(posteriors.exact_table(name, problem, _SAMPLES.value, _STEPS.value))
    if _WORKDIR.value:
        show(images.methods_table(_WORKDIR.value, flags.FLAGS.images))


if __name__ == "__main__":
    command_line.run(main)
