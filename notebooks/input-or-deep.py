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

# %% tags=["remove-input", "remove-stderr"]
from deepaug.pages import show

show.header("input-or-deep")

# %% [markdown]
# This page asks the second half of the claim (C3b); that gains grow with depth (C3a) is judged by this
# study's confirm stage, which puts the chosen transform at every layer, and pilots of it are on the pages
# of [images](vision.ipynb), [text](text.ipynb) and [graphs](nodes.ipynb). "Input augmentation" is what each
# baseline uses: crops and colours of images, two different crops of a document, dropped edges and masked
# features of a graph.

# %% tags=["parameters"]
profile = "quick"  # quick, cpu, gpu-small, gpu or a YAML file
parts = None  # modalities or data sets alone, such as ["vision"]
transforms = None  # such as ["dropout", "pca-truncate"]
strengths = None  # p, such as [0.2, 0.5]
seeds = None  # such as [0, 1, 2]

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

# %% tags=["remove-stderr"]
page = show.open_page("input-or-deep", In, globals())

# %% mystnb={"image": {"alt": "Difference of each arm to input augmentation alone, one row for each arm and one figure for each modality: no augmentation, the deep transform with and without input augmentation, the transform at the input; a dot for each seed."}} tags=["remove-input"]
show.differences(page)

# %% [markdown]
# ## The recorded runs

# %% tags=["remove-input"]
show.progress(page)

# %% [markdown]
# The verdict on C3 comes from the confirm stage, with the arm that each modality's screen chose, in its way,
# at its best target after the input. The recorded pilots are of images and of the two studies that enter no verdict,
# [sentences](sentences.ipynb) and [small graphs](graphs.ipynb).

# %% mystnb={"image": {"alt": "Difference of each arm to input augmentation alone in the recorded pilots, one row for each arm and one figure for each modality, two seeds as dots."}} tags=["remove-input"]
show.differences(page, "pilot")

# %% tags=["remove-input"]
show.recorded(page)

# %% tags=["remove-input"]
show.sealed(page)
