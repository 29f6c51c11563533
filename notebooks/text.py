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
# # Text: gain against depth
#
# | | |
# |---|---|
# | **Claim under test** | C1: Deep Augmentation improves contrastive learning |
# | **Trains** | unsupervised SimCSE {cite}`simcse` on a small BERT from scratch, with dropout or PCA at one layer, against the same without |
# | **Measures** | Spearman correlation × 100 of cosine similarities with human scores, in points over the baseline with the same seed ([protocol](../protocol.md)) |
# | **Needs** | `quick`: nothing, the Lee news documents are embedded; larger profiles: WordNet, Brown and the STS sets |
# | **Takes** | `quick`: about a minute on two cores |
#
# To run this page with other settings, see [Rerun a page](../rerun.md).

# %% tags=["parameters"]
profile = "quick"  # quick, cpu, gpu or a YAML file
data = None  # another corpus, by name, or a text file with a sentence on each line
pairs = None  # scored sentence pairs to evaluate on: "sts", "lee" or a TSV file
layers = None  # targets, such as ["embeddings", "block2"]
transforms = None  # such as ["dropout", "pca-truncate"]
strengths = None  # p, such as [0.2, 0.5]
seeds = None  # such as [0, 1, 2]

# %% tags=["remove-stderr"]
from deepaug import notebooks

notebooks.check_injected(
    In, {"profile", "data", "pairs", "layers", "transforms", "strengths", "seeds"}  # noqa: F821
)

from deepaug import modalities, pages

METRICS = modalities.PRIMARY
page = pages.open_page(
    "text", profile,
    data=data, pairs=pairs, layers=layers, transforms=transforms, strengths=strengths,
    seeds=seeds,
)

# %% [markdown]
# ## The live run
#
# Computed when this page was built. It shows how the experiment works; a run this small is never
# evidence.

# %% tags=["remove-input"]
pages.show_conditions(page)

# %% mystnb={"image": {"alt": "Gain in Spearman correlation over the baseline in points against the target layer, from the input to the pooled features, for dropout and PCA: a dot for each seed, a line through the means, bars for 95 % intervals."}} tags=["remove-input"]
pages.gain_by_depth(page.live, METRICS, page.study.profile)

# %% [markdown]
# The baseline's two views are the sentence with some of its tokens deleted, each view its own. Without
# that ("no-augmentation") the two views are equal. Bag of words and TF-IDF, which train nothing, stand
# beside; a small network that starts from nothing may lose to them.

# %% mystnb={"image": {"alt": "Spearman correlation of every arm of the live run, one row for each arm, a dot for each seed and a bar for the mean, with the untrained network and what is not trained at all."}} tags=["remove-input"]
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
# Validation is the development part of STS-B. The references that are not trained, bag of words and
# TF-IDF, count as arms in the tables; a negative gain says that the trained network is ahead.

# %% tags=["remove-input"]
pages.show_recorded(page, METRICS)

# %% [markdown]
# Test figures of the baseline and of what it must be held against: the same network untrained, SimCSE's own
# views, words counted. "mean" is STS-B; the topic probe and STS12 to STS16 stand beside, which hold pairs of
# STS-B's own and are no second test.

# %% tags=["remove-input"]
pages.show_references(page, "spearman", ("sts12", "sts13", "sts14", "sts15", "sts16", "probe"))

# %% mystnb={"image": {"alt": "Gain in Spearman correlation over the baseline by target layer in the recorded pilot, two seeds as dots, means joined, for dropout and PCA."}} tags=["remove-input"]
for study, pilot in page.recorded("pilot"):
    pages.gain_by_depth(pilot, METRICS, f"{study.profile} pilot, no verdict")

# %% mystnb={"image": {"alt": "Training loss and the validation metric against epochs in the recorded pilot, for the baseline, no input augmentation and each target."}} tags=["remove-input"]
for study, pilot in page.recorded("pilot"):
    pages.learning_curves(pilot, METRICS, f"{study.profile} pilot")

# %% [markdown]
# Metrics of arms on this page are those of **validation**. What is a test metric of anything but
# baselines is read by the verdict code alone, once, after the confirm stage.
