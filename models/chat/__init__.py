"""Conversations as token ids: the tokenizer's chat template, what it puts around a turn, and where a turn ends."""
