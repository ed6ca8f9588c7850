"""How a response looks, as numbers: length and Markdown, and how much two responses differ in them."""

import re

import numpy as np

STYLE = ("length", "headers", "lists", "bold")  # the covariates of Chatbot Arena's style control
_CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)  # marks inside code are no style
_MARKS = (
    re.compile(r"^ {0,3}#{1,6}[ \t]", re.MULTILINE),
    re.compile(r"^[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]", re.MULTILINE),
    re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__"),
)


def markdown_counts(text: str) -> tuple[int, int, int]:
    """Headers, list items and bold passages of a text in Markdown, outside code blocks."""
    prose = _CODE.sub("", text)
    headers, lists, bold = (len(mark.findall(prose)) for mark in _MARKS)
    return headers, lists, bold


def relative_difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(first - second) / (first + second), in [-1, 1]; 0 where both are 0.

    The normalised difference of Chatbot Arena's style control (Li, Angelopoulos and Chiang 2024, "Does style
    matter?"): swapping the responses changes its sign, and the unit of length hardly matters.
    """
    total = first + second
    return np.divide(first - second, total, out=np.zeros_like(total, dtype=np.float64), where=total > 0)
