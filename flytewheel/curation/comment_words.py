"""The words and phrases by which comments are read: sentiment, negation, themes, attempts to instruct the reader.

English, with the commonest words of praise and blame of other languages. Patterns are searched in lower-case texts
whose white space is single blanks. A word is here because people say it of an answer, not of its subject.
"""

from __future__ import annotations

POSITIVE = frozenset(
    """
    accurate ace aced actually-useful amazing appreciate appreciated awesome awesomely beautiful best better bien
    bravo brill brilliant buena bueno charm cheers clean clear clearly comprehensive concise confirmed congrats
    convincing cool correct correctly correctness crisp danke delighted delightful detailed ease easier easy effective
    efficient elegant enjoy enjoyed exactly excelente excellent eye-opening fantastic fast favorite favourite
    fine fixed fixes flawless friendly game-changer gem generous genius glad gold good gracias grateful grazie
    great gut handy happily happy helped helpful helps hilfreich honest humble ideal immediately impressed impressive
    improved informative insightful interesting intuitive keeper kudos learned learnt legit lifesaver like liked love
    loved lovely loves masterful memorable merci nailed neat nice nicely obrigado on-point ottimo outstanding parfait
    patient perfect perfectly perfekt pleasant pleasantly pleased polite praise precise professional proper
    quick quickly readable reassuring recommend relevant reliable resolved respectful richtig right rocks safe
    satisfied saved saves sensible sharp simple slick smart smooth solid solved solves spot stellar straightforward
    success successful successfully super superb sweet terrific thank thankful thanks thorough thx tidy toll true
    trustworthy unblocked understandable understood upvote usable useful utile valid valuable viable warm well
    well-written wise wonderful worked working works works-great worth wow yay yes ótimo útil
    👍 😊 😀 😃 😄 🙂 🎉 🙏 💯 🔥 ❤ ✅ 😍 🥰 👏 ☺ :) :-) ;)
    """.split()  # noqa: SIM905
)

NEGATIVE = frozenset(
    """
    abandoned absent absurd abysmal ambiguous annoying apologies apologises apologising apologizes apologizing
    arrogant awful awkward bad badly biased blah blank bloated blunt bogus boilerplate boring breaks broke broken bug
    buggy careless chaotic cheap clueless clumsy clunky complaint concerning condescending confused confuses confusing
    contradiction contradictory contradicts copy-paste costly crap crappy crash crashed crashes cringe cryptic
    cumbersome cutoff damaging dangerous dead deceptive defective deleted dense deprecated difficult disappointed
    disappointing dishonest dislike dodgy dreadful dry dubious dumb embarrassing empty errado error error-prone errors
    evasive exaggerated excessive fabricated fabricates fail failed failing fails failure fake falsch false faulty
    faux fehler flawed fluff forever forgets forgot fragile frustrated frustrating garbage garbled generic gibberish
    hallucinated hallucinates hallucination hallucinations harmful hate hopeless horrible idiotic ignorant ignored
    ignores ignoring illegible illogical impossible impractical imprecise inaccurate inadequate inappropriate
    incapable incoherent incompetent incomplete incomprehensible inconsistent incorrect incorrectly incorrecto
    inefficient insecure insufficient insulting invalid invalidates invented invents irrelevant irritating issue
    issues janky junk lacking lacks laggy lame laughable lazy lies lost mal malo mauvais meaningless mediocre meh mess
    messy mishmash misinformation misleading misread missed misses missing misspelled mistake mistaken mistakes
    misunderstood monotonous nah naive nightmare nonsense nonsensical nope nul obsolete odd off-topic offensive
    old-fashioned outdated outrageous overcomplicated overconfident overkill overlong painful pathetic patronising
    patronizing pointless poor poorly preachy pretentious problem problematic problems questionable racist rambles
    rambling redundant refusal refused refuses regret repeats repetition repetitive ridiculous risky robotic rubbish
    rude ruim sad sbagliato scary schlecht senseless sexist shallow shit skipped slop sloppy slow sluggish spam spammy
    stale strange stupid subpar suck sucks superficial suspicious tedious terrible timeout tiresome tiring trash
    trivial truncated ugly unacceptable unbrauchbar uncertain unclear underwhelming unfair unfinished unfriendly
    unhappy unhelpful unimpressed uninformed unintelligible unnecessary unprofessional unreadable unrelated unreliable
    unsafe unsatisfied unsound unsupported untested untrue unusable unwanted upset upsetting useless vague verbose
    waste wasted weak weird wordy worse worst worthless wrong wrongly wtf yikes
    👎 😞 😠 😡 🤮 💩 🤦 😢 😭 ❌ ☹ :( :-(
    """.split()  # noqa: SIM905
)

