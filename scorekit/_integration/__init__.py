"""The loop over the steps of a solver, and the adaptive solution of the probability-flow ODE."""
