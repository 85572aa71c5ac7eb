"""Costs of a program on devices that are not at hand: memory, operations and least times."""
