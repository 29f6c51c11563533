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
# # Graphs: does it improve contrastive learning?

# %% tags=["hide-input", "remove-stderr"]
from deepaug.pages import answers, depths, show

records = show.records("nodes")
answers.say("C1", modality="nodes")

# %% mystnb={"image": {"alt": "C1 on Cora and CiteSeer: every test of the arm against the tuned baseline and its controls, each interval against the band of what is negligible."}} tags=["hide-input"]
answers.figure("C1", modality="nodes")

# %% [markdown]
# ## What it means

# %% tags=["hide-input"]
answers.meaning("C1", modality="nodes")

# %% [markdown]
# ## Gain against depth
#
# The same transform at each target in turn, from the input to the last layer.

# %% mystnb={"image": {"alt": "Gain in probe accuracy over the baseline in points against the target layer, from the input to the last; every seed a dot, means joined."}} tags=["hide-input"]
depths.gain_by_depth(records, "nodes")

# %% [markdown]
# ## Controls

# %% tags=["hide-input"]
answers.controls("nodes")

# %% [markdown]
# ## How it was tested
#
# Each view drops edges and masks feature columns, at rates of its own. Without that ("no-augmentation") both views are
# the whole graph. Training sees all nodes, without labels; the probe is told the classes of a tenth of them. A node's own
# features ("raw-features") train nothing and count as an arm in the tables.

# %% tags=["hide-input"]
show.header("nodes")

# %% tags=["hide-input"]
show.scale(records, "graphs")

# %% tags=["hide-input"]
answers.evidence(records, "C1", modality="nodes")

# %% [markdown]
# ### GRACE's published figures
#
# They are of a GCN of two layers, on test nodes drawn at random, a tenth of the nodes to train on
# ([Deviations](../deviations.md)). GRACE's authors set temperature, learning rate and width for each graph; here both
# graphs are run with those for Cora and with those for CiteSeer. The authors do not say over how many seeds their
# deviations are taken, so that the means alone are held against each other.

# %% tags=["hide-input"]
show.published(records, "two layers, as for Cora", "two layers, as for CiteSeer")

# %% [markdown]
# Beside them the baseline of three layers, the one whose epochs are doubled, the network untrained and a node's own
# features. "mean" is the probe; the kNN of classes stands beside.

# %% tags=["hide-input"]
show.references(records, ("knn",))

# %% mystnb={"image": {"alt": "Training loss and validation probe accuracy against epochs in the recorded pilot on Cora and CiteSeer, for the baseline, no input augmentation and each target."}} tags=["hide-input"]
show.learning_curves(records, "pilot")

# %% [markdown]
# ## Try it
#
# A run of a minute, on data that come along. Change the next cell and run the page again.

# %% tags=["parameters"]
profile = "quick"  # quick, cpu, gpu-small, gpu or a YAML file
data = None  # another graph, by name, in place of the profile's
layers = None  # targets, such as ["layer1", "layer3"]
transforms = None  # such as ["dropout", "pca-truncate"]
strengths = None  # p, such as [0.2, 0.5]
seeds = None  # such as [0, 1, 2]

# %% tags=["remove-stderr"]
page = show.open_page("nodes", In, globals())

# %% mystnb={"image": {"alt": "The live run: gain in probe accuracy over the baseline in points against the target layer, for dropout and PCA; a dot for each seed, a line through the means."}} tags=["hide-input"]
show.gain_by_depth(page)

# %% [markdown]
# Every seed is a dot, lines join the means. From five seeds on bars are 95 % intervals of the paired differences; of
# fewer none is drawn. A node's own features, which
# train nothing, stand beside:

# %% mystnb={"image": {"alt": "The live run: probe accuracy of every arm, one row for each arm, a dot for each seed and a bar for the mean; the untrained network and training without augmentation among them."}} tags=["hide-input"]
show.scores(page)

# %% mystnb={"image": {"alt": "The live run: above training loss and below validation probe accuracy against epochs, for the baseline, training without input augmentation and the deepest target."}} tags=["hide-input"]
show.learning_curves(page)

# %% tags=["hide-input"]
show.effects(page)

# %% [markdown]
# ### Two exercises
#
# 1. Set `layers = ["input"]` and `transforms = ["dropout-feature"]`. Which augmentation does that resemble?
#
#    ```{dropdown} What to expect
#    Masking feature columns, which GRACE's views do anyway. So little should change.
#    ```
#
# 2. Set `data = "CiteSeer"` (it is read from `$DEEPAUG_DATA` or downloaded). Do the same targets gain?
#
#    ```{dropdown} What to expect
#    There is no reason to expect it from three seeds. That is why the verdict takes the mean of both graphs, seed by seed.
#    ```
