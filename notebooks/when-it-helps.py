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
# # When does it help?
#
# The verdicts are about an arm on top of the usual input augmentation, at its best. Whoever has data without a known
# augmentation asks something else: what does the arm gain where the input is augmented less, or not at all? Exploratory:
# five of the seeds that judge, test metrics, no verdict.

# %% mystnb={"image": {"alt": "Gain of the primary arm over a baseline with as little input augmentation, in points, against the share of input augmentation from none to all: a line for each modality that is judged, seeds as dots, means joined, bars for 95 % intervals."}} tags=["hide-input", "remove-stderr"]
from deepaug.pages import exploratory, figures, show

figures.use_style()
exploratory.gains_by_augmentation()

# %% [markdown]
# ## What it means
#
# - *Without input augmentation* the two views of a sample are equal but for what the network itself draws, and the transform
#   is all that makes them differ. A gain there says that it can stand in for an augmentation that nobody knows. How much
#   of it, [input or deep](input-or-deep.ipynb) says: the same arm against the usual augmentation.
# - *With all of it* the gain is that of the verdict on C1, by half of its seeds.
# - *Not meant.* The arm was chosen on top of the full augmentation. Where there is none, another target or strength
#   might be better; none was looked for. Data without a known augmentation may differ from these in other ways, too.

# %% [markdown]
# ## How it was tested

# %% tags=["hide-input"]
show.header("when-it-helps")

# %% tags=["hide-input"]
show.progress(show.records("when-it-helps"))

# %% [markdown]
# ## Try it
#
# A run of half a minute, on data that come along. Change the next cell and run the page again.

# %% tags=["parameters"]
profile = "quick"  # quick, cpu, gpu-small, gpu or a YAML file
parts = None  # modalities or data sets alone, such as ["vision"]
transforms = None  # such as ["dropout", "pca"]
strengths = None  # p, such as [0.2, 0.5]
seeds = None  # such as [0, 1, 2]

# %% tags=["remove-stderr"]
page = show.open_page("when-it-helps", In, globals())

# %% mystnb={"image": {"alt": "The live run: gain in points against the share of input augmentation, a line for each modality, seeds as dots."}} tags=["hide-input"]
exploratory.live_by_augmentation(page)

# %% tags=["hide-input"]
show.effects(page)

# %% [markdown]
# ### Two exercises
#
# 1. Set `strengths = [0.2]`. Where do the digits gain most from the lighter dropout: with much input augmentation or with none?
#
#    ```{dropdown} What to expect
#    With none: the two views are then alike, and the transform is all that tells them apart. On top of all the augmentation it still costs something.
#    ```
#
# 2. Set `parts = ["nodes"]` and `transforms = ["pca"]`. Do both seeds agree on where PCA gains most?
#
#    ```{dropdown} What to expect
#    No. On so small a graph one seed's gain may lie more than ten points from the other's, and a mean of two says little.
#    ```
