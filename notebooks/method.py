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
# # The method, step by step

# %% tags=["hide-input", "remove-stderr"]
from deepaug.pages import figures, show

figures.use_style()
show.header("method")

# %% [markdown]
# ## The idea
#
# SimCLR {cite}`simclr` makes two random views of every image and trains an encoder to give both of them like
# features, and views of other images unlike ones. What the views change, the encoder learns to ignore; what they leave
# alone, it may keep. So the views decide what is learnt, and people have to invent them. Crops and colours
# suit photographs. What may change in a sentence or in a molecule is harder to say.
#
# Deep Augmentation {cite}`deepaugmentation` moves the change inside the network. The views stay as they are;
# besides, the activations of *one chosen layer* are changed at random, by dropout or PCA, on their way to the
# next. Activations are numbers, whatever the data were, so that nothing new has to be invented for text or
# graphs. In code, two lines added to any PyTorch network:
#
# ```python
# import deepaug
# handle = deepaug.attach(model, "layer4", deepaug.PCA(0.5))
# ```
#
# From then on the output of `layer4` is transformed whenever the network is in training mode. In
# `eval()` it is bit for bit the plain network, and `handle.remove()` takes the change off.
#
# The intuition: in a deep layer, what is taken away is no longer some pixels but a part of what the network
# has made of the image. The layers above must recognise the image by what is left, and so cannot
# lean on any one part. That is a hope, not a result; how one would notice stands
# [further below](#why-depth-might-help). Only the abstracts of the paper are known here. Where they leave a
# choice open, it is [ours](../deviations.md).

# %%
import copy

import torch
from matplotlib import pyplot as plt
from torch.nn import functional as F

import deepaug
from deepaug.pages import coadaptation, touch
from deepaug.training import loop, registry
from deepaug.training.trial import Trial

# %% [markdown]
# ## A network to look at
#
# A small ResNet, trained here and now by SimCLR on a thousand digits. `deepaug.layers` lists the
# layers worth targeting, in the order in which they run:

# %% tags=["remove-stderr"]
trial = Trial(
    data="mnist-5k", samples=1000, encoder="resnet10", width=8,
    view_size=28, epochs=4, batch_size=50, temperature=0.2,
)
encoder = loop.run(trial, accelerator="cpu").encoder
digits = registry.load("vision").prepare(trial, torch.device("cpu"))
first, second = digits.views(epoch=0)(torch.arange(256))  # two views
outputs = touch.activations(encoder, first)
{layer: tuple(output.shape) for layer, output in outputs.items()}

# %% [markdown]
# ## One equation for both transforms
#
# Let $h$ be the features at one position of an activation, a vector of $f$ numbers: one number of each map
# for images, or one token, or one node. Let $\mu$ be a mean, let the columns of $V$ be orthonormal directions,
# and let $M$ be a diagonal matrix that each sample draws for itself. Then
#
# $$\tilde h = \mu + V M V^\top (h - \mu), \qquad M_{ii} \sim \frac{\mathrm{Bernoulli}(1 - p)}{1 - p}.$$
#
# The centred features are taken apart along the directions, each component is lost with probability $p$, the
# others grow by $1 / (1 - p)$, and the sum is put together again. As $\mathbb{E}\,M = I$, the expectation of
# $\tilde h$ is $h$. In `deepaug` the equation reads a little differently. For $x$, whose rows are the $h$,
#
# $$\tilde x = x + (x - \mu)\,V (M - I) V^\top.$$
#
# Where $V$ spans all directions the two are one. Where it does not, the second lets pass unchanged what no
# component spans, which the first loses. As code, for rows of shape (images, positions, features); every `assert`
# on this page held when it was built:

# %%
def rows(x):
    """The rows of an activation (n, f, h, w) or (n, f): (n, positions, f)."""
    return x.flatten(2).mT if x.ndim == 4 else x.unsqueeze(1)


def transformed(x, mean, V, M):
    """x + (x − μ)·V(M − I)Vᵀ; M (n, k) holds the diagonal of each image."""
    return x + ((x - mean) @ V * (M - 1).unsqueeze(1)) @ V.mT


def draw(n, k, p):
    """Bernoulli(1 − p) / (1 − p), for n images and k components."""
    return (torch.rand(n, k) >= p) / (1 - p)


# %% [markdown]
# ### Dropout: V = I, μ = 0
#
# Without directions of its own and without a mean, the equation is dropout {cite}`dropout` of whole features: an
# image loses a map at all its positions. With the same seed `deepaug.Dropout` draws the same:

