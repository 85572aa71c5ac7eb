"""Music in symbols: from sound to notes and piano rolls."""
