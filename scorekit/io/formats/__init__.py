"""Layouts of published checkpoints, one file each: from tensors by their foreign names to a network and its parameters."""
