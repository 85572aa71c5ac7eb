"""Posteriors of the tasks of SBIBM, beside published figures."""
