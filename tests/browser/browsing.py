"""Pages in the browser, and what they did there.

Example:
    with browsing.opened(browser, browsing.PHONE) as page:
        browsing.visit(page, site + "book/claims.html")
        browsing.dark(page)
        assert not page.log.errors
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

# The phone's width is its device's: a window cannot be made so narrow.
DESKTOP = {"viewport": {"width": 1280, "height": 900}}
PHONE = {
    "viewport": {"width": 380, "height": 800},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}
# No name but the server's address resolves: what wants to leave the machine fails at once.
ARGUMENTS = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]

SETTLED = """async () => {
  for (const image of document.images) image.loading = "eager";
  await Promise.allSettled([...document.images].map(image => image.decode()));
  await document.fonts.ready;
}"""
UNFOLDED = """() => {
  for (const folded of document.querySelectorAll("details")) folded.open = true;
  for (const folded of document.querySelectorAll(".toggle-hidden"))
    folded.classList.remove("toggle-hidden");
}"""
STILL = "*, ::before, ::after { transition: none !important; animation: none !important }"


@dataclass
class Log:
    """What a page did since it was opened, or since the last `visit`."""

    errors: list[str] = field(default_factory=list)  # of the console, of scripts, of requests
    requests: list[str] = field(default_factory=list)  # URLs, in their order

    def departed(self) -> list[str]:
        """Requests to anywhere but this machine."""
        local = re.compile("(http|ws)://127[.]0[.]0[.]1:|data:|blob:|about:")
        return [url for url in self.requests if not local.match(url)]


def _attach(page) -> None:
    page.log = log = Log()

    def console(message):
        if message.type == "error":
            log.errors.append(f"console: {message.text} ({message.location.get('url')})")

    page.on("console", console)
    page.on("pageerror", lambda error: log.errors.append(f"script: {error}"))
    page.on("request", lambda request: log.requests.append(request.url))


@contextmanager
def opened(browser, device: dict = DESKTOP, **settings) -> Iterator:
    """A page of its own, with nothing in cache or storage, that keeps a log: `page.log`."""
    context = browser.new_context(**device, **settings)
    context.set_default_timeout(15_000)
    try:
        page = context.new_page()
        _attach(page)
        yield page
    finally:
        context.close()


def visit(page, url: str, still: bool = True):
    """Open the URL and wait until images and fonts are there; the page again.

    The log begins anew, the theme is the light one, and nothing moves unless it may.
    """
    page.goto("about:blank")
    page.log.errors.clear()
    page.log.requests.clear()
    page.emulate_media(color_scheme="light")
    page.goto(url)
    page.wait_for_function("!document.querySelector('meta[http-equiv=Refresh]')")  # the root's
    page.evaluate(SETTLED)
    if still:
        page.add_style_tag(content=STILL)
    return page


def unfold(page) -> None:
    """Show what is folded: cells, tables, admonitions."""
    page.evaluate(UNFOLDED)


def dark(page, on: bool = True) -> None:
    """Have the system ask for the dark theme, as phones do at night."""
    wanted = "dark" if on else "light"
    page.emulate_media(color_scheme=wanted)
    page.wait_for_function("want => document.documentElement.dataset.theme === want", arg=wanted)
