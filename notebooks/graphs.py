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
# # Small graphs: a base that hardly learns

# %% tags=["hide-input", "remove-stderr"]
from deepaug.pages import show

show.header("graphs")

# %% [markdown]
# The verdicts on graphs stand on [nodes](nodes.ipynb) instead. What was recorded of small graphs before is
# kept and shown here.

# %% tags=["parameters"]
profile = "quick"  # quick, cpu, gpu-small, gpu or a YAML file
data = None  # another TU set, by name, in place of the profile's
layers = None  # targets, such as ["layer1", "readout"]
transforms = None  # such as ["dropout", "pca-truncate"]
strengths = None  # p, such as [0.2, 0.5]
seeds = None  # such as [0, 1, 2]

# %% tags=["hide-input"]
show.outside("graphs")

# %% [markdown]
# ## The live run

# %% tags=["remove-stderr"]
page = show.open_page("graphs", In, globals())

# %% [markdown]
# One view is the graph, the other has nodes dropped, edges perturbed, attributes masked or a subgraph
# kept, one of the four at random for each graph. Training sees all graphs, without labels, as in GraphCL's
# own protocol. The sum of the raw node features ("counts") trains nothing and stands beside.

# %% mystnb={"image": {"alt": "SVC accuracy of the baseline of the live run, one row for each arm, a dot for each seed and a bar for the mean: the trained network, the untrained one, and sums of the node features."}} tags=["hide-input"]
show.scores(page)

# %% tags=["hide-input"]
show.effects(page)

# %% [markdown]
# ## The recorded runs

# %% tags=["hide-input"]
show.progress(page)

# %% [markdown]
# Validation is the mean inner score of the nested cross-validation, by which the classifier's strength
# is chosen; the outer score is the test metric.

# %% tags=["hide-input"]
show.recorded(page)

# %% [markdown]
# ### GraphCL's published baseline
#
# Architecture, optimiser, epochs and evaluator are GraphCL's, on five seeds; augmentations, loss and folds
# differ ([Deviations](../deviations.md)). The folds here are the same for all seeds, so that the deviation
# leaves out their luck: "within" is a check of plausibility, no replication.

# %% tags=["hide-input"]
show.published(page)

# %% [markdown]
# Beside it, the same with both views augmented, with its epochs doubled, the network untrained, and the raw
# feature counts.

# %% tags=["hide-input"]
show.references(page)

# %% mystnb={"image": {"alt": "Gain in SVC accuracy over the baseline by target layer in the recorded pilot, a panel for each data set, two seeds as dots, means joined, for each transform that is recorded."}} tags=["hide-input"]
show.gain_by_depth(page, "pilot")

# %% mystnb={"image": {"alt": "Training loss and validation SVC accuracy against epochs in the recorded pilot, a panel for each data set, for the baseline, no input augmentation and each target."}} tags=["hide-input"]
show.learning_curves(page, "pilot")

# %% tags=["hide-input"]
show.sealed(page)
