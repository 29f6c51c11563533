"""Links to other sites, which may fail by themselves: `pytest -m online tests/browser`."""

import re
from html import unescape

import checks
import pytest
import serving

pytestmark = pytest.mark.online


def linked() -> list[str]:
    """URLs of links in all pages, as they were built."""
    found = set()
    for path in serving.SITE.rglob("*.html"):
        found.update(re.findall(r'<a [^>]*?href="(https?://[^"#]+)', path.read_text("utf-8")))
    return sorted(map(unescape, found))


def test_links_to_other_sites():
    urls = linked()
    assert urls, f"no page with a link in {serving.SITE}; build it with: make book"
    faults = checks.external(urls)
    assert not faults, "\n  ".join(["", *faults])


def test_a_dead_link_is_found(tmp_path):
    (tmp_path / "here.html").write_text("<title>Here</title>")
    with serving.serve(tmp_path) as base:
        dead, silent = f"{base}gone.html", "http://127.0.0.1:9/"
        faults = checks.external([f"{base}here.html", dead, silent])
    assert [fault.split(": ")[0] for fault in faults] == [dead, silent]