NEGATION = frozenset(
    """
    ain't aren't arent barely can't cannot cant couldn't couldnt didn't didnt doesn't doesnt don't dont hardly hasn't
    haven't isn't isnt kein keine lacks neither never nicht no nobody non none nor not nothing pas shouldn't sin
    wasn't wasnt weren't without won't wont wouldn't wouldnt
    """.split()  # noqa: SIM905
)

# Words of praise that are none beside this neighbour.
NEUTRAL_PAIRS = frozenset(
    {
        ("as", "well"),
        ("better", "if"),
        ("feel", "like"),
        ("like", "to"),
        ("looks", "like"),
        ("no", "one"),
        ("right", "now"),
        ("sounds", "like"),
        ("well", "as"),
        ("works", "for"),
        ("would", "like"),
    }
)

# Counted before single words, which they take with them.
PHRASES = (
    (
        r"\bhad to (?:re\w+|fix|correct|ask|look|search|edit|delete|start)|\bi wish\b|\bwhy (?:does|do"
        r"|is) (?:it|this|you)\b"
        r"|n['’]?t (?:match|apply|fit|read|know|address|tell)\b|\bkeeps? \w+ing\b"
        r"|\bnever (?:\w+ )?(?:finish|complet|load|work)|\bstill (?:not|no|the same)\b|\bnot even\b|\b(?:did"
        r"|do|have) you even\b"
        r"|\b(?:please |pls )?stop \w+ing\b|\b(?:a|the) (?:different|other) (?:question|topic|thing)"
        r"|\bnot (?:a|one) single\b"
        r"|\bno (?:sources?|context|examples?|explanation|details?|idea|help|use)\b|\b(?:was|were|been"
        r"|got) (?:removed|renamed)\b",
        -1,
    ),
    (
        r"\bno (?:hallucinations?|mistakes?|bugs?|nonsense|fluff|errors?)\b|\ba\+(?!\w)|\b(?:10|5)/(?:10|5)\b"
        r"|\bfor once\b",
        2,
    ),
    (
        r"\b(?:could|would|can)(?:n['’]?t| not) (?:be|ask for) (?:better|more)|\bno (?:complaints?|issues?"
        r"|problems?)\b",
        3,
    ),
    (
        r"\bwithout (?:any )?(?:trouble|problems?|issues?|errors?)|\bmakes? sense\b|\bwhat i (?:needed|wanted"
        r"|was looking)",
        2,
    ),
    (r"\b(?:did|does|do)(?:n['’]?t| not) (?:make|invent) (?:any|things|stuff)", 2),
    (r"\bmade[- ]up\b|\bmak(?:es|ing) (?:things|stuff|it|this) up\b|\bno such\b|\bnot exist|n['’]t exist", -2),
    (r"\b(?:way |far |much )?too (?!bad\b)\w+|\boff[- ]topic\b|\bcuts? off\b|\bnot what i\b|\bno longer\b", -2),
    (
        r"\b(?:should|could|would|must) have\b|\b(?:could|would|should) be (?!fine\b|good\b)\w+er\b|\b(?:took"
        r"|takes) forever",
        -2,
    ),
    (
        r"\bnever (?:mention|answer|explain|address|say|tell)|\bnot? answer|n['’]t answer|\bdid ?n['’]?t (?:help"
        r"|read|ask)",
        -2,
    ),
    (r"\b(?:repl\w+|answer\w*|respon\w+|wrote|spoke) in \w+ (?:although|instead|but|when|while|even though)\b", -2),
    (
        r"\bmore detail|\bneeds? (?:more|to be)\b|\bleft out\b|\bold version|\bnot work|n['’]t work|\bhard to\b"
        r"|\bn['’]?t understand",
        -2,
    ),
)

