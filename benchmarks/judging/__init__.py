"""Judges at work: our asker beside TRL 1.0.0's judge on a faulty server, and what asking in both orders is worth."""
