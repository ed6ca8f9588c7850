"""Reward models, and what a sequence scores."""
