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
#
# | | |
# |---|---|
# | **Claim under test** | none: C1 was to be tested on it, and the rules leave it out |
# | **Trains** | GraphCL {cite}`graphcl` on a GIN of three layers {cite}`gin`, as the first base of graphs |
# | **Measures** | accuracy of a nested 10-fold support vector classifier on frozen features ([protocol](protocol.ipynb)) |
# | **Needs** | `quick`: nothing, MUTAG is embedded; larger profiles: PROTEINS and NCI109 of the TU sets {cite}`tudataset` |
# | **Takes** | `quick`: seconds |
#
# The verdicts on graphs stand on [nodes](nodes.ipynb) instead. What was recorded of small graphs before is
# kept and told here. To run this page with other settings, see [Rerun a page](../rerun.md).

# %% tags=["parameters"]
profile = "quick"  # quick, cpu, gpu-small, gpu or a YAML file
data = None  # another TU set, by name, in place of the profile's
layers = None  # targets, such as ["layer1", "readout"]
transforms = None  # such as ["dropout", "pca-truncate"]
strengths = None  # p, such as [0.2, 0.5]
seeds = None  # such as [0, 1, 2]

# %% tags=["remove-stderr"]
from deepaug.pages import notebooks

notebooks.check_injected(
    In, {"profile", "data", "layers", "transforms", "strengths", "seeds"}  # noqa: F821
)

from deepaug.pages import page as pages

page = pages.open_page(
    "graphs", profile,
    data=data, layers=layers, transforms=transforms, strengths=strengths, seeds=seeds,
)

# %% tags=["remove-input"]
pages.show_outside(page)

# %% [markdown]
# ## The live run
#
# Computed when this page was built. It shows how the experiment works; a run this small is never
# evidence.

# %% tags=["remove-input"]
pages.show_conditions(page)

# %% [markdown]
# One view is the graph, the other has nodes dropped, edges perturbed, attributes masked or a subgraph
# kept, one of the four at random for each graph. Training sees all graphs, without labels, as in GraphCL's
# own protocol. The sum of the raw node features ("counts") trains nothing and stands beside.

# %% mystnb={"image": {"alt": "SVC accuracy of the baseline of the live run, one row for each arm, a dot for each seed and a bar for the mean: the trained network, the untrained one, and sums of the node features."}} tags=["remove-input"]
pages.scores(page.live)

# %% tags=["remove-input"]
pages.show_effects(page)

# %% [markdown]
# ## The recorded runs
#
# Larger runs are read from the repository's `results/`, never started from this page. A **pilot**
# has two seeds and a few arms: it shows that the machine runs and judges nothing. No verdict follows.

# %% tags=["remove-input"]
pages.show_progress(page)

# %% tags=["remove-input"]
pages.show_superseded(page)

# %% [markdown]
# Validation is the mean inner score of the nested cross-validation, by which the classifier's strength
# is chosen; the outer score is the test metric.

# %% tags=["remove-input"]
pages.show_recorded(page)

# %% [markdown]
# ### GraphCL's published baseline
#
# Architecture, optimiser, epochs and evaluator are GraphCL's, on five seeds; augmentations, loss and folds
# differ ([Deviations](../deviations.md)). The folds here are the same for all seeds, so that the deviation
# leaves out their luck: "within" is a check of plausibility, no replication.

# %% tags=["remove-input"]
pages.show_published(page)

# %% [markdown]
# Beside it, the same with both views augmented, with its epochs doubled, the network untrained, and the raw
# feature counts.

# %% tags=["remove-input"]
pages.show_references(page)

# %% mystnb={"image": {"alt": "Gain in SVC accuracy over the baseline by target layer in the recorded pilot, a panel for each data set, two seeds as dots, means joined, for each transform that is recorded."}} tags=["remove-input"]
for study, pilot in page.recorded("pilot"):
    pages.gain_by_depth(pilot, f"{study.profile} pilot, no verdict")

# %% mystnb={"image": {"alt": "Training loss and validation SVC accuracy against epochs in the recorded pilot, a panel for each data set, for the baseline, no input augmentation and each target."}} tags=["remove-input"]
for study, pilot in page.recorded("pilot"):
    pages.learning_curves(pilot, f"{study.profile} pilot")

# %% [markdown]
# Metrics of arms on this page are those of **validation**; test metrics are those of what has no
# transform.
