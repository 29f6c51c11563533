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
# # Sentences: a base that hardly learns
#
# | | |
# |---|---|
# | **Claim under test** | none: C1 was to be tested on it, and the rules leave it out |
# | **Trains** | unsupervised SimCSE {cite}`simcse` on a small BERT from nothing, as the first base of text |
# | **Measures** | Spearman correlation × 100 of cosine similarities with human scores ([protocol](protocol.ipynb)) |
# | **Needs** | `quick`: nothing, the Lee news documents are embedded; larger profiles: WordNet, Brown and the STS sets |
# | **Takes** | `quick`: seconds |
#
# The verdicts on text stand on [documents](text.ipynb) instead. What was recorded of sentences before is
# kept and told here. To run this page with other settings, see [Rerun a page](../rerun.md).

# %% tags=["parameters"]
profile = "quick"  # quick, cpu, gpu-small, gpu or a YAML file
data = None  # another corpus, by name, or a text file with a sentence on each line
pairs = None  # scored sentence pairs to evaluate on: "sts", "lee" or a TSV file
layers = None  # targets, such as ["embeddings", "block2"]
transforms = None  # such as ["dropout", "pca-truncate"]
strengths = None  # p, such as [0.2, 0.5]
seeds = None  # such as [0, 1, 2]

# %% tags=["remove-stderr"]
from deepaug.pages import notebooks

notebooks.check_injected(
    In, {"profile", "data", "pairs", "layers", "transforms", "strengths", "seeds"}  # noqa: F821
)

from deepaug.pages import page as pages

page = pages.open_page(
    "sentences", profile,
    data=data, pairs=pairs, layers=layers, transforms=transforms, strengths=strengths, seeds=seeds,
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
# The baseline's two views are the sentence with some of its tokens deleted, each view its own. Bag of words
# and TF-IDF, which train nothing, do better.

# %% mystnb={"image": {"alt": "Spearman correlation of the baseline of the live run, one row for each arm, a dot for each seed: the trained network, the untrained one, bag of words and TF-IDF."}} tags=["remove-input"]
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
# Validation is the development part of STS-B. The references that are not trained, bag of words and
# TF-IDF, count as arms in the tables; a negative gain says that the trained network is ahead.

# %% tags=["remove-input"]
pages.show_recorded(page)

# %% [markdown]
# Test figures of the baseline and of what it must be held against: the same network untrained, SimCSE's own
# views, words counted. "mean" is STS-B; the topic probe and STS12 to STS16 stand beside, which hold pairs of
# STS-B's own and are no second test.

# %% tags=["remove-input"]
pages.show_references(page, ("sts12", "sts13", "sts14", "sts15", "sts16", "probe"))

# %% mystnb={"image": {"alt": "Gain in Spearman correlation over the baseline by target layer in the recorded pilot, two seeds as dots, means joined, for each transform that is recorded."}} tags=["remove-input"]
for study, pilot in page.recorded("pilot"):
    pages.gain_by_depth(pilot, f"{study.profile} pilot, no verdict")

# %% mystnb={"image": {"alt": "Training loss and validation Spearman correlation against epochs in the recorded pilot, for the baseline, no input augmentation and each target."}} tags=["remove-input"]
for study, pilot in page.recorded("pilot"):
    pages.learning_curves(pilot, f"{study.profile} pilot")

# %% [markdown]
# Metrics of arms on this page are those of **validation**; test metrics are those of what has no
# transform.
