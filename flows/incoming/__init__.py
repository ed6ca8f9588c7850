"""New data from the S3 inbox."""
