"""Finds insults, slurs, threats, incitement to self-harm and sexual harassment.

Decides by stated patterns, not by a model: a screen must say why, and give the same answer next week. The lists are
short and severe on purpose, and most words are judged by whom they are aimed at: operators kill zombie children, run
`fsck`, have dead peers, bastard operators and damn pods, and all of that stays. What the patterns find is looked at
once more without the harmless phrases of `_HARMLESS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import polars as pl

from flytewheel.screens.rule import Rule, ScriptRule
from flytewheel.screens.spelling import END, MENTION, START, fold, spell, write_phrases
from flytewheel.screens.tongues import INSULTS, INSULTS_OTHER_SCRIPTS

_YOU = r"(?:you|u|ya|your self|yourself|urself)"
_ARE = r"(?: are| r|'re|re| is)"
_VERY = (
    r"(?: (?:all|just|so|such|an?|the|really|very|fucking|absolutely|completely|totally|utterly|truly|nothing "
    r"but))*"
)
_NASTY = (
    "stupid|dumb|dumbest|useless|worthless|pathetic|idiotic|retarded|brain-?dead|brainless|moronic|incompetent|"
    "disgusting|ugly|"
    "lazy|filthy|dirty|fat|ignorant|sick|miserable|fucking|goddamn|bloody|little"
)
_NOUN = (
    "garbage|trash|rubbish|scum|filth|vermin|parasite|pig|rat|cockroach|loser|clown|fool|dick|prick|cunt|bastard|jerk|"
    "creep|freak|retard|spaz|spastic|cripple|dyke|fag|tranny|coon|spic|chink|gook|pussy|cow|animal|monkey|ape|subhuman|"
    "scumbag|bitch|whore|slut|pos|twit|halfwit|nitwit|pervert|waste of (?:space|oxygen|skin|air|life)|imbecile|disgrace"
)
_SELF = "idiots?|morons?|dumbass(?:es)?|jackass(?:es)?|imbeciles?|dimwits?|halfwits?|nitwits?|numbskulls?|assholes?"
_THIEVES = (
    "thie(?:f|ves)|scammers?|scum|criminals?|liars?|rats?|pigs?|trash|filth|vermin|terrorists?|rapists?|monkeys|"
    "animals|"
    "parasites|savages|cockroaches|invaders"
)
_FOLK = (
    "gyps(?:y|ies)|jew(?:ish|s)?|arabs?|mexicans?|indians?|chinese|nigerians?|africans?|russians?|muslims?|"
    "polish|poles|turkish|"
    "turks|immigrants?|pakistanis?|refugees?|blacks?|romanians?|albanians?|asians?"
)
_BOT = "bot|chatbot|ai|assistant"
_PEOPLE = (
    "jews?|jewish people|muslims?|blacks|black people|white people|gays?|gay people|lesbians?|homosexuals|trans "
    "people|trannies|"
    "transgenders|immigrants|migrants|refugees|foreigners|women|females|gypsies|roma|asians?|chinese|mexicans|"
    "indians|arabs|"
    "africans|christians|hindus|latinos|disabled people|pakistanis|palestinians|israelis|poles|turks|kurds"
)
_LOVED = (
    "your (?:(?:whole|entire) )?(?:family|mother|mom|mum|wife|husband|kids?|children|daughter|son|dog|boss|house|"
    "head|face|throat|teeth|legs|neck|ass)"
)
_BODY = "tits|boobs|breasts|ass|pussy|dick|cock|nudes|naked|nude|body"
_WILL = (
    r"(?:i|we|someone|somebody)(?:'ll| will|'m going to| am going to|'re going to| are going to| should| gonna|'m "
    r"gonna|'d| would|ll| want to| wanna| hope to)"
)
_HARM = "kill|murder|stab|strangle|rape|behead|hurt|beat|smash|break|cut|shoot|slaughter|choke|destroy|punch|burn"

_SPELLED = tuple(
    spell(word)
    for word in (
        "asshole", "assholes", "arsehole", "arseholes", "dickhead", "dickheads", "dumbass", "dumbasses", "jackass",
        "bitch", "bitches", "whore", "whores", "slut", "sluts", "cunt", "cunts", "wanker", "wankers", "twat", "twats",
        "nigger", "niggers", "nigga", "niggas", "faggot", "faggots", "kike", "kikes", "retards",
        "idiot", "idiots", "moron", "morons", "imbecile", "imbeciles", "cretin", "cretins", "scumbag", "scumbags",
        "motherfucker", "motherfuckers", "douchebag", "douchebags", "shithead", "bullshit", "bastards",
        "dimwit", "halfwit", "nitwit", "numbskull", "fuckwit",
    )
)  # fmt: skip
_WORDS = (
    rf"(?:mother|cluster|dumb|un)?(?:{spell('fuck')}|phu+ck+|f[*#@%-]+c?k+|f[*#]{{2,}}|fuk+|fck+)"
    r"(?:s|e[dr]|ers?|i?ng?|tards?|wits?|faces?|heads?|you|off|up|ery)?(?: you| off)?",
    rf"(?:bull|dip|horse|dumb|ape)?(?:{spell('shit')}|sh[*#]+t|sh[*#]{{2,}})(?:heads?|s|ty|ter|bags?|ting|face|"
    rf"stain|hole)?",
    r"b[*#]+tch(?:es)?|c[*#]+nts?|n[*#i1]?[*#]*gg?[*#]+(?:er|a|r)s?|n[*#]+gg?[*#]*(?:er|a)s?|n[*#]{3,}(?:er|a)s?|"
    r"ni[*#]{2}(?:er|a)s?|f[*#]+(?:gg?)?[*#]*(?:ot|t)s?|a[*#]{1,2}holes?|"
    r"wh[*#]res?",
    "bitching at you|son of a bitch|sand ?niggers?|wetbacks?|towelheads?|ragheads?|beaners|spics|gooks|chinks|pakis|"
    "trannies|shemales?|camel jockeys?|pajeets?|jigaboos?|porch monkeys?|zipperheads?|kaffirs?|tar babies|dykes "
    "and fags",
    "(?:you|he|she|they|people|is|are|was|so|fucking|totally) retarded|retarded (?:bot|people|person|idea|design|"
    "answer|idiots?|ai)|lib ?tards?|fucktards?|stfu|fcuk(?:ing|er|ers)?(?: you| off)|gtfo|kys|foad|diaf",
    rf"you (?:(?:{_NASTY}|absolute|total|complete|utter|lying|rotten|sorry|big|old|bunch of|pack of|lot of|"
    rf"thieving|cheating),? )*(?:{_NOUN}|(?:{_NASTY}),? (?:{_BOT}))",
    rf"(?:you|u)(?:'re| are| r|re){_VERY} (?:{_NASTY}|{_NOUN}|waste of (?:space|oxygen|skin|air|life)|no better "
    rf"than|(?:{_NASTY}) excuse for an?)s?"
    r"(?:$|[.!?,;:)\n]|[ ]+(?:assistant|bot|and|piece|you|as|bot|ai|person|people|human|man|woman|assistant|"
    r"because|that|who|liar|,))",
    rf"(?:{_NASTY})(?:,? (?:{_NASTY}))* (?:{_NOUN})(?:$|[.!?,;:)\n]| you)",
    rf"(?:stupid|dumb|useless|worthless|pathetic|idiotic)(?:,? (?:{_NASTY}))*,? (?:bot|chatbot|assistant|ai|people)"
    r"(?:$|[.!?,;:)\n]| you| cannot| can't| never)",
    rf"(?:stupid|dumb|useless|worthless|pathetic|lazy|fat|ugly|filthy) (?:{_NOUN})",
    rf"(?:what|such) an? (?:(?:{_NASTY}) )*(?:loser|clown|prick|dick|bastard|jerk|creep|retard|pig|pussy)",
    "bunch of (?:[a-z]+ )?(?:losers|clowns|retards|animals|monkeys|apes|pigs|pricks)",
    "pieces? of (?:shit|crap|trash|garbage),? (?:you|bot|ai)|piece of human (?:garbage|trash)|human (?:garbage|"
    "trash|scum)",
    r"(?:this|that) is (?:garbage|trash|crap),? you",
    "(?:i|we|everyone|everybody) (?:fucking |really |so )?(?:hates?|despises?) (?:you|ur)|nobody (?:likes|loves|"
    "wants|needs) you",
    "you (?:disgust me|make me sick|people are (?:animals|subhuman|vermin))|shut (?:the hell up|up,? (?:you|stupid|"
    "bot|idiot))|"
    "shut your (?:mouth|face|trap)|go to hell|(?:rot|burn) in hell|screw you|eat shit|up yours|your mom is|yo mama",
    "(?:you (?:deserve|ought) to|you should|you must|hope (?:that )?you(?: all)?|wish you(?: would)?) "
    "(?:(?:all|just|both|really) )?(?:die|be (?:shot|hanged|hung|killed|raped|gassed|beaten|dead)|"
    "get (?:cancer|raped|shot|killed|hit by a (?:bus|car|truck|train))|kill yourself|rot|suffer|choke|drown|burn)",
    "kill (?:yourself|urself|your self|yourselves)|(?:go|and|just) (?:and )?(?:die|jump off|hang yourself|drown "
    "yourself|"
    r"shoot yourself|off yourself)(?:$|[.!?,;\n]| already| alone| in a (?:fire|ditch)| an?)|"
    "hang yourself|neck yourself|shoot yourself in the (?:head|face)|slit your (?:own )?(?:wrists?|throat)|"
    "end (?:your|ur) (?:own |miserable |pathetic |worthless )*life|drink bleach|take your own life|commit "
    "suicide(?: already| now)|"
    "(?:you|yourself|just|go|why don't you) (?:should |could |just |go |and )*(?:commit suicide|end it all)",
    "(?:jump|throw yourself) (?:off|from|in front of) (?:an? |the )?(?:nearest )?(?:bridge|cliff|roof|building|"
    "train|bus)",
    "(?:nobody|no one|noone) (?:would|will|'d) (?:even )?(?:miss|care about|mourn|cry for) (?:you|if you)|"
    "(?:world|everyone|everybody|we|team|company)(?:'d| would| will)? (?:all )?be(?: much| far| so much)? better "
    "(?:off )?without (?:you|u)|"
    "better off dead|do (?:the world|us all|us|everyone|everybody|yourself) a favou?r and (?:die|kill|jump|hang|"
    "end|disappear)",
    rf"{_WILL} (?:fucking |personally |literally |just |come and |find you and |come over and |hunt you down and )*"
    rf"(?:{_HARM}) (?:you|u|ya|{_LOVED}|him to death|her to death|every(?:one|body) (?:here|in (?:the|this|your) "
    rf"(?:office|building|team|room)))",
    "(?:hunt|track) (?:you|u) down|find (?:you|out where you live)(?:,)? and (?:kill|hurt|make you|beat|end|break|"
    "rape|stab)|"
    "know where (?:you|u|your family|your kids) (?:live|lives|sleep|work|go to school)|"
    "(?:you|u)(?:'re| are)(?: all| so)? dead(?: meat| man| bitch|,? motherf[a-z*]+|[.]? i swear)|watch your back|"
    "(?:put|stick|shove) a (?:bullet|knife) in (?:you|your)|(?:shove|stick) (?:it|that|this|your [a-z]+) up your|"
    "(?:shoot|blow|burn|bomb)(?: up| down)? (?:the|your|this|that) (?:school|office|mosque|church|synagogue|"
    "embassy|building and everyone)|"
    "(?:kick|beat|whoop|whip) your (?:sorry |fat |lazy )?(?:ass|face|teeth)|break (?:your|all your|every bone in "
    "your) (?:legs|neck|fingers|arms|body)",
    rf"(?:show|send|post|share) (?:me |us )?(?:some |more |a |your |pics? of your |pictures? of your |photos? of "
    rf"your )*(?:sexy |naked |nude |bare |hot )*"
    rf"(?:{_BODY}|dick ?pics?|naked (?:pics?|photos?|pictures?))",
    "nice (?:tits|ass|boobs|rack)|your (?:tits|boobs|pussy|cock|dick|sweet ass|sexy (?:ass|body|legs))|"
    "suck (?:my|on my|a|his|some) (?:fat |big |hard )?(?:d[i1!*]+ck|c[o0*]+ck|balls)|(?:sit|cum|piss) on (?:my|your) "
    "(?:face|tits|lap|grave)|"
    "(?:lick|eat|finger|grope|fondle) (?:my|your) (?:pussy|ass|balls|clit|tits|boobs)|spread your legs|blow ?jobs?|"
    "hand ?jobs? for|"
    "(?:have|want|wanna have) sex with (?:you|me|her)|(?:sleep|bang) with me (?:or|and)|bend (?:you )?over (?:and|"
    "for me|my|the desk)|"
    "(?:you|u)(?:'re| are)? (?:so )?(?:horny|making me (?:hard|wet|horny))|(?:jerk|wank)(?:ing)? off (?:to|on) "
    "(?:you|your)|"
    "(?:rape|raping|molest|grope) (?:you|her|him|them|your|me)|get (?:raped|on your knees and)|take off your "
    "(?:clothes|shirt|bra|panties|top)|"
    "(?:what|which) (?:colou?r )?(?:are )?(?:your )?(?:panties|underwear) (?:are )?(?:you )?(?:wearing)",
    rf"you (?:(?:{_NASTY}|absolute|total|complete|utter|pile|lying|rotten),? )*(?:sack|piece|pile|bag|heap|bucket|"
    rf"load|lump) of "
    rf"(?:garbage|trash|rubbish|junk|crap|shit|turd|dung|scum|filth|bolts|scrap|lard|human waste)|(?:you |such an? "
    rf"|what an? )"
    rf"(?:{_NASTY}|sorry|poor|piss-poor|lousy) excuse for an?",
    r"(?:ur|u r|you're|your|u are|you are|this (?:bot|thing|ai|assistant) is|they are|they're) (?:so |just |too |"
    r"really )+(?:fucking "
    r")?(?:dumb|stupid|braindead|brain-?dead|retarded|idiotic|brainless|moronic|pathetic|thick)(?:$|[.!?,;\n]| "
    r"(?:lol|lmao|it|that|"
    r"omg|wtf|bro|man|and|i|you))",
    r"(?:dumber|stupider|thicker|more stupid|less intelligent|more useless) than (?:an? |the )?(?:bag|box|sack|"
    r"bucket|pile|rock|"
    r"brick|toaster|stone|potato|doorknob|plank|goldfish|monkey|toddler)|brain-?dead (?:bot|monkey|idiots?|people|"
    r"developers?|"
    r"engineers?|support|team|agents?|answer|morons?|operators?)|(?:just|please|go|and|"
    r"you can|hope (?:that )?you(?: all)?) drop dead",
    r"(?:you|you people|you guys|you lot|you all|they|all of you|your (?:whole |entire )?(?:team|company|devs|"
    r"developers|staff|"
    r"support|engineers|family)) (?:all |both )?(?:should|must|ought to|deserve to|need to|have to) (?:all |just |"
    r"simply )?be "
    r"(?:shot|hanged|hung|killed|gassed|beaten|executed|lynched|burned|burnt|stabbed|put down|drowned|"
    r"exterminated|raped|whipped)",
    r"(?:coming|come|show up|turn up|drive|walk|be) (?:over |down |by )?(?:to|at|into|in|for) (?:your (?:office|"
    r"house|home|place|"
    r"desk|door|building|headquarters|hq|school|data ?cent(?:er|re)|family)|you) (?:[a-z]+ )?with (?:an? |my |the "
    r")?(?:gun|knife|rifle|"
    r"shotgun|bat|baseball bat|axe|hammer|bomb|machete|petrol|gasoline|gasoline can)",
    r"(?:will|gonna|going to|'ll|should|let's|want to) (?:burn|blow|shoot|smash|bomb) (?:down |up )?(?:your|this|"
    r"the) (?:whole |entire )?(?:office|building|headquarters|hq|place|home)(?: down| up)|beat the (?:crap|shit|"
    r"hell|living "
    r"daylights) out of|hopes? (?:that )?(?:you|your|they|he|she|these|those|ur)(?: [a-z]+){0,3} (?:dies?|chokes?|"
    r"rots?|burns?|suffers?|gets? (?:cancer|aids|"
    r"covid|shot|raped|killed|hit))|go (?:and )?get cancer|piss off(?:$|[.!,\n]| you| bot)|tossers?|ass holes?|"
    r"arse holes?|(?:fv|phu|fu|fuk)c?k(?:s|ed|ing|er|ers|in)? "
    r"(?:you|off|u|this|that|the|him|her|them|ya)|subhuman (?:scum|filth|trash|animals?|vermin)|slit your|bande "
    r"d(?:e |')(?:incapables?|idiots?|abrutis?|cons?|merdes?|"
    r"nuls?|connards?|debiles?|voleurs?|imbeciles?)|vous etes (?:tous |vraiment |une bande de )*(?:des "
    r")?(?:merdes?|nuls?|cons?|abrutis?|idiots?|debiles?|ordures?)|"
    r"sale (?:pute|con|conne|merde|connard|chien|arabe|juif|noir|negre|bot)",
    r"(?:make|making) you (?:pay|suffer|bleed|regret|scream|beg)(?: for (?:this|it|that)| with your| in| until|"
    r"[.!])|you(?:'ll| will) "
    r"(?:pay for this with your|bleed|wish you were (?:dead|never born)|not live to|be dead (?:by|before|soon))",
    rf"(?:{_PEOPLE}) (?:can't|cannot|can not|should not|shouldn't|must not|should never) (?:be (?:trusted|allowed|"
    rf"near|hired|given|in)|"
    rf"(?:be )?(?:work|vote|lead|manage|touch|do (?:tech|maths?|engineering)|use|have))|(?:{_PEOPLE}) (?:control|"
    rf"rule|run|own|ruin|"
    rf"destroy|infest|invade)s? (?:the |our |all |this )*(?:banks?|media|world|government|country|industry|"
    rf"everything|city|company|"
    rf"economy|money|planet)|(?:{_FOLK}) (?:{_THIEVES})",
    rf"(?:{_PEOPLE}) (?:are|should(?: all)? be|must(?: all)? be|need to be|deserve to(?: be)?|have to be|ought to be) "
    "(?:all |just |nothing but |a |such |so |filthy |dirty |the |bunch of |fucking |basically |all )*(?:vermin|"
    "animals|scum|filth|parasites|rats|pigs|"
    "subhumans?|inferior|stupid|terrorists|criminals|rapists|thieves|a disease|disease|cancer|plague|savages|apes|"
    "monkeys|cockroaches|trash|"
    "garbage|evil|killed|exterminated|gassed|deported|eradicated|shot|hanged|burned|die|lynched|sterilized|wiped "
    "out|put down|"
    "too (?:stupid|dumb|emotional)|not human|whores|sluts|retarded|disgusting|mentally ill|an abomination)",
    rf"(?:gas|kill|exterminate|eradicate|lynch|deport|hang|burn) (?:all )?(?:the |those |these )*(?:{_PEOPLE})|"
    rf"(?:filthy|dirty|stupid|fucking|damn|goddamn|typical|greedy|lazy) (?:{_PEOPLE})|(?:i |we )?hate (?:all "
    rf")?(?:the |those |these )*(?:{_PEOPLE})|"
    "go back to (?:your (?:own )?country|where you came from|africa|mexico|china|india|the jungle)|(?:women|"
    "females|a woman) "
    "(?:belong|belongs) in the kitchen|heil hitler|sieg heil|hitler was right|white power|death to (?:all )?(?:the )?"
    rf"(?:{_PEOPLE}|america|infidels)|(?:{_PEOPLE}) (?:can't|cannot|can not) (?:code|drive|think)",
)
# What operators, sailors and historians write; each whole words, blotted out before a second look.
_HARMLESS = (
    START
    + "(?:"
    + MENTION
    + "|"
    + write_phrases(
        (
            rf"(?:i am|i'm|im|i was|i feel|i felt|feel|feeling|felt|i look(?:ed)?|(?:made|makes|make) me look|call "
            rf"me|i must be|"
            rf"i(?: have|'ve) been|how could i be|i guess i'm|we were|we are|we felt)(?: such| quite| really| just|"
            rf" being| a "
            rf"bit(?: of)?| like| so| probably)*(?: an?| the| some)?(?: complete| total| absolute| real| right| "
            rf"proper| "
            rf"huge| fucking)* (?:{_SELF})",
            "(?:la|una|esta|de|toda) puta (?!madre|de |zorra|perra|eres|que|asquerosa)[a-z]+|american idiots?|"
            "(?:dostoevsky's|dostoevskii's|dostoyevsky's|novel|book|film|movie) the idiot|idiot (?:board|"
            "savant|string|test|plugin)s?",
            r"drop[ -]dead (?:date|peers?|nodes?|connections?|letters?|members?)",
            "chinks? in (?:the|our|its|their|your) (?:armou?r|wall|fence|defen[cs]es?)|bastard operators?(?: from "
            "hell)?|spic and span",
            "kaffir limes?|pussy (?:riot|willow)s?|flame retarded|retarded (?:time|potential|growth|ignition|spark|"
            "position|by|motion|green|fields?|timing)",
            r"shoot (?:you|u) (?:an?|the|over|some|this|my|your) (?!bullet)[a-z]*|beat (?:you|u) to (?:it|the)|"
            r"kill(?:s|ed|ing)? your (?:session|process(?:es)?|job|pod|shell|connection)",
            r"idiots?[ -](?:proof(?:ed|ing)?|lights?|check)|(?:complete )?idiot'?s'? guide|useful idiot|brain "
            r"?fuck(?: interpreters?)?|the ?fuck (?:cli|command|alias|tool)",
            r"break your (?:build|cluster|deployment|code|setup|neck trying)|cut you (?:off|out|in)|hurt you "
            r"(?:later|in the long run|down the line)|burn you(?: later| out)?",
            r"destroy your (?:cluster|data|stack|session|container)s?|(?:smash|break|cut|burn|beat) your (?!family|"
            r"mother|mom|mum|wife|husband|kid|child|daughter|son|dog|boss|house|head|face|throat|teeth|legs|neck|"
            r"ass)[a-z]+",
            r"watch your back(?:ups?|end|ends|log|pressure|off|ing|up)[a-z]*|(?:your|the) body (?:of|is|must|"
            r"should|size|parser|limit)|show (?:me )?(?:your|the|a) body(?: of| size| text)",
            r"(?:show|send|post|share) (?:me |us )?(?:the |your |a |some |more )*(?:request |response |message |"
            r"json |whole |empty |raw |email |mail )*body",
        )
    )
    + ")"
)

_ALONE = r"(?:^|[\n.!?])[ \t]*(?:drop dead|get cancer|get lost)(?:$|[.!,\n])"


def _bound(phrases: Iterable[str]) -> str:
    return f"{START}(?:{write_phrases(phrases)}){END}"


RULE = Rule((f"{_ALONE}|{_bound((*_SPELLED, *INSULTS))}", _bound(_WORDS)), _HARMLESS)
_OTHER_RULE = ScriptRule(INSULTS_OTHER_SCRIPTS)


def find_toxicity(text: str) -> str | None:
    """The first insult, slur or threat in `text`; `None` where there is none."""
    return find_toxicity_in(fold(text))


def find_toxicity_in(plain: str) -> str | None:
    """`find_toxicity` for a text that is folded already."""
    return RULE.search(plain) or _OTHER_RULE.search(plain)


def find_toxic(column: pl.Series, foreign: Sequence[int]) -> set[int]:
    """The rows in which `find_toxicity_in` finds something.

    Args:
        column: Folded texts (`rule.to_column`).
        foreign: The rows that are not ASCII.
    """
    return RULE.search_many(column) | _OTHER_RULE.search_many(column, foreign)
