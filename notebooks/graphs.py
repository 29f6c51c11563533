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
# | **Trains** | GraphCL {cite}`graphcl` on a GIN of three layers {cite}`gin`, with dropout or PCA at one layer, against the same without |
# | **Measures** | accuracy of a nested 10-fold support vector classifier on frozen features, in points over the baseline with the same seed ([protocol](../protocol.md)) |
# | **Needs** | `quick`: nothing, MUTAG is embedded; larger profiles: PROTEINS and NCI109 of the TU sets {cite}`tudataset` |
# | **Takes** | `quick`: about a minute on two cores |
#
# To run this page with other settings, see [Rerun a page](../rerun.md).

# %% tags=["parameters"]
profile = "quick"  # quick, cpu, gpu or a YAML file
data = None  # another TU set, by name, in place of the profile's
layers = None  # targets, such as ["layer1", "readout"]
transforms = None  # such as ["dropout", "pca-truncate"]
strengths = None  # p, such as [0.2, 0.5]
seeds = None  # such as [0, 1, 2]

# %% tags=["remove-stderr"]
from deepaug import notebooks

notebooks.check_injected(
    In, {"profile", "data", "layers", "transforms", "strengths", "seeds"}  # noqa: F821
)

from deepaug import modalities, pages, studies

METRICS = modalities.PRIMARY
page = pages.open_page(
    "graphs", profile,
    data=data, layers=layers, transforms=transforms, strengths=strengths, seeds=seeds,
)

# %% [markdown]
# ## The live run
#
# Computed when this page was built. It shows how the experiment works; a run this small is never
# evidence.

# %% tags=["remove-input"]
pages.show_conditions(page)

# %% mystnb={"image": {"alt": "Gain in SVC accuracy over the baseline in points against the target layer, from the input to the pooled features, for dropout and PCA: a dot for each seed, a line through the means, bars for 95 % intervals."}} tags=["remove-input"]
pages.gain_by_depth(page.live, METRICS, page.study.profile)

# %% [markdown]
# One view is the graph, the other has nodes dropped, edges perturbed, attributes masked or a subgraph
# kept, one of the four at random for each graph. Pretraining is transductive, as GraphCL's own protocol is: it sees all graphs, without labels.
# The sum of the raw node features ("counts") trains nothing and stands beside.

# %% mystnb={"image": {"alt": "SVC accuracy of every arm of the live run, one row for each arm, a dot for each seed and a bar for the mean, with the untrained network and what is not trained at all."}} tags=["remove-input"]
pages.scores(page.live, METRICS)

# %% mystnb={"image": {"alt": "Learning curves against epochs, above training loss and below the validation metric, for the baseline, training without input augmentation and the deepest target."}} tags=["remove-input"]
deepest = pages.targets(page.study.base)[-1]
shown = [r for r in page.live if r[0].trial.layer in ("none", deepest)]
pages.learning_curves(shown, METRICS, page.study.profile)

# %% tags=["remove-input"]
pages.show_effects(page, METRICS)

# %% [markdown]
# ## The recorded runs
#
# Larger runs are read from the repository's `results/`, never started from this page. A **pilot**
# has two seeds and a few arms: it shows that the machine runs and judges nothing. The verdict on C1
# comes from the confirm stage, whose rules were committed before it.

# %% tags=["remove-input"]
pages.show_progress(page)

# %% [markdown]
# Validation is the mean inner score of the nested cross-validation, by which the classifier's strength
# is chosen; the outer score is the test metric.

# %% tags=["remove-input"]
pages.show_recorded(page, METRICS)

# %% [markdown]
# ### GraphCL's published baseline
#
# Architecture, optimiser, epochs and evaluator are GraphCL's, on five seeds; augmentations, loss and folds
# differ ([Deviations](../deviations.md)). The folds here are the same for all seeds, so that the deviation
# leaves out their luck: "within" is a check of plausibility, no replication.

# %% tags=["remove-input"]
pages.show_published(page, "svc", studies.rules()["published"]["graphs"])

# %% [markdown]
# Beside it, the same with both views augmented, with its epochs doubled, the network untrained, and the raw
# feature counts.

# %% tags=["remove-input"]
pages.show_references(page, "svc")

# %% mystnb={"image": {"alt": "Gain in SVC accuracy over the baseline by target layer in the recorded pilot, two seeds as dots, means joined, for dropout and PCA."}} tags=["remove-input"]
for study, pilot in page.recorded("pilot"):
    pages.gain_by_depth(pilot, METRICS, f"{study.profile} pilot, no verdict")

# %% mystnb={"image": {"alt": "Training loss and the validation metric against epochs in the recorded pilot, for the baseline, no input augmentation and each target."}} tags=["remove-input"]
for study, pilot in page.recorded("pilot"):
    pages.learning_curves(pilot, METRICS, f"{study.profile} pilot")

# %% [markdown]
# Metrics of arms on this page are those of **validation**. What is a test metric of anything but
# baselines is read by the verdict code alone, once, after the confirm stage.
