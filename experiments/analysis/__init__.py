"""What a trained model knows, by noise level."""
