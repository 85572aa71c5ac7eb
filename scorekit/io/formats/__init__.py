"""Layouts of published checkpoints, a file each: from tensors by their foreign names to a network and parameters."""
