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
# # Performance

# %% tags=["hide-input", "remove-stderr"]
from deepaug.pages import show

show.header("performance")

# %% [markdown]
# Arms take turns, round after round; warm-up steps do not count. Beside the peers each turn of each arm is a
# process of its own; the parts of a step, the cost of transforms and growth are timed within one process. A
# figure is a median over rounds with the range, and a ratio is taken within its round. Aims are goals of
# engineering that stand in `benchmarks/comparisons.yaml`; they are no verdict rules, and nothing in the book rests on
# them.

# %% tags=["hide-input", "remove-stderr"]
import sys

sys.path.append("../benchmarks")
import speed

from deepaug.pages import figures

figures.use_style()
AGREEMENTS = [f"{name}-agreement" for name in ("vision", "text", "crops", "nodes", "graphs")]
speed.show_answer(speed.comparisons("peers"), AGREEMENTS)
speed.show_conditions([
    "vision", "vision-agreement", "text", "text-agreement", "crops", "crops-agreement",
    "nodes", "nodes-agreement", "graphs", "graphs-agreement",
    "parts", "transforms", "together", "growth",
])

# %% [markdown]
# ## Beside the peers
#
# lightly runs as its CIFAR-10 recipe has it, in float32, with all cores as workers of its loader.
# "Equal precision" grants it bfloat16 or takes it from us. Views are the same distribution, drawn
# image by image there and for a whole batch on the device here; images lie decoded in memory on both
# sides.

# %% tags=["hide-input"]
speed.show_comparisons(speed.comparisons("peers"))

# %% mystnb={"image": {"alt": "Bars of images per second for each arm on ResNet-18: ours, lightly's and the encoder alone, in float32 and bfloat16; a dot for each round."}} tags=["hide-input"]
speed.rates("vision", "ResNet-18, width 64", of="resnet18")

# %% mystnb={"image": {"alt": "Bars of images per second for each arm on the small ResNet of the cpu profile: ours, lightly's and the encoder alone, in float32 and bfloat16; a dot for each round."}} tags=["hide-input"]
speed.rates("vision", "ResNet-10 of the cpu profile", of="narrow")

# %% mystnb={"image": {"alt": "Bars of samples per second for each arm of the text benchmark: ours, sentence-transformers and the encoder alone, in float32 and bfloat16; a dot for each round."}} tags=["hide-input"]
speed.rates("text", "sentences")

# %% mystnb={"image": {"alt": "Bars of samples per second for each arm of the benchmark of crops: ours, sentence-transformers and the encoder alone; a dot for each round."}} tags=["hide-input"]
speed.rates("crops", "crops of documents")

# %% mystnb={"image": {"alt": "Bars of nodes per second for ours, PyGCL and the encoder alone; a dot for each round."}} tags=["hide-input"]
speed.rates("nodes", "GRACE on Cora", "nodes per second")

# %% mystnb={"image": {"alt": "Bars of graphs per second for ours, PyGCL and the encoder alone; a dot for each round."}} tags=["hide-input"]
speed.rates("graphs", "graphs", "graphs per second")

# %% [markdown]
# Where a processor has no instructions for bfloat16, our bfloat16 rows are computed in float32, and the peer's in
# PyTorch's own way, which is slow: compare the float32 rows there.
# Sentences are batched by length here and padded to the longest of a shuffled batch there; sentence-transformers
# has no projection head, so ours is left out. PyGCL's encoder passes the plain graph a third time, as its example
# does.
#
# ## Do both sides learn the same?
#
# The same data, epochs and optimiser, then one evaluator and one loss (NT-Xent of the frozen features)
# for both encoders. Who is faster for doing less would learn less. *Alike* is a difference whose whole interval
# lies within ±δ of the verdict rules; with so few seeds an interval that merely holds zero shows little. The loss has no
# δ. Scores are medians over seeds, the difference is a mean of pairs, so that the two need not agree in the last digit.
# Known differences: sentence-transformers' trainer clips gradients and shuffles sentences of all lengths into a
# batch; PyGCL's views are three augmentations at 0.1, ours GraphCL's four at 0.2.

# %% tags=["hide-input"]
speed.show_agreement(AGREEMENTS)

# %% [markdown]
# ## How far from the machine's limit
#
# The ceiling is the encoder alone, forward and backward, on tensors that lie ready.

# %% tags=["hide-input"]
speed.show_comparisons(speed.comparisons("limit"))

# %% tags=["hide-input"]
speed.show_parts()

# %% [markdown]
# Parts are timed one by one and need not add up to the whole: by itself a part finds its data in the cache. Views
# of graphs are drawn for the whole set at once, hence an epoch.
#
# A GIN this small is bound by memory and by the number of its operations, the BERT of crops by its matrix
# products. Their encoders on tensors that lie ready are the ceilings above; how far a ceiling is above the peer's
# whole step is what any training with torch's own kernels could reach.

# %% tags=["hide-input"]
speed.show_comparisons(speed.comparisons("bound"))

# %% [markdown]
# ## What a transform costs
#
# A step of ResNet-18 (width 64, batch 128, bfloat16) with a transform at p = 0.5 in both views, over
# the same step without. A round times one step of each arm, and single steps of one arm differ by several per
# cent: of the dearest of seven layers the median errs upwards.

# %% mystnb={"image": {"alt": "Step time with dropout, PCA and truncated PCA at each layer of ResNet-18 over the step without, a dot for each round and a bar for the median."}} tags=["hide-input"]
speed.transform_cost()

# %% tags=["hide-input"]
speed.show_transform_cost({"dropout": 1.02, "pca": 1.10, "pca-truncate": 1.10})

# %% [markdown]
# PCA's basis is that of the batch at hand, computed anew in each pass. Where a sample has more positions than
# features, its projection is one small matrix, multiplied once.
#
# ## Several trials together
#
# Trials that differ in their seed alone: one after another with all cores, side by side with a core each
# (`deepaug run --workers`), or stacked into one network by `torch.func`. Stacking is given every favour
# (the same images for all, no loss, BatchNorm without running statistics).

# %% mystnb={"image": {"alt": "Bars of samples per second of all trials together: one after another, side by side, and two or four stacked into one network; a dot for each round."}} tags=["hide-input"]
speed.rates("together", "several trials")

# %% tags=["hide-input"]
speed.show_comparisons(speed.comparisons("together"))

# %% [markdown]
# ## How cost grows
#
# The `cpu` profile's ResNet-10 with views of 16 pixels: an epoch against its images, a step of 128
# images against the network's width, a step against its batch.

# %% mystnb={"image": {"alt": "Three panels with logarithmic axes: milliseconds of an epoch against images, of a step against width, and of a step against batch size, each with a dotted line of proportional growth."}} tags=["hide-input"]
speed.growth()

# %% [markdown]
# ## Peak memory
#
# Of the whole process tree, watched from outside; what processes share counts once.

# %% tags=["hide-input"]
for name in ("vision", "text", "crops", "nodes", "graphs"):
    speed.show_memory(name)
