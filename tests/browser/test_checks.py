"""Each check of the site finds the fault it is for, on a page made to have it, and no other."""

import browsing
import checks
import chromium
import debian
import pytest
import serving

pytestmark = pytest.mark.browser

PIXEL = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
FIGURE = f'<img src="{PIXEL}" width="300" height="200" alt="Accuracy rises with depth">'
MUTED = '<p style="color: #999; background: #fff">Hard to read</p>'
HIDDEN_LINK = '<a href="other.html" style="color: #333; text-decoration: none">better</a>'
SWITCH = """
<button class="theme-switch-button" onclick="
  const root = document.documentElement, themes = ['light', 'dark'];
  root.dataset.theme = themes[1 - themes.indexOf(root.dataset.theme)]">Theme</button>"""
FOLLOWS = """
<script>
  const asked = matchMedia('(prefers-color-scheme: dark)');
  const follow = () => document.documentElement.dataset.theme = asked.matches ? 'dark' : 'light';
  asked.onchange = follow; follow();
</script>"""
DRAWING = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 400" {size}>
<style>.label {{ font: 16px sans-serif }}</style>
<text class="label" x="9" y="99">Top-1</text></svg>"""
# As Matplotlib writes it: each letter a path, in hundredths of the size of its font.
LETTERS = """<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"
viewBox="0 0 800 400" width="800pt" height="400pt"><defs><path id="A" d="M 10 0 L 60 70"/></defs>
<g id="text_1"><!-- δ = 0.5 --><g transform="translate(40 280) scale(0.{size} -0.{size})">
<use xlink:href="#A"/></g></g></svg>"""

FINE = f"""
<h1>Deeper is better</h1><p id="here">Dropout in <a href="other.html#there">one layer</a>.</p>
{FIGURE}<details><summary>More</summary><p>Words</p></details>{SWITCH}{FOLLOWS}"""


def document(body: str, style: str = "") -> str:
    return f"""<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>A page</title>
