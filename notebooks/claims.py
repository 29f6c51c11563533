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
# # Claims and verdicts
#
# What the records say of each claim, by rules that were fixed before the runs that judge. Everything on this page is made
# from the
# records by `deepaug claims`; nothing is typed by hand.

# %% tags=["hide-input", "remove-stderr"]
from deepaug.pages import answers, figures, home

figures.use_style()
home.verdicts()

# %% tags=["hide-input"]
answers.scales()

# %% [markdown]
# A test is *supported*, *opposed*, *negligible* or *inconclusive*. A claim in one modality is supported,
# or negligible, if all its tests are; opposed if at least one test is opposed and none supported; *mixed* where one is
# supported and another opposed ([the words](protocol.ipynb)). Always at the scale of its runs. What is still *running* has
# no verdict, and a base that has hardly learnt gets none.
#
# In the figures the dot is the mean, the line its 95 % interval, and the grey band what counts as negligible. Right of zero
# is the claim's side. Filled dots are the tests of the family, which are corrected together; hollow ones are secondary and
# judged alone. Blue is dropout, orange
# PCA.

# %% [markdown]
# ## C1

# %% tags=["hide-input"]
answers.say("C1")

# %% mystnb={"image": {"alt": "C1: the arm minus the tuned baseline, a row for each modality and test, each interval against the band of what is negligible."}} tags=["hide-input"]
answers.figure("C1")

# %% tags=["hide-input"]
answers.meaning("C1")
answers.behind("C1")

# %% [markdown]
# ## C2

# %% tags=["hide-input"]
answers.say("C2")

# %% mystnb={"image": {"alt": "C2: the gain in contrastive training minus that in the supervised twin, a row for each modality and test, each interval against the band of what is negligible."}} tags=["hide-input"]
answers.figure("C2")

# %% tags=["hide-input"]
answers.meaning("C2")
answers.behind("C2")

# %% [markdown]
# ## C3a

# %% tags=["hide-input"]
answers.say("C3a")

# %% mystnb={"image": {"alt": "C3a: rank correlation of depth and gain, a row for each modality, each interval against the band of what is negligible."}} tags=["hide-input"]
answers.figure("C3a")

# %% tags=["hide-input"]
answers.meaning("C3a")
answers.behind("C3a")

# %% [markdown]
# ## C3b

# %% tags=["hide-input"]
answers.say("C3b")

# %% mystnb={"image": {"alt": "C3b: the deep arm alone against input augmentation, and against the same transform at the input, a row for each modality and test, each interval against the band of what is negligible."}} tags=["hide-input"]
answers.figure("C3b")

# %% tags=["hide-input"]
answers.meaning("C3b")
answers.behind("C3b")

# %% [markdown]
# ## C4

# %% tags=["hide-input"]
answers.say("C4")

# %% mystnb={"image": {"alt": "C4: differences of the shares that frozen copies lose, a row for each modality and test, each interval against the band of what is negligible."}} tags=["hide-input"]
answers.figure("C4")

# %% tags=["hide-input"]
answers.meaning("C4")
answers.behind("C4")

# %% [markdown]
# ## C5

# %% tags=["hide-input"]
answers.say("C5")

# %% mystnb={"image": {"alt": "C5: gain at the layer that the score chooses minus that of other choices, a row for each modality and test, each interval against the band of what is negligible."}} tags=["hide-input"]
answers.figure("C5")

# %% tags=["hide-input"]
answers.meaning("C5")
answers.behind("C5")

# %% [markdown]
# ## C6

# %% tags=["hide-input"]
answers.say("C6")

# %% [markdown]
# ## C7

# %% tags=["hide-input"]
answers.say("C7")

# %% mystnb={"image": {"alt": "C7: each way of applying the transform minus the baseline and minus both views, a row for each modality and way, each interval against the band of what is negligible."}} tags=["hide-input"]
answers.figure("C7")

# %% tags=["hide-input"]
answers.meaning("C7")
answers.behind("C7")

# %% [markdown]
# ## When records arrive
#
# A verdict is a function of the records: it changes when records that it waits for arrive, and in no other way.
# Each number of seeds is fixed beforehand, so a verdict appears once all of its seeds are there; more seeds do not
# move it. Records of another kind of machine make verdicts of their own profile, or take part only in pairs of
# which they are both halves. `deepaug claims --check` looks at every record, also at those that are sent in
# ([how to send some](../many-trials.md)).
#
# Where we have read the paper wrongly, the mistake is noted under [Deviations](../deviations.md), with what it
# changes here; an issue form asks for what is needed to decide. A rule that turns out wrong is changed with a note
# under [Changes of the rules](../claims.md), and judges fresh seeds alone.
