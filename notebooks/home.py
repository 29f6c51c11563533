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
# # Deep Augmentation, put to the test
#
# *Deep Augmentation* {cite}`deepaugmentation` augments data inside the network: not the input is transformed but
# the activations of one chosen layer, by dropout or PCA. This book puts each claim of the paper to the test, in
# images, text and graphs, by rules that were fixed before the runs.

# %% tags=["hide-input"]
from deepaug.pages import home

home.verdicts()

# %% [markdown]
# How to read the words: [Claims and verdicts](claims.ipynb). We had only the paper's abstracts: we test
# the *claims* in them, and where these leave a choice open, it is ours ([Deviations](../deviations.md)).
#
# ## The one figure
#
# What input augmentation is worth, and what Deep Augmentation adds to it or does in its place: each difference with
# its 95 % interval. Filled dots are of tests that are judged, hollow ones stand beside them for context.
# Blue is dropout, orange PCA; grey is neither.

# %% mystnb={"image": {"alt": "For each modality three intervals: what input augmentation brings over none, what Deep Augmentation adds to it, and how far it falls behind or goes ahead in its place."}} tags=["hide-input"]
home.proportion()

# %% [markdown]
# ## The method

# %% tags=["hide-input"]
home.diagram()

# %% [markdown]
# Two lines add it to any PyTorch network; it acts while the network trains:
#
# ```python
# import deepaug
# handle = deepaug.attach(model, "layer4", deepaug.PCA(0.5))
# ```
#
# ::::{grid} 1 1 2 2
# :gutter: 3
#
# :::{grid-item-card} Understand
# :link: method
# :link-type: doc
# The idea, the equations beside plain code, and a figure to touch.
# :::
#
# :::{grid-item-card} Check
# :link: protocol
# :link-type: doc
# What is compared, on which seeds, by rules that were committed before the runs.
# :::
#
# :::{grid-item-card} Rerun
# :link: ../rerun
# :link-type: doc
# One notebook on a laptop in minutes, or hundreds of trials on a cluster.
# :::
#
# :::{grid-item-card} Use it yourself
# :link: ../use-it
# :link-type: doc
# Deep Augmentation in your own network.
# :::
# ::::
#
# ## Cite
#
# The paper, and this companion. To cite a state of the book, add the revision that stands at the foot of this page.
#
# ```bibtex
# @misc{deepaugmentation,
#   title         = {Deep Augmentation: Self-Supervised Learning with Transformations in Activation Space},
#   author        = {Br{\"u}el-Gabrielsson, Rickard and Wang, Tongzhou and Baradad, Manel and Solomon, Justin},
#   year          = {2023},
#   eprint        = {2303.14537},
#   archivePrefix = {arXiv}
# }
#
# @software{deepaug,
#   title  = {deepaug: Deep Augmentation, put to the test},
#   author = {{The deepaug authors}},
#   year   = {2026}
# }
# ```