# %%
x = outputs["stage2"]
n, positions, f = rows(x).shape

torch.manual_seed(0)
mine = transformed(rows(x), mean=0, V=torch.eye(f), M=draw(n, f, p=0.5))

torch.manual_seed(0)
theirs = deepaug.Dropout(0.5, granularity="feature")(x)
assert torch.allclose(mine, rows(theirs), atol=1e-6)

# %% [markdown]
# The usual dropout, of elements, draws anew at every position. Then $M$ has a diagonal for each row, and
# $\tilde x = x \odot M$. On a tensor of ones `deepaug.Dropout` shows what it draws:

# %%
torch.manual_seed(0)
M = deepaug.Dropout(0.5)(torch.ones_like(x))
assert set(M.unique().tolist()) == {0, 2}

torch.manual_seed(0)
assert torch.equal(x * M, deepaug.Dropout(0.5)(x))

# %% [markdown]
# ### PCA: V and μ of the batch
#
# Here $\mu$ is the mean of all rows of the batch, all positions of all images, and $V$ holds their principal
# directions. *Drop* lets each image lose components at random, as above. *Truncate* draws nothing: $M$ is 1
# for the leading components and 0 for the others, the same for all images, and nothing grows.

# %%
def pca(x):
    """Mean (f,) and principal directions (f, f) of rows, strongest first."""
    flat = x.flatten(0, 1)
    mean = flat.mean(0)
    with torch.no_grad():
        centred = flat - mean
        V = torch.linalg.eigh(centred.mT @ centred).eigenvectors.flip(1)
    return mean, V


mean, V = pca(rows(x))
torch.manual_seed(0)
M = draw(n, f, p=0.5)
mine = transformed(rows(x), mean, V, M)
torch.manual_seed(0)
assert torch.allclose(mine, rows(deepaug.PCA(0.5)(x)), atol=1e-4)

# The first equation:
rebuilt = mean + (rows(x) - mean) @ V * M.unsqueeze(1) @ V.mT
assert torch.allclose(mine, rebuilt, atol=1e-4)

M = (torch.arange(f) < f / 2).float().expand(n, f)
mine = transformed(rows(x), mean, V, M)
theirs = rows(deepaug.PCA(0.5, mode="truncate")(x))
assert torch.allclose(mine, theirs, atol=1e-4)

# %% [markdown]
# ## What each transform does to an activation
#
# One digit, and four of its activation maps after the second stage (red above zero, blue below): first
# as they are, then as one random draw of each transform at p = 0.5 leaves them.

# %% mystnb={"image": {"alt": "Grid of activation maps, red above zero and blue below, of one digit: a row for the plain network and one for each transform; element dropout leaves speckle, feature dropout blanks whole maps, PCA blends maps into each other."}} tags=["hide-input"]
transforms = {
    "plain": None,
    "dropout\nelement": deepaug.Dropout(0.5),
    "dropout\nfeature": deepaug.Dropout(0.5, granularity="feature"),
    "PCA\ndrop": deepaug.PCA(0.5),
    "PCA\ntruncate": deepaug.PCA(0.5, mode="truncate"),
}
maps = x[0].var((1, 2)).topk(4).indices  # those that vary most over this digit

torch.manual_seed(1)
size = (figures.WIDTH, 5.2)
fig, axes = plt.subplots(len(transforms), 5, figsize=size, layout="constrained")
for row, (name, transform) in zip(axes, transforms.items(), strict=True):
    changed = (transform(x) if transform else x)[0]
    row[0].imshow(first[0, 0], cmap="gray", interpolation="none")
    for ax, number in zip(row[1:], maps, strict=True):
        top = x[0, number].abs().max()
        colours = {"cmap": "RdBu_r", "vmin": -top, "vmax": top}
        ax.imshow(changed[number], interpolation="none", **colours)
    for ax in row:
        ax.set(xticks=[], yticks=[])
        ax.grid(False)
    row[0].set_ylabel(name, rotation=0, ha="right", va="center", labelpad=10)
axes[0, 0].set_title("image", loc="center")
for ax, number in zip(axes[0, 1:], maps, strict=True):
    ax.set_title(f"map {int(number)}", loc="center")
plt.show()

# %% [markdown]
# Element dropout is noise that the next convolution averages away. Feature dropout and PCA remove
# information from the whole image at once; PCA does so along the directions in which the batch
# varies, where what one feature loses its correlated neighbours cannot restore.
#
# (a-figure-to-touch)=
# ## A figure to touch
#
# The network of this page, in your browser. Choose a layer, a transform and p: the activations of ten images,
# one of each digit, are transformed at that layer, *and the rest of the network runs on them*. So the cosines are
# those of the network's own features, after pooling: how like an image still is to itself, and how like to others.

