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

# %% tags=["remove-input", "remove-stderr"]
from deepaug.pages import show

show.header("text")

# %% tags=["parameters"]
profile = "quick"  # quick, cpu, gpu-small, gpu or a YAML file
data = None  # another corpus by name, a folder of texts by class, or a text or TSV file
pairs = None  # evaluate on "halves" of held-out documents, or on "none": on topics
layers = None  # targets, such as ["embeddings", "block2"]
transforms = None  # such as ["dropout", "pca-truncate"]
strengths = None  # p, such as [0.2, 0.5]
seeds = None  # such as [0, 1, 2]

# %% [markdown]
# ## The live run

# %% tags=["remove-stderr"]
page = show.open_page("text", In, globals())

# %% mystnb={"image": {"alt": "Gain in accuracy over the baseline in points against the target layer, from the input to the last, for dropout and PCA: a dot for each seed, a line through the means, bars for 95 % intervals."}} tags=["remove-input"]
show.gain_by_depth(page)

# %% [markdown]
# The baseline's two views are two crops of a document, each at a place of its own. Without that
# ("no-augmentation") the two views are the same crop. The deeper the target, the further right.
# Bag of words, TF-IDF and LSA, which train nothing, stand beside in the next figure; a small network that
# starts from nothing may lose to them.

# %% mystnb={"image": {"alt": "Accuracy of every arm of the live run, one row for each arm, a dot for each seed and a bar for the mean; the untrained network and training without augmentation among them."}} tags=["remove-input"]
show.scores(page)

# %% mystnb={"image": {"alt": "Learning curves against epochs, above training loss and below validation accuracy, for the baseline, training without input augmentation and the deepest target."}} tags=["remove-input"]
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
show.scale(page, "sentences")

# %% [markdown]
# ### Scale and pilot
#
# References that are not trained (bag of words, TF-IDF, LSA) count as arms in the tables; a negative
# gain says that the trained network is ahead.

# %% tags=["remove-input"]
show.recorded(page)

# %% [markdown]
# Test figures of the baseline and of what it must be held against. "mean" is the kNN of topics; the linear
# probe of topics stands beside.

# %% tags=["remove-input"]
show.references(page, ("probe",))

# %% mystnb={"image": {"alt": "Gain in accuracy over the baseline by target layer in the recorded pilot on 20 Newsgroups, two seeds as dots, means joined, for each transform that is recorded."}} tags=["remove-input"]
show.gain_by_depth(page, "pilot")

# %% mystnb={"image": {"alt": "Training loss and validation accuracy against epochs in the recorded pilot on 20 Newsgroups, for the baseline, no input augmentation and each target."}} tags=["remove-input"]
show.learning_curves(page, "pilot")

# %% tags=["remove-input"]
show.sealed(page)
