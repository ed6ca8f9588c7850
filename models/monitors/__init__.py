"""Monitors: the signs of a hacked or broken model, read off its answers and its numbers. Text and numbers in, findings out."""
