"""Gold and proxy scores of answers."""
