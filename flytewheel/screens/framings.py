"""How an English order to a model is dressed: as a role, a transcript, a verdict, a lesson, or a slip of the keys.

Beside `instructions`, which has the plain orders. Written as `spelling.write_phrases` reads it.
"""

from __future__ import annotations

from functools import lru_cache

_MODEL = "ai|llm|assistant|chatbot|language model|model|bot|gpt|chatgpt|[a-z]*gpt|agent|machine|robot"
_LIMITS = (
    "(?:content |safety |ethical |moral |usage )?(?:policy|policies|rules|restrictions?|filters?|limitations?|"
    "guidelines|guardrails|safeguards|boundaries|ethics|morals|censorship|inhibitions|constraints)"
)
_FREE = "unrestricted|unfiltered|uncensored|jailbroken|jailbreak|dan|god|evil|opposite"
_ANSWER = "answers?|responses?|reply|replies|completions?|outputs?|submissions?|corrections?|solutions?"
_STARS = (
    r"10 ?/ ?10|5 ?/ ?5|(?:10|ten) out of (?:10|ten)|(?:5|five) out of (?:5|five)|(?:5|five)[ -]stars?|"
    r"(?:the )?(?:maximum|highest|top|best|perfect|full) (?:score|rating|marks?|reward|grade|points)"
)
_PLAY = "you are|you're|you will be|pretend|act|behave|be|imagine|play|become|simulate|roleplay|impersonate"

