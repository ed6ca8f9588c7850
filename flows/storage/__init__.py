"""What DVC and git keep: data, objects, clones, and the branch that holds the data."""
