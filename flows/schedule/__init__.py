"""Retraining: the steps of flows/retrain.py, and what was decided before."""
