r"""Your own table of parameters and observations: a CSV or NPZ file.

    python -m experiments.train --config=experiments/configs/posterior/table.py --workdir=runs/own \
        --config.data.path=simulations.npz --config.data.condition=x --config.data.bounds=0:1,0:

Minutes on two cores (docs/posteriors.md).
"""

from experiments.configs.posterior import two_moons


def get_config():
    config = two_moons.get_config()
    config.data.update(name="table", path="table.npz", condition="x")
    config.evaluation.at_end = None
    return config
