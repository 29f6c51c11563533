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
# # Images: gain against depth
#
# | | |
# |---|---|
# | **Claim under test** | C1: Deep Augmentation improves contrastive learning |
# | **Trains** | SimCLR {cite}`simclr` on a ResNet, with dropout or PCA at one layer, against the same without |
# | **Measures** | weighted kNN accuracy on frozen features, in points over the baseline with the same seed ([protocol](../protocol.md)) |
# | **Needs** | `quick`: nothing, 5,000 embedded digits; larger profiles: CIFAR-10 |
# | **Takes** | `quick`: about a minute on two cores |
#
# To run this page with other settings, see [Rerun a page](../rerun.md).

# %% tags=["parameters"]
profile = "quick"  # quick, cpu, gpu or a YAML file
data = None  # another data set, by name or folder
layers = None  # targets, such as ["stage2", "pooled"]
transforms = None  # such as ["dropout", "pca-truncate"]
strengths = None  # p, such as [0.2, 0.5]
seeds = None  # such as [0, 1, 2]

# %% tags=["remove-stderr"]
from deepaug import notebooks

notebooks.check_injected(In, {"profile", "data", "layers", "transforms", "strengths", "seeds"})  # noqa: F821

import pandas as pd
from IPython.display import Markdown, display
from matplotlib import pyplot as plt

from deepaug import figures, modalities, studies, sweep

figures.use_style()
study = studies.load(
    "vision", profile, data=data, layers=layers, transforms=transforms, strengths=strengths,
    seeds=seeds,
)
# Of a larger profile this page runs the pilot at most; its long stages are for `deepaug run`.
stage = "quick" if "quick" in study.stages else "pilot"
sweep.run(study.stage_entries(stage), study.store, sweep.local_workers(study.base))
live = [r for r in study.recorded() if r[0].stage == stage]
metric = modalities.PRIMARY[study.base.modality]
targets = modalities.layers(study.base.modality, study.base.encoder)

# %% [markdown]
# ## The live run
#
# Computed when this page was built. It shows how the experiment works; a run this small is never
# evidence.

# %% tags=["remove-input"]
Markdown(figures.conditions(live))

# %% mystnb={"image": {"alt": "Gain in kNN accuracy over the baseline in points against target layer from input to pooled features, for dropout and PCA: a dot for each seed, a line through the means, bars for 95 % intervals."}} tags=["remove-input"]
table = figures.frame(live)
fig, ax = plt.subplots(figsize=(6.4, 4.4), layout="constrained")
figures.gain_by_depth(ax, table, metric, targets, f"{study.profile}: {study.base.data}")
plt.show()

# %% [markdown]
# Every seed is a dot, lines join the means, bars are 95 % intervals of the paired differences (three
# seeds give wide ones: the frame fits the dots and cuts the bars). The scores themselves, controls
# included:

# %% mystnb={"image": {"alt": "kNN accuracy of every arm of the live run, one row for each arm, a dot for each seed and a bar for the mean; the untrained network and training without augmentation among them."}} tags=["remove-input"]
fig, ax = plt.subplots(figsize=(6.4, 0.8 + 0.3 * table["arm"].nunique()), layout="constrained")
figures.scores(ax, table, metric, "validation kNN accuracy, %", "")
plt.show()

# %% mystnb={"image": {"alt": "Learning curves against epochs, above training loss and below validation kNN accuracy, for the baseline, training without augmentation and the deepest target."}} tags=["remove-input"]
fig, axes = plt.subplots(2, 1, figsize=(6.8, 6.4), sharex=True, layout="constrained")
shown = [r for r in live if r[0].trial.layer in ("none", targets[-1])]
figures.learning_curves(axes, shown, metric, "validation kNN accuracy, %")
plt.show()

# %% tags=["remove-input"]
figures.effects(table, metric)

# %% [markdown]
# ## The recorded runs
#
# Larger runs are read from the repository's `results/`, never started from this page. A **pilot**
# has two seeds and a few arms: it shows that the machine runs and judges nothing. The verdict on C1
# comes from the confirm stage, whose rules were committed before it.

# %% tags=["remove-input"]
recorded = {
    (name, which): entries
    for name in ("cpu", "gpu")
    if name != study.profile
    for larger in [studies.load("vision", name)]
    for which in larger.stages
    if (entries := [r for r in larger.recorded() if r[0].stage == which])
}
progress = []
for name in ("cpu", "gpu"):
    larger = studies.load("vision", name)
    for which, spec in larger.stages.items():
        entries = larger.stage_entries(which)
        done = sum(larger.store.read(entry.trial) is not None for entry in entries)
        state = f"{done} of {len(entries)} recorded" if entries else f"waits for the {spec.chosen_from}"
        progress.append({"profile": name, "stage": which, "records": state})
pd.DataFrame(progress).style.hide(axis="index").set_properties(**{"text-align": "left"})

# %% tags=["remove-input"]
rules = studies.rules()["scale"]
for (name, which), entries in recorded.items():
    if which in ("scale", "pilot"):
        display(Markdown(f"**{name}, {which}.** {figures.conditions(entries)}"))
        display(figures.effects(figures.frame(entries), metric))
    if which == "scale":
        needed, aim = (rules["above_random_initialisation"][study.base.modality],
                       rules["gain_from_doubled_epochs"]["aim_below"])
        display(Markdown(figures.scale_reached(figures.frame(entries), metric, needed, aim)))

# %% mystnb={"image": {"alt": "Gain in kNN accuracy over the baseline by target layer in the recorded pilot on CIFAR-10, two seeds as dots, means joined, for dropout and PCA."}} tags=["remove-input"]
pilots = [(name, entries) for (name, which), entries in recorded.items() if which == "pilot"]
if pilots:
    fig, axes = plt.subplots(
        1, len(pilots), figsize=(6.4 * len(pilots), 4.4), squeeze=False, layout="constrained"
    )
    for ax, (name, entries) in zip(axes[0], pilots, strict=True):
        title = f"{name} pilot: {entries[0][0].trial.data}, no verdict"
        figures.gain_by_depth(ax, figures.frame(entries), metric, targets, title)
    plt.show()

# %% mystnb={"image": {"alt": "Training loss and validation kNN accuracy against epochs in the recorded pilot, for the baseline, no augmentation and each target."}} tags=["remove-input"]
for name, entries in pilots:
    fig, axes = plt.subplots(2, 1, figsize=(6.8, 6.8), sharex=True, layout="constrained")
    figures.learning_curves(axes, entries, metric, "validation kNN accuracy, %")
    fig.suptitle(f"{name} pilot")
    plt.show()

# %% [markdown]
# Metrics on this page are those of the **validation** split. The test split of anything but
# baselines is read by the verdict code alone, once, after the confirm stage.
