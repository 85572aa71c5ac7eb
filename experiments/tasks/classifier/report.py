"""The image and the table of a classifier of noisy examples."""

import math
from pathlib import Path

from experiments.reporting.curves import NOISE_AXIS, Panel, curves, lines
from experiments.reporting.png import PathLike
from experiments.reporting.tables import Table
from experiments.tasks.classifier.model import Curve


def accuracy_picture(path: PathLike, curve: Curve, chance: float) -> Path:
    """The accuracy by noise level, without the entry of no noise; ``chance`` is the accuracy of guessing."""
    accuracy = lines(curve.log_snr[:-1], {"classifier": curve.accuracy[:-1]})
    label, guess = "share of test examples classified rightly", {f"guessing, {chance:.2g}": chance}
    return curves(
        path, [Panel(accuracy, NOISE_AXIS, label, "Accuracy by noise level", guess, axes={"ylim": (0, 1.03)})]
    )


def classifier_table(curve: Curve, draws: int) -> Table:
    """Accuracy and cross-entropy by noise level, with ``draws`` draws of the noise."""
    rows = []
    for level, accuracy, entropy in zip(*map(list, curve), strict=True):
        noise = [float(level), math.exp(-level / 2)] if math.isfinite(level) else ["no noise", 0.0]
        rows.append([*noise, float(accuracy), float(entropy)])
    caption = f"On the held-out test set, {draws} draws of the noise; cross-entropy in nats."
    return Table(["log-SNR", "σ / α", "accuracy", "cross-entropy"], rows, caption)
