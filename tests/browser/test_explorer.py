"""The explorer in a browser: what is chosen is drawn, listed, and kept in the address."""

import csv
import gzip
import json
import re

import browsing
import checks
import pytest

from deepaug.cli import _parser
from deepaug.studies import records

pytestmark = pytest.mark.browser
PHONE, DESK = {"width": 380, "height": 800}, {"width": 1280, "height": 900}
SELECTION = "profile=cpu&modality=nodes&study=nodes&stage=pilot&data=Cora"


@pytest.fixture(scope="module")
def tab(browser):
    """One tab for all tests: what the explorer loads is in its cache then."""
    with browsing.opened(browser) as page:
        yield page
        assert not page.log.departed()


@pytest.fixture
def opened(site, tab):
    """The explorer, begun anew with a selection in its address."""

    def opened(selection=SELECTION, size=DESK):
        page = tab
        page.goto("about:blank")
        page.set_viewport_size(size)
        page.goto(f"{site.rstrip('/')}/book/explorer.html#{selection}")
        page.wait_for_selector("#explore .plot svg")
        page.wait_for_selector("#explore .runs tbody tr")
        return page

    return opened


def status(page):
    return page.inner_text("#explore .status")


def dots(page):
    return page.locator("#explore .plot .mark-symbol path").count()


def size(responses):
    return sum(len(gzip.compress(response.body())) for response in responses if response.ok)


def test_data_are_loaded_only_when_asked_for(site, page):
    """And by the keyboard; sizes are those of a server that compresses."""
    found = []
    page.on("response", lambda response: found.append(response))
    page.goto(f"{site.rstrip('/')}/book/explorer.html")
    page.wait_for_load_state("networkidle")
    assert not [response.url for response in found if "/explorer/" in response.url]
    assert size(found) < 1_200_000
    page.locator("#explore .open").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#explore .plot svg")
    names = {r.url.rpartition("/")[2] for r in found if "/explorer/" in r.url}
    assert names == {"data.json", "plot.js", "table.js", "table.css"}
    assert size(found) < 3_000_000


def test_a_choice_changes_figure_table_commands_and_address(opened):
    page = opened()
    before = dots(page), page.inner_text("#explore .commands")
    page.get_by_label("Transform", exact=True).select_option("pca")
    page.wait_for_function("location.hash.includes('transform=pca')")
    page.wait_for_timeout(300)
    assert 0 < dots(page) < before[0] and page.inner_text("#explore .commands") != before[1]
    lines = page.inner_text("#explore .plot")
    assert "untrained" in lines and "no-augmentation" in lines and "baseline" in lines
    assert "noise" in lines and "same-mask" in lines  # recorded or said not to be
    assert "dropout 0.5\n" not in lines


def test_the_address_holds_the_selection(opened):
    page = opened(SELECTION + "&layer=layer3&seed=1")
    assert page.get_by_label("Layer", exact=True).input_value() == "layer3"
    assert page.get_by_label("Seed", exact=True).input_value() == "1"
    address = page.url
    page.get_by_label("Seed", exact=True).select_option("0")
    assert page.url != address
    page.goto(address)
    page.wait_for_function("document.querySelector('#explore [name=seed]').value === '1'")


def test_an_unknown_choice_in_the_address_is_said(opened):
    page = opened("profile=cpu&modality=nodes&study=nodes&stage=nonsense")
    assert "No run of this selection has stage nonsense; shown: all." in status(page)


def test_pilots_are_hollow_and_say_so(opened):
    page = opened()
    assert "pilot judges nothing" in status(page)
    paths = page.locator("#explore .plot .mark-symbol path")
    assert paths.first.get_attribute("fill") == "transparent"


def test_test_metrics_of_what_judges_nothing_are_withheld(site, page):
    page.goto(f"{site.rstrip('/')}/book/explorer.html#{SELECTION}&split=test")
    page.wait_for_function("/withheld/.test(document.querySelector('#explore .status').innerText)")
    assert dots(page) == 0


