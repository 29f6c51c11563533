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
# # Do layers depend on each other?

# %% tags=["hide-input", "remove-stderr"]
from deepaug.pages import answers, coadaptation, show

records = show.records("co-adaptation")
answers.say("C4")

# %% mystnb={"image": {"alt": "C4: differences of the shares that frozen copies lose, a row for each modality and test, each interval against the band of what is negligible."}} tags=["hide-input"]
answers.figure("C4")

# %% [markdown]
# ## What it means

# %% tags=["hide-input"]
answers.meaning("C4")

# %% [markdown]
# ## The idea
#
# Layers that are trained together may come to rely on each other: what one computes is of use only to the
# very layers above it. Such layers are *co-adapted*. The paper says that self-supervised learning exhibits
# co-adaptation, and that Deep Augmentation alleviates it.
#
# Yosinski and others {cite}`yosinski` showed how to measure it. Cut a trained network in two. Keep what lies
# below the cut, begin anew above it, and train again as long as before. If the lower layers serve any upper
# ones, little is lost. If they only served those they were trained with, the new upper layers cannot make up
# for it, as long as the lower ones stay *frozen*. Beside it trains a second copy whose lower layers are *free*
# to learn. Both copies begin at the same weights and see the same views. Co-adaptation is
# not the only difference between them: the free copy's lower layers train twice as long, which matters while a network
# can still learn more. The measure is a share of what training achieves:
#
# $$\text{relative drop} = \frac{\text{free} - \text{frozen}}{\text{whole network} - \text{random initialisation}}$$
#
# Three trainings are compared: contrastive, supervised, and contrastive with the transform. Where the transform
# lies below the cut, it acts in the copies as well.
#
# ## At other cuts
#
# The verdict takes the middle cut of ten fresh seeds, by their test metrics. Other cuts, on three seeds, are
# exploratory, by their validation metrics.

# %% mystnb={"image": {"alt": "Scores of each training's network and of its copies at every cut, in the recorded exploratory runs."}} tags=["hide-input"]
coadaptation.copies(records, "exploratory")

# %% tags=["hide-input"]
coadaptation.drops(records, "exploratory")

# %% [markdown]
# ## How alike layers are
#
# A second, exploratory view: linear centred kernel alignment {cite}`cka` between what two layers represent, by
# the unbiased estimator, which is 1 for equal representations and about 0 for independent ones. It is taken on
# plain training samples, up to a thousand. Neighbouring layers are alike in any network; what matters is how far
# the likeness reaches.

# %% mystnb={"image": {"alt": "Centred kernel alignment of any two layers in the recorded exploratory runs, a row for each two layers, a mark for each training."}} tags=["hide-input"]
coadaptation.similarity(records, "exploratory")

# %% [markdown]
# ## How it was tested

# %% tags=["hide-input"]
show.header("co-adaptation")

# %% tags=["hide-input"]
answers.evidence(records, "C4")

# %% [markdown]
# ## Try it
#
# A run of a minute, on data that come along. Change the next cell and run the page again.

# %% tags=["parameters"]
profile = "quick"  # quick, cpu, gpu-small, gpu or a YAML file
parts = None  # modalities or data sets alone, such as ["vision"]
layers = None  # targets of the transform, of one modality alone
transforms = None  # such as ["dropout", "pca"]
strengths = None  # p, such as [0.2, 0.5]
seeds = None  # such as [0, 1, 2]

# %% tags=["remove-stderr"]
page = show.open_page("co-adaptation", In, globals())

# %% mystnb={"image": {"alt": "The live run: scores of each training's network and of its copies: a row for each training, marks for the untrained network, the frozen copy, the free copy and the whole network."}} tags=["hide-input"]
coadaptation.copies(page)

# %% tags=["hide-input"]
coadaptation.drops(page)

# %% [markdown]
# With so few seeds and so short a training the copies often end above the network they are of: they have
# trained on top of it. The difference between the two copies reflects co-adaptation, but also the longer training of
# the free copy's lower layers.

# %% mystnb={"image": {"alt": "The live run: centred kernel alignment of any two layers after the input, a row for each two layers, a mark for each training: near one for neighbours, less for layers that lie far apart."}} tags=["hide-input"]
coadaptation.similarity(page)

# %% [markdown]
# ### Two exercises
#
# 1. If nothing were co-adapted, where would the frozen copy end?
#
#    ```{dropdown} What to expect
#    With the free one, if the lower half had nothing left to learn: any lower half would serve any upper half.
#    ```
#
# 2. Set `strengths = [0.2]`. Should the drop with the transform move towards the plain one?
#
#    ```{dropdown} What to expect
#    If the transform is what changes it, yes: at p = 0 the two trainings are the same, run for run.
#    ```
