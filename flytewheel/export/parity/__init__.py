"""The parity gate: whether a GGUF behaves as the trained weights, asked of llama.cpp itself. A file that does not is
not finished and never registered.

Four questions to every file, each of which sees what the others cannot:

| question | module | finds |
|---|---|---|
| are the token ids those of tokenizer and chat template? | `tokens`, `battery` | pre-tokenizer, BOS, EOS, template |
| are the numbers the trained rows, rounded once? | `numbers` | one damaged block, another model's file |
| does llama.cpp compute what transformers does? | `divergence`, `rounding` | order, rotary base, names, options |
| does it write, and stop, as the weights would? | `greedy` | loops, wrong stops |

`check.check_parity` asks them, `reference` holds the weights, `report` is what `parity.json` keeps.
"""

from flytewheel.export.parity.check import AdapterFiles as AdapterFiles
from flytewheel.export.parity.check import check_parity as check_parity
from flytewheel.export.parity.report import ParityReport as ParityReport
