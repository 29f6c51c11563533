"""Pictures of the built site, to be looked at: phone and desktop, light and dark.

    make screenshots                           # the pages that matter most
    make screenshots PAGES="book/notebooks/text book/glossary"

They go to build/screenshots/, each whole page a file.
"""

import sys
from pathlib import Path

import browsing
import chromium
from playwright.sync_api import sync_playwright
from serving import ROOT, SITE, serve

PICTURES = ROOT / "build/screenshots"
PAGES = (
    *(f"book/notebooks/{name}" for name in ("home", "claims", "nodes", "method")),
    "book/explorer",
)
DEVICES = {"phone": browsing.PHONE, "desktop": browsing.DESKTOP}


def take(pages: tuple[str, ...]) -> None:
    """A picture of each page on each device in each theme."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright, serve(SITE) as site:
        browser = playwright.chromium.launch(
            executable_path=chromium.find(), args=browsing.ARGUMENTS
        )
        for device, metrics in DEVICES.items():
            with browsing.opened(browser, metrics) as page:
                for name in pages:
                    browsing.visit(page, f"{site}{name}.html")
                    for theme in ("light", "dark"):
                        browsing.dark(page, theme == "dark")
                        picture = PICTURES / f"{Path(name).name}-{device}-{theme}.png"
                        page.screenshot(path=picture, full_page=True)
                        print(picture.relative_to(ROOT))


if __name__ == "__main__":
    wanted = tuple(sys.argv[1:]) or PAGES
    if missing := [name for name in wanted if not (SITE / f"{name}.html").is_file()]:
        sys.exit(f"screenshots: no page {missing[0]} in {SITE}; build the site with: make book")
    if not chromium.find():
        sys.exit(f"screenshots: {chromium.WANTED}")
    take(wanted)
