"""Judged answers as battles: win rates, Bradley–Terry strengths, Elo."""
