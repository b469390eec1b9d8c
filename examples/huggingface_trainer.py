"""Fine-tune a small transformer with the Trainer of transformers."""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

from asi_core import Compression, prepare_

WORDS, LENGTH = 100, 32
# Attention's and the MLP's linear layers of the last block, and the classifier.
CONFIG = Compression(
    "asi", ranks=8, layers=r"re:.*layer\.1\..*(query|key|value|dense)", also_trained=["classifier"]
)


class Sentences(Dataset[dict[str, Any]]):
    """Tokens whose label is whether the first one is large; your data set comes here."""

    def __init__(self, count: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.tokens = torch.randint(WORDS, (count, LENGTH), generator=generator)

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> dict[str, Any]:
        tokens = self.tokens[index]
        return {"input_ids": tokens, "labels": int(tokens[0] > WORDS // 2)}


def main() -> None:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=WORDS,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=LENGTH,
    )
    model = BertForSequenceClassification(config)
    data = Sentences(64)
    example = {"input_ids": data.tokens[:16]}
    print(prepare_(model, CONFIG, example=example))
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=8,
            per_device_train_batch_size=16,
            learning_rate=1e-3,
            logging_steps=4,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
        )
        trainer = Trainer(model=model, args=arguments, train_dataset=data)
        trainer.train()
        # As of the plain model: from_pretrained reads it anywhere.
        trainer.save_model(folder)
        BertForSequenceClassification.from_pretrained(folder)


if __name__ == "__main__":
    main()
