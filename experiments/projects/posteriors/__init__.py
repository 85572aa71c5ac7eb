"""Calibration of posteriors of signals against exact laws, and posteriors of the simulators of SBIBM."""
