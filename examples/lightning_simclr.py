"""SimCLR as a LightningModule, with PCA at one layer: kNN accuracy.

    python examples/lightning_simclr.py --data CIFAR10 --layer layer3 --epochs 20

Data, network and metric are those of simclr.py. Needs lightning and torchvision.
"""

import lightning
import torch
from simclr import VIEW, arguments, images, knn, resnet
from torch import Tensor, nn
from torch.utils.data import DataLoader

import deepaug


class SimCLR(lightning.LightningModule):
    def __init__(self, encoder: nn.Module, layer: str, transform: deepaug.Transform):
        super().__init__()
        self.encoder, self.head = encoder, deepaug.ProjectionHead(512)
        if layer != "none":
            deepaug.attach(self.encoder, layer, transform)

    def training_step(self, batch: tuple[list[Tensor], Tensor]) -> Tensor:
        views, _ = batch
        z1, z2 = (self.head(self.encoder(view)) for view in views)
        self.log("loss", loss := deepaug.nt_xent(z1, z2))
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.06, momentum=0.9, weight_decay=5e-4)


def main(given: list[str] | None = None) -> float:
    options = arguments(given, __doc__)
    lightning.seed_everything(options.seed, verbose=False)
    pairs = images(options, True, lambda image: (VIEW(image), VIEW(image)))
    module = SimCLR(resnet(), options.layer, deepaug.PCA(options.p))
    trainer = lightning.Trainer(
        max_epochs=options.epochs, devices=1, logger=False, enable_checkpointing=False
    )
    trainer.fit(module, DataLoader(pairs, options.batch, shuffle=True, drop_last=True))
    accuracy = knn(module.encoder, options)
    print(f"kNN accuracy: {accuracy:.1f} %")
    return accuracy


if __name__ == "__main__":
    main()
