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
# # Protocol
#
# What stays the same in every experiment: what is compared, on which seeds, and by which rules a claim
# is judged. Rules and settings are data, in `deepaug/studies/claims.yaml` and `deepaug/studies/profiles/`; all tables on
# this page are made from them. The rules were committed before the first run that they judge, and the
# repository's history shows the order.

# %% tags=["hide-input", "remove-stderr"]
from deepaug.pages import figures, protocol, show

figures.use_style()
show.header("protocol")

# %% [markdown]
# ## What is compared
#
# An **arm** is one way of training: a target layer, a transform, its strength and the way it is applied.
# Its effect is its test metric at the last epoch minus the baseline's, **in points, paired by seed**. One
# seed fixes six separate random streams: initialisation, training subset, order, views, transform, and the
# network's own dropout. So two arms with one seed start from the same weights and see the same views; what
# is left is the transform. Where a modality has several data sets, each seed counts by the mean over them.
# Nothing is paired across kinds of device (a processor, a model of GPU), precisions or versions of torch.
#
# The baseline is **tuned first**, by configurations that cost as much as the arms. Every arm stands on the
# tuned baseline, and differs from it in its transform alone.
#
# Three bases enter the verdicts:

# %% tags=["hide-input"]
protocol.table(protocol.bases())

# %% [markdown]
# A base enters only if its baseline beats random initialisation clearly (see Scale below). These do
# not; what was recorded of them is kept and shown, on pages of their own:
# [sentences](sentences.ipynb) and [small graphs](graphs.ipynb).

# %% tags=["hide-input"]
protocol.table(protocol.outside())

# %% [markdown]
# ### Ways of applying a transform
#
# A **detached** target sends no gradient to the layers below it. The screen chooses among three of these
# ways, and a supervised twin has its arm's. A detached target changes training by itself: an arm that the screen
# chooses detached is also held against the same way without a transform, at p = 0. The other ways, of C7, are not.

# %% tags=["hide-input"]
protocol.table(protocol.ways())

# %% [markdown]
# ## Stages
#
# Seeds that choose never judge. Until every claim that a run serves is judged, only the verdict code reads its test
# metrics (baselines apart); exploratory analyses read them afterwards. How many seeds there are is fixed beforehand.

# %% tags=["hide-input"]
protocol.table(protocol.stages())

# %% [markdown]
# ## What is measured for each claim

# %% tags=["hide-input"]
protocol.table(protocol.claims())

# %% tags=["hide-input"]
protocol.say("family")

# %% [markdown]
# ## Verdicts
#
# A **test** gets the first of these words that applies; what δ is stands below them.

# %% tags=["hide-input"]
protocol.table(protocol.verdicts("test"))

# %% tags=["hide-input"]
protocol.say("deltas")

# %% [markdown]
# A **cell** is a claim in one modality. It gets the first of these words that applies to its tests:

# %% tags=["hide-input"]
protocol.table(protocol.verdicts("cell"))

# %% [markdown]
# Always *at this scale*: that of the profile the records come from. *Inconclusive* is what an interval
# says; it never stands for seeds, runs or controls that are missing.

# %% tags=["hide-input"]
protocol.say("diverged")

# %% [markdown]
# ## Controls
#
# Each takes one ingredient of an arm away.

# %% tags=["hide-input"]
protocol.table(protocol.controls())

# %% [markdown]
# References are neither trained nor controls: they are what a reader would use instead.

# %% tags=["hide-input"]
protocol.table(protocol.controls("references"))

# %% [markdown]
# ## Scale
#
# A profile's scale is set on the baseline alone. Resolution, depth and the number of samples pay for a wide
# last stage, because a narrow network has little redundancy to drop.

# %% tags=["hide-input"]
protocol.say("scale")

# %% [markdown]
# The tables below have the settings before tuning. What tuning chose, and the verdicts stand on, is told on each modality's
# own page.
#
# ## Images
#
# SimCLR {cite}`simclr`; `gpu` as lightly {cite}`lightly` trains it on CIFAR-10 {cite}`cifar`: random
# resized crop (area 0.08 to 1), mirror image, colour jitter 0.4/0.4/0.4/0.1 for 80 % of the images, grey for
# 20 %, no blur; SGD with momentum 0.9, a cosine without warm-up; projector features–features–128 with batch
# normalisation. The two views go through the network in two forward passes, so that batch normalisation and
# PCA see one view's statistics at a time. Views belong to the data: digits are cropped to half their area at
# least, and neither mirrored nor recoloured; grey clothes are not recoloured.
#
# A tenth of the training images (the same ones for every seed) is the validation set; the subset trained on,
# drawn by the seed from the rest, is also the bank of the kNN. `cifar10-jpeg` is CIFAR-10 stored as JPEG
# files: slightly lossy, hence a name of its own.

# %% tags=["hide-input"]
protocol.table(protocol.settings("vision"))

# %% [markdown]
# ## Text
#
# Two random crops of a document are its two views, each at a place of its own, as in Contriever's
# independent cropping {cite}`contriever`. The encoder is a small BERT {cite}`bert` from nothing, with
# byte-pair encoding learnt from the corpus; its features are the mean over tokens. Padding enters neither
# attention nor pooling nor the statistics of PCA. The corpus is 20 Newsgroups {cite}`newsgroups` by date,
# without headers, footers and quotes; a tenth of its training documents is the validation set. The twin
# learns the topics. In `quick` the documents are Lee's {cite}`lee` and have no topics: there one half of a
# held-out document is to find the other half among all of them.

# %% tags=["hide-input"]
protocol.table(protocol.settings("text"))

# %% [markdown]
# ## Graphs
#
# GRACE {cite}`grace`: two views of one graph, each with edges dropped and feature columns masked at rates of
# its own, through a GCN {cite}`gcn`; a node is to find itself in the other view, among the nodes in the loss.
# Training sees all nodes, without labels. Cora and CiteSeer {cite}`planetoid`; on a GPU DBLP
# {cite}`citationfull` as well. The twin learns the classes of the training nodes. The verdicts stand on three
# layers, which give four targets; GRACE's own two are run for its published figures.

# %% tags=["hide-input"]
protocol.table(protocol.settings("nodes"))

# %% [markdown]
# ## Budget
#
# Reckoned for two cores that do nothing else, and train two trials side by side, one thread each: from the seconds
# of the fastest quarter of the recorded trials of a kind, and where none is recorded from what the profile says of its
# trials. What was spent in fact stands under [Compute](compute.ipynb). A trial that
# several stages share is counted once, where it comes first. A stage that waits for a choice is counted by one
# that is assumed.

# %% tags=["hide-input"]
rows = protocol.budget("cpu")
protocol.show_spent(rows)

# %% mystnb={"image": {"alt": "Hours on two cores that each modality takes by plan, one bar for each, its stages stacked, with a line at the hours that the rules allow."}} tags=["hide-input"]
protocol.hours(rows)

# %% tags=["hide-input"]
protocol.show_budget(rows)
