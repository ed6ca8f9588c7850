"""One alignment on this machine: what the flow of flows/align.py is made of, around it and repeated."""
