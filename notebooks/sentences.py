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

# %% tags=["hide-input", "remove-stderr"]
from deepaug.pages import show

show.header("sentences")

# %% [markdown]
# The verdicts on text stand on [documents](text.ipynb) instead. What was recorded of sentences before is
# kept and shown here.

# %% tags=["parameters"]
profile = "quick"  # quick, cpu, gpu-small, gpu or a YAML file
data = None  # another corpus, by name, or a text file with a sentence on each line
pairs = None  # scored sentence pairs to evaluate on: "sts", "lee" or a TSV file
layers = None  # targets, such as ["embeddings", "block2"]
transforms = None  # such as ["dropout", "pca-truncate"]
strengths = None  # p, such as [0.2, 0.5]
seeds = None  # such as [0, 1, 2]

# %% tags=["hide-input"]
show.outside("sentences")

# %% [markdown]
# ## The live run

# %% tags=["remove-stderr"]
page = show.open_page("sentences", In, globals())

# %% [markdown]
# The baseline's two views are the sentence with some of its tokens deleted, each view its own. Bag of words
# and TF-IDF, which train nothing, do better.

# %% mystnb={"image": {"alt": "Spearman correlation of the baseline of the live run, one row for each arm, a dot for each seed: the trained network, the untrained one, bag of words and TF-IDF."}} tags=["hide-input"]
show.scores(page)

# %% tags=["hide-input"]
show.effects(page)

# %% [markdown]
# ## The recorded runs

# %% tags=["hide-input"]
show.progress(page)

# %% [markdown]
# Validation is the development part of STS-B. The references that are not trained, bag of words and
# TF-IDF, count as arms in the tables; a negative gain says that the trained network is ahead.

# %% tags=["hide-input"]
show.recorded(page)

# %% [markdown]
# Test figures of the baseline and of what it must be held against: the same network untrained, SimCSE's own
# views, words counted. "mean" is STS-B; the topic probe and STS12 to STS16 stand beside, which hold pairs of
# STS-B's own and are no second test.

# %% tags=["hide-input"]
show.references(page, ("sts12", "sts13", "sts14", "sts15", "sts16", "probe"))

# %% mystnb={"image": {"alt": "Gain in Spearman correlation over the baseline by target layer in the recorded pilot, two seeds as dots, means joined, for each transform that is recorded."}} tags=["hide-input"]
show.gain_by_depth(page, "pilot")

# %% [markdown]
# With PCA both seeds of the pilot stand above their baselines, at the last target by nearly as much as training
# itself brought; with dropout they stand below. The topic probe shows nothing of it, TF-IDF stays far ahead, and
# neither the baseline nor the arms were tuned. So it is a lead for a study of its own, and no evidence.

# %% mystnb={"image": {"alt": "Training loss and validation Spearman correlation against epochs in the recorded pilot, for the baseline, no input augmentation and each target."}} tags=["hide-input"]
show.learning_curves(page, "pilot")

# %% tags=["hide-input"]
show.sealed(page)
