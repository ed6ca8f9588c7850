"""Judges (they compare and rate; `making` makes them) and scorers (gold)."""

from models.judges.base import Judge, Scorer, Verdict

__all__ = ["Judge", "Scorer", "Verdict"]
