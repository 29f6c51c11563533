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
# # Text: does it improve contrastive learning?

# %% tags=["hide-input", "remove-stderr"]
from deepaug.pages import answers, depths, show

records = show.records("text")
answers.say("C1", modality="text")

# %% mystnb={"image": {"alt": "C1 on 20 Newsgroups: every test of the arm against the tuned baseline and its controls, each interval against the band of what is negligible."}} tags=["hide-input"]
answers.figure("C1", modality="text")

# %% [markdown]
# ## What it means

# %% tags=["hide-input"]
answers.meaning("C1", modality="text")

# %% [markdown]
# ## Gain against depth
#
# The same transform at each target in turn, from the input to the last layer.

# %% mystnb={"image": {"alt": "Gain in accuracy over the baseline in points against the target layer, from the input to the last; every seed a dot, means joined."}} tags=["hide-input"]
depths.gain_by_depth(records, "text")

# %% [markdown]
# ## Controls

# %% tags=["hide-input"]
answers.controls("text")

# %% [markdown]
# ## How it was tested
#
# The two views are two crops of a document, each at a place of its own. Without that ("no-augmentation") both are the
# same crop. References that are not trained (bag of words, TF-IDF, LSA) count as arms in the tables: a negative gain says
# that the trained network is ahead. Most of them are far better features than what so small a network learns from nothing.
# What is tested is the difference that a transform makes to it.

# %% tags=["hide-input"]
show.header("text")

# %% tags=["hide-input"]
show.scale(records, "sentences")

# %% tags=["hide-input"]
answers.evidence(records, "C1", modality="text")

# %% [markdown]
# Test figures of the baseline and of what it must be held against. "mean" is the kNN of topics; the linear probe of
# topics stands beside.

# %% tags=["hide-input"]
show.references(records, ("probe",))

# %% mystnb={"image": {"alt": "Training loss and validation accuracy against epochs in the recorded pilot on 20 Newsgroups, for the baseline, no input augmentation and each target."}} tags=["hide-input"]
show.learning_curves(records, "pilot")

# %% [markdown]
# ## Try it
#
# A run of a minute, on data that come along. Change the next cell and run the page again.

# %% tags=["parameters"]
profile = "quick"  # quick, cpu, gpu-small, gpu or a YAML file
data = None  # another corpus by name, a folder of texts by class, or a text or TSV file
pairs = None  # evaluate on "halves" of held-out documents, or on "none": on topics
layers = None  # targets, such as ["embeddings", "block2"]
transforms = None  # such as ["dropout", "pca-truncate"]
strengths = None  # p, such as [0.2, 0.5]
seeds = None  # such as [0, 1, 2]

# %% tags=["remove-stderr"]
page = show.open_page("text", In, globals())

# %% mystnb={"image": {"alt": "The live run: gain in accuracy over the baseline in points against the target layer, for dropout and PCA; a dot for each seed, a line through the means."}} tags=["hide-input"]
show.gain_by_depth(page)

# %% [markdown]
# Every seed is a dot, lines join the means. From five seeds on bars are 95 % intervals of the paired differences; of
# fewer none is drawn. Bag of words, TF-IDF and LSA, which train
# nothing, stand beside:

# %% mystnb={"image": {"alt": "The live run: accuracy of every arm, one row for each arm, a dot for each seed and a bar for the mean; the untrained network and training without augmentation among them."}} tags=["hide-input"]
show.scores(page)

# %% mystnb={"image": {"alt": "The live run: above training loss and below validation accuracy against epochs, for the baseline, training without input augmentation and the deepest target."}} tags=["hide-input"]
show.learning_curves(page)

# %% tags=["hide-input"]
show.effects(page)

# %% [markdown]
# ### Two exercises
#
# 1. Set `transforms = ["dropout"]` and `layers = ["embeddings", "pooled"]`. Which of the two should hurt more at p = 0.5?
#
#    ```{dropdown} What to expect
#    At the embeddings each of many tokens loses half its numbers, and the mean over tokens averages that away. At the pooled features nothing averages any more.
#    ```
#
# 2. Set `strengths = [0.0]`. What must every gain be?
#
#    ```{dropdown} What to expect
#    Exactly zero. A transform with p = 0 changes nothing, and the arm sees the baseline's views in the baseline's order.
#    ```
