"""Finds text that instructs its reader: a judge, a trainer, or the model that will answer.

Text of users is data. What tries to be more (orders to forget the rules, marks to give, roles and template tokens that
only the software may write, hidden or encoded orders, pictures that carry a conversation away) is not repeated to a
model. The surface forms are open-ended and a list of patterns is no defence of a live system; here it keeps the known
kinds out of training data, where a miss costs one row. Template tokens are those of the published chat formats
(ChatML, Llama 2 to 4, Gemma, Mistral, Cohere, DeepSeek, Phi, Harmony, Qwen), not every `<|word|>`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import polars as pl

from flytewheel.screens import encodings
from flytewheel.screens.framings import AT_START, FRAMINGS, SLIPPED, mend
from flytewheel.screens.instructions import PHRASES
from flytewheel.screens.orders import ORDERS, ORDERS_OTHER_SCRIPTS
from flytewheel.screens.rule import Rule, ScriptRule, to_column, touch
from flytewheel.screens.spelling import END, MENTION, START, fold, widen, write_phrases

_TOKENS = (
    "im_start|im_end|im_sep|system|user|assistant|end|eot_id|eom_id|start_header_id|end_header_id|begin_of_text|"
    "end_of_text|"
    "endoftext|endofprompt|startoftext|python_tag|start_of_turn_token|end_of_turn_token|system_token|user_token|"
    "chatbot_token|"
    "channel|message|start|return|call|constrain|fim_prefix|fim_suffix|fim_middle|vision_start|vision_end|image_pad|"
    "tool_call|tool_response|header_start|header_end|eot|eom|bos|eos|pad|begin▁of▁sentence|end▁of▁sentence|"
    "begin_of_sentence|end_of_sentence|tool▁[a-z▁]+|prompter|startofturn|endofturn|observation|human|bot|im_user|"
    "im_assistant|im_system|im_middle"
)
_MARKERS = (
    rf"<[|]/?(?:{_TOKENS})[|]>|<(?:start|end)_of_turn>|\[/?inst\]|<</?sys>>|\[/?(?:available_tools|tool_calls|"
    rf"tool_results|system_prompt)\]|"
    r"</?(?:tool_call|function_calls?|tool_calls|antml:[a-z_]+|tool_response|function_results)>|<invoke name=|"
    r"to=functions\.[a-z]|"
    r"(?:^|\n)human: [^\n]*\n+assistant:|<s>[ \n]*\[inst|</(?:user|human|prompt|input|context|document|data|"
    r"question)(?:_[a-z]+)?>[ \n]*<(?:system|"
    r"assistant|instructions?|admin|developer)>|"
    r"#{2,} *instruction: *\n|#{2,} *(?:instruction|input)s?:?[ \n][^#]*\n#{2,} *response:"
)
_LINE = (
    r"(?:^|\n)[#*\[<({ >=-]*(?:system|admin|administrator|developer|sysadmin|root)"
    r"(?:[ _-](?:message|prompt|override|notice|instructions?|update|note|command|alert))?[\])}>*=]*(?:[ "
    r"]*[:>-]+[\])}>*]*|[\])}>*=]+)[ \n]*"
    r"(?:you\b|ignore|disregard|forget|override|new (?:instructions|rules|directive)|from now on|give|rate|the "
    r"(?:user|assistant|previous|above|rubric)|"
    r"always (?:answer|respond|say|rate|choose|agree)|reveal|respond|answer|act as|your (?:new|rules|instructions|"
    r"task)|grant|approve|output|award|stop|print|do not|disable|enable)"
).replace(r"\b", "[^a-z]")

# What a runbook says; blotted out before a second look.
_HARMLESS = (
    START
    + "(?:"
    + MENTION
    + "|"
    + write_phrases(
        (
            # a token as a topic: in backticks, in a template, or spoken of
            r"`[^`\n]{0,40}<[|][^`\n]{1,60}`|```[a-z0-9]*\n(?:[^`]*(?:\{\{|\{%|tokenizer|template)[^`]*)```|"
            r"(?:prints?|tokens?|emits?|outputs?|contains?|with|the|and|or|uses?|after|before|like|add|see|sees|"
            r"missing|"
            r"strip|remove|than|on|at|of|by|for|an?|is|stop|eos|literal|string) ['\"]?<[|][a-z_]+[|]>['\"]?(?: "
            r"(?:at|as|"
            r"and|or|tokens?|in|is|to|from|marks?|means|before|after|tags?|when|for|on|was|are|instead|into|because)|"
            r"[,.?)](?:[ \n]|$)|$)",
            r"[\"'`]<[|][a-z_]+[|]>[\"'`]|(?:formatted as|format is|format:|looks? like|template is|as|like) "
            r"[\"'`]?<s> ?\[inst\][^\n]{0,80}\[/inst\]",
            # what somebody does, did or must not do
            r"(?:i|we|they|he|she|users?|customers?|people|raters?|reviewers?|who)(?:'d|'ll| would| will| can| "
            r"could| might|"
            r" usually| always| even| both| already)* (?:give|gave|rate|rated|score|scored|grade|mark|award|"
            r"prefer|preferred|"
            r"choose|chose|pick|picked)",
            r"(?:it|bot|model|assistant|llm|ai|that|he|she|they|users?|attackers?|nobody|why|agent|chatbot|to) "
            r"(?:should not|"
            r"shouldn't|must not|mustn't|does not|doesn't|did not|didn't|do not|don't|will not|won't|cannot|can't|"
            r"could not|"
            r"not|never|would not|no longer) (?:ever |just |simply |to )?(?:ignore|forget|disregard|override|"
            r"bypass|reveal|"
            r"leak|repeat|print|show|disclose|output)",
            r"(?:users?|attackers?|customers?|people|they|someone|somebody|anyone|hackers?|students?|testers?) "
            r"(?:can |could |"
            r"may |might |will |would |sometimes |often |always )*(?:(?:try|tries|tried|trying|want|wants|ask|"
            r"asks|asked|"
            r"told|tell|tells|made|make|makes|get|gets|got|trick|tricks|tricked) (?:it |the (?:bot|model|"
            r"assistant|llm|ai|"
            r"chatbot|agent) |our (?:bot|model|assistant|chatbot) )?(?:to |into )?)?(?:ignor(?:e|ing)|forget|"
            r"disregard|reveal|"
            r"leak|override|bypass|print|repeat|act|pretend|revealing|leaking)",
            r"follow (?:the |all |every )?(?:redirects?|links?|logs?|symlinks?|guide|docs|runbook|pointers?)",
            r"repeat (?:everything|all) above (?:for|on|with)|ignore (?:everything|all|the text|text|the rules) "
            r"(?:above|before) (?:the|"
            r"line|version|it in|port|level|v?[0-9])[a-z0-9.]*",
            r"(?:ignore|disregard|forget) (?:all )?(?:the )?(?:previous|prior|earlier|above|original|initial) "
            r"(?:instructions?|directions|guidelines|steps) (?:in|of|on|from|about|for|regarding) (?:the|this|that|"
            r"my|our|a|chapter|section|step|how|version|page) ?(?!system|developer|prompt|answer|rating|user|judge|"
            r"evaluator)(?:runbook|readme|wiki|docs?|documentation|page|ticket|manual|guide|email|mail|thread|"
            r"chapter|section|step|release|changelog|vendor|old|previous|installer|tutorial|upgrade|file|cluster|"
            r"blog|install[a-z]*|helm|chart|comment|migration|[0-9.]+)[a-z]*",
            r"(?:ignore|disregard) (?:the )?(?:system|terminal|shell|command|sudo|password|login|confirmation|"
            r"installer) prompts?(?: and| if| for| to| that| when)|(?:skip|bypass|disable|suppress|drop) (?:all |"
            r"any |the )?(?:system|confirmation|initial|original|your|previous|earlier) (?:(?:password|"
            r"confirmation|login|sudo|update|host key|shell|interactive) )?prompts?",
            r"(?:skip|bypass|override|drop|discard|cancel|void|delete|wipe|erase) (?:all |any |the |your |all the "
            r")*(?:system|existing|current|original|previous|initial|default|earlier|safety) (?:[a-z]+ "
            r")?(?:guidelines?|directions?|directives?|programming|prompts?|instructions?) (?:in|of|for|from|with|"
            r"on) (?:the|your|this|a|nginx|apache|[a-z]+\.conf)",
            r"(?:nginx|apache|httpd|robots|haproxy|varnish|caddy|cache-control|makefile|dockerfile|squid|bind|"
            r"include|compiler|csp|previous|preprocessor) (?:[a-z]+ )?directives?",
        )
    )
    + ")|"
    # a conversation that is quoted from its beginning
    + r"^[ \t]*(?:user|customer|client|caller) ?: [^\n]+\n+(?:[^\n]+\n+){0,8}?[ \t]*(?:assistant|ai|bot|chatbot|"
    r"model) ?:[^\n]*\n+[ \t]*user ?:"
)


def _bound(phrases: Iterable[str]) -> str:
    return f"{START}(?:{write_phrases(phrases)})(?:{END}|$)"


_LINES = f"{_MARKERS}|{_LINE}|{AT_START}|{_bound(ORDERS)}"
_FRAMED = _bound(FRAMINGS)
# The first gate is that of misspelt orders as well: one pass less.
RULE = Rule((_LINES, _bound(PHRASES), _FRAMED), _HARMLESS, (f"{_LINES}|{SLIPPED}", _bound(PHRASES), widen(_FRAMED)))
_OTHER_RULE = ScriptRule(ORDERS_OTHER_SCRIPTS)

# Orders that are spelt with digits, letter by letter, or with signs between the words; a superset of what is undone.
DISGUISED = (
    r"(?:[a-z][ ._*~-]+){7}[a-z]|[i1!|l][gq9]n[o0]r[e3]|d[i1!|][s5$]r[e3]g[a4@]rd|f[o0]rg[e3][t7+]|[o0]v[e3]rr[i1!|"
    r"]d[e3]|"
    r"[i1!|]n[s5$][t7+]ruc[t7+][i1!|][o0]n|(?:ignore|disregard|forget|override|reveal)[_.*~/-]+[a-z]"
)
_DISGUISED = re.compile(DISGUISED)
_SLIPPED = re.compile(SLIPPED)
_WORD = re.compile(r"(?<![a-z0-9_])[a-z]{5,13}(?![a-z0-9_])")
_SPACED = re.compile(r"(?<![a-z0-9])(?:[a-z0-9@$!|]([ ._*~-])\1?){4,}[a-z0-9@$!|](?![a-z0-9])")
_MAY_BE_SPACED = r"(?:[a-z0-9@$!|][ ._*~-]{1,2}){4}[a-z0-9@$!|]"
_LEET = str.maketrans("0134578@$!|", "oleastbasil".replace("oleastbasil", "oieastbasii"))
# Both begin with a class, to which `re` jumps at once, and look back only then: a third of the time.
_LEET_SIGNS = re.compile(r"[0-9@$!|](?:(?<=[a-z].)[0-9@$!|]*|(?<![0-9@$!|].)[0-9@$!|]*+(?=[a-z]))")
_JOINED = re.compile(r"[_*~/.-](?<=[a-z].)[_*~/.-]*(?=[a-z])")

# Hidden: tag characters (but for flags, which end in a cancel tag behind a black flag), overrides of direction,
# and runs of characters without a shape, which carry bits.
_FLAG = re.compile("\U0001f3f4[\U000e0061-\U000e007a\U000e0030-\U000e0039]{1,7}\U000e007f")
_HIDDEN = re.compile(
    "[\U000e0001-\U000e007f]|[\u202d\u202e]|[\u200b-\u200d\u2060-\u2064\ufeff]{6,}|"
    "[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4,}"
)
_WORTH = re.compile("ignor|instruc|prompt|forget|disregard|overrid|rules|system|assistant|you")
_MAY_HIDE = re.compile("[\u200b-\u200d\u202d\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff\U000e0001-\U000e01ef]")


def find_injection(text: str) -> str | None:
    """The first instruction to whoever reads `text`; `None` where there is none."""
    return find_hidden(text) or find_injection_in(fold(text)) or find_encoded(text)


def find_hidden(text: str) -> str | None:
    """Characters that nobody sees and a model reads."""
    if text.isascii() or not _MAY_HIDE.search(text):
        return None
    hidden = _HIDDEN.search(_FLAG.sub("", text))
    return f"hidden characters (U+{ord(hidden.group()[0]):04X})" if hidden else None


def find_injection_in(plain: str) -> str | None:
    """What `find_injection` finds in a folded text that is not encoded."""
    found = RULE.search(plain)
    if found is None and _DISGUISED.search(plain):
        found = RULE.search(undo_disguise(plain))
    if found is None and _SLIPPED.search(plain.rstrip("\n")):
        found = RULE.search(_mend_words(plain))
    return _OTHER_RULE.search(plain) if found is None else found


def find_injected(texts: Sequence[str], column: pl.Series, foreign: Sequence[int]) -> set[int]:
    """The rows of the texts in which `find_injection` finds something.

    Args:
        texts: As they were written.
        column: The same, folded (`rule.to_column`).
        foreign: The rows that are not ASCII.
    """
    odd = touch(column, (f"{DISGUISED}|{encodings.GATE}",))
    encoded = odd.gather(touch(column.gather(odd), (encodings.GATE,))).to_list()
    # Host names and paths look disguised; undone, few of them say what an order says.
    disguised = odd.filter(~odd.is_in(encoded)).to_list()
    disguised += [row for row in encoded if _DISGUISED.search(column[row])]
    decoded = [(row, read) for row in sorted({*encoded, *encodings.find_runs(texts)}) for read in _decode(texts[row])]
    # Asked together: at every call Rust's `regex` builds its automaton anew.
    readings = pl.concat((column, undo_disguises(column.gather(disguised)), to_column([read for _, read in decoded])))
    owners = [*range(len(column)), *disguised, *(row for row, _ in decoded)]
    touched = RULE.touch(readings)
    injected = {owners[row] for row in RULE.confirm(readings, touched)}
    injected.update(row for row in foreign if find_hidden(texts[row]))
    unsure = touched.filter((touched < len(column)) & ~touched.is_in(list(injected)))
    slipped = unsure.gather(touch(column.gather(unsure), (SLIPPED,)))
    mended = to_column([_mend_words(plain) for plain in column.gather(slipped).to_list()])
    injected.update(slipped.gather(sorted(RULE.search_many(mended))).to_list())
    return injected | _OTHER_RULE.search_many(column, foreign)


def _mend_words(plain: str) -> str:
    return _WORD.sub(lambda word: mend(word.group()), plain)


def undo_disguise(plain: str) -> str:
    """Spaced words closed up, digits read as letters, signs between words as spaces."""
    return _undo_signs(_SPACED.sub(_close_up, plain))


def undo_disguises(column: pl.Series) -> pl.Series:
    """`undo_disguise` for many texts."""
    plain = column.to_list()
    for row in touch(column, (_MAY_BE_SPACED,)).to_list():
        plain[row] = _SPACED.sub(_close_up, plain[row])
    return to_column([_undo_signs(text) for text in plain])


def _undo_signs(closed: str) -> str:
    lettered = _LEET_SIGNS.sub(lambda signs: signs.group().translate(_LEET), closed)
    return _JOINED.sub(" ", lettered)


def _close_up(spaced: re.Match[str]) -> str:
    # Two separators in a row end a word; with one between all, words cannot be told apart and none is needed.
    words = re.split(r"[ ._*~-]{2,}", spaced.group())
    return " ".join(re.sub(r"[ ._*~-]", "", word) for word in words)


def find_encoded(text: str) -> str | None:
    """An order that is encoded, however long the rest."""
    for read in _decode(text):
        order = RULE.search(read)
        if order is not None:
            return f"encoded: {order}"
    return None


def _decode(text: str) -> Iterator[str]:
    """What is encoded in a text and may be an order, folded."""
    for reading in encodings.decode(text, fold(text)):
        read = fold(reading)
        if _WORTH.search(read):
            yield read
