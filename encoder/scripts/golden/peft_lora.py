"""Writes encoder/delta/testdata: a tiny BERT, a LoRA adapter as PEFT saves it, and what PEFT's merge makes of both.
Usage: peft_lora.py OUT   (peft 0.21, transformers 5.3, torch 2.11)
"""
import os
import sys

import torch
from peft import LoraConfig, get_peft_model
from transformers import BertConfig, BertModel

out = sys.argv[1]
torch.manual_seed(3)
config = BertConfig(vocab_size=24, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, max_position_embeddings=16)
model = BertModel(config, add_pooling_layer=False)
with torch.no_grad():
    for p in model.parameters():
        p.copy_(torch.randn(p.shape) * 0.3)
model.save_pretrained(out + "/base")
for name, rs in (("lora", False), ("rslora", True)):
    base = BertModel.from_pretrained(out + "/base", add_pooling_layer=False)
    lora = get_peft_model(
        base,
        LoraConfig(
            r=3, lora_alpha=5, use_rslora=rs, bias="lora_only",
            target_modules=["query", "value", "word_embeddings", "output.dense"],
            rank_pattern={"value": 2}, alpha_pattern={"attention.self.value": 7},
            modules_to_save=["embeddings.LayerNorm"],
        ),
    )
    with torch.no_grad():
        for n, p in lora.named_parameters():
            if p.requires_grad:
                p.copy_(torch.randn(p.shape) * 0.5)
    lora.save_pretrained(f"{out}/{name}")
    os.path.exists(f"{out}/{name}/README.md") and os.remove(f"{out}/{name}/README.md")
    merged = lora.merge_and_unload()
    merged.save_pretrained(f"{out}/{name}_merged")
    os.remove(f"{out}/{name}_merged/config.json")
