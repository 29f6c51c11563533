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
# # Where the gradient stops, and how many views are transformed

# %% tags=["hide-input", "remove-stderr"]
from deepaug.pages import answers, show

records = show.records("stop-gradient")
answers.say("C7")

# %% mystnb={"image": {"alt": "C7: each way of applying the transform minus the baseline and minus both views, a row for each modality and way, each interval against the band of what is negligible."}} tags=["hide-input"]
answers.figure("C7")

# %% [markdown]
# ## What it means

# %% tags=["hide-input"]
answers.meaning("C7")

# %% [markdown]
# ## The proof that the switch works
#
# The norm of the gradient in all layers up to the target, at the last step of each epoch. Detached on both views it is
# exactly zero: in the ResNet, the Transformer and the GCN nothing leads around the target. The GIN of small graphs is another
# matter. There every layer feeds the readout directly: the layers below a detached target still learn by that way, and the
# norm falls but does not vanish.

# %% mystnb={"image": {"alt": "Norm of the gradient below the target against epochs in the recorded pilots, a line for each arm and a figure for each modality: zero where the target is detached on both views."}} tags=["hide-input"]
show.gradient_norms(records, "pilot")

# %% [markdown]
# ## The same mask twice: a control with a story
#
# Giving both views one and the same mask was meant to leave what regularises and take away what augments. But a sample's
# own mask, met again in the other view, may tell it from all others. Where a network finds that out, the loss falls, and
# with it the gradient. In the pilots above images do: the line of the same mask ends far below all others. On sentences the
# loss ends at less than half of that with two masks, the gradient only in one of two seeds; on small graphs neither falls.
# What it is worth:

# %% tags=["hide-input"]
show.same_mask(records)

# %% mystnb={"image": {"alt": "Difference of each arm to the baseline in the recorded pilots, one row for each arm and one figure for each modality, two seeds as dots."}} tags=["hide-input"]
show.differences(records, "pilot")

# %% [markdown]
# ## How it was tested
#
# A detached target sends no gradient to the layers below it. Detached on both views, these layers never learn; detached on
# the one transformed view, they learn from the plain view alone. The screen may choose among three of these ways (both
# views; one view; one view, detached): the method is given its best. The way it chose is the arm of C1 once more, here by
# five of that claim's ten seeds, so that its gain is not quite the same.
#
# | arm | transformed | target detached |
# |---|---|---|
# | *layer transform p* | both views | no |
# | … detached-one | both views | on the first |
# | … detached | both views | on both |
# | … one-view | the first | no |
# | … one-view-detached | the first | on the first |
# | … same-mask | both, by one draw | no |
# | … noise | both, by noise of the same norm | no |

# %% tags=["hide-input"]
show.header("stop-gradient")

# %% tags=["hide-input"]
answers.evidence(records, "C7")

# %% [markdown]
# ## Try it
#
# A run of a minute, on data that come along. Change the next cell and run the page again.

# %% tags=["parameters"]
profile = "quick"  # quick, cpu, gpu-small, gpu or a YAML file
parts = None  # modalities or data sets alone, such as ["vision"]
transforms = None  # such as ["dropout", "pca-truncate"]
strengths = None  # p, such as [0.2, 0.5]
seeds = None  # such as [0, 1, 2]

# %% tags=["remove-stderr"]
page = show.open_page("stop-gradient", In, globals())

# %% mystnb={"image": {"alt": "The live run: difference of each arm to the baseline, one row for each arm and one figure for each modality: gradient flowing, detached on one view and on both, one view transformed, same mask, noise; a dot for each seed."}} tags=["hide-input"]
show.differences(page)

# %% mystnb={"image": {"alt": "The live run: norm of the gradient below the target against epochs, a line for each arm and a figure for each modality: zero where the target is detached on both views."}} tags=["hide-input"]
show.gradient_norms(page)

# %% tags=["hide-input"]
show.effects(page)

# %% [markdown]
# ### Two exercises
#
# 1. Which layers still learn when the target is detached on both views?
#
#    ```{dropdown} What to expect
#    Those above it. The ones below stay as they were drawn, so the score says what a random lower half is worth.
#    ```
#
# 2. Set `strengths = [0.05]`. What happens to the same-mask control?
#
#    ```{dropdown} What to expect
#    On documents and on Cora it comes close to the arm: so small a mask is little to tell a sample by. On digits it stays behind. There even a small mask, met again in the other view, is a mark of its sample.
#    ```
