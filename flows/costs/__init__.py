"""What stages and runs cost, and where a run stops because of it."""
