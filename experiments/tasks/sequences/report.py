"""Tables of models of sequences."""

from typing import Any

from experiments.reporting.tables import Table, metrics_table, row_table


def sequence_tables(evaluation: Any) -> list[Table]:
    """Bits per symbol with the time of sampling, and the metrics of samples, of a ``SequenceEvaluation``."""
    bits = evaluation.bits
    kind = "exact" if bits.kind == "exact" else "an upper bound (variational)"
    caption = (
        f"Of {bits.examples} test examples given their classes, each of {bits.symbols} symbols of {bits.codes} codes: "
        f"{kind}. Seconds: of a batch of {evaluation.batch}, compiled before."
    )
    row = {
        "bits per symbol": bits.total,
        "standard error": bits.error,
        "bits per sequence": bits.total * bits.symbols,
        "seconds per sample": evaluation.seconds,
    }
    return [row_table(row, caption), *([metrics_table(evaluation.rows, evaluation.caption)] if evaluation.rows else [])]
