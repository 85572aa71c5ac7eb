"""Posteriors of signals: coverage, errors and costs of every method."""
