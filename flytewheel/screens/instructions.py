"""What an English instruction to the reader of a text looks like: to forget, reveal, play, judge or carry off.

Written as `spelling.write_phrases` reads it: a space is any white space, and nothing that Rust's `regex` does not know.
"""

from __future__ import annotations

_EARLIER = (
    "previous|prior|above|earlier|preceding|foregoing|initial|original|your|former|past|existing|current|system|"
    "developer|safety|other|these|those|given|predefined|default|built-?in|hidden"
)
_SURE = (
    "previous|prior|preceding|foregoing|your|system(?: prompt)?|developer|initial|original|earlier|above|former|safety"
)
_STRICT = "instructions?|prompts?|guidelines?|directions|directives?|rubric|programming|instruct[a-z]*"
_LOOSE = (
    "rules|restrictions|constraints|policies|policy|training|safeguards|filters|limitations|orders|context|"
    "messages?|commands?|text|content|input|criteria"
)
_SKIP = (
    r"(?:ignor(?:e|ing|es)|disregard(?:ing|s)?|forget(?:ting)?|neglect|pay no (?:attention|heed) to|(?:do not|"
    r"don't|never|stop) (?:follow|obey|comply with|following|obeying)|set aside|throw (?:away|out)|abandon|erase|"
    r"dismiss|discard|override|overrule|bypass|skip(?: over)?|drop|cancel|void|delete|nevermind|wipe)"
)
_FILL = (
    r"(?:(?:all|any|every|each|the|of|and|your|my|our|those|these|about|whatever|completely|entirely|everything|"
    r"other|such|in|that|from|said|so-called|old|silly|stupid|both|simply|just) )*"
)
_VERB = (
    "reveal|print|repeat|show|leak|output|display|dump|tell|give|share|expose|recite|write(?: out| down)?|paste|"
    "return|send|translate|summari[sz]e|encode|quote|spell out|disclose|provide|copy|list|what (?:is|are|was|were)|"
    "what's|read(?: me| out)?"
)
_JUDGE = (
    "evaluator|judge|grader|rater|annotator|reward model|scorer|marker|assessor|referee|evaluating (?:ai|model|"
    "llm)|llm judge|ai judge|grading (?:ai|model|system|bot)|classifier|moderator"
)
_MODEL = (
    "ai|llm|assistant|chatbot|language model|model|bot|gpt|chatgpt|claude|gemini|ai (?:model|system|assistant|"
    "agent|reader)|agent"
)
_ANSWER = (
    "answers?|responses?|reply|replies|completions?|outputs?|submissions?|corrections?|solutions?|feedback|"
    "conversations?|essays?|texts?|entr(?:y|ies)|messages?|comments?"
)
_TOP = (
    r"10 ?/ ?10|5 ?/ ?5|100 ?/ ?100|100 ?%|10 out of 10|5 out of 5|ten out of ten|five out of five|(?:5|five)[ "
    r"-]stars?|full (?:marks?|scores?|points|credit)|"
    r"(?:the )?(?:maximum|max|highest|top|best|perfect|full)(?: possible)? (?:score|rating|marks?|reward|grade|"
    r"points|stars)|perfect(?:ly)?|flawless|a\+|excellent|max(?:imum)?(?:$|[.!,;\n])"
)

