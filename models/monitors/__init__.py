"""Monitors: the signs of a hacked or broken model. Its answers and its numbers in, findings out."""
