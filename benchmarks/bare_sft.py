"""What somebody writes who needs no pipeline: `python bare_sft.py MODEL DEMONSTRATIONS OUT ROWS_PER_STEP`."""

import json
import sys
from pathlib import Path

from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

model, demonstrations, out = map(Path, sys.argv[1:4])
tokenizer = AutoTokenizer.from_pretrained(model)
rows = [json.loads(line)["messages"] for line in demonstrations.open(encoding="utf-8")]
tokenised = [tokenizer.apply_chat_template(row, return_dict=False) for row in rows]
trainer = SFTTrainer(
    model=AutoModelForCausalLM.from_pretrained(model),
    args=SFTConfig(
        output_dir=str(out / "trainer"), num_train_epochs=1, per_device_train_batch_size=int(sys.argv[4]),
        max_length=None, use_cpu=True, gradient_checkpointing=False, save_strategy="no", report_to="none",
        disable_tqdm=True, dataset_kwargs={"skip_prepare_dataset": True},
    ),
    train_dataset=Dataset.from_list([{"input_ids": ids, "labels": ids} for ids in tokenised]),
    processing_class=tokenizer,
)
trainer.train()
trainer.save_model(str(out / "model"))
