"""Fine-tuning and steering to a reward against exact tilted laws."""
