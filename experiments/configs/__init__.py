"""Configs: each file's docstring holds its command, the time it takes and the result to expect."""
