"""The gate's decision and its words."""
