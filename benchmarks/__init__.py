"""What the pipeline costs beside bare tools: `python -m benchmarks`."""
