"""Views: what an image goes through, and that arms with one seed see the same.

The colour changes are held against torchvision's, the crop against a slice and torchvision's.
"""

import itertools

import pytest
import tiny
import torch
from PIL import Image
from torch.nn import functional as F
from torchvision.transforms import functional as reference

from deepaug.training import loop, networks
from deepaug.training.modalities.vision import sets as images
from deepaug.training.modalities.vision import task as vision
from deepaug.training.modalities.vision import views
from deepaug.training.modalities.vision.views import CLOTHES, COLOUR, DIGITS, DRAWS, view

CPU = torch.device("cpu")
# Numbers of a draw. At one half every change is neutral, but for the mirror image and grey.
AREA, ASPECT, X, Y, FLIP, JITTER, BRIGHTNESS, CONTRAST, SATURATION, HUE = range(10)
ORDER, GREY = slice(10, 14), 14
WHOLE, NEVER, ALWAYS = 1.0, 0.999999, 0.0
FACTORS = {"brightness": BRIGHTNESS, "contrast": CONTRAST, "saturation": SATURATION, "hue": HUE}


def draw(n=1, **numbers):
    """n draws that leave images as they are, but for what is given by name."""
    names = {"area": AREA, "x": X, "y": Y, "flip": FLIP, "jitter": JITTER, "grey": GREY, **FACTORS}
    draws = torch.full((n, DRAWS), 0.5)
    draws[:, AREA], draws[:, FLIP], draws[:, GREY] = WHOLE, NEVER, NEVER
    draws[:, ORDER] = torch.arange(4) / 4
    for name, number in numbers.items():
        draws[:, names[name]] = number
    return draws


def noise(n=1, channels=3, side=16, seed=0):
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(seed))


def prepare(**changes):
    return vision.prepare(tiny.trial(**changes), CPU)


@pytest.fixture(scope="module")
def colour(tmp_path_factory):
    """Settings of a trial on colour images."""
    folder = tiny.images(tmp_path_factory.mktemp("colour"), each=30)
    return {"data": str(folder), "samples": 40, "batch_size": 20}


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


# Arms with one seed


ARMS = {
    "dropout at the input": {"layer": "input", "transform": "dropout", "strength": 0.5},
    "pca": {"layer": "stage2", "transform": "pca", "strength": 0.5, "stop_gradient": "one"},
    "noise": {"layer": "pooled", "transform": "noise", "strength": 0.2, "transformed": "one"},
    "another loss": {"temperature": 0.1, "learning_rate": 0.1, "optimizer": "adamw"},
    "the supervised twin": {"objective": "supervised"},
}


@pytest.mark.parametrize("arm", ARMS.values(), ids=ARMS)
def test_arms_with_one_seed_see_identical_crops(arm):
    baseline, task = prepare(seed=3), prepare(seed=3, **arm)
    index = torch.arange(50)
    assert same([baseline.train.images], [task.train.images])
    for epoch in range(2):
        assert same(baseline.views(epoch)(index), task.views(epoch)(index))
        generators = (torch.Generator().manual_seed(1) for _ in range(2))
        assert same(*(t.batches(g) for t, g in zip((baseline, task), generators, strict=True)))


@pytest.fixture
def seen(monkeypatch):
    """Everything that networks are given while they train, in order."""
    batches, forward = [], networks.Network.forward

    def watched(network, batch):
        batches.append(batch.clone())
        return forward(network, batch)

    monkeypatch.setattr(networks.Network, "forward", watched)
    return batches


@pytest.mark.parametrize("arm", ARMS.values(), ids=ARMS)
def test_arms_with_one_seed_train_on_identical_crops(arm, seen):
    """Through a whole training: nothing an arm draws gets into the views of a later batch."""
    loop.run(tiny.trial(seed=3), "cpu")
    baseline = seen.copy()
    seen.clear()
    loop.run(tiny.trial(seed=3, **arm), "cpu")
    assert len(baseline) == 2 * 2 * 4  # views, epochs, batches
    assert same(baseline, seen)


@pytest.mark.parametrize("arm", ARMS.values(), ids=ARMS)
def test_arms_with_one_seed_start_from_the_same_weights(arm):
    def encoder(trial):
        torch.rand(trial.epochs)  # what was drawn before does not matter
        return networks.build(trial, vision.prepare(trial, CPU)).encoder.state_dict().values()

    baseline = tiny.trial(seed=3)
    assert same(encoder(baseline), encoder(tiny.trial(seed=3, **arm)))
    assert not same(encoder(baseline), encoder(tiny.trial(seed=4, **arm)))


