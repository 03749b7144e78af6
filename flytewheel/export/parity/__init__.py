"""The parity gate: whether a GGUF behaves as the trained weights, asked of llama.cpp itself. A file that does not is not
finished and never registered.

Four questions to every file, each of which sees what the others cannot:

| question | module | against | finds |
|---|---|---|---|
| are the token ids the same? | `tokens`, `battery` | the tokenizer and its chat template | pre-tokenizer, BOS, EOS, template |
| are the numbers those trained? | `numbers` | the trained rows, rounded once more | one damaged block, another model's file |
| does llama.cpp compute the same? | `divergence`, `rounding` | the weights in transformers, plain and rounded | order, rotary base, names |
| does it write and stop the same? | `greedy` | the weights' best tokens | loops, wrong stops |

`check.check_parity` asks them, `reference` holds the weights, `report` is what `parity.json` keeps.
"""

from flytewheel.export.parity.check import check_parity as check_parity
from flytewheel.export.parity.report import ParityReport as ParityReport
