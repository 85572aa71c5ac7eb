"""Data without places: points of a known density, tables, and what simulators draw."""
