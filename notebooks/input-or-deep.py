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
# # Augment the input or a deep layer?
#
# | | |
# |---|---|
# | **Claim under test** | C3: targeting deeper layers outperforms augmenting the input |
# | **Trains** | the deep transform *alone*, with inputs left whole; the same transform *at the input*; against input augmentation alone (the baseline) |
# | **Measures** | the primary metric of each modality, in points over the baseline with the same seed ([protocol](protocol.ipynb)) |
# | **Needs** | `quick`: nothing; larger profiles as the pages of the modalities |
# | **Takes** | `quick`: about a minute on two cores |
#
# This page asks the second half of the claim (C3b); that gains grow with depth (C3a) is judged by this
# study's confirm stage, which puts the chosen transform at every layer, and pilots of it are on the pages
# of [images](vision.ipynb), [text](text.ipynb) and [graphs](nodes.ipynb). "Input augmentation" is what each
# baseline uses: crops and colours of images, two different crops of a document, dropped edges and masked
# features of a graph. To run this page with other settings, see [Rerun a page](../rerun.md).

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
    "input-or-deep", profile, parts=parts, transforms=transforms, strengths=strengths, seeds=seeds
)

# %% [markdown]
# | arm | input augmentation | transform |
# |---|---|---|
# | baseline | yes | none |
# | no-augmentation | none | none |
# | *layer transform p* | yes | at the layer |
# | … alone | none | at the layer |
# | … at-input | yes | at the input (text: the embeddings) |

# %% [markdown]
# ## The live run
#
# Computed when this page was built. It shows how the experiment works; a run this small is never
# evidence.

# %% tags=["remove-input"]
pages.show_conditions(page)

# %% mystnb={"image": {"alt": "Difference of each arm to input augmentation alone, one row for each arm and one figure for each modality: no augmentation, the deep transform with and without input augmentation, the transform at the input; a dot for each seed."}} tags=["remove-input"]
pages.differences(page.live, page.study.profile)

# %% [markdown]
# ## The recorded runs
#
# Larger runs are read from the repository's `results/`, never started from this page. A **pilot**
# has two seeds and a few arms: it shows that the machine runs and judges nothing. The verdict on
# C3 comes from the confirm stage, with the arm that each modality's screen chose, in its way, at its best
# target after the input. The recorded pilots are of images and of the two studies that enter no verdict,
# [sentences](sentences.ipynb) and [small graphs](graphs.ipynb).

# %% tags=["remove-input"]
pages.show_progress(page)

# %% tags=["remove-input"]
pages.show_superseded(page)

# %% mystnb={"image": {"alt": "Difference of each arm to input augmentation alone in the recorded pilots, one row for each arm and one figure for each modality, two seeds as dots."}} tags=["remove-input"]
for study, pilot in page.recorded("pilot"):
    pages.differences(pilot, f"{study.profile} pilot, no verdict")

# %% tags=["remove-input"]
pages.show_recorded(page)

# %% [markdown]
# Metrics of arms on this page are those of **validation**. What is a test metric of anything but
# baselines is read by the verdict code alone, once, after the confirm stage.
