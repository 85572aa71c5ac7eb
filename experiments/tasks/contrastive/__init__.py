"""Contrastive encoders of images and captions."""
