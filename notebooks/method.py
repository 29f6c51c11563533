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
# # The method, in pictures

# %% tags=["remove-input", "remove-stderr"]
from deepaug.pages import figures, show

figures.use_style()
show.header("method")

# %% [markdown]
# Deep Augmentation {cite}`deepaugmentation` leaves the input alone and transforms the activations
# of one chosen layer instead. In code, two lines added to any PyTorch network:
#
# ```python
# import deepaug
# handle = deepaug.attach(model, "layer4", deepaug.PCA(0.5))
# ```
#
# From then on the output of `layer4` is transformed whenever the network is in training mode. In
# `eval()` it is bit for bit the plain network, and `handle.remove()` takes the change off.

# %%
import torch
from matplotlib import pyplot as plt

import deepaug
from deepaug.training import loop, registry
from deepaug.training.trial import Trial

# %% [markdown]
# ## A network to look at
#
# A small ResNet, trained here and now by SimCLR on a thousand digits. `deepaug.layers` lists the
# layers worth targeting, in the order in which they run:

# %%
trial = Trial(
    data="mnist-5k", samples=1000, encoder="resnet10", width=16, view_size=28, epochs=2,
    batch_size=100,
)
encoder = loop.run(trial, accelerator="cpu").encoder
digits = registry.load("vision").prepare(trial, torch.device("cpu"))
images, _ = digits.views(epoch=0)(torch.arange(256))
deepaug.layers(encoder, images)

# %% [markdown]
# ## What each transform does to an activation
#
# One digit, and six of its activation maps after the second stage (red above zero, blue below): first
# as they are, then as one random draw of each transform at p = 0.5 leaves them.
#
# - **Dropout, element** zeroes numbers one by one, **feature** zeroes whole maps. The survivors are
#   doubled, so that the expectation stays what it was.
# - **PCA, drop** does the same in another basis: the principal components of the batch's own
#   activations, all pixels of all images taken together. Each image loses each of them with
#   probability ½, at all its pixels; the mean is kept.
# - **PCA, truncate** keeps the leading half of the components for every image and rescales nothing.

# %% mystnb={"image": {"alt": "Grid of activation maps, red above zero and blue below, of one digit: a row for the plain network and one for each transform; element dropout leaves speckle, feature dropout blanks whole maps, PCA blends maps into each other."}}
transforms = {
    "plain": None,
    "dropout\nelement": deepaug.Dropout(0.5),
    "dropout\nfeature": deepaug.Dropout(0.5, granularity="feature"),
    "PCA\ndrop": deepaug.PCA(0.5),
    "PCA\ntruncate": deepaug.PCA(0.5, mode="truncate"),
}
plain = {}
hook = encoder.stage2.register_forward_hook(lambda _, __, out: plain.update(activation=out))
with torch.no_grad():
    encoder(images)
hook.remove()
activation = plain["activation"]
maps = activation[0].var((1, 2)).topk(6).indices  # the six that vary most over this digit

torch.manual_seed(1)
fig, axes = plt.subplots(len(transforms), 7, figsize=(8.4, 6.4), layout="constrained")
for row, (name, transform) in zip(axes, transforms.items(), strict=True):
    changed = (transform(activation) if transform else activation)[0]
    row[0].imshow(images[0, 0], cmap="gray")
    for ax, number in zip(row[1:], maps, strict=True):
        top = activation[0, number].abs().max()
        ax.imshow(changed[number], cmap="RdBu_r", vmin=-top, vmax=top)
    for ax in row:
        ax.set(xticks=[], yticks=[])
        ax.grid(False)
    row[0].set_ylabel(name, rotation=0, ha="right", va="center", labelpad=10)
axes[0, 0].set_title("image")
for ax, number in zip(axes[0, 1:], maps, strict=True):
    ax.set_title(f"map {int(number)}")
plt.show()

# %% [markdown]
# Element dropout is noise that the next convolution averages away. Feature dropout and PCA remove
# information from the whole image at once; PCA does so along the directions in which the batch
# varies, where what one feature loses its correlated neighbours cannot restore.
#
# ## The spectrum
#
# How much of the variance sits in how few components decides what PCA does. Above, the share
# of variance that the first components hold at each layer; below, what the transforms leave
# of the spectrum of the last stage.

