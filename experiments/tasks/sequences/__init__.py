"""Sequences of symbols: autoregressive and masked models."""
