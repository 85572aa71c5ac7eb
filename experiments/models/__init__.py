"""What the networks of several tasks share: choices, conditions, devices, the files of a run."""
