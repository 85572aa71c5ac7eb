"""The picture and the table of classifiers of noisy examples, and the distances of reconstructions."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.reporting.curves import NOISE_AXIS, Panel, curves, lines
from experiments.reporting.png import PathLike
from experiments.reporting.tables import Table


def accuracy_picture(path: PathLike, classifiers: Mapping[str, Any], chance: float) -> Path:
    """The accuracy by noise level, without the entry of no noise; ``chance`` is the accuracy of guessing."""
    levels = next(iter(classifiers.values())).log_snr[:-1]
    accuracy = lines(levels, {f"trained on {name} examples": each.accuracy[:-1] for name, each in classifiers.items()})
    label, guess = "share of test examples classified rightly", {f"guessing, {chance:.2g}": chance}
    return curves(
        path, [Panel(accuracy, NOISE_AXIS, label, "Accuracy by noise level", guess, axes={"ylim": (0, 1.03)})]
    )


def classifier_table(classifiers: Mapping[str, Any], draws: int) -> Table:
    """Accuracy and cross-entropy by noise level, a column for each classifier.

    Args:
      classifiers: by the data of training, ``log_snr``, ``accuracy`` and ``cross_entropy``,
        the last entry without noise.
      draws: draws of the noise.
    """
    first = next(iter(classifiers.values()))
    header = [
        "log-SNR",
        "σ / α",
        *(f"{what}, {name}" for what in ("accuracy", "cross-entropy") for name in classifiers),
    ]
    rows = []
    for i, level in enumerate(first.log_snr):
        noise = [float(level), math.exp(-level / 2)] if math.isfinite(level) else ["no noise", 0.0]
        accuracies = [float(c.accuracy[i]) for c in classifiers.values()]
        rows.append([*noise, *accuracies, *(float(c.cross_entropy[i]) for c in classifiers.values())])
    caption = (
        f"By the data that a classifier was trained on, noisy or clean. On the held-out test set, {draws} draws of the "
        "noise; cross-entropy in nats."
    )
    return Table(header, rows, caption)
