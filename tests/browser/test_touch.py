"""The figure to touch: what it computes in a browser, and that touching it changes the picture."""

import json
from contextlib import contextmanager

import browsing
import pytest
import torch
import touched
from torch.nn import functional as F

pytestmark = pytest.mark.browser

PAGE = "book/notebooks/method.html"
LINK = 'a.download[href$="touch-data.js"]'
LAYERS = ("input", "stem", "stage1", "stage2", "stage3", "stage4", "pooled")
RUN = """settings => {
  const {activations, features, cosines} = window.touch.run(settings);
  const lists = {activations: activations.map(x => [...x]), features: features.map(x => [...x])};
  return JSON.stringify({...lists, cosines});
}"""
DRAWN = "() => Boolean(window.touch?.run)"
MAPS = "() => [...document.querySelectorAll('.touch-maps canvas')].map(c => c.toDataURL()).join()"


@contextmanager
def drawn(page, site):
    """The figure in view and drawn; its own errors fail the test."""
    browsing.visit(page, f"{site}{PAGE}", still=False)
    page.locator(".touch").scroll_into_view_if_needed()
    page.wait_for_function(DRAWN)
    yield page
    assert not page.log.errors and not page.log.departed()


@pytest.fixture(scope="module")
def tab(browser):
    with browsing.opened(browser) as page:
        yield page


@pytest.fixture
def figure(site, tab):
    """The page opened anew for each test, which may change its picture."""
    tab.set_viewport_size(browsing.DESKTOP["viewport"])
    tab.emulate_media(reduced_motion="no-preference")
    with drawn(tab, site):
        yield tab


@pytest.fixture(scope="module")
def network(site, browser):
    """The page opened once, for all that its script only computes."""
    with browsing.opened(browser) as page, drawn(page, site):
        yield page


@pytest.fixture(scope="module")
def data(network):
    """What the page's own script holds."""
    address = network.eval_on_selector(LINK, "link => link.href")
    return touched.read(network.request.get(address).text())


def run(page, layer, transform, p, seed):
    """What the script computes: activations, features, cosines."""
    settings = {"layer": layer, "transform": transform, "p": p, "seed": seed}
    return json.loads(page.evaluate(RUN, settings))


def settled(page):
    """Wait until what was chosen is drawn."""
    page.evaluate("() => new Promise(end => requestAnimationFrame(() => setTimeout(end)))")


def seen(page):
    """The maps, the cosines below the images, and those over all of them."""
    settled(page)
    return page.evaluate(MAPS), page.locator(".touch-number").all_inner_texts()


# Its arithmetic


def close(found, wanted):
    """Equal but for the rounding of float32, at the scale of the whole."""
    return torch.allclose(found, wanted, atol=1e-4 * float(wanted.abs().max()))


@pytest.mark.parametrize("transform", touched.TRANSFORMS)
def test_it_computes_what_torch_does(network, data, transform):
    plain, p, seed = touched.outputs(data, touched.unpacked(data["images"])), 0.35, 7
    for number, layer in enumerate(LAYERS):
        found = run(network, layer, transform, p, seed)
        M = touched.factors(transform, p, tuple(plain[number].shape), seed)
        activations = touched.transformed(data, number, plain[number], transform, M)
        features = touched.outputs(data, activations, number)[-1]
        cosines = F.cosine_similarity(features[:, None], plain[-1], dim=-1)
        assert close(torch.tensor(found["activations"]), activations.flatten(1)), layer
        assert close(torch.tensor(found["features"]), features), layer
        assert torch.allclose(torch.tensor(found["cosines"]), cosines, atol=1e-4), layer
        # It does something, unless there is but one component, of which one is kept.
        alone = (layer, transform) == ("input", "truncate")
        assert torch.allclose(features, plain[-1], atol=1e-2) == alone, layer


def test_without_a_loss_every_image_is_like_itself(network):
    found = run(network, "stage2", "drop", 0, seed=1)
    assert torch.allclose(torch.tensor(found["cosines"]).diagonal(), torch.ones(10), atol=1e-5)


def test_a_larger_p_loses_all_that_a_smaller_one_did(network):
    some, more = (
        torch.tensor(run(network, "stage1", "element", p, seed=2)["activations"]) == 0
        for p in (0.2, 0.6)
    )
    assert (some <= more).all() and more.sum() > some.sum()


