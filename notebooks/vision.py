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
# # Images: does it improve contrastive learning?

# %% tags=["hide-input", "remove-stderr"]
from deepaug.pages import answers, depths, show

records = show.records("vision")
answers.say("C1", modality="vision")

# %% mystnb={"image": {"alt": "C1 on CIFAR-10: every test of the arm against the tuned baseline and its controls, each interval against the band of what is negligible."}} tags=["hide-input"]
answers.figure("C1", modality="vision")

# %% [markdown]
# ## What it means

# %% tags=["hide-input"]
answers.meaning("C1", modality="vision")

# %% [markdown]
# ## Gain against depth
#
# The same transform at each target in turn, from the input to the last layer.

# %% mystnb={"image": {"alt": "Gain in kNN accuracy over the baseline in points against the target layer, from the input to the last; every seed a dot, means joined."}} tags=["hide-input"]
depths.gain_by_depth(records, "vision")

# %% [markdown]
# ## Controls

# %% tags=["hide-input"]
answers.controls("vision")

# %% [markdown]
# ## How it was tested
#
# SimCLR on a ResNet, two augmented views of each image.

# %% tags=["hide-input"]
show.header("vision")

# %% tags=["hide-input"]
show.scale(records)

# %% tags=["hide-input"]
answers.evidence(records, "C1", modality="vision")

# %% [markdown]
# ## The training step
#
# What all of this trains, written out: two views, one loss, and two lines for Deep Augmentation. It runs as pasted.
#
# ```{literalinclude} ../../examples/two_lines.py
# :language: python
# :start-at: import torch
# ```

# %% mystnb={"image": {"alt": "Training loss and validation kNN accuracy against epochs in the recorded pilot on CIFAR-10, for the baseline, no input augmentation and each target."}} tags=["hide-input"]
show.learning_curves(records, "pilot")

# %% [markdown]
# ## Try it
#
# A run of a minute, on data that come along. Change the next cell and run the page again.

# %% tags=["parameters"]
profile = "quick"  # quick, cpu, gpu-small, gpu or a YAML file
data = None  # another data set, by name or folder
layers = None  # targets, such as ["stage2", "pooled"]
transforms = None  # such as ["dropout", "pca-truncate"]
strengths = None  # p, such as [0.2, 0.5]
seeds = None  # such as [0, 1, 2]

# %% tags=["remove-stderr"]
page = show.open_page("vision", In, globals())

# %% mystnb={"image": {"alt": "The live run: gain in kNN accuracy over the baseline in points against the target layer, for dropout and PCA; a dot for each seed, a line through the means."}} tags=["hide-input"]
show.gain_by_depth(page)

# %% [markdown]
# Every seed is a dot, lines join the means. From five seeds on bars are 95 % intervals of the paired differences; of
# fewer none is drawn. The scores themselves, controls
# included:

# %% mystnb={"image": {"alt": "The live run: kNN accuracy of every arm, one row for each arm, a dot for each seed and a bar for the mean; the untrained network and training without augmentation among them."}} tags=["hide-input"]
show.scores(page)

# %% mystnb={"image": {"alt": "The live run: above training loss and below validation kNN accuracy against epochs, for the baseline, training without input augmentation and the deepest target."}} tags=["hide-input"]
show.learning_curves(page)

# %% tags=["hide-input"]
show.effects(page)

# %% [markdown]
# ### Two exercises
#
# 1. Set `strengths = [0.2, 0.8]`. At which target does the stronger dropout cost most?
#
#    ```{dropdown} What to expect
#    Deep down, where few features carry all: a p of 0.8 leaves one in five of them, at the last stage as after pooling. At the input the layers above average much of it away.
#    ```
#
# 2. Set `seeds = [0, 1, 2, 3, 4]`. Does the order of the targets stay?
#
#    ```{dropdown} What to expect
#    Look at how far the dots of one target lie apart. Where that is more than the distance between targets, an order seen with three seeds was chance.
#    ```
