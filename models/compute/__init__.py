"""How work is shared among processes and threads."""
