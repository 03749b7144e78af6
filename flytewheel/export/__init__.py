"""Export: merge, convert and quantise in one pass, write the Modelfile, and prove that the file behaves as the weights.

`convert` (rows from `source`, with `adapter` merged; places from `families`, types from `tensor_types`, bytes by
`ggml`, the tokenizer by `vocabulary`) → `modelfile` → `parity` (against `merge`); `export.export_model` is the whole
of it and `report` what it leaves behind. A file is only called finished when llama.cpp, reading it, did what
transformers does.
"""
