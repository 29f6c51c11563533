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
# # Images: gain against depth
#
# | | |
# |---|---|
# | **Claim under test** | C1: Deep Augmentation improves contrastive learning |
# | **Trains** | SimCLR {cite}`simclr` on a ResNet, with dropout or PCA at one layer, against the same without |
# | **Measures** | weighted kNN accuracy on frozen features, in points over the baseline with the same seed ([protocol](protocol.ipynb)) |
# | **Needs** | `quick`: nothing, 5,000 embedded digits; larger profiles: CIFAR-10 |
# | **Takes** | `quick`: about a minute on two cores |
#
# To run this page with other settings, see [Rerun a page](../rerun.md).

# %% tags=["parameters"]
profile = "quick"  # quick, cpu, gpu-small, gpu or a YAML file
data = None  # another data set, by name or folder
layers = None  # targets, such as ["stage2", "pooled"]
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
    "vision", profile,
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

# %% mystnb={"image": {"alt": "Gain in kNN accuracy over the baseline in points against the target layer, from the input to the last, for dropout and PCA: a dot for each seed, a line through the means, bars for 95 % intervals."}} tags=["remove-input"]
pages.gain_by_depth(page.live, page.study.profile)

# %% [markdown]
# Every seed is a dot, lines join the means, bars are 95 % intervals of the paired differences (three
# seeds give wide ones: the frame fits the dots and cuts the bars). The scores themselves, controls
# included:

# %% mystnb={"image": {"alt": "The kNN accuracy of every arm of the live run, one row for each arm, a dot for each seed and a bar for the mean; the untrained network and training without augmentation among them."}} tags=["remove-input"]
pages.scores(page.live)

# %% mystnb={"image": {"alt": "Learning curves against epochs, above training loss and below validation kNN accuracy, for the baseline, training without input augmentation and the deepest target."}} tags=["remove-input"]
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
# A base enters the verdicts if its baseline stands far enough above random initialisation.

# %% tags=["remove-input"]
pages.show_scale(page)

# %% [markdown]
# ### Scale and pilot

# %% tags=["remove-input"]
pages.show_superseded(page)

# %% tags=["remove-input"]
pages.show_recorded(page)

# %% mystnb={"image": {"alt": "Gain in kNN accuracy over the baseline by target layer in the recorded pilot on CIFAR-10, two seeds as dots, means joined, for each transform that is recorded."}} tags=["remove-input"]
for study, pilot in page.recorded("pilot"):
    pages.gain_by_depth(pilot, f"{study.profile} pilot, no verdict")

# %% mystnb={"image": {"alt": "Training loss and validation kNN accuracy against epochs in the recorded pilot on CIFAR-10, for the baseline, no input augmentation and each target."}} tags=["remove-input"]
for study, pilot in page.recorded("pilot"):
    pages.learning_curves(pilot, f"{study.profile} pilot")

# %% [markdown]
# Metrics of arms on this page are those of **validation**. What is a test metric of anything but
# baselines is read by the verdict code alone, once, after the confirm stage.
