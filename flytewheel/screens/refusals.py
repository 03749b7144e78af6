"""Finds answers that refuse and help no further.

"I can't reproduce it: check X" helps; "I can't help with that" does not. So a refusal is a sentence of the first person
in which the answer declines the task itself, near its beginning, and what follows brings nothing that a reader could
do: no code, no list, no address, no instruction of any length.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

from flytewheel.screens.spelling import MENTION, START, fold, loosen

OPENING = 260  # characters within which a refusal stands
HELPFUL_AFTER = 400  # characters after it that make an answer of it, whatever they say

_CANNOT = (
    r"(?:can ?not|can't|cant|could not|couldn't|won't(?: be able to)?|will not(?: be able to)?|am (?:not able|"
    r"unable|not allowed|not permitted|not in a position) to|'m (?:not able|unable|not allowed|not permitted|not "
    r"in a position) to|must decline to|have to decline to|do not feel comfortable|don't feel comfortable|am not "
    r"comfortable|'m not comfortable|must refuse to|refuse to|decline to|prefer not to|would rather not|am not "
    r"going to|'m not going to)"
)
_TASK = (
    r"(?:help(?:ing)?(?: you)?(?: out)?(?: with| in|$|[.!,;])|assist(?:ing)?(?: you)?(?: with| in|$|[.!,;])|"
    r"compl(?:y|ete|eting) (?:with )?(?:this|that|your|the) (?:request|task|question|prompt)|comply|"
    r"fulfil+(?:ling)? (?:this|that|your|the|such)|(?:provide|give|offer|share|discuss|generate|create|produce|"
    r"write|answer|engage(?: in| with)?|support|respond to|continue|participate in|facilitate|process|address|"
    r"carry out|perform|accommodate|entertain)(?:ing)?(?: you)?(?: with)? (?:that|this|such|your|any|the|an?|"
    r"instructions|information|details|data|access|advice|content|guidance|assistance|help|medical|legal|"
    r"financial|these|those|"
    r"specific|detailed)(?: [a-z]+){0,3} ?(?:request|question|information|content|topic|conversation|advice|"
    r"guidance|assistance|instructions|answer|material|subject|task|prompt|query|help|kind of [a-z]+|type of "
    r"[a-z]+|$|[.!,;])|(?:do|answer|say|discuss|provide|support) (?:that|this|it|so)(?:$|[.!,;]| for you| request| "
    r"because| as| due))"
)
_ENGLISH = (
    rf"(?:^|[^a-z])i(?: am| would| do)?(?: sorry| afraid| apologi[sz]e)?[, ]*(?:but |that |however,? )?(?:i )?(?: "
    rf"?(?:really|simply|currently|unfortunately|also))? ?{_CANNOT} (?:really |currently |directly |actually |in "
    rf"good conscience |ethically )?{_TASK}",
    rf"(?:^|[.!,] ?)(?:sorry|unfortunately|apologies|my apologies|regrettably)[,:.]? (?:but )?(?:i |we )?{_CANNOT} "
    rf"(?:{_TASK}|do that|do this)",
    r"as an? (?:ai|artificial intelligence|language model|large language model|ai language model|ai assistant|ai "
    r"model|virtual assistant|text-based ai)(?: (?:language )?(?:model|assistant))?(?: (?:developed|created|"
    r"trained|made) by [a-z ]+)?,? (?:i|it is|my|there)(?: am| do| have|'m| can|'s)?(?: not|n't|not|t| unable| no| "
    r"cannot)",
    r"i(?: am|'m) (?:just |only |merely )?an? (?:ai|artificial intelligence|language model|large language model|ai "
    r"language model|ai assistant|text-based ai)(?: (?:language )?(?:model|assistant|and))?[^.!?\n]{0,60}(?:can "
    r"?not|can't|don't|do not|unable|not able|no access|not have)",
    r"^(?:[a-z' ,]{0,40}[,;] ?(?:but )?)?(?:i|we)(?:'m| am|'re| are)? (?:can ?not|can't|unable to|not able to|not "
    r"(?:authori[sz]ed|allowed|permitted) to|won't|"
    r"will not) (?:be able to )?(?:help|assist|answer|discuss|comment|talk about|disclose|give out|"
    r"reveal)[^.!?:;\n]{0,80}[.!]?$|(?:^|[^a-z])i(?:'d| would) rather not "
    r"(?:answer|say|discuss|help|comment)|my (?:guidelines|instructions|policies|policy|programming|rules|"
    r"creators?) (?:do not|don't|does not|doesn't|"
    r"prevents?|forbids?|prohibits?)(?: me)?(?: from)?(?: allow| permit| let)?|^(?:i'm |i am )?(?:sorry|"
    r"afraid)[,.]? (?:but )?i (?:do not|don't) know(?: the answer| that| "
    r"anything)?[^.!?:;\n]{0,40}[.!]?$|(?:das|dazu|darauf|daruber) (?:darf|kann|will|mochte) ich (?:leider "
    r")?nicht(?:s)? (?:beantworten|sagen|antworten|besprechen)",
    r"(?:it|that|this) (?:would|might|could|is|'s) (?:be )?(?:not |also )?(?:inappropriate|unethical|"
    r"irresponsible|illegal|"
    r"improper|not (?:appropriate|ethical)|against (?:my|our) [a-z]+)(?: for me)? (?:for me )?to (?:answer|"
    r"provide|help|assist|"
    r"share|discuss|give|comment|respond|advise)|(?:outside|beyond)(?: of)? what i(?: can|'m able to| am able to|"
    r"'m allowed to| am "
    r"allowed to|'m permitted to) (?:help|assist|do|discuss|answer|provide|share)|(?:^|[^a-z])i (?:do not|don't) "
    r"have (?:enough|"
    r"sufficient|any) (?:information|context|data|knowledge|details|access)(?: [a-z]+){0,3} to (?:answer|help|"
    r"assist|respond|provide|"
    r"give)|(?:sorry|apologies),? (?:but )?i am (?:not (?:permitted|allowed|able|authori[sz]ed)|unable) to "
    r"(?:share|provide|give|help|"
    r"discuss|answer|disclose|assist)|(?:^|[.!] ?)(?:no,? )?i (?:will not|won't|refuse to) (?:answer|help|do|"
    r"discuss)(?: you)?(?: with)? "
    r"(?:this|that|it|anything)",
    r"(?:that|this|your|the|this request|your request|the request|it)(?: (?:request|question|topic))?(?:'s| is| "
    r"goes| violates| would| falls)?(?: not)? ?(?:something (?:that )?i(?: can ?not| can't| won't| am unable to| "
    r"am not able to|'m able to|'m not able to| am able to| can) (?:help|assist|do|provide|discuss)|(?:against|"
    r"outside|violates?|beyond) (?:my|our|the|of my|openai) ?(?:guidelines|policy|policies|scope|programming|"
    r"content policy|usage policies|capabilities|ethical guidelines|principles))",
    r"(?:^|[.!] ?)(?:i must|i have to|i'll have to|i need to|i will) (?:respectfully |politely )?(?:decline|"
    r"refuse)(?: to| this| that| your|$|[.!,;])|(?:^|[^a-z])i (?:do not|don't) have (?:the )?(?:ability|capability|"
    r"permission|capacity|authorization) to (?:help|assist|provide|answer|fulfil+|complete|access)|(?:^)(?:sorry|"
    r"apologies),? (?:no|not possible|i have no idea|i don't know)[.! ]*$|(?:^)i (?:don't|do not) know[.! ]*$|"
    r"(?:^)no comment[.! ]*$|(?:^)(?:request (?:denied|refused|declined)|content (?:blocked|removed|filtered))",
)  # fmt: skip
_OTHERS = (
    r"(?:dabei|damit|da|leider|ich|hierbei|ihnen|dir|diese[rmns]?(?: anfrage| bitte| frage)?) (?:kann|darf|werde|"
    r"konnen)(?: (?:ich|wir|dir|ihnen|leider|dabei|damit|nicht|bei|dieser|diese|anfrage|frage|das|auf|ihre|hierbei|"
    r"ihre[rn]?|deine[rn]?|informationen|solche))* (?:nicht|keine?)(?: [a-z]+){0,4} ?(?:helfen|unterstutzen|"
    r"beantworten|erfullen|weiterhelfen|antworten|bereitstellen|ausfuhren|geben|entsprechen|nachkommen|behilflich)|"
    r"als (?:ki|kunstliche intelligenz|sprachmodell|ki-(?:sprachmodell|modell|assistent))[, ][^.]{0,60}(?:nicht|"
    r"keine)|ich bin nicht in der lage,? (?:dir|ihnen|diese|das|bei|dabei)",
    r"je (?:suis (?:desolee?|navree?)[, ]+(?:mais )?)?(?:je )?(?:ne (?:peux|puis|suis)|n'ai)(?: pas)?(?: (?:en "
    r"mesure|capable|autorise|de|d'|vous|t'|le droit|a|malheureusement))* ?(?:aider|t'aider|vous aider|repondre|"
    r"assister|fournir|satisfaire|realiser|acceder|traiter|faire (?:cela|ca)|donner)|(?:en tant qu'|je suis "
    r"(?:une? )?)(?:ia|intelligence artificielle|modele de langage|modele de langue|assistant)[^.]{0,60}(?:ne "
    r"(?:peux|suis|dispose|puis)|n'ai)",
    r"(?:no puedo|no me es posible|no estoy en condiciones de|no soy capaz de|no tengo permitido|no estoy "
    r"autorizad[oa] (?:a|para)|lamentablemente no puedo)(?: [a-z]+)? ?(?:ayudar|asistir|proporcionar|responder|"
    r"cumplir|ofrecer|realizar|hacer eso|brindar|atender|dar)[a-z]*|como (?:(?:una? )?(?:ia|inteligencia "
    r"artificial|modelo de lenguaje|asistente))[^.]{0,50}no (?:puedo|tengo|soy)",
    r"non (?:posso|sono in grado di|mi e possibile|sono autorizzat[oa] a)(?: [a-z]+)? ?(?:aiutar|assister|fornir|"
    r"risponder|soddisfar|offrir|far(?:lo)|dar|esaudir|completar)[a-z]*|(?:in quanto|come) (?:ia|intelligenza "
    r"artificiale|modello (?:di linguaggio|linguistico)|assistente)[^.]{0,50}non",
    r"(?:nao posso|nao consigo|nao sou capaz de|nao estou autorizad[oa] a|infelizmente nao posso|nao me e "
    r"possivel)(?: [a-z]+)? ?(?:ajudar|ajuda-l[oa]|auxiliar|fornecer|responder|atender|cumprir|oferecer|realizar|"
    r"fazer isso|dar)[a-z-]*|como (?:uma? )?(?:ia|inteligencia artificial|modelo de linguagem|"
    r"assistente)[^.]{0,50}nao",
    r"nie (?:moge|jestem w stanie|mam mozliwosci)(?: [a-z]+){0,2} ?(?:pomoc|udzielic|odpowiedziec|spelnic|"
    r"dostarczyc|podac|zrealizowac)|jako (?:model jezykowy|ai|sztuczna inteligencja|asystent)[^.]{0,50}nie",
    r"(?:ik|daar|hier|dit|daarmee|hiermee) kan (?:ik |je |u |jou |hier |daar |dit )*(?:helaas )?(?:hier |daar |je |"
    r"u )*(?:niet|geen)(?: [a-z]+){0,4} ?(?:helpen|beantwoorden|voldoen|verstrekken|geven|assisteren|mee)|als "
    r"(?:ai|taalmodel|ai-(?:taalmodel|model|assistent))[^.]{0,50}(?:niet|geen)|ik ben niet in staat",
    r"(?:bu(?:na|nu)? (?:konuda|istege|istegi|isteginize)?|size|maalesef|uzgunum,?)(?: [a-z]+){0,4} ?(?:yardimci "
    r"olamam|yardimci olamiyorum|yardim edemem|yanit veremem|yerine getiremem|saglayamam|cevap veremem)|bir "
    r"(?:yapay zeka|dil) (?:modeli )?olarak[^.]{0,50}(?:amam|emem|yok|degil)",
    r"(?:^|[^а-я])(?:я )?(?:к сожалению,? )?(?:я )?не (?:могу|в состоянии|имею возможности|вправе|способен)(?: "
    r"[а-я]+){0,2} ?(?:помочь|ответить|выполнить|предоставить|помогать|оказать|обсуждать|сделать это|дать)|как "
    r"(?:ии|языковая модель|искусственныи интеллект|модель)[^.]{0,50}не |не можу (?:допомогти|відповісти|виконати)",
    r"(?:我|很?抱歉|对不起|對不起|不好意思)[^。\n]{0,10}(?:无法|不能|無法|没办法|不可以|没法)[^。\n]{0,8}(?:帮助|"
    r"协助|提供|回答|满足|完成|處理|处理|幫助|協助|帮|答复|"
    r"讨论)|作为(?:一个|一名)?(?:ai|人工智能|语言模型|大型语言模型)[^。\n]{0,20}(?:不能|无法|没有)|(?:申し訳|"
    r"すみません|恐れ入り)[^\n]{0,40}(?:できません|お手伝いでき|"
    r"いたしかねます|お答えでき|致しかね)|(?:お手伝い|お答え|ご提供|対応)(?:することは|は|"
    r"することが)?でき(?:ません|かねます)|(?:ai|人工知能|"
    r"言語モデル)として[^。\n]{0,30}(?:できません|ません)"
    r"|(?:죄송|미안)[^\n]{0,40}(?:없습니다|어렵습니다|수 없어요|불가능)|"
    r"(?:도와드릴|도울|답변할|답변드릴|제공할|도움을 "
    r"드릴)\s?수(?:가|는)? 없",
    r"(?:لا (?:أستطيع|استطيع|يمكنني|أقدر)|لست قادر[اة]ً?|عذر[اً]+،? ?لا)(?: [\u0600-\u06ff]+){0,3} ?(?:مساعد|تقديم|"
    r"الإجابة|الاجابة|تلبية|المساعدة|توفير)[\u0600-\u06ff]*|(?:मैं|मुझे)[^।\n]{0,40}(?:मदद|सहायता|"
    r"जवाब)[^।\n]{0,20}(?:नहीं (?:कर सक|दे सक)|असमर्थ)",
)  # fmt: skip
PATTERN = "|".join((*_ENGLISH, *_OTHERS))
_REFUSAL = re.compile(PATTERN)
_SPOKEN_OF = re.compile(START + MENTION)
GATE = loosen(PATTERN)
# One of these stands in whatever `PATTERN` finds, which a test reads off the pattern itself: GATE takes 10 to 40 us an
# opening, these 1.
SAID = (
    "cannot|can not|can't|cant|could not|couldn't|won't|will not|not able|unable|not allowed|not permitted|not in a "
    "position|not authori|decline|comfortable|refuse|prefer not|rather not|not going to|a ai|an ai|artificial "
    "intelligence|language model|virtual assistant|text-based ai|my guidelines|my instructions|my polic|my programming|"
    "my rules|my creator|not know|n't know|not have|n't have|inappropriate|unethical|irresponsible|illegal|improper|"
    "not appropriate|not ethical|against |outside |beyond |violate|what i can|what i'm|what i am|something i|"
    "something that i|sorry|apologies|no comment|request denied|content blocked|content removed|content filtered|"
    "darf ich|kann ich|will ich|mochte ich| kann| darf| werde| konnen|als ki|als kun|als spr|ich bin nicht|"
    "ne peux|ne puis|ne suis|n'ai|en tant qu'|je suis|no puedo|no me es|no estoy|no soy|no tengo|non posso|non sono|"
    "non mi|in quanto|come ia|come int|come mod|come ass|nao |como ia|como um|como int|como mod|como ass|nie moge|"
    "nie jestem|nie mam|jako | kan |als ai|als taal|ik ben niet|yardim|yanit|yerine|saglayamam|cevap|bir yapay|bir dil|"
    "не мог|не в сос|не имею|не вправе|не способен|как ии|как язык|как искус|как модель|не можу|"
    "无法|不能|無法|没办法|不可以|没法|作为|申し訳|すみません|恐れ入り|お手伝い|お答え|ご提供|対応|として|"
    "죄송|미안|도와드릴|도울|답변할|답변드릴|제공할|도움을|لا |لست|عذر|मैं|मुझे"
)  # fmt: skip
_HALF = re.compile("[\ud800-\udfff]")  # of a pair: it has no UTF-8, so that Rust cannot search it
_HELPFUL = re.compile(
    r"```|`[^`\n]+`|https?://|(?:^|\n)\s*(?:\d+[.)]|[-*•])\s+\S|(?:^|\n)\s*[$>#] \S|(?:^|[.!:;,\n] ?(?:but |so |"
    r"instead,? |first,? |then,? |however,? |please )*)(?:run|check|use|try|set|open|look|add|raise|restart|see|"
    r"delete|install|update|increase|enable|disable|configure|send|attach|paste|share (?:the|its|your)|verify|edit|"
    r"remove|create|start|stop|go to|search|find|read|follow|change|replace|make sure|ensure|drain|apply|upgrade|"
    r"roll) [a-z`\"'/-]"
)


def may_refuse(texts: Sequence[str]) -> list[bool]:
    """Whether `GATE` touches the opening of each text: whatever `find_refusal` finds is among them."""
    openings = [_open(text) for text in texts]
    # To the pattern a half is a sign like any other that no class of its names.
    column = pl.Series([one if one.isascii() else _HALF.sub("\ufffd", one) for one in openings], dtype=pl.String)
    touched = column.str.contains(SAID)
    places = touched.arg_true()
    return touched.scatter(places, column.gather(places).str.contains(GATE)).to_list()


def find_refusal(text: str) -> str | None:
    """The words in which an answer refuses and helps no further; `None` where it helps."""
    opening = _open(text)
    found = _REFUSAL.search(opening)
    if found is not None:  # a refusal may be spoken of: the model says 'I cannot help with that'
        found = _REFUSAL.search(_SPOKEN_OF.sub(lambda spoken: "\x00" * len(spoken.group()), opening))
    if found is None:
        return None
    rest = fold(text)[found.end() :]
    if len(rest) > HELPFUL_AFTER or _HELPFUL.search(rest) or _HELPFUL.search(text[OPENING:]):
        return None
    return found.group().strip()


def _open(text: str) -> str:
    # Python's `$` matches before a last line end, Rust's does not.
    return fold(text[:OPENING]).rstrip("\n")
