"""Which prompts are asked, and the rows of answers to them."""
