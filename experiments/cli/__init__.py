"""The command line: flags, strict configs, and what a terminal shows."""