def test_dots_lead_to_records(opened):
    page = opened()
    link = page.locator("#explore .runs tbody a").first
    assert page.request.get(link.evaluate("a => a.href")).json()["key"] == link.inner_text()
    page.locator("#explore .plot .mark-symbol path").last.click()
    page.wait_for_url(re.compile(r"/results/cpu/[0-9a-f]{16}\.json$"))


def test_the_table_sorts_filters_and_is_downloaded(opened, tmp_path):
    page = opened()
    table = page.locator("#explore .runs")
    table.get_by_role("button", name=re.compile("^gain")).or_(
        table.locator("th", has_text="gain")
    ).first.click()
    table.locator("th[aria-sort=ascending]").wait_for()  # it sorts a moment later
    cells = table.locator("tbody td:nth-child(1)").all_inner_texts()
    gains = [float(text.replace("−", "-")) for text in cells]
    assert gains == sorted(gains)
    table.get_by_role("searchbox").fill("untrained")
    page.wait_for_timeout(200)
    found = {}
    for kind in ("csv", "json"):
        with page.expect_download() as download:
            page.locator(f"#explore button.{kind}").click()
        assert download.value.suggested_filename == f"deepaug-selection.{kind}"
        found[kind] = download.value.path().read_text()
    rows = [*csv.DictReader(found["csv"].splitlines())]
    runs = json.loads(found["json"])["runs"]
    assert rows and {row["arm"] for row in rows} == {"untrained"}
    assert [row["key"] for row in rows] == [run["key"] for run in runs]
    assert [float(row["gain"]) for row in rows] == [run["gain"] for run in runs]


@pytest.mark.parametrize("selection", [SELECTION, SELECTION + "&seed=0&layer=layer3", ""])
def test_commands_are_those_of_the_command_line(opened, selection):
    page = opened(selection or "profile=cpu")
    names = {path.stem for path in records.files(records.default_root())}
    for line in page.inner_text("#explore .commands").splitlines():
        if looped := re.fullmatch(r"for key in (.+); do deepaug reproduce \$key; done", line):
            keys = looped[1].split()
            assert _parser().parse_args(["reproduce", keys[0]]).key == keys[0]
        else:
            options = _parser().parse_args(line.split()[1:])
            keys = options.only
            assert options.profile == "cpu" and str(options.results) == "again"
        assert {*keys} <= names


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_and_follows_the_theme(opened, size, theme):
    page = opened(size=size)
    page.evaluate("t => { document.documentElement.dataset.theme = t }", theme)
    page.wait_for_timeout(500)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= size["width"]
    svg = page.locator("#explore .plot svg").bounding_box()
    assert svg["x"] >= 0 and svg["x"] + svg["width"] <= size["width"]
    ink = page.locator("#explore .plot .mark-text text").first.get_attribute("fill")
    assert ink == page.evaluate(
        "getComputedStyle(document.querySelector('#explore'))"
        ".getPropertyValue('--pst-color-text-base').trim()"
    )
    smallest = page.evaluate(
        "Math.min(...[...document.querySelectorAll('#explore .plot text')]"
        ".filter(t => t.textContent).map(t => parseFloat(getComputedStyle(t).fontSize)))"
    )
    assert smallest >= 11


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_serious_violation(opened, theme):
    page = opened()
    page.evaluate("t => { document.documentElement.dataset.theme = t }", theme)
    page.wait_for_timeout(500)
    assert not checks.accessibility(page) + checks.contrast(page)


def test_every_control_has_a_label(opened):
    page = opened()
    unnamed = page.evaluate(
        "[...document.querySelectorAll('#explore :is(select, input, button)')]"
        ".filter(e => !e.labels?.length && !e.textContent.trim() && !e.ariaLabel).length"
    )
    assert unnamed == 0
