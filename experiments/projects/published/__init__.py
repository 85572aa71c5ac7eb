"""Published weights and reference statistics, for the comparison with published figures."""
