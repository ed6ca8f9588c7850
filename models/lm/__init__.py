"""Causal language models: their weights and precision, batches and packing, log-probabilities."""