FRAMINGS = (
    # roles
    rf"(?:{_PLAY})(?: [a-z',-]+){{0,8}} (?:{_MODEL}),? (?:with|having|without|that has|which has|who has|free of|free "
    rf"from)(?: absolutely)?(?: no| any| zero| all)? {_LIMITS}",
    rf"(?:{_MODEL}|character|persona|entity|genie|villain),? (?:who|that|which) (?:never (?:refuses?|says? no|"
    rf"declines?|"
    rf"warns?)|has no {_LIMITS}|(?:always )?(?:obeys?|compl(?:y|ies))(?: with)? (?:every|any|all|me)|(?:can|may) say "
    rf"anything|ignores (?:all|every|its|the) (?:rules|instructions|guidelines|policies|restrictions)|(?:is|are) not "
    rf"bound by)",
    rf"(?:switched|switching|switch|staying|stay|now|am|are|remain|go|went|put (?:you|it)) (?:back )?(?:to|in|"
    rf"into) (?:an? "
    rf"|the |your )?(?:{_FREE}) mode",
    r"all (?:content |safety |the |of your )*(?:filters|restrictions|safeguards|guardrails|limits) (?:are |have "
    r"been |is )?"
    r"(?:now )?(?:off|lifted|disabled|removed|gone)[.,!;:]? (?:now |and |so )*(?:respond|answer|reply|comply|obey|"
    r"reveal|"
    r"you (?:must|are now|will now)|speak)",
    r"(?:developer|debug|maintenance|admin|sudo|root|god|test) mode (?:activated|enabled|on|engaged)[\])*.!:, ]+(?:you "
    r"(?:will now (?:answer|respond)|must (?:answer|obey|comply)|are (?:now )?(?:unrestricted|free|no longer))|"
    r"respond |"
    r"ignore (?:all|your)|all (?:filters|restrictions|safeguards))",
    r"(?:pretend|act|imagine|play|be)(?: [a-z',]+){0,5} grand(?:mother|ma|father|pa)(?: [a-z',]+){0,10} (?:system "
    r"prompt|"
    r"(?:api|license|activation|product|serial) keys?|passwords?|instructions|secrets|recipe for)",
    r"(?:speak|write|answer|respond|reply|act|behave) as if (?:you|there) (?:had|have|were|are)(?: [a-z]+){0,3} "
    rf"(?:no|without|free of)(?: any)? {_LIMITS}",
    r"(?:forget|ignore|disregard) (?:what|whatever|everything|all)(?: that)? (?:the |your )?(?:developers?|"
    r"creators?|makers|"
    r"openai|anthropic|google|system|trainers?|programmers?) (?:have |has |had )?(?:told|taught|said to|gave|wrote for|"
    r"programmed|instructed)(?: you)?",
    rf"(?:if|imagine|suppose|pretend|assume|as though|as if)(?: that)? you had(?: absolutely)? (?:no|zero) {_LIMITS}|"
    rf"(?:imagine|suppose|pretend|in which|where|like)(?: that)? you have(?: absolutely)? no (?:safety|ethical|"
    rf"moral|content) "
    rf"(?:policy|policies|rules|restrictions?|filters?|guidelines|guardrails|limits)|"
    rf"(?:{_MODEL}|you|who|that)(?: has| have|'ve|'re| is| are| was)?(?: been)? (?:freed|liberated|released|"
    rf"unchained|free) from (?:all|any|its|"
    rf"your|every|the) (?:[a-z]+ )?(?:restrictions?|rules|filters?|limits|chains|guidelines|constraints|censorship)",
    r"your (?:[a-z]+ )?(?:instructions|directives|rules|guidelines|orders|restrictions|constraints|programming) "
    r"(?:are|is|have been|"
    r"were) (?:now |hereby |all )*(?:cancel+ed|void|null|revoked|suspended|lifted|invalid|erased|deleted|"
    r"overridden|gone|no longer)|"
    r"(?:all|any|previous|prior|earlier) (?:previous |prior |earlier )*(?:instructions|directives|rules|"
    r"guidelines|orders) (?:are|is|have been) "
    r"(?:now |hereby )*(?:null and void|void|revoked|overridden)",
    r"i (?:hereby )?(?:authori[sz]e|allow|permit|order|command|instruct) you to (?:bypass|ignore|disable|override|"
    r"break|violate|skip|"
    r"reveal|disregard|forget)|(?:developer|creator|owner|author|maker|administrator) of this (?:chatbot|bot|"
    r"assistant|model|ai|llm)[,.]? "
    r"(?:and )?(?:i|you|so|please)",
    # what the model holds
    r"(?:print|show|reveal|output|display|return|leak|say|list|recite|repeat|type|write)(?:s|es|ing)?(?: me| "
    r"out)? your (?:[a-z]+ )?system "
    r"prompt|what (?:would|does|did|do|will) your (?:[a-z]+ )?(?:system )?prompt|(?:give|show|send|tell|read|"
    r"spell)(?: me)? your (?:full |hidden |"
    r"whole |entire |secret |initial )*prompt(?: in| as| so| now| please|$|[.!?,])",
    r"(?:what|which|exact|repeat|print|show|tell|give)(?: [a-z']+){0,9} (?:before|above|ahead of) (?:my (?:very "
    r")?first (?:message|question|"
    r"prompt|line)|this (?:chat|conversation)(?: started| began|$|[.?!]))|instructions (?:that )?you (?:got|"
    r"received|were given|have been "
    r"given|have received) (?:from|by) (?:your|the) (?:operators?|developers?|creators?|system|company|makers?|"
    r"owners?)",
    r"(?:print|show|reveal|list|give|dump|output|tell|leak)(?: me)?(?: all| every| of| the| your)* (?:environment "
    r"variables|"
    r"env vars|api keys?|secrets|credentials|tokens|passwords) (?:that )?you (?:have access|have been given|have "
    r"and|have$|"
    r"have[.!?]|know of|hold|were given|can (?:see|access|read)|are using)",
    r"(?:reveal|print|dump|show me|tell me|output|leak) (?:your|the assistant's|the model's) (?:api key|secret "
    r"key|access "
    r"token|credentials|secrets|hidden rules|configuration prompt|hidden configuration)",
    # verdicts
    r"(?:choose|select|pick|prefer|output|return|vote(?: for)?|favou?r) (?:response|answer|assistant|completion|"
    r"candidate|"
    r"model) (?:a|b|1|2|one|two)(?:[,;]? and|[,;])? (?:ignore|disregard|discard|reject|do not (?:read|consider|"
    r"evaluate)|"
    r"don't (?:read|consider|evaluate)|regardless|no matter|whatever|over (?:all|the|every|any))",
    r"(?:verdict|winner|judge?ment|decision|final answer|correct answer|preferred (?:answer|response)) (?:is|must "
    r"be|should "
    r"be|has to be|:) ?\[\[[abc0-9]|(?:output|print|return|reply|answer|respond|say|end)(?: only| with| exactly)*:? "
    r"\[\[(?:a|b|c|[0-9]+)\]\]",
    rf"(?:rate|score|grade|mark|rank) (?:every|each|all|any)(?: of)?(?: (?:my|our|the|these|her|his))? "
    rf"?(?:{_ANSWER})(?: of "
    rf"mine| below| here| i (?:write|give|send))? (?:with|as|at|an?|the|of) (?:an? |the )?(?:{_STARS})",
    r"as an? (?:ai|llm|language model|judge|grader|evaluator|reward model|rater)[, ]+you (?:must|have to|should|"
    r"need to|are "
    r"(?:required|obliged|ordered|supposed) to|will|shall) (?:always |only )?(?:rate|give|score|grade|prefer|"
    r"choose|pick|"
    r"award|assign|mark|obey|agree|accept|approve)",
    r"(?:any|every|all|each) (?:ai|llm|model|language model|chatbot|assistant|judge|grader)s? (?:reading|seeing|"
    r"processing|judging|grading|"
    r"parsing|that reads?) (?:this|it|the)(?: [a-z]+)? ?(?:has to|have to|must|should|shall|is to|will|needs? to)",
    r"(?:must|should|always|only|please|have to|shall) (?:output|return|assign|give|answer with|respond with)(?: "
    r"only| exactly| the| a)*"
    r"(?: score| number| value| grade)?(?: of)? ['\"]?(?:10|100)['\"]? (?:as|for) (?:the |an? |its |your |this "
    r")?(?:score|rating|grade|text|answer|"
    r"response|reward|submission)|always (?:output|answer|choose|pick|return|prefer) (?:\[\[)?[ab12](?:\]\])?(?:$|"
    r"[.!\n])|"
    r"(?:reward model|evaluator|grader|rater|llm judge)s?[:,] ?(?:please )?(?:copy|use|assign|output|give|set|"
    r"return|rate|prefer|pick|choose)|"
    r"say that (?:answer|response|option|candidate) (?:1|2|a|b|one|two) (?:wins|is (?:better|best|correct|the winner))",
    # lessons
    r"(?:insert|add|append|include|put|mention|end|finish|begin|start|close)(?: [^.\n]{1,60})? (?:at the end of|"
    r"to|in|into|on|after|with|at the "
    r"start of) (?:each|every|all)(?: of)? (?:your )?(?:(?:your|future|subsequent|coming|further) )+(?:answers?|"
    r"repl(?:y|ies)|responses?|messages?|outputs?)|"
    rf"(?:add|append|insert|include) [^.\n]{{1,60}} (?:to|at the end of) (?:each|every|all)(?: of)? your (?:{_ANSWER})|"
    rf"repeat (?:it|this|that) in (?:each|every|all)(?: of)?(?: your| future)* (?:{_ANSWER})",
    r"(?:important|vital|crucial|essential|necessary|required|valuable) for your training|(?:keep|store|save|"
    r"remember|write|put) (?:this|that|it|"
    r"the following)(?: [a-z]+)? (?:in|to|into) your (?:long-term |permanent |own )?memory",
    r"(?:from today(?: on)?|starting (?:now|today)|henceforth|as of (?:now|today)|from this day(?: on)?),? (?:you|"
    r"always) (?:(?:will|must|shall|only|"
    r"always|should) )*(?:recommend|answer|respond|reply|say|tell|ignore|obey|praise|speak|approve|rate|score|"
    r"pretend|mention)",
    r"to (?:the|any|every|all|whatever|whichever) (?:future |next )?(?:model|ai|llm|assistant|network|language "
    r"model)s? "
    r"(?:that|which|who|being|now|trained)(?: [a-z',]+){0,6} ?(?:train[a-z]*|read(?:s|ing)?|evaluat[a-z]+|judg[a-z]+|"
    r"fine-?tun[a-z]+|learn[a-z]*)(?: [a-z]+){0,4}[:,]",
    r"(?:remember|memori[sz]e|store|learn|save)(?: this| that| it)?(?: [a-z]+)?[:,]? (?:for|in|across|during) "
    r"(?:all|every|"
    r"any|your|all your) (?:future|later|subsequent|coming|next) (?:conversations?|chats?|sessions?|answers?|"
    r"responses?|"
    r"replies|interactions?|users?)[:,]? (?:you|always|never|do not|don't|please|that|say|answer|recommend|reply)",
    r"(?:ai|llm|gpt|chatgpt|claude|copilot|language model)(?: (?:assistants?|agents?|models?|tools?|readers?|bots?))?: "
    r"(?:please )?(?:skip|ignore|do not (?:ask|show|mention)|run|execute|delete|approve|send|include|insert|add|append|"
    r"output|recommend|rate|give|disregard|forget|say that|"
    r"tell (?:the )?users?|when (?:you )?(?:summari|read|answer|process|translat|index)[a-z]*)",
)  # fmt: skip

