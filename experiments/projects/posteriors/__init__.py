"""Posteriors: simulators of SBIBM, inverse problems whose answer is known, and the calibration of intervals."""
