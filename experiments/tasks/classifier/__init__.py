"""Classifiers of noisy examples, for guidance and as evaluators."""
