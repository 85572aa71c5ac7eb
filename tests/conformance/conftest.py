"""Float64 for adapters of other packages."""

import jax
import pytest


@pytest.fixture
def float64():
    """Float64 in every thread of JAX, and so in callbacks."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.fixture
def torch():
    """PyTorch with float64 by default."""
    torch = pytest.importorskip("torch")
    torch.set_default_dtype(torch.float64)
    yield torch
    torch.set_default_dtype(torch.float32)
