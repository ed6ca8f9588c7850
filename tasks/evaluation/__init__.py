"""Parts of `evaluate` and `monitors`."""
