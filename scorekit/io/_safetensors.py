"""Files of safetensors."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp  # numpy knows bfloat16 once ml_dtypes is imported, which jax does

from scorekit import _lazy
from scorekit.io._naming import naming
from scorekit.io.files import check_regular, in_bucket


def read_safetensors(path: Path) -> dict[str, Any]:
    """The tensors of a file of safetensors by name; ``ValueError`` if it is damaged."""
    safetensors = _lazy.load("safetensors")  # late: the other files need nothing
    assert jnp.bfloat16  # numpy knows this dtype once jax is imported
    from safetensors.numpy import load, load_file

    check_regular(path)
    with naming(path):
        try:
            return load(path.read_bytes()) if in_bucket(path) else load_file(path)
        except safetensors.SafetensorError as error:
            raise ValueError(f"not a complete safetensors file (was its download cut off?): {error}") from error
