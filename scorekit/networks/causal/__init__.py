"""Autoregressive networks: a position sees those before it."""

from scorekit.networks.causal.causal_transformer import CausalTransformer
from scorekit.networks.causal.causal_wavenet import CausalWaveNet
from scorekit.networks.causal.tiered import TieredNetwork

__all__ = ["CausalTransformer", "CausalWaveNet", "TieredNetwork"]
