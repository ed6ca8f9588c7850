"""The commands of `plumb`, and what they show on a terminal."""
