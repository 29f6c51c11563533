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

# %% tags=["remove-input", "remove-stderr"]
from deepaug.pages import show

show.header("stop-gradient")

# %% [markdown]
# A detached target sends no gradient to the layers below it. Detached on both views, these layers never
# learn; detached on the one transformed view, they learn from the plain view alone. The screen may choose
# among these ways: the method is given its best. Two controls stand beside: the *same mask* in both views,
# which leaves regularisation but no difference between views, and Gaussian *noise* of the same norm.

# %% tags=["parameters"]
profile = "quick"  # quick, cpu, gpu-small, gpu or a YAML file
parts = None  # modalities or data sets alone, such as ["vision"]
transforms = None  # such as ["dropout", "pca-truncate"]
strengths = None  # p, such as [0.2, 0.5]
seeds = None  # such as [0, 1, 2]

# %% [markdown]
# | arm | transformed | target detached |
# |---|---|---|
# | *layer transform p* | both views | no |
# | … detached-one | both views | on the first |
# | … detached | both views | on both |
# | … one-view | the first | no |
# | … one-view-detached | the first | on the first |
# | … same-mask | both, by one draw | no |
# | … noise | both, by noise of the same norm | no |

# %% [markdown]
# ## The live run

# %% tags=["remove-stderr"]
page = show.open_page("stop-gradient", In, globals())

# %% mystnb={"image": {"alt": "Difference of each arm to the baseline, one row for each arm and one figure for each modality: gradient flowing, detached on one view and on both, one view transformed, same mask, noise; a dot for each seed."}} tags=["remove-input"]
show.differences(page)

# %% [markdown]
# The proof that the switch does what it says: the norm of the gradient in all layers up to the target, at
# the last step of each epoch. Detached on both views it is exactly zero: in the ResNet, the Transformer and
# the GCN nothing leads around the target. The GIN of small graphs, among the recorded pilots, is another
# matter. There every layer feeds the readout directly: the layers below a detached target still learn by
# that way, and the norm falls but does not vanish.
#
# The control with the same mask in both views has a flaw worth knowing: a sample's own mask, met again in
# the other view, tells it from all others. Where a network finds that out, the loss and with it the gradient
# fall to next to nothing, and little is learnt of the data.

# %% mystnb={"image": {"alt": "Norm of the gradient below the target against epochs, a line for each arm and a figure for each modality: zero where the target is detached on both views."}} tags=["remove-input"]
show.gradient_norms(page)

# %% [markdown]
# ## The recorded runs

# %% tags=["remove-input"]
show.progress(page)

# %% [markdown]
# The effects that C7 asks for, each way against the baseline and against both views with the gradient flowing,
# come from the confirm stage. The recorded pilots are of images and of the two studies that enter no verdict,
# [sentences](sentences.ipynb) and [small graphs](graphs.ipynb).

# %% mystnb={"image": {"alt": "Difference of each arm to the baseline in the recorded pilots, one row for each arm and one figure for each modality, two seeds as dots."}} tags=["remove-input"]
show.differences(page, "pilot")

# %% mystnb={"image": {"alt": "Norm of the gradient below the target against epochs in the recorded pilots, a line for each arm and a figure for each modality."}} tags=["remove-input"]
show.gradient_norms(page, "pilot")

# %% tags=["remove-input"]
show.recorded(page)

# %% tags=["remove-input"]
show.sealed(page)
