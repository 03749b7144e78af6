"""Learning: a data set becomes a LoRA adapter, by supervised fine-tuning first and by alignment to preferences then."""