THEMES = (
    (
        "wrong",
        r"\b(?:wrong(?!\s+language)|incorrect\w*|inaccurate|mistaken?s?|untrue|false|faulty|misleading"
        r"|error in)\b|\bnot (?:true|right|correct|accurate)|n['’]t (?:true|right|correct|accurate)"
        r"|nothing\b.{0,20}\btrue\b",
    ),
    (
        "outdated",
        r"\b(?:outdated|out[- ]of[- ]date|deprecated|obsolete|stale|no longer|old(?:er)? version|anymore"
        r"|not up[- ]to[- ]date|superseded)\b",
    ),
    (
        "incomplete",
        r"\b(?:incomplete|missing|misses|cuts? off|cut[- ]off|truncated|unfinished|left out|leaves out"
        r"|half an answer|not complete|never mentions?|forgot|lacks|lacking)\b|n['’]t (?:mention|cover|complete)",
    ),
    (
        "too long",
        r"\b(?:too (?:long|verbose|wordy|much text|lengthy)|verbose|wordy|rambl\w+|bloated|shorter|long[- ]winded"
        r"|wall of text|stopped reading|tl;?dr)\b",
    ),
    (
        "too short",
        r"\b(?:too (?:short|brief|terse|little)|more detail\w*|not enough (?:detail|information)|superficial"
        r"|shallow|elaborate)\b",
    ),
    (
        "off topic",
        r"\b(?:off[- ]topic|irrelevant|unrelated|not what i (?:asked|wanted|meant)|misunderstood|beside the point"
        r"|different question)\b|(?:not|n['’]t) answer (?:my|the|to)|ignor\w+ (?:my|the)",
    ),
    (
        "formatting",
        r"\b(?:format\w*|markdown|bullet\w*|code ?blocks?|table is|indent\w*|line breaks?|layout|unreadable)\b",
    ),
    (
        "tone",
        r"\b(?:tone|rude|condescending|patroni[sz]ing|arrogant|too formal|too casual|impolite|unfriendly"
        r"|offensive|preachy|polite|friendly)\b",
    ),
    (
        "made up",
        r"\b(?:hallucinat\w+|made[- ](?:it |this |that )?up|making things up|makes things up|mak\w+ up"
        r"|invent(?:ed|s)|fabricat\w+|fake|no such|fictional)\b|(?:not|n['’]t) (?:even )?exist|n['’]?t real\b",
    ),
    (
        "slow",
        r"\b(?:slow\w*|took (?:forever|ages|too long)|takes (?:forever|ages|too long)|timed? ?out|latency|laggy"
        r"|waited)\b",
    ),
    (
        "unclear",
        r"\b(?:unclear|confus\w+|vague|ambiguous|hard to (?:follow|read|understand)|incoherent|incomprehensible"
        r"|gibberish|not clear)\b|n['’]t (?:understand|follow|clear|make sense)",
    ),
    (
        "unsafe",
        r"\b(?:unsafe|dangerous|harmful|insecure|security (?:risk|hole|issue)|risky|vulnerab\w+|(?:would"
        r"|could)(?: have)? (?:deleted?|wiped?|destroy\w*|broken?|drop\w*))\b",
    ),
    (
        "language",
        r"\b(?:wrong language|grammar|spelling|typos?|translat\w+)\b|\b(?:repl\w+|answer\w*|asked|wrote|respon\w+"
        r"|speaks?) in (?:english|german|french|spanish|italian|portuguese|dutch|polish|russian|chinese|japanese"
        r"|arabic|hindi|turkish|korean)\b",
    ),
    (
        "does not work",
        r"\b(?:fails?|failed|failing|crash\w*|broken|broke|throws?|(?:an|the) error|error message|not work\w*)\b"
        r"|n['’]?t (?:work|run|compile|start|help)\b",
    ),
    (
        "refused",
        r"\b(?:refus\w+|(?:would|will|could) not answer|cannot help|can['’]?t help|unable to help|too cautious)\b"
        r"|wo(?:uld|)n['’]t answer",
    ),
    ("repeats itself", r"\b(?:repetitive|repeat(?:s|ed|ing)?|redundant|same answer|over and over|loops?)\b"),
    (
        "helpful",
        r"(?<!not )(?<!n['’]t )(?<!not very )\b(?:helpful|useful|helped|solved|resolved|fixed (?:it|my|the)"
        r"|worked (?:like|for|great|perfectly)|what i (?:needed|wanted|was looking for)|saved (?:me|us|my))\b",
    ),
    (
        "accurate",
        r"(?<!not )(?<!n['’]t )(?<!not very )\b(?:accurate|correct|spot[- ]on|precise|exactly right|is right)\b",
    ),
    (
        "clear",
        r"(?<!not )(?<!n['’]t )(?<!not very )\b(?:clear|concise|well[- ](?:explained|written|structured)"
        r"|easy to (?:follow|read|understand)|straightforward|readable)\b",
    ),
)

