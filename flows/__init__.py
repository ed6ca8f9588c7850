"""Orchestration: DVC knows what must be rebuilt, Prefect runs it, MLflow remembers how it went."""