# %% mystnb={"image": {"alt": "Two line plots: cumulative variance against share of components for each layer, and the variance of each principal component of the last stage before and after element dropout, PCA drop and PCA truncate."}}
outputs = {}
hooks = [
    module.register_forward_hook(lambda _, __, out, name=name: outputs.update({name: out}))
    for name, module in encoder.named_children()
]
with torch.no_grad():
    encoder(images)
for hook in hooks:
    hook.remove()


def rows(x):
    """Activations (n, c, ...) as rows (n·positions, c)."""
    return x.flatten(2).mT.flatten(0, 1) if x.ndim == 4 else x


pca = deepaug.PCA(0.5)
fig, (upper, lower) = plt.subplots(2, 1, figsize=(6.4, 8), layout="constrained")
shades = plt.get_cmap("viridis")(torch.linspace(0, 0.9, len(outputs)).numpy())
for colour, (name, output) in zip(shades, outputs.items(), strict=True):
    _, variances, _ = pca.basis(rows(output))
    share = variances.cumsum(0) / variances.sum()
    upper.plot(torch.arange(1, len(share) + 1) / len(share), share, color=colour, label=name)
upper.set(xlabel="share of the components", ylabel="share of the variance", ylim=(0, 1.02))
upper.legend()

last = outputs["stage4"]
mean, before, directions = pca.basis(rows(last))
torch.manual_seed(1)
for name, transform, colour in (
    ("plain", None, figures.COLOURS["baseline"]),
    ("dropout, element", deepaug.Dropout(0.5), figures.COLOURS["dropout"]),
    ("PCA, drop", pca, figures.COLOURS["pca"]),
    ("PCA, truncate", deepaug.PCA(0.5, mode="truncate"), figures.COLOURS["pca-truncate"]),
):
    changed = rows(transform(last) if transform else last)
    variance = ((changed - changed.mean(0)) @ directions).var(0).clamp_min(1e-9)
    lower.plot(torch.arange(1, len(variance) + 1), variance, color=colour, label=name)
lower.set(xscale="log", yscale="log", xlabel="principal component of stage4", ylabel="variance",
          ylim=(float(before[before > 1e-7].min()) / 3, None))
lower.legend()
plt.show()

# %% [markdown]
# Dropout lifts the whole spectrum by noise that is independent between features, most visibly the
# weak components. PCA (drop) multiplies every component's variance alike and adds nothing where there
# was none; truncation cuts the tail off.
#
# ## One view, both views, and the gradient
#
# In contrastive learning the two views of an image pass the network one after the other, and each
# draws its own mask. The handle says otherwise where that is wanted:
#
# ```python
# with handle.paused():      # this view stays plain
#     second = model(view)
# with handle.repeated():    # this view gets the mask of the last one
#     second = model(view)
# ```
#
# `stop_gradient=True` detaches the activation before it is transformed: the layers below the target
# then learn nothing from that pass. The gradient of each layer, as proof:

# %% mystnb={"image": {"alt": "Bar chart of gradient norms by layer, with and without stop-gradient at the third stage: with it the bars of the stem and the first stages are absent."}}
norms = {}
for stop in (False, True):
    encoder.train().zero_grad()
    torch.manual_seed(0)
    with deepaug.attach(encoder, "stage3", pca, stop_gradient=stop):
        encoder(images).square().mean().backward()
    norms[stop] = [
        sum(p.grad.square().sum().item() for p in module.parameters() if p.grad is not None) ** 0.5
        for module in list(encoder.children())[:-1]
    ]
encoder.eval()

names = [name for name, _ in encoder.named_children()][:-1]
fig, ax = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
for shift, stop, colour in ((-0.2, False, "baseline"), (0.2, True, "pca")):
    at = [x + shift for x in range(len(names))]
    ax.bar(at, norms[stop], 0.4, color=figures.COLOURS[colour],
           label="stop-gradient at stage3" if stop else "gradient flows")
ax.set_xticks(range(len(names)), names)
ax.set(ylabel="norm of the gradient")
ax.legend()
plt.show()

# %% [markdown]
# The layer named as the target, stage3, lies below the cut as well: it is its *output* that is
# transformed. What all this does to the representation is measured on the next pages.
