"""Where samples and features lie in an activation: by the kind of its layer, or not known."""

import pytest
import torch
from networks import network
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm
from torch.nn.utils.rnn import pack_padded_sequence
from torchvision.models.convnext import CNBlock
from torchvision.ops import Permute

import deepaug
from deepaug import PCA, Dropout


class Turned(nn.Sequential):
    """Layers, and an output with its last two axes swapped."""

    def forward(self, x):
        return super().forward(x).transpose(-1, -2)


class First(nn.Sequential):
    """Recurrent layers within a chain: their sequence alone goes on."""

    def forward(self, x):
        for module in self:
            x = module(x)
            x = x[0] if isinstance(x, tuple) else x
        return x


class Attends(nn.Module):
    def __init__(self, batch_first):
        super().__init__()
        self.norm = nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=batch_first)

    def forward(self, x):
        x = self.norm(x)
        return self.attention(x, x, x)[0]


def encoder(batch_first):
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=batch_first)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


class Adapted(nn.Conv2d):
    """A convolution that holds more, as one with LoRA."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.down, self.act = nn.Linear(3, 1), nn.Identity()

    def forward(self, x):
        return self.act(super().forward(x))


def images(*layers):
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), *layers)


LINE, TOKENS, IMAGE, VOLUME = (2, 3, 50), (5, 7, 8), (4, 3, 6, 6), (2, 3, 4, 5, 6)
# Network, target, what it is given, axis of the features, axis of the samples.
KNOWN = {
    "conv1d": (nn.Sequential(nn.Conv1d(3, 8, 1)), "0", LINE, 1, 0),
    "conv3d": (nn.Sequential(nn.Conv3d(3, 8, 1)), "0", VOLUME, 1, 0),
    "transposed": (nn.Sequential(nn.ConvTranspose1d(3, 8, 1)), "0", LINE, 1, 0),
    "pooled": (nn.Sequential(nn.MaxPool1d(2)), "0", LINE, 1, 0),
    "batch norm 1d": (nn.Sequential(nn.Conv1d(3, 8, 1), nn.BatchNorm1d(8)), "1", LINE, 1, 0),
    "batch norm 3d": (nn.Sequential(nn.BatchNorm3d(3)), "0", VOLUME, 1, 0),
    "instance norm": (nn.Sequential(nn.InstanceNorm1d(3)), "0", LINE, 1, 0),
    "group norm": (nn.Sequential(nn.GroupNorm(3, 3)), "0", LINE, 1, 0),
    "padded": (nn.Sequential(nn.ZeroPad1d(2)), "0", LINE, 1, 0),
    "weight norm": (nn.Sequential(weight_norm(nn.Conv1d(3, 8, 1))), "0", LINE, 1, 0),
    "behind spectral norm": (
        nn.Sequential(spectral_norm(nn.Conv2d(3, 8, 1)), nn.ReLU()),
        *("1", IMAGE, 1, 0),
    ),
    "input of spectral norm": (
        nn.Sequential(spectral_norm(nn.Conv1d(3, 8, 1))),
        *("input", LINE, 1, 0),
    ),
    "a convolution that holds more": (nn.Sequential(Adapted(3, 8, 1)), "0", IMAGE, 1, 0),
    "chain of convolutions": (
        nn.Sequential(nn.Sequential(nn.Conv1d(3, 8, 1), nn.BatchNorm1d(8), nn.ReLU())),
        *("0", LINE, 1, 0),
    ),
    "activation behind one": (nn.Sequential(nn.Conv1d(3, 8, 1), nn.ReLU()), "1", LINE, 1, 0),
    "images": (images(nn.ReLU()), "1", IMAGE, 1, 0),
    "input of images": (images(), "input", IMAGE, 1, 0),
    "input of lines": (nn.Sequential(nn.Conv1d(3, 8, 1)), "input", LINE, 1, 0),
    "volumes": (nn.Sequential(nn.Sequential(nn.Conv3d(3, 8, 1), nn.ReLU())), "0", VOLUME, 1, 0),
    "ConvNeXt": (images(CNBlock(8, 1.0, 0.0)), "1", IMAGE, 1, 0),
    "channels last": (images(Permute([0, 2, 3, 1]), nn.LayerNorm(8)), "2", IMAGE, 3, 0),
    "chain, channels last": (
        nn.Sequential(images(Permute([0, 2, 3, 1]), nn.LayerNorm(8))),
        *("0", IMAGE, 3, 0),
    ),
    "patches": (nn.Sequential(Turned(nn.Conv1d(3, 8, 1))), "0", LINE, 2, 0),
    "linear": (nn.Sequential(nn.Linear(8, 4)), "0", TOKENS, 2, 0),
    "linear, images": (nn.Sequential(nn.Linear(6, 4)), "0", IMAGE, 3, 0),
    "linear, volumes": (nn.Sequential(nn.Linear(6, 4)), "0", VOLUME, 4, 0),
    "nothing known": (nn.Sequential(nn.Identity()), "0", IMAGE, 3, 0),
    "rows": (nn.Sequential(nn.BatchNorm1d(8)), "0", (4, 8), 1, 0),
    "lstm": (First(nn.LSTM(8, 4)), "0", TOKENS, 2, 1),
    "gru, batch first": (First(nn.GRU(8, 4, batch_first=True)), "0", TOKENS, 2, 0),
    "encoder layer": (encoder(False), "layers.0", TOKENS, 2, 1),
    "encoder layer, batch first": (encoder(True), "layers.0", TOKENS, 2, 0),
    "within an encoder layer": (encoder(False), "layers.0.linear1", TOKENS, 2, 1),
    "whole encoder": (nn.Sequential(encoder(False)), "0", TOKENS, 2, 1),
    "input of an encoder": (encoder(False), "input", TOKENS, 2, 1),
    "attention": (Attends(False), "attention", TOKENS, 2, 1),
    "behind attention, batch first": (Attends(True), "norm", TOKENS, 2, 0),
}
UNKNOWN = {
    "volumes of nothing known": (nn.Sequential(nn.Identity()), "0", VOLUME, r"dim=1\) if channels"),
    "as many positions as features": (
        nn.Sequential(CNBlock(8, 1.0, 0.0)),
        *("0", (2, 8, 8, 8), r"dim=1\) if channels"),
    ),
    "turned, as many": (
        nn.Sequential(Turned(nn.Conv1d(3, 8, 1))),
        "0",
        (2, 3, 8),
        "dim=-1 if they",
    ),
    "beside a layer without batch_first": (Attends(False), "norm", TOKENS, "batch_first=False"),
    "a single line": (nn.Sequential(nn.Conv1d(3, 8, 1)), "0", (3, 50), "no axis of samples"),
    "a single sequence": (First(nn.LSTM(8, 4)), "0", (7, 8), "no axis of samples"),
}


def changed(model, layer, x, transform, **options):
    """What the target returned, before and after the transform, and the handle."""
    seen = []

    def keep(module, args, output):
        seen.append(output[0] if isinstance(output, tuple) else output)

    if layer == "input":
        handle = deepaug.attach(model, layer, transform, **options)
        with_input = model.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        model(x)
        with_input.remove()
        seen.insert(0, x)
    else:
        hooks = [model.get_submodule(layer).register_forward_hook(keep)]
        handle = deepaug.attach(model, layer, transform, **options)
        hooks.append(model.get_submodule(layer).register_forward_hook(keep))
        model(x)
        for hook in hooks:
            hook.remove()
    handle.remove()
    return *(tensor.detach() for tensor in seen), handle


@pytest.mark.parametrize(("model", "layer", "shape", "axis", "samples"), KNOWN.values(), ids=KNOWN)
def test_whole_features_of_a_sample_are_dropped_and_the_axes_told(
    model, layer, shape, axis, samples
):
    torch.manual_seed(3)
    masks = []
    for _ in range(4):
        before, after, handle = changed(model, layer, torch.randn(shape), Dropout(0.5, "feature"))
        assert f"features along axis {axis}, samples along axis {samples}" in repr(handle)
        lost, kept = (
            of.movedim((samples, axis), (0, 1))
            .reshape(shape[samples], after.shape[axis], -1)
            .any(2)
            for of in ((after == 0) & (before != 0), (after != 0) & (before != 0))
        )
        assert not (lost & kept).any()  # a feature of a sample goes or stays as a whole
        masks.append(lost)
    assert 0.2 < torch.stack(masks).float().mean() < 0.8
    assert any(len(mask.unique(dim=0)) > 1 for mask in masks)  # each sample by its own draw


@pytest.mark.parametrize(("model", "layer", "shape", "told"), UNKNOWN.values(), ids=UNKNOWN)
def test_what_cannot_be_known_is_said_and_may_be_given(model, layer, shape, told):
    x = torch.randn(shape)
    handle = deepaug.attach(model, layer, PCA())
    with pytest.raises(ValueError, match=told) as error:
        model(x)
    assert "\n" not in str(error.value) and "axes known once" in repr(handle)
    handle.remove()
    with deepaug.attach(model, layer, PCA(), dim=-1) as handle:
        model(x)
    assert "features along axis -1" in repr(handle) and handle.calls == 1


def test_elements_do_not_ask_where_samples_lie():
    _, _, handle = changed(Attends(False), "norm", torch.randn(TOKENS), Dropout())
    assert handle.calls == 1


def test_groups_tell_the_samples_where_layers_do_not():
    def groups(x):
        return torch.arange(x.shape[1]).expand(x.shape[:2])

    transform = Dropout(0.5, "feature")
    _, after, _ = changed(Attends(False), "norm", torch.randn(TOKENS), transform, groups=groups)
    assert ((after == 0) == (after[:1] == 0)).all()


def test_a_mask_goes_along_with_sequences_first():
    def mask(x):
        return torch.arange(x.shape[0]).unsqueeze(1) < torch.arange(1, 8)

    torch.manual_seed(0)
    x = torch.randn(TOKENS)
    before, after, _ = changed(encoder(False), "layers.0", x, PCA(), mask=mask)
    counts = mask(x)
    assert torch.equal(after[~counts], before[~counts]) and (after != before)[counts].any(-1).all()


def test_pca_takes_channels_for_features():
    """By a naive transform of the activation turned by hand."""
    model, x = nn.Sequential(nn.Conv1d(3, 8, 1)), torch.randn(6, 3, 50)
    before, after, _ = changed(model, "0", x, PCA(0.5, "truncate"))
    expected = PCA(0.5, "truncate")(before.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(after, expected)


@pytest.mark.parametrize("layer", network("swin").layers)
def test_every_target_of_a_network_that_stays_channels_last_is_known(layer):
    net = network("swin")
    with deepaug.attach(net.model, layer, PCA()) as handle:
        net.model(net.batch)
    images_last = layer.startswith("features") and layer != "input"
    assert images_last == ("features along axis 3" in repr(handle))


class Packs(nn.Module):
    """A recurrent network without padding: its rows are time steps of samples of unlike length."""

    def __init__(self, whole):
        super().__init__()
        self.rnn, self.first = nn.LSTM(4, 6, batch_first=True), First()
        self.first.append(nn.Identity())
        self.whole = whole

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return self.rnn(packed)[0] if self.whole else self.first[0](packed)


@pytest.mark.parametrize(("layer", "whole"), [("rnn", True), ("first.0", False)])
@pytest.mark.parametrize("transform", [Dropout(0.5, "feature"), Dropout(0.5), PCA(0.5)], ids=repr)
def test_packed_sequences_have_the_samples_of_their_time_steps(layer, whole, transform):
    torch.manual_seed(0)
    model, lengths = Packs(whole), torch.tensor([3, 5, 4])
    x = torch.randn(3, 5, 4)
    plain = model.eval()(x, lengths)
    deepaug.attach(model, layer, transform)
    packed = model.train()(x, lengths)
    assert type(packed) is type(plain) and torch.equal(packed.batch_sizes, plain.batch_sizes)
    assert torch.equal(packed.sorted_indices, plain.sorted_indices)
    assert not torch.equal(packed.data, plain.data)
    if getattr(transform, "granularity", "") == "feature":
        sequences = nn.utils.rnn.unpack_sequence(packed._replace(data=packed.data == 0))
        for lost in sequences:  # each sample loses its own features, at all its steps
            assert torch.equal(lost, lost[:1].expand_as(lost))
