"""Fine-tune a torchvision network with Lightning."""

from __future__ import annotations

import lightning
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from asi_core import Compression, prepare_


class Classifier(lightning.LightningModule):
    """A ShuffleNet of which the last four convolutions and the classifier are trained."""

    def __init__(self) -> None:
        super().__init__()
        self.model = torchvision.models.shufflenet_v2_x0_5(num_classes=4)
        config = Compression("asi", ranks=(4, 8, 2, 2), layers=4, also_trained=["fc"])
        print(prepare_(self.model, config, example=torch.randn(16, 3, 64, 64)))

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        images, labels = batch
        loss = F.cross_entropy(self.model(images), labels)
        self.log("loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        trained = [p for p in self.parameters() if p.requires_grad]
        return torch.optim.SGD(trained, lr=0.05)


def main() -> None:
    lightning.seed_everything(0)
    data = TensorDataset(torch.randn(64, 3, 64, 64), torch.arange(64) % 4)
    trainer = lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    trainer.fit(Classifier(), DataLoader(data, batch_size=16))
    print(f"loss {float(trainer.callback_metrics['loss']):.3f}")


if __name__ == "__main__":
    main()
