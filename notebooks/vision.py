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

# %% tags=["remove-input", "remove-stderr"]
from deepaug.pages import show

show.header("vision")

# %% tags=["parameters"]
profile = "quick"  # quick, cpu, gpu-small, gpu or a YAML file
data = None  # another data set, by name or folder
layers = None  # targets, such as ["stage2", "pooled"]
transforms = None  # such as ["dropout", "pca-truncate"]
strengths = None  # p, such as [0.2, 0.5]
seeds = None  # such as [0, 1, 2]

# %% [markdown]
# ## The live run

# %% tags=["remove-stderr"]
page = show.open_page("vision", In, globals())

# %% mystnb={"image": {"alt": "Gain in kNN accuracy over the baseline in points against the target layer, from the input to the last, for dropout and PCA: a dot for each seed, a line through the means, bars for 95 % intervals."}} tags=["remove-input"]
show.gain_by_depth(page)

# %% [markdown]
# Every seed is a dot, lines join the means, bars are 95 % intervals of the paired differences (three
# seeds give wide ones: the frame fits the dots and cuts the bars). The scores themselves, controls
# included:

# %% mystnb={"image": {"alt": "The kNN accuracy of every arm of the live run, one row for each arm, a dot for each seed and a bar for the mean; the untrained network and training without augmentation among them."}} tags=["remove-input"]
show.scores(page)

# %% mystnb={"image": {"alt": "Learning curves against epochs, above training loss and below validation kNN accuracy, for the baseline, training without input augmentation and the deepest target."}} tags=["remove-input"]
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
show.scale(page)

# %% [markdown]
# ### Scale and pilot

# %% tags=["remove-input"]
show.recorded(page)

# %% mystnb={"image": {"alt": "Gain in kNN accuracy over the baseline by target layer in the recorded pilot on CIFAR-10, two seeds as dots, means joined, for each transform that is recorded."}} tags=["remove-input"]
show.gain_by_depth(page, "pilot")

# %% mystnb={"image": {"alt": "Training loss and validation kNN accuracy against epochs in the recorded pilot on CIFAR-10, for the baseline, no input augmentation and each target."}} tags=["remove-input"]
show.learning_curves(page, "pilot")

# %% tags=["remove-input"]
show.sealed(page)
