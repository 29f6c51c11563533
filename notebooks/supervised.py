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
# # The supervised twins
#
# | | |
# |---|---|
# | **Claim under test** | C2: on the corresponding supervised problems the effect of Deep Augmentation is inverse |
# | **Trains** | every network twice, by contrast and by cross-entropy: same encoder, data, epochs, targets and transforms |
# | **Measures** | gain over its own baseline, both read out by one evaluator on frozen features: the primary metric of each modality ([protocol](protocol.ipynb)) |
# | **Needs** | `quick`: nothing; larger profiles as the pages of the modalities |
# | **Takes** | `quick`: about a minute on two cores |
#
# The twin of images learns their classes, that of text the topics of documents, that of graphs the classes
# of the nodes that it is told. Twins see the same samples in the same views; contrast pulls the two views
# together, cross-entropy labels both. To run this page with other settings, see
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
    "supervised", profile, parts=parts, transforms=transforms, strengths=strengths, seeds=seeds
)

# %% [markdown]
# ## The live run
#
# Computed when this page was built. It shows how the experiment works; a run this small is never
# evidence.

# %% tags=["remove-input"]
pages.show_conditions(page)

# %% mystnb={"image": {"alt": "Gain over its own baseline in points against the target layer, one panel for each modality on one scale: contrastive training solid, supervised training dashed, dropout and PCA by colour, a dot for each seed."}} tags=["remove-input"]
pages.gain_by_depth(page.live, page.study.profile, pages.by_labels)

# %% [markdown]
# If the effect were inverse, solid lines would lie above zero and dashed ones below. Each line is held
# against the baseline of its own training, without a transform. The live run has no text, because
# the documents of `quick` have no topics.

# %% tags=["remove-input"]
pages.show_effects(page, pages.by_labels)

# %% [markdown]
# ## The recorded runs
#
# Larger runs are read from the repository's `results/`, never started from this page. A **pilot**
# has two seeds and a few arms: it shows that the machine runs and judges nothing. The verdict on
# C2, an interaction (gain by contrast minus gain of the twin), comes from the confirm stage. A twin is
# transformed in its arm's way.
#
# The arms are those that the screen of contrastive training chose; a supervised screen might choose others.
# C2 asks whether what helps contrast helps its twin, not which training gains more at its best.
#
# The recorded pilots are of images and of the two studies that enter no verdict:
# [sentences](sentences.ipynb), whose twin learns the topics of WordNet, read out by a linear probe, and
# [small graphs](graphs.ipynb). Small graphs leave a fifth of theirs out of both trainings, because a twin
# that has seen a label cannot be judged on it; of MUTAG that leaves 19 to test on, 5.3 points each.

# %% tags=["remove-input"]
pages.show_progress(page)

# %% tags=["remove-input"]
pages.show_superseded(page)

# %% tags=["remove-input"]
pages.show_recorded(page, pages.by_labels)

# %% mystnb={"image": {"alt": "Gain over its own baseline in points against the target layer in the recorded pilots, one panel for each modality on one scale: contrastive training solid, supervised training dashed, two seeds as dots."}} tags=["remove-input"]
for study, pilot in page.recorded("pilot"):
    pages.gain_by_depth(pilot, f"{study.profile} pilot, no verdict", pages.by_labels)

# %% [markdown]
# Metrics of arms on this page are those of **validation**. What is a test metric of anything but
# baselines is read by the verdict code alone, once, after the confirm stage.
