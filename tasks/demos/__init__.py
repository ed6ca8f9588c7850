"""Models and data of the demos, made from what a package index has."""
