"""The graph of stages: what it is, what would run and why, and running one stage of it."""
