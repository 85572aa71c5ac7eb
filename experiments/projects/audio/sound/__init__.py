"""Programs about sounds."""