def test_what_the_page_tells_of_it_holds(network):
    """Over some draws, at p = 0.5: cosines to the plain pass, and how many images keep theirs."""

    def tried(layer, transform):
        own, nearest = [], []
        for seed in range(1, 5 if transform != "truncate" else 2):  # which draws nothing
            cosines = torch.tensor(run(network, layer, transform, 0.5, seed)["cosines"])
            own.append(cosines.diagonal().mean())
            nearest.append((cosines.argmax(1) == torch.arange(10)).sum().float())
        return torch.stack(own).mean(), torch.stack(nearest).mean()

    elements, features = tried("stem", "element"), tried("stem", "feature")
    assert elements[0] > features[0] + 0.05 and elements[1] > features[1] + 2
    assert features[1] < 5
    assert all(tried(layer, "truncate")[0] > 0.98 for layer in LAYERS)
    dropout, pca = tried("pooled", "feature"), tried("pooled", "drop")
    assert pca[0] > dropout[0] + 0.1 and pca[1] < dropout[1] + 1
    assert tried("pooled", "element") == dropout


# Its picture


@pytest.mark.parametrize(
    ("name", "value"), [("layer", "stem"), ("transform", "element"), ("p", "0.8")]
)
def test_choosing_changes_the_picture(figure, name, value):
    before = seen(figure)
    control = figure.locator(f".touch [name={name}]")
    control.fill(value) if name == "p" else control.select_option(value)
    after = seen(figure)
    assert before[0] != after[0] and before[1] != after[1]
    assert value in figure.locator(".touch-said").inner_text() or name == "transform"


def test_drawing_again_changes_the_picture_and_truncation_draws_nothing(figure):
    again = figure.get_by_role("button", name="Draw again")
    before = seen(figure)
    again.click()
    after = seen(figure)
    assert before[0] != after[0] and before[1] != after[1]
    figure.get_by_label("Transform", exact=True).select_option("truncate")
    before = seen(figure)
    again.click()
    assert seen(figure) == before
    assert "Nothing is drawn" in figure.locator(".touch-said").inner_text()


def test_another_image_has_other_maps(figure):
    before = seen(figure)
    figure.get_by_label("digit 4").check(force=True)  # the picture lies over the button
    after = seen(figure)
    assert before[0] != after[0] and before[1][:10] != after[1][:10]
    assert before[1][10:] == after[1][10:]  # the means are of all images
    assert "digit 4" in figure.locator(".touch-title").first.inner_text()


def test_it_is_worked_by_keys_alone(figure):
    figure.get_by_label("Layer", exact=True).focus()
    for keys in (["ArrowDown"], ["Tab", "ArrowUp"], ["Tab", "ArrowRight"], ["Tab", "Enter"]):
        before = seen(figure)
        for key in keys:
            figure.keyboard.press(key)
        assert seen(figure)[1] != before[1], keys
    for key in ("Tab", "ArrowRight"):
        figure.keyboard.press(key)
    assert figure.get_by_label("digit 1").is_checked()


def test_what_it_shows_is_the_dose(figure, data):
    """Of the ten images the mean cosine to the plain pass, to the second views and to others."""
    plain = touched.outputs(data, touched.unpacked(data["images"]))[-1]
    views = F.cosine_similarity(touched.unpacked(data["views"]), plain).mean().item()
    shown = [text.replace("−", "-") for text in seen(figure)[1][10:]]
    cosines = torch.tensor(run(figure, "stage2", "drop", 0.5, seed=1)["cosines"])
    others = cosines[~torch.eye(10, dtype=torch.bool)].mean().item()
    wanted = (cosines.diagonal().mean().item(), views, others)
    assert [float(text) for text in shown] == pytest.approx(wanted, abs=0.0051)


# Its manners


def test_its_data_are_asked_for_as_it_comes_into_view(site, page):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{site.rstrip('/')}/{PAGE}", wait_until="networkidle")
    assert not [url for url in asked if "touch-data" in url]
    assert page.locator(".touch-wait").is_visible()
    page.locator(".touch").scroll_into_view_if_needed()
    page.wait_for_function(DRAWN)
    assert len([url for url in asked if "touch-data" in url]) == 1
    assert not page.locator(".touch-wait").is_visible()


@pytest.mark.parametrize("width", [380, 1280])
def test_it_fits_the_screen(figure, width):
    figure.set_viewport_size({"width": width, "height": 800})
    inside = "figure => figure.scrollWidth <= figure.clientWidth + 1"
    assert figure.eval_on_selector(".touch", inside)
    assert figure.evaluate("document.documentElement.scrollWidth") <= width


def test_nothing_moves_where_motion_is_not_wanted(figure):
    duration = "bar => getComputedStyle(bar, '::before').transitionDuration"
    for wish, seconds in (("no-preference", "0.25s"), ("reduce", "0s")):
        figure.emulate_media(reduced_motion=wish)
        assert figure.eval_on_selector(".touch-bar", duration) == seconds
