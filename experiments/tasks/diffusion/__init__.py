"""Diffusion models.

To read in this order: ``objectives`` (the formulas of the loss), ``loss`` (a batch for the training step), ``model``,
``build`` (all of it from a config), ``sampling``, ``guidance``, ``metrics``, ``report``, and ``task``, which puts them
together. ``checks`` validates a config, ``runs`` opens a trained run, ``fine_tuning`` starts from given weights.
"""
