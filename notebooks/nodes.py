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
# # Graphs: gain against depth

# %% tags=["remove-input", "remove-stderr"]
from deepaug.pages import show

show.header("nodes")

# %% tags=["parameters"]
profile = "quick"  # quick, cpu, gpu-small, gpu or a YAML file
data = None  # another graph, by name, in place of the profile's
layers = None  # targets, such as ["layer1", "layer3"]
transforms = None  # such as ["dropout", "pca-truncate"]
strengths = None  # p, such as [0.2, 0.5]
seeds = None  # such as [0, 1, 2]

# %% [markdown]
# ## The live run

# %% tags=["remove-stderr"]
page = show.open_page("nodes", In, globals())

# %% mystnb={"image": {"alt": "Gain in probe accuracy over the baseline in points against the target layer, from the input to the last, for dropout and PCA: a dot for each seed, a line through the means, bars for 95 % intervals."}} tags=["remove-input"]
show.gain_by_depth(page)

# %% [markdown]
# Each view drops edges and masks feature columns, at rates of its own. Without that ("no-augmentation")
# both views are the whole graph. Training sees all nodes, without labels; the probe is told the classes of a
# tenth of them. A node's own features ("raw-features") train nothing and stand beside.

# %% mystnb={"image": {"alt": "Probe accuracy of every arm of the live run, one row for each arm, a dot for each seed and a bar for the mean; the untrained network and training without augmentation among them."}} tags=["remove-input"]
show.scores(page)

# %% mystnb={"image": {"alt": "Learning curves against epochs, above training loss and below validation probe accuracy, for the baseline, training without input augmentation and the deepest target."}} tags=["remove-input"]
show.learning_curves(page)

# %% tags=["remove-input"]
show.effects(page)

# %% [markdown]
# ## The recorded runs

# %% tags=["remove-input"]
show.progress(page)

# %% [markdown]
# ### Has the baseline learnt enough?

# %% tags=["remove-input"]
show.scale(page, "graphs")

# %% [markdown]
# ### Scale and pilot
#
# A node's own features count as an arm in the tables; a negative gain says that the trained network is
# ahead.

# %% tags=["remove-input"]
show.recorded(page)

# %% [markdown]
# ### GRACE's published figures
#
# They are of a GCN of two layers, hence of the variant "two layers" here, on test nodes drawn at random, a
# tenth of the nodes to train on ([Deviations](../deviations.md)). How many seeds their deviation is of is not
# said, so that the means alone are held against each other.

# %% tags=["remove-input"]
show.published(page, "two layers")

# %% [markdown]
# Beside it the baseline of three layers, the one whose epochs are doubled, the network untrained and a
# node's own features. "mean" is the probe; the kNN of classes stands beside.

# %% tags=["remove-input"]
show.references(page, ("knn",))

# %% mystnb={"image": {"alt": "Gain in probe accuracy over the baseline by target layer in the recorded pilot, a panel for each graph, two seeds as dots, means joined, for each transform that is recorded."}} tags=["remove-input"]
show.gain_by_depth(page, "pilot")

# %% mystnb={"image": {"alt": "Training loss and validation probe accuracy against epochs in the recorded pilot, a panel for each graph, for the baseline, no input augmentation and each target."}} tags=["remove-input"]
show.learning_curves(page, "pilot")

# %% tags=["remove-input"]
show.sealed(page)
