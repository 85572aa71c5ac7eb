"""From audio to notes."""
