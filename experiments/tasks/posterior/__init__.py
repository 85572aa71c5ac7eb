"""Posteriors of parameters given observations."""
