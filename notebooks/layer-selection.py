# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Which layer to target

# %% tags=["hide-input", "remove-stderr"]
from deepaug.pages import answers, coadaptation, figures, show
from deepaug.pages.page import load

figures.use_style()
answers.say("C5")

# %% mystnb={"image": {"alt": "C5: gain at the layer that the score chooses minus that of other choices, a row for each modality and test, each interval against the band of what is negligible."}} tags=["hide-input"]
answers.figure("C5")

# %% [markdown]
# ## What it means

# %% tags=["hide-input"]
answers.meaning("C5")

# %% [markdown]
# ## The score
#
# The paper says that co-adaptation between layers tells which one to target, without trying them all. Its abstract
# does not say how. Ours is one way to put it, named before any run that judges it: a transform can free layers from
# each other only where they depend on each other, and layers that do represent samples alike. So the choice is the
# layer that is most like all others, by the mean of its unbiased linear CKA {cite}`cka` with each. It needs the
# activations of a trained network on some thousand samples, and no labels:

# %%
import torch

import deepaug
from deepaug.training import loop, registry
from deepaug.training.trial import Trial

trial = Trial(
    data="mnist-5k", samples=1000, encoder="resnet10", width=8,
    view_size=16, epochs=4, batch_size=50, temperature=0.2,
)
encoder = loop.run(trial, accelerator="cpu").encoder
digits = registry.load("vision").prepare(trial, torch.device("cpu"))

plain = digits.plain(torch.arange(1000))
found = deepaug.select_layer(encoder, plain.split(250))
print(f"target: {found.layer}")
for layer, score in found.scores.items():
    print(f"{layer:8} {score:.2f}")

# %% [markdown]
# What it returns is a name that `deepaug.attach` takes. Any network will do, and any iterable of batches; the
# estimate is put together batch by batch {cite}`wideanddeep`, so that memory stays that of one batch.
#
# ## How far a transform moves a sample
#
# A score from activations says nothing of *how much* a transform does at a layer. Its **dose** does: the cosine of a
# sample's features with and without it. Held against that are the cosine to a second view of the same sample, and to
# another sample. A transform that moves features less than a second view does has little to add to it; one that moves
# them as far as another sample destroys what is to be learnt. This is exploratory and enters no verdict.

# %% mystnb={"image": {"alt": "Cosine of features to the plain pass against the target's depth, a line for each transform; dashed lines mark the cosine to a second view and to another image."}}
views = digits.views(epoch=0)(torch.arange(256))
transforms_tried = {"dropout": deepaug.Dropout(0.5), "pca": deepaug.PCA(0.5)}
coadaptation.dose_by_depth(encoder, views, transforms_tried)

# %% [markdown]
# ## How it was tested
#
# C5 asks for more than a picture: for each seed and data set, the test gain at the layer that the score chooses, minus
# the mean gain over all layers after the input, which is what a random choice brings. Beside it stand the last layer,
# the middle one, and the one with the best validation score, which costs a sweep over all of them. The score costs one
# training and seconds on top.

# %% tags=["hide-input"]
show.header("layer-selection")

# %% tags=["hide-input"]
answers.behind("C5")

# %% [markdown]
# ## Try it
#
# The score of each layer, on networks trained without any transform, above the gain that a transform at that layer
# brings. Change the next cell and run the page again.

# %% tags=["parameters"]
profile = "quick"  # quick, cpu, gpu-small, gpu or a YAML file
layers = None  # targets, such as ["layer1", "layer3"]
transforms = None  # such as ["dropout", "pca"]
strengths = None  # p, such as [0.2, 0.5]
seeds = None  # such as [0, 1, 2]

# %% tags=["remove-stderr"]
page = show.open_page("layer-selection", In, globals())
split = {"profile": profile, "seeds": seeds, "parts": ["nodes"]}
networks = load("co-adaptation", split)

# %% mystnb={"image": {"alt": "The live run: above, the mean centred kernel alignment of each layer with the others; below, the gain over the baseline of a transform at that layer: every seed a dot."}} tags=["hide-input"]
coadaptation.scores_and_gains(page, networks)

# %% tags=["hide-input"]
show.sealed(page)

# %% [markdown]
# ### Two exercises
#
# 1. Give `select_layer` an untrained encoder. Which layer is most like all others then?
#
#    ```{dropdown} What to expect
#    Often one in the middle, too: it lies nearest to all. A score that chooses the same layer without training says more about the architecture than about co-adaptation.
#    ```
#
# 2. Change `epochs` in the first cell to 1 and to 16. Does the choice move?
#
#    ```{dropdown} What to expect
#    Watch whether the scores of the first and the last layer part as training goes on.
#    ```
