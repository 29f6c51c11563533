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
# # How firm are the verdicts?
#
# A verdict is a function of choices: of a metric, of ten seeds, of one strength, of what was tuned. They were fixed
# beforehand, and no other choice counts. Here is what some others would have said. All of it is exploratory: it shows on
# what a verdict hangs, and changes none.

# %% [markdown]
# ## Another metric, one seed less, one data set
#
# Each run was read out by kNN and by a linear probe; one of them is the primary metric of its modality. Without a seed
# nine are left, and intervals are wider: a verdict that becomes *inconclusive* then has lost power. One that changes sides
# hangs on that seed. Graphs take the mean of two data sets; each stands alone here, too. An interval may lie beside zero and
# its test still be *inconclusive*: an interval is of one test, and a word counts all that are corrected together. And
# Student's t knows no bounds, so that an interval of Kendall's τ may pass −1.

# %% tags=["hide-input", "remove-stderr"]
from deepaug.pages import exploratory, figures, show

figures.use_style()
exploratory.firmness()

# %% [markdown]
# ## Other strengths, other settings
#
# The screen knew two strengths of each transform, on validation data. Here the primary arm stands at strengths beside the
# chosen one, at the same target and in the same way, on five of the seeds that judge. The last gain of each line is that
# over an untuned baseline, with the arm on the same settings; it is missing where tuning changed nothing. Images have one
# more: in training the transform shifts the statistics that BatchNorm keeps for evaluation, where no transform acts. There
# they are estimated again without it.

# %% mystnb={"image": {"alt": "Gain of the primary arm over its baseline in points against the strength of its transform, a line for each modality that is judged: seeds as dots, means joined, bars for 95 % intervals."}} tags=["hide-input"]
exploratory.gains_by_strength()

# %% [markdown]
# ## How it was done

# %% tags=["hide-input"]
show.header("robustness")
