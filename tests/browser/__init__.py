"""A real browser without a window: opens pages, hears what they say, looks at what they draw."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from tests.engine.running import HANG_SECONDS

HOME = Path(sys.prefix) / "chromium"
AXE = HOME / "node_modules/axe-core/axe.min.js"
SCREENSHOTS = Path(__file__).parents[2] / "build/screenshots"


@contextmanager
def running() -> Iterator[Browser]:
    """Start Chromium, and end it."""
    program = HOME / "chromium"
    if not program.exists():
        raise RuntimeError(f"Chromium is not installed at {program}; run make .venv/.chromium")
    libraries = os.pathsep.join(filter(None, [os.environ.get("LD_LIBRARY_PATH"), f"{HOME}/lib"]))
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=program,
            args=["--no-sandbox", "--disable-gpu"],
            env=os.environ | {"LD_LIBRARY_PATH": libraries},
        )
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Seen:
    """An opened page, what it complained of, and what it asked the network for."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def pixels(self, place: Locator) -> np.ndarray[Any, Any]:
        """What is seen at a place: rows × columns × red, green, blue."""
        return np.asarray(Image.open(io.BytesIO(place.screenshot())).convert("RGB"))

    def places_of(self, place: Locator, colour: str) -> np.ndarray[Any, Any]:
        """The pixels of a colour, as (row, column)."""
        wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
        return np.argwhere((self.pixels(place) == wanted).all(axis=2))

    def has_run(self) -> bool:
        """Whether the page has called ``ran()``, which no page of ours does."""
        return bool(self.page.evaluate("window.hasRun"))

    def faults(self) -> list[str]:
        """What axe finds that keeps people out: serious and critical, with their places."""
        self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found = self.page.evaluate("axe.run().then((result) => result.violations)")
        return [
            f"{item['impact']}: {item['id']}: {node['target']}"
            for item in found
            for node in item["nodes"]
            if item["impact"] in ("serious", "critical")
        ]

    def is_too_wide(self) -> bool:
        """Whether the page must be scrolled sideways."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth > innerWidth"))

    def keep(self, name: str) -> None:
        """Keep a picture of the whole page as an artefact of the test."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


@contextmanager
def opened(
    browser: Browser, path: Path, scheme: Literal["light", "dark"], width: int = 1200
) -> Iterator[Seen]:
    """Open a local page without a network."""
    size: Any = {"width": width, "height": 900}
    context = browser.new_context(color_scheme=scheme, viewport=size, offline=True)
    try:
        context.set_default_timeout(1000 * HANG_SECONDS)  # also of a page that opens
        seen = Seen(context.new_page())
        seen.page.on(
            "console",
            lambda said: (
                seen.complaints.append(said.text) if said.type in ("error", "warning") else None
            ),
        )
        seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        seen.page.on("request", lambda request: seen.requests.append(request.url))
        seen.page.add_init_script("window.ran = () => { window.hasRun = true; };")
        seen.page.goto(path.as_uri())
        yield seen
    finally:
        context.close()
