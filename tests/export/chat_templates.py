"""Chat templates of the kinds that the supported families bring, written anew: what they do, not what they say."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedTokenizerFast

from flytewheel.models import POCKET

_CHATML_TURN = "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
_ALTERNATE = "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('take turns') }}{% endif %}"

CHATML = (
    "{% for m in messages %}" + _CHATML_TURN + "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN2 = (  # a system turn of its own where none is given
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou \"help\" {{ '{{' }}kindly}}.<|im_end|>\n"
    "{% endif %}" + CHATML
)
QWEN3 = (  # thoughts of earlier answers are left out; the last answer of a finished conversation shows an empty one
    "{% for m in messages %}{% set text = m['content'] %}{% if m['role'] == 'assistant' %}"
    "{% set text = text.split('</think>')[-1].lstrip('\n') if '</think>' in text else text %}"
    "{% if loop.last %}{% set text = '<think>\n\n</think>\n\n' + text %}{% endif %}{% endif %}"
    "<|im_start|>{{ m['role'] }}\n{{ text }}<|im_end|>\n{% endfor %}"
    "{% if tools %}never{% endif %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
LLAMA31 = (  # a system turn in any case, with a text before what is given
    "{{ bos_token }}{% set said = messages[0]['content'].strip() if messages[0]['role'] == 'system' else '' %}"
    "<|start_header_id|>system<|end_header_id|>\n\nToday Date: 26 Jul 2024\n\n{{ said }}<|eot_id|>"
    "{% for m in messages %}{% if not (loop.first and m['role'] == 'system') %}"
    "<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n{{ m['content'] | trim }}<|eot_id|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
LLAMA2 = (  # folded and then stripped, so that of a folded turn only the end is stripped
    "{% set opening = messages[0]['role'] == 'system' %}"
    "{% for m in (messages[1:] if opening else messages) %}" + _ALTERNATE + "{% set text = m['content'] %}"
    "{% if loop.first and opening %}{% set text = '<<SYS>>\n' + messages[0]['content'] + '\n<</SYS>>\n\n' + text %}"
    "{% endif %}{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + text.strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + text.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
MISTRAL = (  # no system turn at all
    "{{ bos_token }}{% for m in messages %}" + _ALTERNATE + "{% if m['role'] == 'user' %}"
    "{{ '[INST] ' + m['content'] + ' [/INST]' }}{% elif m['role'] == 'assistant' %}{{ m['content'] + eos_token }}"
    "{% else %}{{ raise_exception('no such role') }}{% endif %}{% endfor %}"
)
MISTRAL_FIRST = (  # the system text opens the first question
    "{{ bos_token }}{% set opening = messages[0]['role'] == 'system' %}"
    "{% for m in (messages[1:] if opening else messages) %}" + _ALTERNATE + "{% if m['role'] == 'user' %}[INST] "
    "{% if loop.first and opening %}{{ messages[0]['content'] + '\n\n' }}{% endif %}{{ m['content'] }} [/INST]"
    "{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
)
MISTRAL_LAST = (  # the system text opens the last question
    "{{ bos_token }}{% set opening = messages[0]['role'] == 'system' %}"
    "{% for m in (messages[1:] if opening else messages) %}" + _ALTERNATE + "{% if m['role'] == 'user' %}[INST]"
    "{% if loop.last and opening %}{{ messages[0]['content'] + '\n\n' }}{% endif %}{{ m['content'] }}[/INST]"
    "{% else %}{{ m['content'] + eos_token }}{% endif %}{% endfor %}"
)
GEMMA2 = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "{% for m in messages %}" + _ALTERNATE + "<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
GEMMA3 = (  # folded, and what is folded is not stripped while the question is
    "{{ bos_token }}{% set opening = messages[0]['role'] == 'system' %}"
    "{% for m in (messages[1:] if opening else messages) %}" + _ALTERNATE + "<start_of_turn>"
    "{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{% if loop.first and opening %}{{ messages[0]['content'] + '\n\n' }}{% endif %}"
    "{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
PHI = (  # drops a system turn; the answer's header belongs to the question
    "{% for m in messages %}{% if m['role'] == 'user' %}<|user|>\n{{ m['content'] }}<|end|>\n<|assistant|>\n"
    "{% elif m['role'] == 'assistant' %}{{ m['content'] }}<|end|>\n{% endif %}{% endfor %}"
)
EMPTY_IS_NONE = (  # a system turn without text is none
    "{% for m in messages %}{% if m['role'] != 'system' or m['content'] %}[{{ m['role'] }}]{{ m['content'] }}\u00b6"
    "{% endif %}{% endfor %}[assistant]"
)

FITTING = {
    "chatml": CHATML,
    "qwen2": QWEN2,
    "qwen3": QWEN3,
    "llama3": LLAMA3,
    "llama3.1": LLAMA31,
    "llama2": LLAMA2,
    "mistral": MISTRAL,
    "mistral, system first": MISTRAL_FIRST,
    "mistral, system last": MISTRAL_LAST,
    "gemma2": GEMMA2,
    "gemma3": GEMMA3,
    "phi": PHI,
    "an empty system turn is none": EMPTY_IS_NONE,
}

# What no table of steps says → a part of the reason that is given.
UNFIT = {
    "{{ messages[-1]['content'] }}{% if add_generation_prompt %} Answer:{% endif %}": "does not write every turn",
    "{{ raise_exception('never') }}": "refuses a plain conversation",
    "{% for m in messages %}{{ m['role'] }} {{ loop.index }}: {{ m['content'] }}\n{% endfor %}assistant:": "two of",
    "{% for m in messages %}{{ m['role'] }} ({{ m['content']|length }}): {{ m['content'] }}\n{% endfor %}": "space",
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'].lstrip('\n') }}|{% endfor %}": "white space",
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] | upper }}|{% endfor %}": "does not write every turn",
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] | e }}|{% endfor %}": "two of them",
    "{% for m in messages[-5:] %}{{ m['role'] }}: {{ m['content'] }}|{% endfor %}": "two of them",
    "{{ strftime_now('%d %b %Y') }}{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{% endfor %}": "date",
    "{% for m in messages %}{% if m['content'] %}[{{ m['role'] }}]{{ m['content'] }}{% endif %}{% endfor %}": "follows",
    "{% if messages|length > 7 %}{{ raise_exception('long') }}{% endif %}"
    "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{% endfor %}": "refuses a conversation",
}


def make_tokenizer(template: str) -> Any:
    """Pocket's tokenizer with the tokens of all these families, and one template."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(POCKET)
    tokens = ["<s>", "</s>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<end_of_turn>", "[INST]"]
    tokenizer.add_special_tokens({"bos_token": "<s>", "eos_token": "</s>", "additional_special_tokens": tokens[2:]})
    tokenizer.chat_template = template
    return tokenizer


def render(tokenizer: Any, talk: list[tuple[str, str]]) -> str:
    """The tokenizer's own rendering, up to where the answer begins."""
    messages = [{"role": role, "content": content} for role, content in talk]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
