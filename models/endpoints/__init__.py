"""Endpoints that speak OpenAI's chat completions: one call, how it can fail, and when to ask again."""