# %% tags=["hide-input"]
touch.show(encoder, (first, second), digits.labels(torch.arange(256)))

# %% [markdown]
# Everything but the transform is in evaluation mode, as in `deepaug.method.selection.dose`. The basis of PCA
# is that of the 256 images above. Each image draws for itself, and a larger p loses all that a smaller one did, and
# more. Three things to look for, all at p = 0.5:
#
# - *Dropout at `stem`.* That of elements speckles every map, and the layers above average much of it away. That of
#   features takes whole maps, and few images are still most like themselves.
# - *PCA, truncate, anywhere.* Next to nothing happens. Why, the [spectrum](#the-spectrum) tells.
# - *PCA, drop, and dropout at `pooled`.* By the cosine PCA is by far the gentler: it keeps the batch's mean, which
#   all images share and which makes up most of every cosine. By the images that are still most like themselves it
#   is not.
#
# This network has never been trained with a transform. One that has may learn to live with it.
#
# (the-spectrum)=
# ## The spectrum
#
# How much of the variance sits in how few components decides what PCA does. Above, the share
# of variance that the first components hold at each layer; below, what the transforms leave
# of the spectrum of the last stage.

# %% mystnb={"image": {"alt": "Two line plots: cumulative variance against share of components for each layer, and the variance of each principal component of the last stage before and after element dropout, PCA drop and PCA truncate."}} tags=["hide-input"]
drop = deepaug.PCA(0.5)
fig, (upper, lower) = figures.figure(6.6, 2)
deep = {name: output for name, output in outputs.items() if name != "input"}
shades = plt.get_cmap("viridis")(torch.linspace(0, 0.9, len(deep)).numpy())
for colour, (name, output) in zip(shades, deep.items(), strict=True):
    _, variances, _ = drop.basis(rows(output).flatten(0, 1))
    share = variances.cumsum(0) / variances.sum()
    upper.plot(torch.arange(1, len(share) + 1) / len(share), share, color=colour, label=name)
upper.set(xlabel="share of the components", ylabel="share of the variance", ylim=(0, 1.02))
upper.legend()

last = outputs["stage4"]
mean, before, V = drop.basis(rows(last).flatten(0, 1))
torch.manual_seed(1)
for name, transform, colour in (
    ("plain", None, figures.COLOURS["baseline"]),
    ("dropout, element", deepaug.Dropout(0.5), figures.COLOURS["dropout"]),
    ("PCA, drop", drop, figures.COLOURS["pca"]),
    ("PCA, truncate", deepaug.PCA(0.5, mode="truncate"), figures.COLOURS["pca-truncate"]),
):
    changed = rows(transform(last) if transform else last).flatten(0, 1)
    variance = ((changed - changed.mean(0)) @ V).var(0).clamp_min(1e-9)
    lower.plot(torch.arange(1, len(variance) + 1), variance, color=colour, label=name)
lower.set(xscale="log", yscale="log", xlabel="principal component of stage4", ylabel="variance",
          ylim=(float(before[before > 1e-7].min()) / 3, None))
lower.legend(loc="lower left")
plt.show()

# %% [markdown]
# Dropout lifts the whole spectrum by noise that is independent between features, most visibly the
# weak components. PCA (drop) multiplies every component's variance alike and adds nothing where there
# was none; truncation cuts the tail off.
#
# ## The loss, and a step of training
#
# Nothing about the loss is new. With $z_1, \dots, z_{2n}$ the projections of both views of $n$ images, and $j$ the
# other view of the image of view $i$, NT-Xent is
#
# $$\ell = -\frac{1}{2n} \sum_i \log
#   \frac{\exp(\cos(z_i, z_j) / \tau)}{\sum_{k \neq i} \exp(\cos(z_i, z_k) / \tau)}.$$
#
# Each view has to pick its partner out of all others.

# %%
def nt_xent(z1, z2, temperature=0.5):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    logits = z @ z.mT / temperature  # cosines
    logits.fill_diagonal_(-torch.inf)  # no view is its own partner
    n = len(z1)
    partner = torch.cat([torch.arange(n) + n, torch.arange(n)])
    log_share = logits - logits.logsumexp(1, keepdim=True)
    return -log_share[torch.arange(2 * n), partner].mean()


