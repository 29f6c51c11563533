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
#
# | | |
# |---|---|
# | **Claim under test** | C1: Deep Augmentation improves contrastive learning |
# | **Trains** | GRACE {cite}`grace` on a GCN {cite}`gcn` of three layers, with dropout or PCA at one layer, against the same without |
# | **Measures** | accuracy of a linear probe of each node's class on frozen features, in points over the baseline with the same seed, as the mean of the data sets ([protocol](protocol.ipynb)) |
# | **Needs** | `quick`: nothing, Cora is embedded; larger profiles: Cora and CiteSeer {cite}`planetoid`, on a GPU also DBLP {cite}`citationfull` |
# | **Takes** | `quick`: about a minute on two cores |
#
# To run this page with other settings, see [Rerun a page](../rerun.md).

# %% tags=["parameters"]
profile = "quick"  # quick, cpu, gpu-small, gpu or a YAML file
data = None  # another graph, by name, in place of the profile's
layers = None  # targets, such as ["layer1", "layer3"]
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
    "nodes", profile,
    data=data, layers=layers, transforms=transforms, strengths=strengths, seeds=seeds,
)

# %% [markdown]
# ## The live run
#
# Computed when this page was built. It shows how the experiment works; a run this small is never
# evidence.

# %% tags=["remove-input"]
pages.show_conditions(page)

# %% tags=["remove-input"]
pages.show_learnt(page)

# %% mystnb={"image": {"alt": "Gain in probe accuracy over the baseline in points against the target layer, from the input to the last, for dropout and PCA: a dot for each seed, a line through the means, bars for 95 % intervals."}} tags=["remove-input"]
pages.gain_by_depth(page.live, page.study.profile)

# %% [markdown]
# Each view drops edges and masks feature columns, at rates of its own. Without that ("no-augmentation")
# both views are the whole graph. Training sees all nodes, without labels; the probe is told the classes of a
# tenth of them. A node's own features ("raw-features") train nothing and stand beside.

# %% mystnb={"image": {"alt": "Probe accuracy of every arm of the live run, one row for each arm, a dot for each seed and a bar for the mean; the untrained network and training without augmentation among them."}} tags=["remove-input"]
pages.scores(page.live)

# %% mystnb={"image": {"alt": "Learning curves against epochs, above training loss and below validation probe accuracy, for the baseline, training without input augmentation and the deepest target."}} tags=["remove-input"]
deepest = pages.targets(page.study.base)[-1]
shown = [r for r in page.live if r[0].trial.layer in ("none", deepest)]
pages.learning_curves(shown, page.study.profile)

# %% tags=["remove-input"]
pages.show_effects(page)

# %% [markdown]
# ## The recorded runs
#
# Larger runs are read from the repository's `results/`, never started from this page. A **pilot**
# has two seeds and a few arms: it shows that the machine runs and judges nothing. The verdict on C1
# comes from the confirm stage, whose rules were committed before it.

# %% tags=["remove-input"]
pages.show_progress(page)

# %% [markdown]
# ### Has the baseline learnt enough?
#
# A base enters the verdicts if its baseline stands far enough above random initialisation, here as the
# mean of the data sets. Another study of graphs did not: [GraphCL on small graphs](graphs.ipynb).

# %% tags=["remove-input"]
pages.show_scale(page)

# %% [markdown]
# ### Scale and pilot
#
# A node's own features count as an arm in the tables; a negative gain says that the trained network is
# ahead.

# %% tags=["remove-input"]
pages.show_recorded(page)

# %% [markdown]
# ### GRACE's published figures
#
# They are of a GCN of two layers, hence of the variant "two layers" here, on test nodes drawn at random, a
# tenth of the nodes to train on ([Deviations](../deviations.md)). How many seeds their deviation is of is not
# said, so that the means alone are held against each other.

# %% tags=["remove-input"]
pages.show_published(page, "two layers")

# %% [markdown]
# Beside it the baseline of three layers, the one whose epochs are doubled, the network untrained and a
# node's own features. "mean" is the probe; the kNN of classes stands beside.

# %% tags=["remove-input"]
pages.show_references(page, ("knn",))

# %% mystnb={"image": {"alt": "Gain in probe accuracy over the baseline by target layer in the recorded pilot, a panel for each graph, two seeds as dots, means joined, for each transform that is recorded."}} tags=["remove-input"]
for study, pilot in page.recorded("pilot"):
    pages.gain_by_depth(pilot, f"{study.profile} pilot, no verdict")

# %% mystnb={"image": {"alt": "Training loss and validation probe accuracy against epochs in the recorded pilot, a panel for each graph, for the baseline, no input augmentation and each target."}} tags=["remove-input"]
for study, pilot in page.recorded("pilot"):
    pages.learning_curves(pilot, f"{study.profile} pilot")

# %% [markdown]
# Metrics of arms on this page are those of **validation**. What is a test metric of anything but
# baselines is read by the verdict code alone, once, after the confirm stage.
