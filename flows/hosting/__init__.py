"""Servers and workers, their logins, and what they need once."""
