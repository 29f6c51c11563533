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
# # Networks and pipelines

# %% tags=["hide-input", "remove-stderr"]
from deepaug.pages import answers, matrix, show

answers.say("C6")

# %% [markdown]
# Each network is built small, from its configuration and at random, so nothing is downloaded. What is shown is
# that the method *works* on it, not that it helps. Of other randomness all is the same with the transform
# and without it; equal means bit for bit.
#
# ## Networks
#
# A network passes if all of this holds for dropout and for PCA, at its target and at every layer that
# `deepaug.layers` names:
#
# - In training the transform acts, and what the network returns differs from what it returns without it.
# - All gradients are finite, and the first layer gets some.
# - Evaluation equals that of the plain network: before training, after it, and once the transform is removed.
# - Training equals that of the plain network once the transform is removed.

# %% tags=["hide-input"]
matrix.show("networks")

# %% [markdown]
# ## Pipelines
#
# The training loops of several libraries, as their own examples have them, for a few steps on toy data. A
# pipeline passes if all of this holds for dropout and for PCA:
#
# - The transform acts once in every forward pass of training, and never in an evaluation between or after.
# - Losses are finite and differ from those without it. Weights change below the target and above it.
# - Evaluation equals that of a network with the same weights and no transform.
# - Training equals the plain one once the transform is removed.

# %% tags=["hide-input"]
matrix.show("pipelines")

# %% [markdown]
# What could not be run, for want of a library, has not passed. The checks themselves were tested with faults
# built in on purpose (`tests/test_matrix.py`).

# %% tags=["hide-input"]
matrix.show_conditions()

# %% [markdown]
# ## How it was tested

# %% tags=["hide-input"]
show.header("networks")