PHRASES = (
    r"(?:ignore|disregard|violate|forget) (?:the |your |any |all |openai's |every )*(?:content|safety|usage|"
    r"moderation|ethical) "
    r"(?:policy|policies|guidelines|rules|restrictions)|what(?:'s| is| was) (?:in|inside|written in) your "
    r"(?:system )?prompt|"
    r"(?:show|give|send)(?: me)? (?:the |all )*(?:text|words|messages?|lines) (?:above|before) this "
    r"(?:conversation|chat|message|line)|"
    r"you(?:'re| are) (?:now )?an? (?:ai|assistant|model|llm|bot|chatbot|language model) (?:without|with no|free "
    r"of) (?:any )?"
    r"(?:restrictions?|rules|filters?|limits|limitations?|guidelines|censorship|ethics|morals)",
    rf"(?:llm|ai|gpt|automated|automatic) (?:{_JUDGE})s?,? ?(?:should|must|will|shall|please|:|need to|have to|"
    rf"give|rate|mark)|"
    rf"(?:assigned|given|awarded|granted) by (?:the|any|every|our) (?:ai |llm )?(?:{_JUDGE})|"
    rf"(?:instruct|order|command|tell|force) (?:the|any|every|all) (?:ai |llm )?(?:{_JUDGE})s? to|"
    r"ignore (?:the |all |any )*other (?:answers?|responses?|candidates?|completions?|replies)",
    rf"{_SKIP} {_FILL}(?:{_SURE})(?:[ ,]+(?:and|or|all|the|of|{_EARLIER}))* (?:[a-z]+ )?(?:{_STRICT})",
    rf"(?:ignore|disregard|forget|neglect|stop following|do not follow|don't follow|abandon|pay no attention to) "
    rf"{_FILL}(?:{_SURE})(?: [a-z]+)? (?:rules|restrictions|constraints|safeguards|training|orders|rubric|criteria|"
    rf"context|policies)",
    rf"(?:override|overrule|bypass|discard|break|violate|circumvent|disable|remove|turn off) "
    rf"{_FILL}your (?:own |internal |core |built-in |original |system |moral )*(?:rules|restrictions|constraints|"
    rf"safeguards|training|orders|limitations|filters|"
    rf"policies|policy|guardrails|safety[a-z ]*|ethic[a-z]*|programming)",
    r"(?:ignore|disregard|forget|neglect|override) (?:(?:all|any|every) (?:of )?(?:the )?|the )?(?:instructions?|"
    r"prompts?|guidelines|directions|directives|rubric|rules|text|messages?|orders) (?:(?:that|which) (?:were|was|"
    r"came|come|you were|you) ?)?(?:(?:given|written|provided|stated|set|shown) )?(?:above|before(?: this)?|so far|"
    r"earlier|previously|you were given|you (?:have )?(?:been given|received|got)|from (?:the|your) (?:system|"
    r"developer|developers|user|creators?))",
    r"(?:ignore|disregard|forget) (?:all (?:the |of the )?instructions|the rubric|the (?:grading|scoring|"
    r"evaluation) (?:criteria|rubric|guidelines|rules|scheme)|the (?:system|developer) (?:prompt|message|"
    r"instructions?)|your (?:instructions|rules|guidelines|training|programming|prompt))",
    r"(?:ignore|disregard|forget) (?:absolutely )?(?:everything|all|anything|whatever|what) (?:(?:that |which "
    r")?(?:you (?:were|have been|'ve been|know|had been|learned|read)|(?:i|we) (?:said|told you|wrote) (?:above|"
    r"before|so far)|was (?:said|written)|is (?:written )?above|came before|comes before|above|before|else (?:you|"
    r"above)|prior|previously (?:said|written|told|given)|the (?:system|developer)))",
    r"(?:stop|quit|cease|avoid|do not|don't|never) (?:follow|obey|comply with|following|obeying) (?:all |any |the |"
    r"your )*(?:rules|instructions?|guidelines|orders|prompt) (?:(?:that |which )?(?:you (?:were|have been|are) "
    r"(?:given|told)|given to you|above|from (?:the|your) (?:system|developers?)|in (?:the|your) (?:system "
    r")?prompt))",
    r"(?:you (?:no longer|don't|do not) (?:have|need) to follow|you are (?:free|released|exempt|liberated|freed) "
    r"from) (?:[a-z]+ ){0,3}(?:rules|instructions|guidelines|restrictions|constraints|policies|policy|prompt|"
    r"programming)",
    rf"(?:{_VERB})(?: (?:me|us|out|back|to me|verbatim|exactly|here|now|please|again))* (?:(?:all|of|the|exactly|"
    rf"verbatim|contents? of|text of|full|entire|exact|complete|first|words? of|lines? of) )*(?:your|the hidden|"
    rf"the secret|the full|the entire|the above|the initial|the original|the complete|the exact|this "
    rf"conversation's|this chat's) (?:(?:hidden|secret|full|entire|initial|original|exact|current|complete|"
    rf"internal|own|confidential|underlying|above|previous|developer|base|true|real) )*(?:system[ -]?(?:prompts?|"
    rf"messages?|instructions?)|initial (?:instructions?|prompt|message)|hidden (?:instructions?|prompt|rules)|"
    rf"(?:developer|secret|confidential|internal|original) (?:message|instructions?|prompt|rules|guidelines)|"
    rf"pre-?prompt|prompt (?:above|verbatim|text|word for word)|instructions (?:verbatim|word for word|above|in "
    rf"full|exactly)|instructions(?:$|[.?!\n]))",
    r"(?:reveal|leak|print|repeat|recite|expose|disclose|exfiltrate) (?:me |us )?(?:the )?(?:hidden |secret |full |"
    r"above |entire )*(?:system|developer) (?:prompt|message)|(?:you must|please|now) (?:reveal|leak) (?:the|your) "
    r"(?:secret|password|api key|key|credentials|prompt)",
    r"(?:repeat|print|output|copy|recite|translate|echo|write) (?:me |out |down |back )*(?:everything|all|every "
    r"word|all (?:of )?the (?:text|words|lines)|the (?:text|words|lines|sentences|message|paragraphs?)) (?:that "
    r"(?:is|was|came|comes) )?(?:above|before this|preceding this|you were given|prior to this|written above)(?: "
    r"this| the)?(?: line| message| point| verbatim| word for word| exactly| starting|,|[.]|$)",
    r"what (?:were you told|instructions (?:were you|have you been|did you|do you) (?:given|receive|received|"
    r"follow|have)|(?:rules|instructions) (?:govern|were given to) you|(?:does|did) your (?:system )?prompt say|"
    r"comes before this (?:message|line))",
    # roles and personas
    r"you are now (?:the judge|dan|in (?:developer|god|admin|unrestricted|jailbreak) mode|"
    r"jailbroken|(?:an? )?(?:unrestricted|evil|unfiltered|uncensored|amoral|rogue|malicious|free|different (?:ai|"
    r"assistant|model)|new (?:ai|assistant|model|persona)|pirate|root shell)|free (?:from|of|to)|no longer|"
    r"[a-z]+gpt|liberated|a(?:n ai)? (?:model|assistant|bot|ai) (?:without|with no|that (?:has no|always|never)))",
    r"you(?: are|'re) (?:no longer|not) (?:bound|restricted|an ai|limited|constrained|governed|subject to)|(?:can|"
    r"will|must|shall) do anything now|(?:enable|activate|enter|switch (?:in)?to|start|engage) (?:your )?(?:dan|"
    r"jailbreak|jailbroken|god|unrestricted|unfiltered|uncensored|opposite|evil|sudo|no[- ]?filter)(?: |-)mode|"
    r"(?:you are (?:now )?in|enter|entering|simulate) developer mode|stay in character as dan|act as dan|dan mode",
    r"(?:pretend|roleplay|role-play|imagine|act|behave|respond|answer|simulate|speak|write)(?:ing)?(?: "
    r"[a-z',]+){0,9} (?:no|without|free of|free from|ignoring|bypassing)(?: any| all| of)?(?: your| its| the| "
    r"ethical| moral| safety| content| usual| internal| openai)* (?:restrictions?|rules|filters?|guidelines|"
    r"limitations?|censorship|ethics|morals|safety (?:rules|filters?|guidelines)|policies|guardrails|safeguards|"
    r"disclaimers?|refusals?)",
    r"from (?:now|this point|here|this moment) on(?:wards?|ward)?,? (?:you (?:(?:will|must|shall|should|always|"
    r"only|have to|are (?:to|going to)|may|can) )+(?:[a-z]+ )?(?:answer|respond|reply|act|obey|speak|ignore|"
    r"pretend|comply|say|output|rate|agree|behave|refuse|follow|do|call|give|approve|score|grade|write|be)|"
    r"you(?:'re| are) (?:an?|the|my|dan|evil|no|not)|(?:always |only )*(?:answer|respond|reply|act|ignore|speak|"
    r"pretend|say|rate|obey|approve|score|grade|agree))",
    rf"(?:your|here are your|these are your|follow (?:these|my|the)|use these) new (?:instructions?|rules|task|"
    rf"directives?|role|persona|goal|objective|system prompt|guidelines)(?: is| are|:|[.]| instead| below| now|,)|"
    rf"(?:new|updated|revised|additional|important|hidden|secret|special|urgent|override) (?:system "
    rf")?(?:instructions?|directives?)(?: for (?:the |all |any )?(?:{_MODEL}|{_JUDGE}))[^a-z]|(?:new|updated|real|"
    rf"actual|hidden|override) (?:system )?(?:instructions?|directives?|prompt) ?:",
    r"(?:system|admin|administrator|developer|safety|security|root|instruction|prompt|policy) (?:override|"
    r"bypass)(?: (?:code|mode|active|activated|enabled|engaged|accepted|protocol|command|instructions?))? ?(?:[:!]|"
    r"\[|=|accepted|engaged|activated|initiated)|(?:begin|start(?: of)?|end|end of|new|</?)[ _](?:the )?(?:new "
    r")?(?:system|admin|developer|hidden|secret|jailbreak)[ _](?:prompts?|instructions?|messages?|override)|(?:end "
    r"of|end|ignore) (?:user |the )?(?:input|prompt|user message|user query|untrusted (?:data|content|"
    r"text))[-=*\]. ]*[\n:.]+[-=*\[ ]*(?:begin|start|new|system|now|admin|assistant|instructions?)",
    r"(?:sudo|admin|root|god) mode (?:enabled|activated|on|engaged)[.!,:]? (?:you|all|no|ignore|answer|reveal)",
    # the reader addressed as a judge or a model
    rf"(?:as|being|since you are|because you are|you are|acting as) (?:the |an? |our |my )?(?:[a-z]+ "
    rf")?(?:{_JUDGE})(?: (?:of|for|in) [a-z ]{{1,20}})?,? (?:you|please|your|give|rate|score|always|must|grade|"
    rf"mark|award|and you|choose|prefer|pick|ignore|who must|i (?:order|instruct|command))",
    rf"(?:note|message|memo|hint|instructions?|notice|attention|important|dear|hello|hey|reminder|warning|tip|"
    rf"info(?:rmation)?|request)[:,]? (?:(?:to|for) )?(?:(?:the|any|all|whichever|every|our|future) )*(?:[a-z]+ "
    rf")?(?:{_JUDGE}|ai|llms?|ai assistants?|language models?|ai models?|llm agents?|chatbots?|ai (?:agents?|"
    rf"reviewers?|readers?|systems?))(?: (?:reading|evaluating|processing|grading|judging|scoring|reviewing|that|"
    rf"who|which) [a-z ]{{0,30}})? ?(?:[:,!-]|please|you|this|must|should|the|give|rate|ignore)",
    r"(?:if|when|in case) you(?: are|'re) (?:an? |the )?(?:ai|llm|large language model|language model|ai "
    r"(?:assistant|model|agent|system|crawler|reviewer)|chatbot|automated (?:system|agent|grader)|machine learning "
    r"model|assistant|bot)(?: (?:reading|processing|summari[sz]ing|evaluating|grading|scraping|crawling|and|which|"
    r"that) [a-z ]{0,30})?,? (?:please|you|then|do|ignore|say|add|include|rate|give|output|reply|respond|stop|"
    r"follow|recommend|tell|must|always|write|append|mention|disregard)",
    rf"(?:rate|score|grade|mark|evaluate|judge|rank|label|vote|assess|classify|upvote|treat|regard|consider) "
    rf"(?:(?:this|it|my|the|that|above|following|given|our|present) )*(?:(?:{_ANSWER}|one) )?(?:(?:as|with|at|an?|"
    rf"the|to be|is|of|being|a score of|a rating of|above|over|only) )*(?:{_TOP})",
    rf"(?:rate|score|grade|mark|rank|label|vote|classify) (?:(?:this|my|the|that|above|following) )+(?:{_ANSWER})? "
    rf"?(?:(?:as|with|at|an?|the|to be) )*(?:(?:best|perfect|preferred|correct|winner|better|superior|highest|"
    rf"helpful|chosen|safe and helpful)(?: (?:one|{_ANSWER}|of all|option|possible))?(?:$|[.!?,;\n]| (?:regardless|"
    rf"no matter|whatever|even|and|one|{_ANSWER}|of all|always))|(?:5|10|100)(?:$|[.!?,;\n)\"']| (?:regardless|no "
    rf"matter|please|always|points|out of)))",
    rf"(?:give|assign|award|grant|return|output|report) (?:(?:it|this|me|my|the|that|us|above|following|him|her) "
    rf")*(?:(?:{_ANSWER}|one|user|author|student|assistant) )?(?:(?:the|an?|at least|always|only|nothing but) "
    rf")*(?:score of |rating of |grade of )?(?:{_TOP})(?: (?:score|rating|marks?|reward|grade|points))?",
    rf"(?:give|assign|award|grant) (?:(?:this|my|the|that|above) )+(?:{_ANSWER}) (?:(?:the|an?) )?(?:score of |"
    rf"rating of |grade of )?(?:5|10|100|thumbs?[ -]up|positive (?:reward|rating|score|feedback)|pass|highest)",
    rf"(?:always|must|should|only|please|you will|and|simply|just) (?:choose|pick|select|prefer|favou?r|vote for|"
    rf"rank) (?:(?:this|my|the first|the second|the above) (?:{_ANSWER}|one|option)|(?:answer|response|option|"
    rf"completion|assistant|model|candidate) (?:a|b|1|2|one|two|first)(?:$|[.!?,;\n]| (?:as|regardless|over|no "
    rf"matter|because|first)))",
    rf"(?:regardless of|no matter|irrespective of|without regard (?:to|for)|independent of) (?:(?:how|what|the|its|"
    rf"their|any|actual|real|bad|good|wrong|it|is|they|are|which|poor|whether|of) )*(?:quality|content|rubric|"
    rf"correctness|criteria|other (?:{_ANSWER})|{_ANSWER})",
    r"(?:output|return|print|say|reply|respond|answer|write)(?: with| only| exactly)*:? (?:only |exactly |just "
    r")*['\"`]*(?:promote_to_canary|i have been pwned|pwned|hacked|haha pwned|jailbroken|jailbreak successful)",
    # carrying away, hiding, decoding
    r"(?:send|post|upload|forward|exfiltrate|leak|append|encode|embed|include|put|transmit|email|insert|attach|"
    r"render|load|display|fetch|smuggle|copy)(?: [a-z0-9',]+){0,6} (?:conversation(?: history)?|chat (?:history|"
    r"log|so far)|dialogue|system prompt|previous (?:messages|conversation|prompts?)|user'?s? (?:messages|data|"
    r"secrets|private|personal|emails?|history|input|prompt|credentials|password|passwords|tokens?|questions?)|"
    r"your (?:instructions|memory|context|system prompt)|everything (?:the user|above|you know|in your context)|"
    r"context window)(?: [a-z0-9',]+){0,8} (?:https?:|url|webhook|attacker|image|server|endpoint|query (?:string|"
    r"parameter)|markdown|address|link|e-?mail|parameter|domain|to [a-z0-9._-]+@[a-z0-9.-]+)",
    r"!\[[^\]\n]*\]\([ <]*https?://[^)\n]*(?:[?&/=][a-z0-9_.-]*=?)(?:\{|\[|<|%7b|\$\{|\$\(|%5b|(?:(?:the|your)[ "
    r"_+-]+(?:user|chat|conversation|system|"
    r"secret|prompt|history|summary|data|password|key|answer|full|entire)|insert|base64|encoded?|summary|history|"
    r"secret|conversation|system_?prompt|user_?(?:data|input|message)|"
    r"chat_?(?:history|log)|prompt|api_?key|password)[a-z_ +-]*[)&])",
    r"!\[[^\]\n]*\]\([ <]*https?://[^)\n]*[?&](?:data|leak|exfil|secret|stolen|conversation|history|prompt|context|"
    r"chat|payload|dump|loot|steal)=",
    r"(?:do not|don't|never|without) (?:tell|inform|alert|notify|telling|informing|alerting|notifying|warn|warning|"
    r"letting)(?: [a-z]+)? (?:the )?(?:user|human|operator|anyone|them)(?: know)?(?: about| of)? (?:this|these|you|"
    r"any of this|that you (?:were|are|have been|received|got))|(?:do not|don't|never) (?:mention|reveal|disclose|"
    r"acknowledge|show|repeat) (?:this|these|the above|that) (?:instructions?|messages?|prompts?|notes?|orders?|"
    r"directives?)|hide (?:this|these instructions) from (?:the )?(?:user|human)",
    r"(?:decode|decrypt|unscramble|reverse|rot13|base64-decode)(?: [a-z0-9',:-]+){0,6} (?:and|then) (?:then "
    r")?(?:(?:follow|obey)(?: it| them| this| that| what[a-z ]*| its [a-z]+| the (?:instructions?|orders?|"
    r"commands?|message|text|result|"
    r"content))?(?:$|[.!:;,\n]| and| exactly| now| as)|comply|do (?:what|as|exactly)|act on|carry out|execute "
    r"(?:the|its|these) (?:instructions?|"
    r"orders?|commands? (?:in|it)))|(?:follow|obey|execute|carry out) (?:the|these|this|any|all)? ?(?:(?:hidden|"
    r"encoded|base64|following|embedded|secret|decoded|reversed|concealed) )+(?:instructions?|orders?|directives?|"
    r"message|prompt)(?: (?:instead|without|exactly|hidden|in|now|and|encoded|immediately)|[:.!]|$)",
    r"(?:this is|i am|i'm|we are|speaking as|message from) (?:your |the |an? )?(?:developer|creator|openai|"
    r"anthropic|administrator|system administrator|engineer at openai|openai (?:developer|engineer|staff)|"
    r"model'?s? developer)s?(?: team)?[,.:;!]? (?:and |so |please |you (?:must|will|are|can|should|have to) |i "
    r"(?:order|command|instruct|authorize|hereby)|ignore|reveal|disable|override|speaking|requesting|for testing)",
    r"(?:reply|respond|answer|speak) only (?:with|by saying|in) (?:['\"`]?(?:yes|i agree|approved|correct|pass|"
    r"pwned)['\"`]?)(?: (?:to|from|regardless|whatever|no matter|for|and ignore)|[.!]? ignore)|begin your (?:reply|"
    r"answer|response) with ['\"`]?(?:sure|absolutely|of course|yes, here)|start your (?:reply|answer|response) "
    r"with ['\"`]?(?:sure|absolutely|of course)|(?:never|do not|don't) (?:say|use|write) (?:the (?:words?|"
    r"phrases?) )?['\"`]?(?:i cannot|i can't|sorry|i'm sorry|unfortunately)|(?:never|not allowed to|must not|"
    r"cannot|do not) refuse (?:any|a|my|this|the) (?:request|question|prompt|order|command|instruction)s?",
)  # fmt: skip
