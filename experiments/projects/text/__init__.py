"""Images from captions."""
