"""Tables of models of sequences."""

from collections.abc import Mapping
from typing import Any

from experiments.reporting.tables import Table, metrics_table, row_table


def sequence_tables(
    bits: Any, seconds: float, batch: int, rows: Mapping[str, Mapping[str, float]], caption: str
) -> list[Table]:
    """Bits per symbol with the seconds per sample of a batch of this size, and the metrics of samples, if any."""
    kind = "exact" if bits.kind == "exact" else "an upper bound (variational)"
    about = (
        f"Of {bits.examples} test examples given their classes, each of {bits.symbols} symbols of {bits.codes} codes: "
        f"{kind}. Seconds: of a batch of {batch}, compiled before."
    )
    row = {
        "bits per symbol": bits.total,
        "standard error": bits.error,
        "bits per sequence": bits.total * bits.symbols,
        "seconds per sample": seconds,
    }
    return [row_table(row, about), *([metrics_table(rows, caption)] if rows else [])]
