"""What every stage uses: errors, rows and YAML on disk, progress, the machine, metrics."""
