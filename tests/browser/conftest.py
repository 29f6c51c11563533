"""The built site in the system's Chromium: `make book`, then `make browser`.

Another site is checked with DEEPAUG_SITE=FOLDER. Modules of Playwright are imported where they are
used, so that collecting these tests needs none of them.
"""

from pathlib import Path

import browsing
import chromium
import pytest
from serving import SITE, serve


def lacking(item) -> str | None:
    """Why a test cannot run here."""
    if not chromium.find():
        return f"{chromium.WANTED}; root on Debian: make browser"
    if "site" in item.fixturenames and not (SITE / "index.html").is_file():
        return f"no site in {SITE}; build it with: make book"
    return None


@pytest.hookimpl(trylast=True)  # what the markers deselect is gone by then
def pytest_collection_modifyitems(config, items):
    """Where the browser or the site is missing one test says so; the others could but repeat it."""
    told, repeated = set(), []
    for item in items:
        if Path(__file__).parent in item.path.parents and (reason := lacking(item)):
            if reason in told:
                repeated.append(item)
            told.add(reason)
    if repeated:
        config.hook.pytest_deselected(items=repeated)
        items[:] = [item for item in items if item not in repeated]


@pytest.fixture(scope="session")
def browser():
    """Chromium without a window, for the whole session."""
    if not (program := chromium.find()):
        pytest.fail(f"{chromium.WANTED}; root on Debian: make browser", pytrace=False)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=browsing.ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def site():
    """The base URL of the built site, served as it will be published: below a sub-path."""
    if not (SITE / "index.html").is_file():
        pytest.fail(f"no site in {SITE}; build it with: make book", pytrace=False)
    with serve(SITE) as base:
        yield base


def _kept_here(page):
    departed = page.log.departed()
    assert not departed, f"the page asked for {', '.join(departed)}"


@pytest.fixture
def page(browser):
    """A fresh page of 1280 x 900 with a log, `page.log`; no request may leave the machine."""
    with browsing.opened(browser) as page:
        yield page
        _kept_here(page)


@pytest.fixture
def phone(browser):
    """The same on a phone of 380 px."""
    with browsing.opened(browser, browsing.PHONE) as page:
        yield page
        _kept_here(page)
