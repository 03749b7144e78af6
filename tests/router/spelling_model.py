"""A GGUF that spells a fixed word, written in milliseconds: the real llama-server behaves on it in a way a test can
predict.

Attention and feed-forward are zero, so the last hidden state is the embedding of the last token (one-hot), and row `j`
of the output matrix holds 1 for each token after which `j` follows: a Markov chain over bytes. After a line break (how
the chat template opens an answer) comes the first letter of `word`, after its last letter the end of turn. The letters
of `word` must differ. With `endless` the last letter is followed by the first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_HIDDEN = 320
_HEADS = 4


def write_spelling_model(path: Path, word: str, *, endless: bool = False, context: int = 4096) -> Path:
    """Writes the model to `path` and returns it."""
    import numpy as np
    from gguf import GGUFWriter, TokenType

    if len(set(word)) != len(word) or not word.isascii():
        raise ValueError(f"the letters of {word!r} must differ and be ASCII")
    tokens = _tokens()
    index = {token: number for number, token in enumerate(tokens)}
    kinds = [TokenType.NORMAL] * 256 + [TokenType.CONTROL] * 3
    end = index["<|im_end|>"]

    embedding = np.zeros((len(tokens), _HIDDEN), dtype=np.float32)
    embedding[np.arange(len(tokens)), np.arange(len(tokens))] = 1.0
    output = _output_matrix(word, endless=endless)

    writer: Any = GGUFWriter(str(path), "llama")
    writer.add_name(word)
    writer.add_context_length(context)
    writer.add_embedding_length(_HIDDEN)
    writer.add_block_count(1)
    writer.add_feed_forward_length(32)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_dimension_count(_HIDDEN // _HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(["Ā ā"])
    writer.add_bos_token_id(index["<|endoftext|>"])
    writer.add_eos_token_id(end)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)
    writer.add_tensor("token_embd.weight", embedding)
    writer.add_tensor("output.weight", output)
    writer.add_tensor("output_norm.weight", np.ones(_HIDDEN, dtype=np.float32))
    for name in ("attn_norm", "ffn_norm"):
        writer.add_tensor(f"blk.0.{name}.weight", np.ones(_HIDDEN, dtype=np.float32))
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        writer.add_tensor(f"blk.0.{name}.weight", np.zeros((_HIDDEN, _HIDDEN), dtype=np.float32))
    for name in ("ffn_gate", "ffn_up"):
        writer.add_tensor(f"blk.0.{name}.weight", np.zeros((32, _HIDDEN), dtype=np.float32))
    writer.add_tensor("blk.0.ffn_down.weight", np.zeros((_HIDDEN, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_spelling_adapter(path: Path, base_word: str, word: str) -> Path:
    """Writes a LoRA adapter that makes the model of `base_word` spell `word`: the difference of their output matrices.

    The difference has a row for each token that follows another one, so its rank is at most the letters of both words.
    """
    import numpy as np
    from gguf import GGUFWriter

    change = _output_matrix(word, endless=False) - _output_matrix(base_word, endless=False)
    left, sizes, right = np.linalg.svd(change, full_matrices=False)
    rank = int((sizes > 1e-6).sum())
    writer: Any = GGUFWriter(str(path), "llama")
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(rank))
    writer.add_tensor("output.weight.lora_a", right[:rank].astype(np.float32))
    writer.add_tensor("output.weight.lora_b", (left[:, :rank] * sizes[:rank]).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _output_matrix(word: str, *, endless: bool) -> Any:
    """Row `j` holds 1 for each token after which `j` follows; a column for each token of the alphabet."""
    import numpy as np

    index = {token: number for number, token in enumerate(_tokens())}
    letters = [index[_byte_alphabet()[ord(letter)]] for letter in word]
    follows = dict.fromkeys(range(len(index)), letters[0])
    follows |= dict(zip(letters, [*letters[1:], letters[0] if endless else index["<|im_end|>"]], strict=True))
    output = np.zeros((len(index), _HIDDEN), dtype=np.float32)
    for before, after in follows.items():
        output[after, before] = 1.0
    return output


def _tokens() -> list[str]:
    return [*_byte_alphabet().values(), "<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def _byte_alphabet() -> dict[int, str]:
    """GPT-2's printable stand-in for each byte."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    alphabet, spare = {}, 0
    for byte in range(256):
        if byte in printable:
            alphabet[byte] = chr(byte)
        else:
            alphabet[byte] = chr(256 + spare)
            spare += 1
    return alphabet
