"""The embedded default world: a household with facts, prompts, demonstrations of mixed quality and an oracle."""
