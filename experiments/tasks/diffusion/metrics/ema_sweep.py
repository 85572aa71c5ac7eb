"""Metrics of one run with averages of several relative widths, each reconstructed from the run's snapshots."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.cli.config import Config
from experiments.models.run_files import restore
from experiments.models.samples import PartialSamples
from experiments.tasks.diffusion.metrics.run_metrics import sample_metrics, variational_bound
from experiments.tasks.diffusion.model import at_params
from experiments.tasks.task import Run
from scorekit.training import POWER_EMA_PREFIX


class EmaSweep(NamedTuple):
    """Metrics by relative width.

    Attributes:
      rows: width -> guidance scale, as "γ = 1", and number of steps where several are compared -> metrics of samples by
        name; no scales where nothing measures samples.
      bits: width -> bits per dimension of the variational bound, where there is one.
      step: step of the run.
    """

    rows: dict[float, dict[str, dict[str, float]]]
    bits: dict[float, float]
    step: int

    def values(self) -> dict[str, float]:
        """Every metric by one name, as for JSON."""
        found = {f"{POWER_EMA_PREFIX}{width}/bound/bits per dim": bits for width, bits in self.bits.items()}
        for width, rows in self.rows.items():
            for row, metrics in rows.items():
                found.update({f"{POWER_EMA_PREFIX}{width}/{row}/{name}": value for name, value in metrics.items()})
        return found

    def curves(self) -> dict[str, dict[str, np.ndarray]]:
        """Metric -> guidance scale -> its values by width."""
        found: dict[str, dict[str, np.ndarray]] = {}
        first = next(iter(self.rows.values()))
        for scale, metrics in first.items():
            for name in metrics:
                values = [rows[scale].get(name, np.nan) for rows in self.rows.values()]
                found.setdefault(name, {})[scale] = np.array(values)
        bound = {"bits/dim": {"variational bound": np.array([*self.bits.values()])}} if self.bits else {}
        return {**found, **bound}


def ema_sweep(config: Config, run: Run, workdir: Path, widths: Sequence[float], partial: PartialSamples) -> EmaSweep:
    """Evaluates samples and the variational bound with the average of each relative width at the step of the run.

    The weaker model of autoguidance is the same for every width.
    """
    rows, bits, scorer = {}, {}, run.dataset.scorer()
    for width in widths:
        _, params = restore(f"--ema_sweep={width:g}", workdir, run.step, f"{POWER_EMA_PREFIX}{width}", run.params)
        model = at_params(run.model, params)
        found = sample_metrics(config, model, run.dataset, scorer, params, run.generate, partial)
        rows[width] = {name: metrics for name, metrics in found.items() if name.startswith("γ")}
        if model.coupling is None:  # else there is no bound
            bits[width] = variational_bound(config, model, run.dataset, params).total
    return EmaSweep(rows, bits, run.step)
