"""Sampling from a policy: one seed for each answer, whatever runs beside it."""
