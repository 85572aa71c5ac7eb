"""The training loop, what it writes, and what a student learns."""