z1, z2 = torch.randn(2, 64, 16)
assert torch.allclose(nt_xent(z1, z2), deepaug.nt_xent(z1, z2))

# %% [markdown]
# A step, first by hand and then with `deepaug.attach`: view by view through the lower layers, the transform, the
# upper layers and the projector, and the two projections into the loss. Each view draws for itself, and its mean and
# its principal directions are its own. With the same seed the two losses are equal, and so are the gradients of the
# first layer.

# %%
network = copy.deepcopy(encoder).train()
head = deepaug.ProjectionHead(encoder.features)


def project(view):
    h = network.stage2(network.stage1(network.stem(view)))
    mean, V = pca(rows(h))
    M = draw(len(h), h.shape[1], p=0.5)
    h = transformed(rows(h), mean, V, M).mT.reshape(h.shape)
    return head(network.pooled(network.stage4(network.stage3(h))))


weight = network.stem[0].weight
torch.manual_seed(0)
mine = nt_xent(project(first), project(second))
(my_gradient,) = torch.autograd.grad(mine, weight)

torch.manual_seed(0)
with deepaug.attach(network, "stage2", deepaug.PCA(0.5)):
    theirs = deepaug.nt_xent(head(network(first)), head(network(second)))
(their_gradient,) = torch.autograd.grad(theirs, weight)

assert torch.allclose(mine, theirs, rtol=1e-3)
assert torch.allclose(my_gradient, their_gradient, atol=1e-4)

# %% [markdown]
# ## What is constant, and where the gradient stops
#
# In $\tilde x = x + (x - \mu)\,V (M - I) V^\top$ the draw $M$ and the directions $V$ are constants of the batch:
# `pca` above finds $V$ under `torch.no_grad()`. The mean $\mu$ is not. It moves with $x$, and so a shift that all
# rows share passes as if there were no transform, and the gradient along such a shift is what it would be without
# one. (With a constant mean, as in an early version of this package, the loss pulls all samples along
# shifts that it never asked for, until the features collapse.) What no component spans passes unchanged as well. To
# see both, take 8 images at the pooled layer: 8 rows of 64 features have no more than 7 components.

# %%
few = outputs["pooled"][:8].clone().requires_grad_()
upstream = torch.randn(8, 64)  # some gradient from above
(deepaug.PCA(0.5)(few) * upstream).sum().backward()

mean, _, V = deepaug.PCA().basis(few)
V = V[:, :7]
outside = torch.eye(64) - V @ V.mT  # projects onto what no component spans
# Untouched: what no component spans, and a shift of all rows.
assert torch.allclose(few.grad @ outside, upstream @ outside, atol=1e-4)
assert torch.allclose(few.grad.sum(0), upstream.sum(0), atol=1e-4)

# The first equation, with nothing dropped:
x = few.detach().requires_grad_()
rebuilt = x.mean(0) + (x - x.mean(0)) @ V @ V.mT
(rebuilt * upstream).sum().backward()
share = ((x.grad - upstream) @ outside).norm() / (upstream @ outside).norm()
print(f"outside the span, the first equation loses {share:.0%}")

# %% [markdown]
# Two more choices are made from outside, step by step. Which views are transformed:
#
# ```python
# with handle.paused():      # this view stays plain
#     second = model(view)
# with handle.repeated():    # this view gets the mask of the last one
#     second = model(view)
# ```
#
# And the **stop-gradient**: `stop_gradient=True` detaches the activation before it is transformed, $h$ becomes a
# constant too, and the layers up to the target learn nothing from that pass. The gradient of each layer in a step
# as above, as proof:

# %% mystnb={"image": {"alt": "Bar chart of gradient norms by layer, with and without stop-gradient at the third stage: with it the bars of the stem and the first stages are absent."}} tags=["hide-input"]
names = [name for name, _ in network.named_children()][:-1]
norms = {}
for stop in (False, True):
    network.zero_grad()
    torch.manual_seed(0)
    with deepaug.attach(network, "stage3", deepaug.PCA(0.5), stop_gradient=stop) as handle:
        z1 = head(network(first))
        z2 = head(network(second))
    deepaug.nt_xent(z1, z2).backward()
    norms[stop] = [
        sum(p.grad.square().sum().item() for p in module.parameters() if p.grad is not None) ** 0.5
        for module in (network.get_submodule(name) for name in names)
    ]

_, ax = figures.figure(3.2)
for shift, stop, colour in ((-0.2, False, "baseline"), (0.2, True, "pca")):
    at = [x + shift for x in range(len(names))]
    ax.bar(at, norms[stop], 0.4, color=figures.COLOURS[colour],
           label="stop-gradient at stage3" if stop else "gradient flows")
