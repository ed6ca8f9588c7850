"""What people were shown, named by its hash: a verdict belongs to texts, wherever they stand in a file of samples.

Spreadsheets and web forms change line ends and cut the space around a text; the hash is of the text without either.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

Turns = Sequence[Mapping[str, Any]]


def text_sha256(text: str) -> str:
    """SHA-256 of a text, its lines ended by a newline and no space around it."""
    return hashlib.sha256(re.sub("\r\n?", "\n", text).strip().encode("utf-8", "surrogatepass")).hexdigest()


def prompt_text(prompt: str | Turns) -> str:
    """A prompt as people are shown it: a single question as it is, turns of a conversation below their roles."""
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1 and prompt[0].get("role") == "user":
        return str(prompt[0].get("content") or "")
    return "\n\n".join(f"{turn.get('role')}: {turn.get('content') or ''}" for turn in prompt)


def prompt_sha256(prompt: str | Turns) -> str:
    """SHA-256 of a prompt as people are shown it."""
    return text_sha256(prompt_text(prompt))
