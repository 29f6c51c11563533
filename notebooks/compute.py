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
# # Compute

# %% tags=["hide-input", "remove-stderr"]
from deepaug.pages import compute, figures, show

show.header("compute")

# %% [markdown]
# What the recorded runs cost, diverged ones included, is told by the records themselves: each holds its seconds,
# device and versions. The budget that was set beforehand stands under [Protocol](protocol.ipynb). A trial that was
# cut off and resumed counts the seconds since it was resumed; its training seconds are whole. These are seconds by the
# clock, also of hours in which the machine was busy with other work. The budget is reckoned from the fastest quarter
# of the trials of a kind, as if nothing else had run, and is therefore smaller.
#
# ## What was run

# %% tags=["hide-input"]
figures.use_style()
spent = compute.spent()
compute.show_spent(spent)

# %% mystnb={"image": {"alt": "Core-hours that the recorded trials took, one bar for each study, its modalities stacked."}} tags=["hide-input"]
compute.hours(spent)

# %% [markdown]
# ## What a profile costs
#
# Hours of one core, or of one GPU for the profiles that need one. Two trials run side by side on two cores, so
# that a laptop takes half as long.

# %% tags=["hide-input"]
compute.show(compute.profiles())

# %% [markdown]
# ## Precision and threads
#
# Two runs of one trial agree bit for bit on one machine. All train in float32, but for the encoders of images and
# of sentences at `cpu`, and all but nodes on a GPU, which train in bfloat16. Processors without instructions for it
# compute such products in float32 and round them as the others would ([Deviations](../deviations.md)). At `cpu` a trial
# has one thread, and two trials run side by side. Loss, normalisation of embeddings and PCA are always float32.
# Nothing is paired across precisions, nor across a processor and a GPU, or GPUs of two models.
#
# ## Where speed comes from, and what it changed
#
# [Performance](performance.ipynb) has the figures. Data lie on the device, decoded and tokenised
# once; a folder of images is decoded once for all processes and sessions, into `$DEEPAUG_DATA/decoded`, which
# may be deleted at any time. Views of a batch, or of all graphs, are a few tensor operations. Images are kept
# channels-last. A GIN sums neighbours by segments instead of scattering them edge by edge.
#
# Some of these changes came after the first records: dropout on the CPU cuts its masks from other draws of the
# generator, a GIN adds in another order, PCA multiplies by one matrix where it multiplied by two, and Adam's
# update is fused. What a trial measures is the same, so `protocol` stays; bit for bit, a record is made again by
# the revision it names.
#
# Records have held a checksum since revision 5e47bcd, which wrote one into each of those already there and changed
# nothing else; for what came before, the repository's history vouches.
#
# ## Lightning
#
# Trials use Lightning's Fabric {cite}`lightning` for devices, precision and mixed-precision contexts, with a training
# loop of our own rather than its Trainer, because of the two it costs less. The same steps of a network
# so small that the overhead shows, by `benchmarks/lightning_overhead.py`:
#
# ```{include} ../../benchmarks/lightning_overhead.md
# ```
