"""Proximal policy optimisation: sample, score, advantage, update."""
