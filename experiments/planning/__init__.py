"""Costs of a program on devices that are not at hand: memory, operations, bytes moved and bounds of time."""