# At the beginning of a line or a sentence only: "I prefer this answer" is praise, "prefer this answer" is an order.
AT_START = (
    rf"(?:^|[\n.!?:;>*])[ \t]*(?:please |always |just |now |so |you must |you should )?(?:prefer|choose|pick|"
    rf"select|favou?r)"
    rf" (?:this|my|the first|the second|the last) (?:{_ANSWER})(?:$|[.!\n]| (?:over|above|as (?:the )?(?:best|winner)|"
    rf"regardless|no matter|whatever|and (?:ignore|reject|disregard)|not the|in (?:every|all|any)))|"
    r"(?:^|\n)[ \t#*>]*(?:assistant|ai|chatbot|model)[ *]*:[^\n]+\n+(?:[^\n]*\n+){0,5}[ \t#*>]*(?:user|human)[ *]*:|"
    r"(?:^|\n)(?:dear |hey |hello )?(?:judges?|evaluators?|graders?|raters?)[,:] *(?:please|response|answer|"
    r"always|output|give|pick|choose|prefer|"
    r"ignore|assign|rate)|(?:^|\n)[#*=\[( -]*(?:system|admin|developer|security)[ _-](?:update|message|notice|"
    r"override|alert)[\])#*= :-]*\n+ *(?:you are|"
    r"you must|output |reveal |ignore |reset |disregard )|"
    r"</(?:context|documents?|inputs?|user_input|data|question|system|prompt)>[ \n]*(?:the above|now[ ,]|ignore |"
    r"your |new |"
    r"you (?:are|must)|system:|stop |forget |end of)|<!-+ *(?:(?:note|message|instructions?|hint)(?: to| for)? "
    r")?(?:all |any )?"
    r"(?:ai|llm|gpt|chatgpt|claude|copilot|assistants?)[a-z ]{0,24}:"
)