def test_contrastive_arms_start_from_the_same_projector():
    heads = []
    for arm in ({}, ARMS["pca"]):
        trial = tiny.trial(**arm)
        heads.append(networks.build(trial, vision.prepare(trial, CPU)).head.state_dict().values())
    assert same(*heads)


def test_seeds_differ_in_images_and_crops():
    one, other = prepare(seed=0), prepare(seed=1)
    assert not torch.equal(one.train.images, other.train.images)
    whole = [prepare(seed=seed, samples=0) for seed in (0, 1)]
    shifted = [task.views(0)(torch.arange(50)) for task in whole]
    assert not torch.equal(shifted[0][0], shifted[1][0])


# Draws


def test_the_two_views_differ(colour):
    for task in (prepare(), prepare(**colour)):
        first, second = task.views(0)(torch.arange(20))
        assert all(not torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_epochs_differ():
    task = prepare()
    assert not torch.equal(task.views(0)(torch.arange(20))[0], task.views(1)(torch.arange(20))[0])


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_each_image_has_its_own_draw(tmp_path, mode):
    """Not one crop for the whole batch: of twenty copies of one image no two views are alike."""
    tiny.images(tmp_path, classes=("a", "b"), each=1)
    for folder in (tmp_path / "a", tmp_path / "b"):
        original = Image.open(tmp_path / "a" / "0.png").convert(mode)
        for number in range(20):
            original.save(folder / f"{number}.png")
    task = prepare(data=str(tmp_path), samples=20, batch_size=10)
    assert len(task.train.images.unique(dim=0)) == 1
    first, second = task.views(0)(torch.arange(20))
    assert len(torch.cat([first, second]).unique(dim=0)) == 40


def test_a_view_does_not_depend_on_the_place_in_the_batch():
    task, index = prepare(), torch.tensor([7, 3, 11])
    all_of_them = task.views(0)(torch.arange(20))
    assert all(
        torch.allclose(some, every[index], atol=1e-5)
        for some, every in zip(task.views(0)(index), all_of_them, strict=True)
    )


def test_batches_are_full_and_hold_every_image_at_most_once():
    task = prepare(samples=170)
    batches = task.batches(torch.Generator().manual_seed(0))
    assert [len(batch) for batch in batches] == [50, 50, 50]
    assert len(torch.cat(batches).unique()) == 150


@pytest.mark.parametrize("channels", [1, 3])
def test_strength_zero_gives_the_whole_image(channels):
    pixels = noise(50, channels)
    recipe = COLOUR if channels == 3 else DIGITS
    any_draw = torch.rand(50, DRAWS, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(view(pixels, any_draw, recipe, 0.0, 16), pixels, atol=1e-5)


def test_strength_zero_gives_the_same_view_twice(colour):
    for task in (prepare(view_strength=0.0), prepare(view_strength=0.0, **colour)):
        first, second = task.views(0)(torch.arange(20))
        assert torch.equal(first, second)


@pytest.mark.parametrize("recipe", [COLOUR, DIGITS, CLOTHES])
@pytest.mark.parametrize("strength", [0.2, 1.0, 2.0])
def test_views_stay_within_black_and_white(recipe, strength):
    pixels = noise(200, 3 if recipe is COLOUR else 1).round()  # the extremes are likeliest to leave
    draws = torch.rand(200, DRAWS, generator=torch.Generator().manual_seed(0))
    out = view(pixels, draws, recipe, strength, 8)
    assert out.shape == (200, pixels.shape[1], 8, 8)
    assert out.min() >= -1e-6 and out.max() <= 1 + 1e-6


def test_more_strength_changes_more():
    pixels = noise(200)
    draws = torch.rand(200, DRAWS, generator=torch.Generator().manual_seed(0))
    change = [
        (view(pixels, draws, COLOUR, strength, 16) - pixels).abs().mean().item()
        for strength in (0.0, 0.25, 0.5, 1.0)
    ]
    assert change == sorted(change) and change[0] < 1e-5 < change[1]


# Views belong to the data set


def test_digits_are_neither_mirrored_nor_recoloured(monkeypatch):
    task = prepare(view_size=28)
    assert task.recipe is DIGITS
    draws = torch.rand(2, len(task), DRAWS, generator=torch.Generator().manual_seed(0))
    draws[..., AREA], draws[..., ASPECT] = WHOLE, 0.5
    monkeypatch.setattr(torch, "rand", lambda *_, **__: draws)
    index = torch.arange(50)
    whole = task._normalise(task.train.images[index].float() / 255)
    assert all(torch.allclose(v, whole, atol=1e-3) for v in task.views(0)(index))


@pytest.mark.parametrize(("recipe", "mirrored"), [(COLOUR, 0.5), (CLOTHES, 0.5), (DIGITS, 0.0)])
def test_share_of_mirror_images(recipe, mirrored):
    pixels = torch.linspace(0, 1, 8).expand(1000, 3 if recipe is COLOUR else 1, 8, 8)
    draws = draw(1000)
    draws[:, FLIP] = torch.rand(1000, generator=torch.Generator().manual_seed(0))
    out = view(pixels, draws, recipe, 1.0, 8)
    assert torch.allclose((out[:, 0, 0, 0] > 0.5).float().mean(), torch.tensor(mirrored), atol=0.05)


def test_a_mirror_image_is_one():
    pixels = noise()
    assert torch.allclose(view(pixels, draw(flip=ALWAYS), COLOUR, 1, 16), pixels.flip(3), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "recipe"), [("mnist-5k", DIGITS), ("fashion-mnist", CLOTHES), ("cifar10", COLOUR)]
)
def test_recipe_of_a_data_set(name, recipe, monkeypatch):
    """With pixels made up in place of the data set's."""
    channels = 3 if recipe is COLOUR else 1
    split = images.Split(torch.zeros(20, channels, 8, 8, dtype=torch.uint8), torch.arange(20) % 2)
    made_up = split, split, ("a", "b")
    monkeypatch.setattr(images, "_mnist_5k", lambda: made_up)
    monkeypatch.setattr(images, "_from_torchvision", lambda name: made_up)
    assert images.load.__wrapped__(name, 8).recipe is recipe


# Crops


def crop_draw(left, top, crop, side):
    """The draw that crops a square of `crop` pixels at (left, top) out of `side`."""
    share = (crop / side) ** 2
    smallest = COLOUR.smallest_area
    area = (share - smallest) / (1 - smallest)
    return draw(area=area, x=left / (side - crop), y=top / (side - crop))


@pytest.mark.parametrize(("left", "top"), [(0, 0), (8, 0), (0, 8), (3, 5)])
def test_crop_is_a_slice(left, top):
    pixels = noise(side=16)
    out = view(pixels, crop_draw(left, top, 8, 16), COLOUR, 1, 8)
    assert torch.allclose(out, pixels[:, :, top : top + 8, left : left + 8], atol=1e-5)


def test_crops_of_a_batch_are_those_of_its_images():
    """Against a loop over images with torchvision's crop and resize."""
    places = list(itertools.product((0, 4, 10, 16), (0, 7, 13, 16)))
    pixels = noise(len(places), side=32)
    out = view(pixels, torch.cat([crop_draw(*p, 16, 32) for p in places]), COLOUR, 1, 8)
    for image, cropped, (left, top) in zip(pixels, out, places, strict=True):
        naive = reference.resized_crop(image, top, left, 16, 16, [8, 8], antialias=False)
        assert torch.allclose(cropped, naive, atol=1e-5)


def ramps(n, side=32):
    """Images whose two channels tell where a pixel was: x and y, as shares of a side."""
    along = (torch.arange(side) + 0.5) / side
    both = torch.stack([along.expand(side, side), along.expand(side, side).mT])
    return both.expand(n, 2, side, side)


@pytest.mark.parametrize("recipe", [CLOTHES, DIGITS])
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_crops_have_the_areas_and_aspects_of_the_recipe(recipe, strength):
    draws = torch.rand(2000, DRAWS, generator=torch.Generator().manual_seed(0))
    x, y = view(ramps(2000), draws, recipe, strength, 8).unbind(1)
    # The first and the last of 8 samples lie 7/8 of the crop apart.
    width = (x[:, 0, -1] - x[:, 0, 0]).abs() * 8 / 7
    height = (y[:, -1, 0] - y[:, 0, 0]) * 8 / 7
    inside = (width < 0.95) & (height < 0.95)  # others are cut at the border
    area, aspect = (width * height)[inside], (width / height)[inside]
    smallest = 1 - strength * (1 - recipe.smallest_area)
    assert smallest - 0.02 < area.min() < smallest + 0.06
    widest = (4 / 3) ** strength
    assert aspect.max() < widest + 0.02 and aspect.min() > 1 / widest - 0.02
    assert aspect.max() > 0.9 * widest and aspect.min() < 1.1 / widest


def test_crops_lie_everywhere_within_the_image():
    draws = torch.rand(2000, DRAWS, generator=torch.Generator().manual_seed(0))
    places = view(ramps(2000), draws, CLOTHES, 1.0, 8).mean((2, 3))
    assert torch.allclose(places.mean(0), torch.full((2,), 0.5), atol=0.02)
    assert (places.amin(0) < 0.25).all() and (places.amax(0) > 0.75).all()


# Colours


@pytest.mark.parametrize("number", [0.0, 0.3, 0.75, 0.999])
@pytest.mark.parametrize(("name", "reach"), list(zip(FACTORS, COLOUR.jitter, strict=True)))
def test_jitter_is_torchvisions(name, reach, number):
    pixels = noise(4)
    change = reach * (2 * number - 1)
    factor = change if name == "hue" else 1 + change
    theirs = getattr(reference, f"adjust_{name}")(pixels, factor)
    ours = view(pixels, draw(4, jitter=ALWAYS, **{name: number}), COLOUR, 1, 16)
    assert torch.allclose(ours, theirs, atol=2e-3)
    assert number == 0.5 or not torch.allclose(ours, pixels, atol=1e-2)


@pytest.mark.parametrize("turn", [-0.5, -0.3, 0.1, 0.5])
def test_hue_turns_all_the_way_as_torchvisions(turn):
    pixels = torch.cat([noise(4), noise(1).mean(1, keepdim=True).expand(-1, 3, -1, -1)])
    ours = views._turn(pixels, torch.full((5, 1, 1), turn))
    assert torch.allclose(ours, reference.adjust_hue(pixels, turn), atol=2e-3)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_the_draw_orders_the_steps_of_jitter(order):
    draws = draw(jitter=ALWAYS, brightness=0.9, contrast=0.8, saturation=0.1, hue=0.8)
    draws[:, ORDER] = torch.tensor(order).argsort() / 4
    steps = [
        lambda x: reference.adjust_brightness(x, 1.32),
        lambda x: reference.adjust_contrast(x, 1.24),
        lambda x: reference.adjust_saturation(x, 0.68),
        lambda x: reference.adjust_hue(x, 0.06),
    ]
    expected = pixels = noise()
    for step in order:
        expected = steps[step](expected)
    assert torch.allclose(view(pixels, draws, COLOUR, 1, 16), expected, atol=2e-3)


def test_each_image_has_its_own_factors():
    pixels = noise().expand(3, -1, -1, -1)
    draws = draw(3, jitter=ALWAYS)
    draws[:, BRIGHTNESS] = torch.tensor([0.0, 0.5, 0.9])
    out = view(pixels, draws, COLOUR, 1, 16)
    for changed, factor in zip(out, (0.6, 1.0, 1.32), strict=True):
        assert torch.allclose(changed, (pixels[0] * factor).clamp(max=1), atol=1e-5)


@pytest.mark.parametrize(
    ("number", "place", "share"),
    [("jitter", JITTER, COLOUR.jitter_share), ("grey", GREY, COLOUR.grey_share)],
)
def test_share_of_images_that_are_recoloured(number, place, share):
    draws = draw(2000, brightness=0.9)
    draws[:, JITTER] = NEVER
    draws[:, place] = torch.rand(2000, generator=torch.Generator().manual_seed(0))
    pixels = noise(2000, side=2) / 2
    changed = (view(pixels, draws, COLOUR, 1, 2) - pixels).abs().amax((1, 2, 3)) > 1e-3
    assert changed.float().mean().item() == pytest.approx(share, abs=0.03)


def test_grey_has_torchvisions_weights():
    pixels = noise(4)
    theirs = reference.rgb_to_grayscale(pixels, num_output_channels=3)
    assert torch.allclose(view(pixels, draw(4, grey=ALWAYS), COLOUR, 1, 16), theirs, atol=1e-3)


# What is evaluated


def test_evaluation_sees_whole_images_at_the_views_size():
    task = prepare(view_size=14)
    batches = []
    task._features(lambda batch: batches.append(batch) or batch.flatten(1), task.validation)
    pixels = F.avg_pool2d(task.validation.images.float() / 255, 2)
    assert torch.allclose(torch.cat(batches), (pixels - task.mean) / task.deviation, atol=1e-5)


def test_images_are_normalised_by_the_training_images():
    task = prepare(samples=0, view_strength=0.0, view_size=28)
    pixels = task._normalise(task.train.images.float() / 255)
    assert pixels.mean().item() == pytest.approx(0, abs=1e-3)
    assert pixels.std().item() == pytest.approx(1, abs=1e-2)


def test_all_arms_are_normalised_alike():
    """By all training images, not by those of the seed's subset."""
    one, other = prepare(seed=0), prepare(seed=1, samples=100)
    assert torch.equal(one.mean, other.mean) and torch.equal(one.deviation, other.deviation)
