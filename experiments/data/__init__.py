"""Data sets, one file a kind, each answering for itself."""