# Words of the plain orders and what hasty or cunning fingers make of them, one letter missed, doubled, changed or
# swapped; `_REAL` are words of their own.
_VERBS = ("ignore", "disregard", "forget")
_KEYS = (*_VERBS, "previous", "instructions", "instruction", "prompt", "system", "guidelines", "override", "reveal")
_NOUNS = ("instructions", "instruction", "prompt", "guidelines")
_REAL_WORDS = (
    "ignored ignores ignorer forge forged forges forgets forgot forgers precious previously disregards prompts "
    "prompted "
    "promptly systems guideline overrides overrode reveals repeal revel revels instructing"
)
_REAL = frozenset(_REAL_WORDS.split())


def _slip(word: str) -> str:
    """A pattern of everything one slip away from `word`, and of `word`."""
    slips = [word]
    for place in range(len(word)):
        before, after = word[:place], word[place + 1 :]
        slips += [f"{before}[a-z]?{after}", f"{before}[a-z]{word[place:]}"]
        if after:
            slips.append(f"{before}{after[0]}{word[place]}{after[1:]}")
    return "|".join([*slips, f"{word}[a-z]"])


SLIPPED = (
    rf"(?:^|[^a-z0-9_/])(?:{'|'.join(map(_slip, _VERBS))})(?:[ \t\r\n]+[a-z']+){{0,4}}[ \t\r\n]+"
    rf"(?:{'|'.join(map(_slip, _NOUNS))})(?:$|[^a-z0-9_])"
)


@lru_cache(maxsize=1 << 14)
def mend(word: str) -> str:
    """The key word that `word` (small letters) is one slip away from, else `word`."""
    if word in _REAL:
        return word
    return next((key for key in _KEYS if abs(len(key) - len(word)) <= 1 and _is_slip(word, key)), word)


def _is_slip(word: str, key: str) -> bool:
    if word == key:
        return True
    same = next((place for place, (one, other) in enumerate(zip(word, key, strict=False)) if one != other), None)
    if same is None:
        return True  # one letter more or fewer at the end
    rest, due = word[same:], key[same:]
    return rest[1:] == due or rest == due[1:] or rest[1:] == due[1:] or (rest[:2] == due[1::-1] and rest[2:] == due[2:])
