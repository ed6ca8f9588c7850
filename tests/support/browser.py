"""Open a page in headless Chromium and say what is seen: run as `python tests/support/browser.py ADDRESS OUT.png ...`.

A program of its own, so that Playwright stays in the services' environment. It prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil

PATIENCE_MS, SETTLES_MS = 30_000, 3000  # pages fade in, and load their parts one by one
SEEN = """() => {
  const style = getComputedStyle(document.body);
  const figures = [...document.querySelectorAll('figure')].map(figure => {
    const box = figure.getBoundingClientRect(), svg = figure.querySelector('svg');
    return {label: figure.getAttribute('aria-label'), right: box.right, height: svg.getBoundingClientRect().height,
            texts: [...svg.querySelectorAll('text')].map(text => text.textContent.trim())};
  });
  return {width: document.documentElement.clientWidth, scroll_width: document.documentElement.scrollWidth,
          ink: style.color, paper: style.backgroundColor, font_size: parseFloat(style.fontSize), figures: figures,
          headings: [...document.querySelectorAll('h2')].map(heading => heading.textContent),
          text: document.body.innerText.slice(0, 20000)};
}"""


def chromium() -> str | None:
    """The browser of this machine; None where there is none."""
    return os.environ.get("PLUMB_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


def look(
    address: str, picture: str, width: int, dark: bool, offline: bool, click: str | None, wait: str | None
) -> dict:
    """What the page shows at this width, with a picture of all of it.

    requests: the addresses that it asked for. errors: what its console says; failures: scripts that broke.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-quic"])
        context = browser.new_context(
            viewport={"width": width, "height": 844}, color_scheme="dark" if dark else "light", offline=offline
        )
        page, requests, errors, failures = context.new_page(), [], [], []
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: (errors.append(str(error)), failures.append(str(error))))
        page.goto(address, wait_until="load")
        if click:
            page.get_by_role("button", name=click).first.click(timeout=PATIENCE_MS)
        if wait:
            page.get_by_text(wait).first.wait_for(timeout=PATIENCE_MS)
            page.wait_for_timeout(SETTLES_MS)
        seen = page.evaluate(SEEN)
        page.screenshot(path=picture, full_page=True)
        browser.close()
    return {**seen, "requests": requests, "errors": errors, "failures": failures}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address")
    parser.add_argument("picture")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--offline", action="store_true", help="without network")
    parser.add_argument("--click", help="a button to press first")
    parser.add_argument("--wait", help="text to wait for")
    options = parser.parse_args()
    print(json.dumps(look(**vars(options))))
