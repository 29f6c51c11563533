"""Every page of the built book in a real browser: `make browser`.

One page and one check: pytest -m browser -k "vision and links" tests/browser
"""

import warnings

import browsing
import checks
import pytest
import serving
import yaml

pytestmark = pytest.mark.browser

FIRST, MOST = 1_200_000, 3_000_000  # bytes over the wire: of the first page, of any


def listed(node) -> list[str]:
    """Every page that a table of contents names, whatever its nesting."""
    if isinstance(node, list):
        return [name for item in node for name in listed(item)]
    if isinstance(node, dict):
        own = [node[key] for key in ("root", "file") if key in node]
        return own + [name for value in node.values() for name in listed(value)]
    return []


PAGES = listed(yaml.safe_load((serving.ROOT / "_toc.yml").read_text(encoding="utf-8")))


def told(faults: list[str]) -> str:
    return "\n  ".join(["", *faults])


# One tab for each width, in which a page is opened once for all that is asked of it.
@pytest.fixture(scope="module")
def desk(browser):
    with browsing.opened(browser) as page:
        yield page


@pytest.fixture(scope="module")
def hand(browser):
    with browsing.opened(browser, browsing.PHONE) as page:
        yield page


@pytest.fixture(scope="module", params=PAGES)
def desktop(request, desk, site):
    return browsing.visit(desk, f"{site}{request.param}.html")


@pytest.fixture(scope="module", params=PAGES)
def handheld(request, hand, site):
    return browsing.visit(hand, f"{site}{request.param}.html")


@pytest.mark.parametrize(
    "check",
    [
        checks.errors,
        checks.departures,
        checks.figures,
        checks.links,
        checks.theme,
        checks.accessibility,
    ],
    ids=lambda check: check.__name__,
)
def test_page(desktop, check):
    faults = check(desktop)
    assert not faults, told(faults)


def test_budget(desktop, site):
    first = desktop.url == f"{site}{PAGES[0]}.html"
    faults = checks.budget(desktop, FIRST if first else MOST)
    assert not faults, told(faults)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_contrast(desktop, dark):
    browsing.dark(desktop, dark)
    faults = checks.contrast(desktop)
    assert not faults, told(faults)


def test_no_overflow_on_a_phone(handheld):
    faults = checks.overflow(handheld)
    assert not faults, told(faults)


def test_text_of_figures_on_a_phone(handheld):
    faults, unmeasured = checks.small_text(handheld)
    if unmeasured:
        told_apart = f"{handheld.url}: {len(unmeasured)} figures whose text cannot be measured"
        warnings.warn(told_apart, stacklevel=1)
    assert not faults, told(faults)


def test_accessible_on_a_phone(handheld, site):
    """The frame of the first page is that of all; else the width changes what scrolls alone."""
    first = handheld.url == f"{site}{PAGES[0]}.html"
    faults = checks.accessibility(handheld) if first else checks.reach(handheld)
    assert not faults, told(faults)


def test_address_of_the_book_leads_to_its_first_page(page, site):
    page.goto(site)
    page.wait_for_url(f"{site}{PAGES[0]}.html")


def test_search(page, site):
    faults = checks.search(page, site, "stop-gradient", "stop-gradient.html")
    assert not faults + checks.errors(page), told(faults + checks.errors(page))
