"""Diffusion models.

To read in this order: ``task``, ``build`` (from a config), ``model``, ``objectives`` (the formulas of the loss),
``loss`` (a batch for the training step), ``sampling``, ``guidance``, ``metrics`` and ``report``.
"""
