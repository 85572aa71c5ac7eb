"""From the timbre of one instrument to another."""
