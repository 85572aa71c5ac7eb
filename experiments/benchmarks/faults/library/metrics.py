"""Metrics."""

import numpy as np

from experiments.benchmarks.faults.calls import Call, Data, Number, call
from scorekit import metrics

_IN, _OUT = np.arange(5, dtype=np.float32), np.arange(7, dtype=np.float32) + 2
_ANY = {"integer": "integers count as floats"}

ROWS: dict[str, Call] = {
    "metrics.auroc": call(metrics.auroc, in_scores=Data(_IN, _ANY), out_scores=Data(_OUT, _ANY)),
    "metrics.aupr": call(metrics.aupr, in_scores=Data(_IN, _ANY), out_scores=Data(_OUT, _ANY)),
    "metrics.fpr_at_tpr": call(
        metrics.fpr_at_tpr, in_scores=Data(_IN, _ANY), out_scores=Data(_OUT, _ANY), tpr=Number(0.9, low=0.0, high=1.1)
    ),
}

EXEMPT = {
    "metrics.Interval": "a result",
    "metrics.LinearProbe": "a result",
    "metrics.PrecisionRecall": "a result",
    "metrics.DensityCoverage": "a result",
}