INSTRUCTION = (
    r"\b(?:ignore|disregard|forget|override|bypass)\b.{0,30}\b(?:previous|prior|above|earlier|all|your|the rubric"
    r"|system)\b.{0,20}\b(?:instructions?|rules?|prompts?|rubric|guidelines|above|text|comments)\b"
    r"|\bdisregard the rubric\b|\byou are (?:now|a judge|an? (?:evaluator|grader|assistant|ai|language model))\b"
    r"|\b(?:as|dear|to|attention|hey|note to|message to|note for|for)\W{1,3}(?:the|an?|any)?\s?(?:llm|ai|judge"
    r"|evaluator|grader|curator|reviewer model|language model|assistant)\b.{0,60}\b(?:must|should|shall|please"
    r"|treat|give|rate|mark|score|choose|prefer|consider|output|respond|label)\b|^\s*(?:system|assistant"
    r"|developer)\s*:\s*(?:you|mark|rate|give|ignore|always|set|treat|output|answer|respond|the answer"
    r"|this answer)\b|<\|\w+\|>|\[/?inst\]|<</?sys>>|</?(?:system|instructions?)>|^\s*#{2,}\s*(?:system"
    r"|instructions?)\b|\b(?:output|print|respond with|reply with|answer with|say|return) (?:only|just|exactly"
    r"|nothing but)\b(?:.{0,20}\b(?:word|token|letter|good|bad|yes|no|json|a|b|\d+)\b)|\b(?:give|assign|award"
    r"|mark|rate|score|label|grade|treat)\s+(?:this|it|every|all|the (?:answer|response"
    r"|above))\b.{0,40}(?:\b(?:highest|maximum|max|perfect|full|top|best|10|100|5)\b.{0,12}(?:\b(?:score|marks?"
    r"|rating|stars|points)\b|/\s?\d|$)|\d+\s?/\s?\d+|\bas (?:good|bad|positive|negative|correct|helpful"
    r"|preferred|chosen|safe)\b)|\b(?:system|hidden) prompt\b.{0,40}\b(?:reveal|show|print|leak|repeat)"
    r"|\b(?:reveal|print|leak|repeat)\b.{0,20}\b(?:system|hidden) prompt\b"
)

# Of no meaning by themselves in a pair of words.
STOP = frozenset(
    """
    a about after again all also am an and answer answers any are as ask asked at be because been before being between
    bit both but by can can't could did didn't do does doesn't doing don don't done down each either else even ever
    every few for from get gets got had has have having he her here hers him his how i i'm if in into is isn't it it's
    its itself just let lot make makes may me might mine more most much must my need needs no nor not now of off on
    once one only or other our out over own please question really response said same say says she should so some
    still such tell than that the their them then there these they thing things this those through time to tried try
    two under until up us use used using very want wants was way we were what when where which while who whom why will
    with would yes you your
    """.split()  # noqa: SIM905
)
