"""What MLflow remembers: versions, the evidence for them, runs, and the ways from one to the other."""
