"""Inverse problems: what is observed, and the methods that solve them."""
