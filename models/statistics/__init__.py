"""Means, rates and fits with their uncertainty, by root."""
