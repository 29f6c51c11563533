"""What is asked of every page: each check returns its faults, a line each.

A check takes a page that `browsing.visit` has opened and says nothing of which page it is, so that
`test_checks.py` can show it pages on which it must find something.
"""

import functools
import re
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from urllib.parse import unquote, urldefrag

import browsing

LEGIBLE = 11  # px, of text in a figure on a phone
HERE = "http://127.0.0.1:"
GRAVE = ("serious", "critical")


def errors(page) -> list[str]:
    """Errors of the console, of scripts, and requests without an answer."""
    return list(page.log.errors)


def departures(page) -> list[str]:
    """Requests that left the machine."""
    return [f"the page asks for {url}" for url in dict.fromkeys(page.log.departed())]


@functools.cache
def _weight(url: str) -> int:
    """Bytes over the wire, text in gzip, as the server tells them."""
    request = urllib.request.Request(url, method="HEAD", headers={"Accept-Encoding": "gzip"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.headers["Content-Length"])
    except urllib.error.HTTPError:
        return 0


def budget(page, limit: int) -> list[str]:
    """A page that asks for more bytes than the limit, in gzip; the three largest files by name."""
    sizes = {url: _weight(url) for url in page.log.requests if url.startswith(HERE)}
    if (total := sum(sizes.values())) <= limit:
        return []
    largest = sorted(sizes, key=sizes.get, reverse=True)[:3]
    told = ", ".join(f"{url.rsplit('/', 1)[-1]} {sizes[url] / 1e6:.2f}" for url in largest)
    return [f"loads {total / 1e6:.2f} MB of at most {limit / 1e6:.1f}: {told}"]


# Icons are told from figures by their place and size; drawings that a screen reader is told to pass
# over are asked for nothing.
FIGURES = """() => [...document.querySelectorAll(
    "article img, article svg, article canvas, article object, article video")]
  .filter(e => !e.parentElement.closest("svg, button, a.headerlink, [aria-hidden=true]")
    && e.getAttribute("aria-hidden") !== "true")
  .map(e => {
    const box = e.getBoundingClientRect();
    const labelled = (e.getAttribute("aria-labelledby") || "").split(" ").map(
      id => document.getElementById(id)?.textContent ?? "").join(" ");
    return {
      name: e.currentSrc || e.data || e.id || e.tagName,
      image: e.tagName === "IMG",
      shown: e.checkVisibility(),
      empty: e.tagName === "IMG" && !(e.complete && e.naturalWidth),
      width: box.width, height: box.height,
      alt: e.alt ?? e.getAttribute("aria-label")
        ?? (labelled || e.querySelector(":scope > title")?.textContent) ?? "",
    };
  })"""
FILE_NAME = re.compile(r"^\S+\.(png|jpe?g|svg|gif|webp)$")
ANCHOR = re.compile(r"""\b(?:id|name)=["']([^"']*)["']""")


def figures(page) -> list[str]:
    """Figures that did not load, have no extent, or no text for those who do not see them."""
    faults = []
    for figure in page.evaluate(FIGURES):
        name, alt = figure["name"].rsplit("/", 1)[-1][-80:], figure["alt"].strip()
        if figure["empty"]:
            faults.append(f"{name}: did not load")
        elif figure["shown"] and min(figure["width"], figure["height"]) < 1:
            faults.append(f"{name}: has no size ({figure['width']:g} x {figure['height']:g})")
        if not alt or FILE_NAME.match(alt):
            faults.append(f"{name}: has no alt text ({alt!r})")
    return faults


TARGETS = """() => [...document.querySelectorAll("[href], [src], [data]")]
  .filter(e => !(e instanceof SVGElement) || e.tagName === "a")
  .map(e => new URL(e.getAttribute("href") ?? e.getAttribute("src") ?? e.getAttribute("data"),
    document.baseURI).href)"""


def targets(page) -> list[str]:
    """URLs that the page links, shows or loads, once each."""
    return sorted(set(page.evaluate(TARGETS)))


@functools.cache
def _answer(url: str, whole: bool) -> tuple[int, str]:
    """Status and, of a whole page, its text; asked once."""
    request = urllib.request.Request(url, method="GET" if whole else "HEAD")
    request.add_header("Accept-Encoding", "identity")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode(errors="replace") if whole else ""
    except urllib.error.HTTPError as error:
        return error.code, ""


@functools.cache
def _anchors(url: str) -> frozenset[str]:
    return frozenset(map(unescape, ANCHOR.findall(_answer(url, True)[1])))


def links(page) -> list[str]:
    """Links, anchors and downloads on this machine that lead nowhere."""
    faults = []
    for target in targets(page):
        url, fragment = urldefrag(target)
        url = url.split("?")[0]
        if not url.startswith(HERE):
            continue
        if (status := _answer(url, False)[0]) != 200:
            faults.append(f"{target}: answers {status}")
        elif fragment not in ("", "top") and unquote(fragment) not in _anchors(url):
            faults.append(f"{target}: the page has no such anchor")
    return faults


def search(page, site: str, words: str, wanted: str, seconds: float = 10) -> list[str]:
    """The book's own search must list a page whose address holds `wanted`."""
    page.goto(f"{site}search.html?q={words}")
    listed = f"#search-results a[href*='{wanted}']"
    try:
        page.wait_for_selector(listed, timeout=1000 * seconds)
    except Exception as error:
        if type(error).__name__ != "TimeoutError":
            raise
        return [f"search for {words!r} does not list {wanted}"]
    return []


COLOURS = """() => {
  const {theme, mode} = document.documentElement.dataset;
  return [theme ?? "", getComputedStyle(document.body).backgroundColor, mode ?? ""];
}"""


def theme(page) -> list[str]:
    """The button must lead from the light theme to the dark and back, in colours too."""
    button = page.locator(".theme-switch-button:visible").first
    if not button.count():
        return ["no button to switch the theme"]
    seen = [page.evaluate(COLOURS)]
    for _ in range(4):  # light, dark, "as the system", and again as it was
        button.click()
        seen.append(page.evaluate(COLOURS))
        if seen[-1] == seen[0]:
            break
    themes = {name for name, *_ in seen}
    if not {"light", "dark"} <= themes:
        return [f"the button leads to {', '.join(sorted(themes))} alone"]
    if len({colour for _, colour, _ in seen}) < 2:
        return [f"the theme changes, the page stays {seen[0][1]}"]
    return []


# What scrolls by itself may be wide; what it is inside of may not. What is fixed to the screen, as
# the theme's drawers are, widens nothing.
WIDEST = """width => {
  const inside = e => {
    for (let a = e; a && a !== document.body; a = a.parentElement) {
      if (getComputedStyle(a).position === "fixed") return true;
      if (a !== e && getComputedStyle(a).overflowX !== "visible"
          && a.getBoundingClientRect().right <= width + 1) return true;
    }
    return false;
  };
  let widest = {right: 0, name: "nothing in particular"};
  for (const e of document.body.querySelectorAll("*")) {
    const box = e.getBoundingClientRect(), style = getComputedStyle(e);
    const text = style.overflowX === "visible" && style.display !== "inline"
      ? box.left + e.scrollWidth : 0;
    const right = Math.max(box.right, text) + scrollX;
    if (right > width + 1 && right >= widest.right && !inside(e)) {
      const id = e.id ? "#" + e.id : "", classes = [...e.classList].map(c => "." + c).join("");
      widest = {right, name: e.tagName.toLowerCase() + id + classes + " " +
        JSON.stringify((e.textContent || e.src || "").trim().replace(/\\s+/g, " ").slice(0, 60))};
    }
  }
  return [document.scrollingElement.scrollWidth, widest.name, Math.round(widest.right)];
}"""


def overflow(page) -> list[str]:
    """The page, unfolded, must be no wider than the device; else the widest thing on it."""
    browsing.unfold(page)
    width = page.viewport_size["width"]
    found, name, right = page.evaluate(WIDEST, width)
    if found <= width:
        return []
    return [f"the page is {found} px wide on a device of {width}: {name} reaches {right} px"]


# Text of an SVG is measured where the page shows it. Matplotlib either writes text or draws each
# letter as a path, in units of a hundredth of the font's size, beside a comment with the words.
TEXTS = """async () => {
  const drawings = [], unmeasured = [];
  for (const e of document.querySelectorAll("article img, article canvas, article object")) {
    const box = e.getBoundingClientRect();
    const source = e.currentSrc || e.data || "";
    if (box.width < 48 || e.closest("svg")) continue;
    if (!/\\.svg([?#]|$)|^data:image\\/svg/.test(source)) {
      unmeasured.push(source.slice(0, 200) || e.tagName);
      continue;
    }
    const text = await (await fetch(source)).text();
    const root = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
    const host = document.createElement("div");
    host.style.cssText = "position: absolute; left: 0; top: 0; visibility: hidden";
    document.body.append(host);
    const svg = document.importNode(root, true);
    svg.style.width = box.width + "px";
    svg.style.height = box.height + "px";
    host.attachShadow({mode: "open"}).append(svg);
    drawings.push({svg, host, name: source});
  }
  for (const svg of document.querySelectorAll("article svg"))
    if (svg.getBoundingClientRect().width >= 48 && !svg.parentElement.closest("svg"))
      drawings.push({svg, name: svg.id || "svg"});
  const scale = e => { const m = e.getScreenCTM(); return Math.hypot(m.a, m.b); };
  const found = [];
  for (const {svg, host, name} of drawings) {
    for (const e of svg.querySelectorAll("text"))
      if (e.textContent.trim())
        found.push({name, words: e.textContent.trim(),
          size: parseFloat(getComputedStyle(e).fontSize) * scale(e)});
    for (const group of svg.querySelectorAll("g[id^=text_]")) {
      const letter = group.querySelector("use");
      if (!letter) continue;
      const words = [...group.childNodes].find(n => n.nodeType === Node.COMMENT_NODE);
      found.push({name, words: words?.data.trim() ?? "", size: 100 * scale(letter.parentElement)});
    }
    host?.remove();
  }
  return [found, unmeasured];
}"""


def small_text(page) -> tuple[list[str], list[str]]:
    """Figures with text below LEGIBLE px as rendered, and figures whose text cannot be measured."""
    found, unmeasured = page.evaluate(TEXTS)
    smallest = {}
    for text in sorted(found, key=lambda text: -text["size"]):
        smallest[text["name"]] = text
    faults = [
        f"{name.rsplit('/', 1)[-1][:80]}: text of {text['size']:.1f} px, below {LEGIBLE}: "
        f"{text['words'][:40]!r}"
        for name, text in smallest.items()
        if text["size"] < LEGIBLE - 0.05
    ]
    return faults, [name.rsplit("/", 1)[-1] for name in unmeasured]


# Contrast is dear to compute and the same for all that looks the same: of elements with text of one
# colour, size and weight on one ground, two are asked for.
SAMPLE = """() => {
  const grounds = new Map([[null, ""]]);
  const ground = e => {
    if (!grounds.has(e)) {
      const {backgroundColor, backgroundImage, opacity} = getComputedStyle(e);
      const own = [backgroundColor, backgroundImage, opacity].join();
      const none = own === "rgba(0, 0, 0, 0),none,1";
      grounds.set(e, (none ? "" : own) + ground(e.parentElement));
    }
    return grounds.get(e);
  };
  const looks = new Map();
  for (const e of document.body.querySelectorAll("*")) {
    const text = [...e.childNodes].some(n => n.nodeType === Node.TEXT_NODE && n.data.trim());
    if (!text || !e.checkVisibility()) continue;
    const {color, fontSize, fontWeight, textDecorationLine} = getComputedStyle(e);
    const around = e.tagName === "A" ? getComputedStyle(e.parentElement).color : "";
    const look = [color, fontSize, fontWeight, textDecorationLine, around, ground(e)].join();
    looks.set(look, [...(looks.get(look) ?? []), e].slice(0, 2));
  }
  return [...looks.values()].flat();
}"""
OF_COLOUR = {"color-contrast", "link-in-text-block"}
OF_WIDTH = {"scrollable-region-focusable"}
AXE = """async ([rules, off]) => {
  const found = await axe.run(rules.includes("color-contrast") ? {include: (SAMPLE)()} : document, {
    resultTypes: ["violations"],
    ...(rules.length && {runOnly: rules, preload: false}),  // which need no style sheets
    rules: Object.fromEntries(off.map(rule => [rule, {enabled: false}])),
  });
  return found.violations.map(({id, impact, nodes}) => ({id, impact, times: nodes.length,
    nodes: nodes.slice(0, 3).map(node => [node.target[0], node.failureSummary])}));
}""".replace("SAMPLE", SAMPLE)


@functools.cache
def _axe() -> str:
    from axe_playwright_python.base import AXE_SCRIPT

    return AXE_SCRIPT


def _violations(page, rules: set[str] = frozenset(), off: set[str] = frozenset()) -> list[str]:
    """What axe-core calls serious or critical on the unfolded page; all rules if none is named."""
    browsing.unfold(page)
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(_axe())
    faults = []
    for found in page.evaluate(AXE, [sorted(rules), sorted(off)]):
        if found["impact"] in GRAVE:
            told = "; ".join(
                f"{target} ({summary.splitlines()[-1].strip()[:160]})"
                for target, summary in found["nodes"]
            )
            faults.append(f"{found['id']} ({found['impact']}), {found['times']} times: {told}")
    return faults


def accessibility(page) -> list[str]:
    """axe-core's serious and critical findings, but for those on colours."""
    return _violations(page, off=OF_COLOUR)


def contrast(page) -> list[str]:
    """axe-core's findings on colours: text against its ground, links against their text."""
    return _violations(page, OF_COLOUR)


def reach(page) -> list[str]:
    """What scrolls must be within reach of the keyboard; the one rule that hangs on the width."""
    return _violations(page, OF_WIDTH)


def external(urls: list[str]) -> list[str]:
    """URLs that are gone or do not answer. Those that refuse programs (401, 403, 429) are there."""

    def fault(url: str) -> str | None:
        request = urllib.request.Request(url, headers={"User-Agent": "Mozilla/5.0 (link check)"})
        try:
            with urllib.request.urlopen(request, timeout=20):
                return None
        except urllib.error.HTTPError as error:
            return None if error.code in (401, 403, 405, 429) else f"{url}: answers {error.code}"
        except (OSError, ValueError) as error:
            return f"{url}: no answer ({error})"

    with ThreadPoolExecutor(8) as pool:
        return [found for found in pool.map(fault, urls) if found]