ax.set_xticks(range(len(names)), names)
ax.set(ylabel="norm of the gradient")
figures.legend_below(ax)
plt.show()

# %% [markdown]
# The layer named as the target, stage3, lies below the cut as well: it is its *output* that is
# transformed. Whether the option is worth having is [a page of its own](stop-gradient.ipynb).
#
# (why-depth-might-help)=
# ## Why depth might help, and how one would notice
#
# What is taken away in a deep layer should stand for something, an edge, a stroke, a part, so that losing it is a
# change that no crop can make. And layers that are trained together may come to rely on each other; where what the
# lower ones hand up is never quite the same, the upper ones cannot. Both speak for depth. Against it speaks that
# fewer layers are left that can make up for a loss.
#
# How far a transform moves a sample is its **dose**: the cosine of the sample's features with and without it. Beside
# it stand two cosines of the plain network, to a second view of the same image and to another image. A transform that
# moves an image less than a second view does has little to add. One that moves it as far as another image may leave
# nothing to learn from.

# %% mystnb={"image": {"alt": "Cosine of features to the plain pass against the target's depth, a panel for each strength p and a line for each of four transforms; dashed lines mark the cosine to a second view and to another image."}} tags=["hide-input"]
makes = {
    "dropout": deepaug.Dropout,
    "dropout-feature": lambda p: deepaug.Dropout(p, granularity="feature"),
    "pca": deepaug.PCA,
    "pca-truncate": lambda p: deepaug.PCA(p, mode="truncate"),
}
torch.manual_seed(0)
half = first[:128], second[:128]
coadaptation.dose_by_strength(encoder, half, makes, strengths=(0.2, 0.5, 0.8))

# %% [markdown]
# One p is a different dose at each depth, and not always a larger one further up. Dropout of elements is averaged
# away in the middle of the network and strongest after pooling, where nothing is left to average it. PCA (drop) moves
# images most near the input, where there are few components, so that each holds much. When gains at two depths are
# compared, so are two doses.
#
# And a dose is no gain. Whether depth helps is a matter of experiments. Of each claim about it, what one would notice
# if it holds:
#
# - **C3, deeper is better, and better than augmenting the input.** The gain over the baseline grows with the target's
#   depth, on [images](vision.ipynb), [text](text.ipynb) and [graphs](nodes.ipynb). And the best deep target gains more
#   without input augmentation than input augmentation does alone, and more than the same transform
#   [at the input](input-or-deep.ipynb).
# - **C4, layers co-adapt, and the transform alleviates it.** Cut a trained network, freeze what is below, train anew
#   what is above: it falls behind a copy that is free to learn throughout. It falls less behind where the transform
#   [took part in the training](co-adaptation.ipynb).
# - **C5, co-adaptation tells which layer to target.** A score of each layer, from activations alone,
#   [picks a layer](layer-selection.ipynb) that gains more than the average one.
#
# A gain by itself would not show that the idea is right. Noise of the same size that knows nothing of features or
# components might bring it, too; then only the dose matters. So might one mask for both views, which makes no
# difference between them; then it regularises, and does not augment. Both are run as controls
# ([protocol](protocol.ipynb)).
#
# ## Exercises
#
# ### 1. After pooling
#
# In the [figure to touch](#a-figure-to-touch) choose `pooled` and dropout of elements, then of
# features, at p = 0.5. Predict: which moves the images further? And at `stem`?
#
# ```{dropdown} Answer
# After pooling they are the same: an image has one position there, so that an element is a feature, and with the
# same draw even the numbers agree. At the stem it is dropout of features: of each map's 784 numbers dropout of
# elements leaves half, and the convolutions that follow, and the pooling, average its noise away; a whole map that
# is gone is gone at every position.
# ```
#
# ### 2. One view detached
#
# In the cell that draws the gradients (unfold it), keep the first view plain:
#
# ```python
# with handle.paused():
#     z1 = head(network(first))
# z2 = head(network(second))
# ```
#
# Predict: with the stop-gradient, what is left of the bars of the stem and of the first stages?
#
# ```{dropdown} Answer
# They are back, though lower than where the gradient flows through both views. The second view is transformed and
# detached, so that nothing reaches the lower layers through it. But both projections are in one loss, and the
# first view's gradient goes all the way down: the lower layers learn from the plain view alone, to meet what the
# upper layers make of the transformed one.
# ```
