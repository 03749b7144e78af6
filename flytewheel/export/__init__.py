"""Export: merge the adapter, write GGUF, quantise, write the Modelfile, and prove that the file behaves as the
weights.

`convert` (with `source`, `families` and `vocabulary`) → `quantize` → `modelfile` → `parity` (against `merge`);
`export.export_model` is the whole of it and `report` what it leaves behind. A file is only called finished when
llama.cpp, reading it, did what transformers does.
"""