<link rel="icon" href="data:,"><style>:root {{ color-scheme: light dark }}
html[data-theme=dark] body {{ background: #000; color: #fff }} img, svg {{ max-width: 100% }}
html[data-theme=dark] a {{ color: #9cf }} {style}</style></head>
<body><main><article>{body}</article></main></body></html>"""


@pytest.fixture(scope="module")
def tabs(browser):
    with browsing.opened(browser) as desk, browsing.opened(browser, browsing.PHONE) as hand:
        yield {"desk": desk, "hand": hand}


@pytest.fixture
def shown(tabs, tmp_path):
    """Opens a page of this body, at the desk or in the hand."""
    (tmp_path / "other.html").write_text(document('<h1>Other</h1><p id="there">There</p>'))

    def show(body, place="desk", style="", **files):
        for name, text in files.items():
            (tmp_path / name.replace("_", ".")).write_text(text, encoding="utf-8")
        (tmp_path / "page.html").write_text(document(body, style), encoding="utf-8")
        return browsing.visit(tabs[place], f"{base}page.html")

    with serving.serve(tmp_path) as base:
        yield show


def contrast_in_the_dark(page):
    browsing.dark(page)
    return checks.contrast(page)


DESK = {
    "errors": checks.errors,
    "departures": checks.departures,
    "budget": lambda page: checks.budget(page, 20_000),
    "figures": checks.figures,
    "links": checks.links,
    "theme": checks.theme,
    "accessibility": checks.accessibility,
    "contrast": checks.contrast,
    "contrast in the dark": contrast_in_the_dark,
}
HANDHELD = {
    "overflow": checks.overflow,
    "text of figures": lambda page: checks.small_text(page)[0],
    "accessibility": checks.accessibility,
    "reach": checks.reach,
}


def named(value: str) -> str | None:
    """Tests are named by check and fault, not by the page made for them."""
    return "" if "<" in value else value


def test_a_page_without_fault_passes_every_check(shown):
    page = shown(FINE)
    assert {name: check(page) for name, check in DESK.items()} == {name: [] for name in DESK}
    page = shown(FINE, "hand")
    assert {name: check(page) for name, check in HANDHELD.items()} == {
        name: [] for name in HANDHELD
    }


@pytest.mark.parametrize(
    ("check", "body", "fault"),
    [
        ("errors", "<script>const a = 1</script><script>const a = 2</script>", "declared"),
        ("errors", "<script>console.error('no basis')</script>", "no basis"),
        ("errors", '<img src="gone.png" alt="Nothing">', "404"),
        ("departures", '<script src="https://cdn.example/mathjax.js"></script>', "cdn.example"),
        ("departures", "<script>fetch('https://count.example/').catch(e => e)</script>", "count"),
        ("budget", "<script src='heavy.js'></script>", "heavy.js"),
        ("figures", '<img src="gone.png" alt="Accuracy">', "did not load"),
        ("figures", FIGURE.replace('"300"', '"0"'), "no size"),
        ("figures", f'<img src="{PIXEL}" width="300" height="200">', "no alt text"),
        ("figures", FIGURE.replace("Accuracy rises with depth", "../a/figure.png"), "no alt text"),
        ("figures", DRAWING.format(size='width="400"'), "no alt text"),
        ("figures", '<canvas width="300" height="200"></canvas>', "no alt text"),
        ("links", '<a href="gone.html">Gone</a>', "gone.html: answers 404"),
        ("links", '<a href="/other.html">Outside</a>', "other.html: answers 404"),
        ("links", '<a href="#nowhere">Below</a>', "no such anchor"),
        ("links", '<a href="other.html#here">There</a>', "no such anchor"),
        ("links", '<a href="records.zip" download>Records</a>', "records.zip: answers 404"),
        ("theme", "<p>no button</p>", "no button"),
        ("theme", '<button class="theme-switch-button">Theme</button>', "alone"),
        ("accessibility", f'<img src="{PIXEL}" width="300" height="200">', "image-alt (critical)"),
        ("contrast", MUTED, "color-contrast"),
        ("contrast", f"<details>{MUTED}</details>", "color-contrast"),
        ("contrast", f"<p>Deeper is {HIDDEN_LINK}</p>", "link-in-text-block"),
        ("contrast in the dark", '<p style="color: #333">Fine by day</p>', "color-contrast"),
    ],
    ids=named,
)  # fmt: skip
def test_desk(shown, check, body, fault):
    page = shown(body + FOLLOWS, heavy_js="/* " + random_text(80_000) + " */")
    faults = DESK[check](page)
    assert any(fault in line for line in faults), faults


def random_text(length: int) -> str:
    """What gzip can make little of."""
    import random

    return "".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=length))


def test_budget_counts_what_comes_over_the_wire(shown):
    """Text that repeats itself is packed, and what the page does not ask for weighs nothing."""
    page = shown("<script src='long.js'></script>", long_js=" " * 500_000, unused_js="9" * 10**6)
    assert checks.budget(page, 5_000) == []
    assert "page.html" in checks.budget(page, 500)[0]


@pytest.mark.parametrize(
    ("check", "body", "fault"),
    [
        ("overflow", '<div class="wide" style="width: 500px">wide</div>', "div.wide"),
        ("overflow", f"<p>{'deepaug.' * 20}</p>", "deepaug.deepaug."),
        ("overflow", f"<details><pre><code>{'x = 1; ' * 30}</code></pre></details>", "pre"),
        ("text of figures", '<img src="a.svg" alt="Accuracy">', "7.6 px, below 11: 'Top-1'"),
        ("text of figures", DRAWING.format(size='role="img"'), "below 11"),
        ("text of figures", '<img src="b.svg" alt="Accuracy">', "'δ = 0.5'"),
        ("reach", '<div style="overflow: auto"><div style="width: 900px">wide <span '
         'style="margin-left: 700px">out of sight</span></div></div>', "scrollable-region"),
    ],
    ids=named,
)  # fmt: skip
def test_phone(shown, check, body, fault):
    drawings = {"a_svg": DRAWING.format(size=""), "b_svg": LETTERS.format(size="16")}
    faults = HANDHELD[check](shown(body, "hand", "body { margin: 0 }", **drawings))
    assert any(fault in line for line in faults), faults


def test_large_text_in_figures_passes_and_pictures_are_told_apart(shown):
    body = f'<img src="b.svg" alt="Accuracy">{FIGURE}'
    faults, unmeasured = checks.small_text(shown(body, "hand", b_svg=LETTERS.format(size="30")))
    assert not faults and len(unmeasured) == 1


def test_a_wide_table_that_scrolls_by_itself_does_not_widen_the_page(shown):
    table = '<div style="overflow-x: auto"><div style="width: 900px">wide</div></div>'
    assert checks.overflow(shown(table, "hand")) == []


def test_a_theme_that_changes_no_colour_is_found(shown):
    page = shown(SWITCH, style="html body, html[data-theme=dark] body { background: #fff }")
    assert "stays" in checks.theme(page)[0]


@pytest.mark.parametrize(("listed", "faults"), [('<a href="stop-gradient.html">S</a>', 0), ("", 1)])
def test_a_search_that_lists_nothing_is_found(shown, tmp_path, listed, faults):
    page = shown(FINE)
    (tmp_path / "search.html").write_text(document(f'<div id="search-results">{listed}</div>'))
    site = page.url.removesuffix("page.html")
    found = checks.search(page, site, "stop-gradient", "stop-gradient.html", seconds=1)
    assert len(found) == faults


@pytest.mark.parametrize("user", ["root without apt", "not root"])
def test_without_chromium_one_line_says_what_to_install(monkeypatch, user):
    monkeypatch.setattr(chromium.shutil, "which", lambda name: None)
    monkeypatch.setattr(debian.os, "geteuid", lambda: int(user == "not root"))
    assert chromium.find() is None
    assert chromium.install() == chromium.WANTED
