"""The report in a real browser, without network: wide, on a phone, in the dark; charts have labelled axes."""

import json
import re
import subprocess

import pytest

from tests.support.report_documents import make  # noqa: F401  the report on small documents
from tests.support.s3_servers import browser

pytestmark = pytest.mark.services

PHONE = 390  # CSS pixels


@pytest.fixture()
def look(make, tmp_path):  # noqa: F811
    """A function that opens the report; returns what the browser saw."""
    make()
    page = tmp_path / "out" / "report.html"

    def open_it(*options: str) -> dict:
        command = [*browser(), page.as_uri(), str(tmp_path / "page.png"), "--offline", *options]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert answer.returncode == 0, answer.stderr
        assert (tmp_path / "page.png").stat().st_size > 20_000
        return json.loads(answer.stdout)

    return open_it


def luminance(colour: str) -> float:
    """Relative luminance of `rgb(r, g, b)`, WCAG 2.2."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(seen: dict) -> float:
    lighter, darker = sorted((luminance(seen["ink"]), luminance(seen["paper"])), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_wide_in_order_and_without_network(look):
    seen = look()
    assert seen["errors"] == [] and all(address.startswith(("file:", "data:")) for address in seen["requests"])
    assert seen["headings"][:3] == ["Scores", "What got worse", "Training curves"]
    assert seen["headings"][-2:] == ["The judge", "Lineage"]
    assert seen["text"].index("promote") < seen["text"].index("Likely cause") < seen["text"].index("Scores")
    assert contrast(seen) >= 7 and luminance(seen["paper"]) > 0.8


def test_charts_have_labelled_axes_and_say_in_words_what_they_show(look):
    figures = look()["figures"]
    assert len(figures) == 11
    for figure in figures:
        words = [text for text in figure["texts"] if re.search(r"[a-z]", text)]
        numbers = [text for text in figure["texts"] if re.fullmatch(r"[−-]?[\d.]+", text)]
        assert words and len(numbers) >= 2, figure["texts"]
        assert len(figure["label"]) > 20 and figure["height"] > 100


def test_on_a_phone_nothing_is_wider_than_the_screen(look):
    seen = look("--width", str(PHONE))
    assert seen["width"] == PHONE and seen["scroll_width"] <= PHONE and seen["font_size"] >= 14
    assert all(figure["right"] <= PHONE for figure in seen["figures"])


def test_in_dark_mode_the_ink_is_light(look):
    seen = look("--dark")
    assert luminance(seen["paper"]) < 0.1 and contrast(seen) >= 7
