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
#
# | | |
# |---|---|
# | **Claim under test** | C7: stop-gradient, an option of the paper's first version, is useful |
# | **Trains** | one chosen arm with the gradient flowing through the target, and with the target *detached* on one view or both; with one view transformed or both |
# | **Measures** | the primary metric of each modality, in points over the baseline with the same seed ([protocol](protocol.ipynb)), and the norm of the gradient below the target |
# | **Needs** | `quick`: nothing; larger profiles as the pages of the modalities |
# | **Takes** | `quick`: about a minute on two cores |
#
# A detached target sends no gradient to the layers below it. Detached on both views, these layers never
# learn; detached on the one transformed view, they learn from the plain view alone. The screen may choose
# among these ways: the method is given its best. Two controls stand
# beside: the *same mask* in both views, which leaves regularisation but no difference between views, and
# Gaussian *noise* of the same norm. To run this page with other settings, see
# [Rerun a page](../rerun.md).

# %% tags=["parameters"]
profile = "quick"  # quick, cpu, gpu-small, gpu or a YAML file
parts = None  # modalities or data sets alone, such as ["vision"]
transforms = None  # such as ["dropout", "pca-truncate"]
strengths = None  # p, such as [0.2, 0.5]
seeds = None  # such as [0, 1, 2]

# %% tags=["remove-stderr"]
from deepaug.pages import notebooks

notebooks.check_injected(In, {"profile", "parts", "transforms", "strengths", "seeds"})  # noqa: F821

from deepaug.pages import page as pages

page = pages.open_page(
    "stop-gradient", profile, parts=parts, transforms=transforms, strengths=strengths, seeds=seeds
)

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
#
# Computed when this page was built. It shows how the experiment works; a run this small is never
# evidence.

# %% tags=["remove-input"]
pages.show_conditions(page)

# %% mystnb={"image": {"alt": "Difference of each arm to the baseline, one row for each arm and one figure for each modality: gradient flowing, detached on one view and on both, one view transformed, same mask, noise; a dot for each seed."}} tags=["remove-input"]
pages.differences(page.live, page.study.profile)

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
pages.gradient_norms(page.live, page.study.profile)

# %% [markdown]
# ## The recorded runs
#
# Larger runs are read from the repository's `results/`, never started from this page. A **pilot**
# has two seeds and a few arms: it shows that the machine runs and judges nothing. The effects
# that C7 asks for, each way against the baseline and against both views with the gradient flowing, come
# from the confirm stage. The recorded pilots are of images and of the two studies that enter no verdict,
# [sentences](sentences.ipynb) and [small graphs](graphs.ipynb).

# %% tags=["remove-input"]
pages.show_progress(page)

# %% mystnb={"image": {"alt": "Difference of each arm to the baseline in the recorded pilots, one row for each arm and one figure for each modality, two seeds as dots."}} tags=["remove-input"]
for study, pilot in page.recorded("pilot"):
    pages.differences(pilot, f"{study.profile} pilot, no verdict")

# %% mystnb={"image": {"alt": "Norm of the gradient below the target against epochs in the recorded pilots, a line for each arm and a figure for each modality."}} tags=["remove-input"]
for study, pilot in page.recorded("pilot"):
    pages.gradient_norms(pilot, f"{study.profile} pilot")

# %% tags=["remove-input"]
pages.show_recorded(page)

# %% [markdown]
# Metrics of arms on this page are those of **validation**. What is a test metric of anything but
# baselines is read by the verdict code alone, once, after the confirm stage.
