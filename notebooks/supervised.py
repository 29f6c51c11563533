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
# # The supervised twins

# %% tags=["remove-input", "remove-stderr"]
from deepaug.pages import show

show.header("supervised")

# %% [markdown]
# The twin of images learns their classes, that of text the topics of documents, that of graphs the classes
# of the nodes that it is told. Twins see the same samples in the same views; contrast pulls the two views
# together, cross-entropy labels both.

# %% tags=["parameters"]
profile = "quick"  # quick, cpu, gpu-small, gpu or a YAML file
parts = None  # modalities or data sets alone, such as ["vision"]
transforms = None  # such as ["dropout", "pca-truncate"]
strengths = None  # p, such as [0.2, 0.5]
seeds = None  # such as [0, 1, 2]

# %% [markdown]
# ## The live run

# %% tags=["remove-stderr"]
page = show.open_page("supervised", In, globals())

# %% mystnb={"image": {"alt": "Gain over its own baseline in points against the target layer, one panel for each modality on one scale: contrastive training solid, supervised training dashed, dropout and PCA by colour, a dot for each seed."}} tags=["remove-input"]
show.gain_by_depth(page)

# %% [markdown]
# If the effect were inverse, solid lines would lie above zero and dashed ones below. Each line is held
# against the baseline of its own training, without a transform. The live run has no text, because
# the documents of `quick` have no topics.

# %% tags=["remove-input"]
show.effects(page)

# %% [markdown]
# ## The recorded runs

# %% tags=["remove-input"]
show.progress(page)

# %% [markdown]
# The verdict on C2, an interaction (gain by contrast minus gain of the twin), comes from the confirm stage. A
# twin is transformed in its arm's way.
#
# The arms are those that the screen of contrastive training chose; a supervised screen might choose others.
# C2 asks whether what helps contrast helps its twin, not which training gains more at its best.
#
# The recorded pilots are of images and of the two studies that enter no verdict:
# [sentences](sentences.ipynb), whose twin learns the topics of WordNet, read out by a linear probe, and
# [small graphs](graphs.ipynb). Small graphs leave a fifth of theirs out of both trainings, because a twin
# that has seen a label cannot be judged on it; of MUTAG that leaves 19 to test on, 5.3 points each.

# %% tags=["remove-input"]
show.recorded(page)

# %% mystnb={"image": {"alt": "Gain over its own baseline in points against the target layer in the recorded pilots, one panel for each modality on one scale: contrastive training solid, supervised training dashed, two seeds as dots."}} tags=["remove-input"]
show.gain_by_depth(page, "pilot")

# %% tags=["remove-input"]
show.sealed(page)
