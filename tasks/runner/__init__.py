"""One stage in one process: its files, its state, its GPU, its end."""
