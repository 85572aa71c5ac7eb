"""Models and samples that follow a reward: exact tilted laws of mixtures, and fine-tuning of trained runs."""
