"""Where a subject looks, and whether that answer can be believed: attributions, their sanity checks, galleries."""
