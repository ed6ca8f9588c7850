"""Judges at work: what they are told, which pairs they see, what they cost, whether they moved."""
