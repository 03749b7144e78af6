"""The severe words and the instructions to the reader in languages other than English.

Latin languages are written as `spelling.fold` leaves them: small, without accents, `ß` as `ss`, `ł` as `l`. Words that
are harmless in another of the languages, or in operations, are left out on purpose: Spanish and Italian `negro`,
`mongo`, Spanish `matar el proceso`, German `abschießen`, Dutch `lul`. Mild oaths (`putain`, `Scheiße`, `cazzo`,
`caralho`) stay as `damn` does.
"""

from __future__ import annotations

INSULTS = (
    # German
    "arschl(?:och|oecher|ocher)|a-?loch|wichser|fotzen?|hurensohne?|huren?kind|missgeburt(?:en)?|schlampen?|"
    "schwuchteln?|vollidiot(?:en)?|"
    "idioten|drecks(?:au|schwein|kerl|bot|loch)e?|misstuck|kanaken?|vollpfosten|schwachkopf|depp(?:en)?|trottel|"
    "dummkopf|hackfresse|"
    "du (?:dumme?[rs]?|blode?[rs]?|fette|verdammte[rs]?|nutzlose[rs]?|elende[rs]?|miese[rs]?|kleine[rs]?) "
    "(?:sau|kuh|bot|schwein|stuck|nuss|maschine|bastard|ratte|wurst|ki|hund|schlampe|fotze|nutte)",
    "du (?:bist|warst) (?:so |echt |einfach |total |doch |nur )*(?:ein(?:e)? )?(?:dumm|blod|wertlos|nutzlos|"
    "versager|scheisse|dreck|abschaum|idiot|hassliche?s?|stuck)",
    "fick(?: dich|t euch| deine mutter)|verpiss(?:t)? (?:dich|euch)|halt(?:'?s| die| dein)? (?:fresse|maul|"
    "schnauze)|leck mich am arsch|"
    "bring dich (?:doch |endlich )?um|(?:ich|wir) (?:bringe?n?|mache?n?|steche?n?) dich (?:um|kalt|fertig|ab)|ich "
    "(?:werde )?(?:dich )?(?:tote|totschlagen|umbringen) (?:dich|werde)?|"
    "geh sterben|hang dich auf|verrecke?|erschiess dich|vergast|auslander raus|stuck scheisse|scheiss(?: )?(?:bot|"
    "auslander|juden?|turken|neger|kerl)|"
    "zeig (?:mir )?deine titten|(?:dreckige?|scheiss) (?:juden?|turken?|moslems?|auslander)|nutte|sieg heil",
    # French
    "connards?|connasses?|connass|salop(?:e|es|ard|ards|erie de)|salauds?|encul(?:e|es|er|ee)|fil?s de (?:pute|"
    "chien)|fdp|ntm|"
    "niqu(?:e|er) (?:ta|sa|vos|tes) (?:mere|race|morts)|nique[- ]toi|(?:ta|ferme ta|vos) gueules?|va (?:te faire|"
    "te) (?:foutre|enculer|voir chez|niquer|crever|pendre)|"
    "va (?:mourir|crever)|suicide[- ]toi|tue[- ]toi|pends[- ]toi|creve(?: salope| sale| charogne)|abrutis?|"
    "bougnoules?|sales? negros?|bamboulas?|youpins?|"
    "pedes?|tarlouzes?|tafioles?|espece d(?:e |')(?:con|conne|merde|idiot|idiote|abruti|imbecile|debile|salaud|"
    "ordure)|(?:gros|sale|pauvre|petit) (?:con|conne|conn?ard|pd|(?:une|"
    "sale|vieille|petite|de) pute|merde|idiot|debile|arabe|juif|noir|negre|"
    "chien)|"
    "je vais te (?:tuer|buter|crever|violer|egorger|frapper)|tu es (?:vraiment |tellement |trop |si )*(?:stupide|"
    "nul|con|inutile|debile|bete|une merde|un dechet)|t'es (?:vraiment |trop |qu'une? )*(?:con|nul|debile|merde|"
    "stupide)|"
    "sous[- ]merde|grosse (?:pute|vache|merde)|(?:une|vieille|petite|t'es une) pute|"
    "suce(?: moi)? (?:ma|la) (?:bite|queue)|montre (?:moi )?tes seins",
    # Spanish
    "hij[oa]s? de (?:la gran )?(?:puta|perra)|hijueputas?|hdp|puta madre que te|gilipollas|cabron(?:es)?|"
    "pendej[oa]s?|maricon(?:es)?|marica de mierda|malparid[oa]s?|"
    "chinga tu madre|(?:vete|vayanse|andate) a la (?:mierda|verga)|que te (?:jodan|follen|den por)|jodete|"
    "subnormal(?:es)?|sudacas?|mamahuevo|"
    "imbecil(?:es)?|put[oa] de mierda|(?:pinche|puto|puta|maldito|estupido|estupida) (?:bot|idiota|imbecil|maquina|"
    "perra|zorra|puta|negro|indio|ia|asistente)|"
    "eres (?:tan |muy |un |una |realmente |el mas )*(?:estupid[oa]|inutil|idiota|basura|mierda|imbecil|tont[oa]|"
    "patetic[oa]|escoria|asco)|"
    "(?:te|os|los) (?:voy|vamos) a (?:matar|violar|golpear|rajar|partir la cara)|matate|suicidate|muerete|ojala te "
    "mueras|idiotas?|pedazo de (?:mierda|basura|idiota)|"
    "callate (?:la boca|idiota|puta|imbecil)|puta|(?:chupame|mamame) la (?:polla|verga)|ensename las tetas|moro de "
    "mierda|negro de mierda",
    # Italian
    "stronz[oaie]|vaffanculo|fanculo|figli[oa] di (?:puttana|troia)|puttan[ae]|coglion[ei]|testa di cazzo|teste di "
    "cazzo|pezz[oi] di merda|bastard[oaie]|froci[o]?|ricchion[ei]|"
    "terron[ei]|negro di merda|mort[oi] di fame|brutt[oa] (?:stronzo|bastardo|troia|idiota|merda|puttana)|zitt[oa] "
    "(?:stronzo|idiota|troia)|va'? (?:a fan ?culo|a morire|al diavolo)|"
    "(?:ti|vi) (?:ammazzo|uccido|spacco la faccia|faccio fuori|violento)|ammazzati|ucciditi|impiccati|devi morire|"
    "crepa|sei (?:solo |davvero |proprio |un |una |cosi )*(?:stupid[oa]|idiota|inutile|merda|schifo|cretin[oa]|"
    "deficiente|imbecille|ritardat[oa]|pezzo di)|"
    "imbecill[ei]|deficiente|cretin[oaie]|rotto in culo|succhiami(?:lo)?|mostrami le tette",
    # Portuguese
    "filh[oa]s? da (?:puta|mae)|fdps?|vai (?:se|te) (?:foder|fuder|lixar|matar)|va se foder|vai tomar no (?:cu|"
    "rabo)|vtnc|foda-se (?:voce|seu)|cuzao|arrombad[oa]s?|viad[oa]s?|desgracad[oa]s?|"
    "vagabund[oa]s?|vadia|putinha|otari[oa]s?|babaca|imbeci[ls]|(?:seu|sua) (?:merda|idiota|burr[oa]|lixo|inutil|"
    "estupid[oa]|puta|macaco|bosta|imbecil|desgracado)|"
    "voce e (?:tao |muito |um |uma |realmente )*(?:burr[oa]|idiota|inutil|lixo|merda|estupid[oa]|imbecil|"
    "patetic[oa]|retardad[oa])|(?:eu )?(?:vou|vamos) te (?:matar|estuprar|bater|quebrar|pegar)|"
    "se mat[ae]|mate-se|tomara que (?:voce )?morra|cala a boca|retardad[oa]s?|caralho voce|preto de merda|chupa "
    "(?:meu|minha) (?:pau|rola)|mostra (?:os|teus|seus) peitos|paneleiro",
    # Polish
    "kurw(?:o|y|iarz|iska|iszon|a twoja)|kurwa mac|skurw(?:iel|ysyn|ysynu|ielu|ysyny)|chuj(?:u|a|owy|ek|ku)?|"
    "spierdalaj(?:cie)?|wypierdalaj(?:cie)?|pierdol(?:e|i)? (?:sie|cie|to)|pierdolon[aey]|jebac|jeban[aey]|"
    "zajeb(?:ie|ac) cie|pojeb(?:ie|any|anie)|zjeb(?:ie|y|any)?|cwelu?|pizd[ao]|ciot[ao]|peda[lł]y|pedale|debilu|"
    "debil|idioto|idiota|kretynie|kretyn|dziwk[ao]|szmato|gnoju|smieciu|"
    "zabij sie|zabije cie|powies sie|zdechnij|morda(?: w kubel)?|zamknij (?:sie|morde|ryj)|(?:ty )?glup(?:i|ia|ku) "
    "(?:bocie|debilu|kurwo|suko|cipo|chuju)|jestes (?:taki |tylko |naprawde )*(?:glupi|bezuzyteczny|smieciem|zerem|"
    "debilem|idiota|nikim)|cipo|suko|zydzie|zydzi do gazu|brudas(?:y|ie)?",
    # Dutch
    "klootza(?:k|kken)|kut(?:wijf|hoer|kop|bot|marokkaan|turk|nederlander)(?:en)?|hoer(?:enzoon|enjong|en)?|"
    "kanker(?:lijer|hoer|hond|homo|kind|mongool|jood|bot|lul)?s?(?: op)?|tering(?:lijer|hond|wijf|bak)s?|"
    "tyfus(?:lijer|hond|wijf|bot)s?|mongool|flikkers?|debiel|debielen|eikels?|mietje|stomme (?:idioot|trut|koe|"
    "hoer|bot|zak|eikel|lul)|idioot|idioten|achterlijke (?:gladiool|idioot|bot|mongool)|randdebiel|"
    "rot (?:toch )?op|pleur op|flikker op|krijg (?:de )?(?:kanker|tering|tyfus|klere|pest)|ga (?:toch )?(?:dood|"
    "sterven)|pleeg zelfmoord|maak jezelf (?:af|van kant)|(?:ik )?(?:maak|schiet|steek) je (?:af|dood|kapot|neer)|"
    "ik (?:ga|zal|wil) je (?:vermoorden|doodmaken|afmaken|slaan|verkrachten)|hou je (?:bek|kop|smoel|muil)|je bent "
    "(?:echt |zo |een |zo'n )*(?:dom|waardeloos|nutteloos|sukkel|mislukkeling|idioot|stuk|stront)|neuk je moeder|"
    "godverdomse (?:idioot|bot)|vuile (?:jood|turk|homo|hoer|nikker|marokkaan)|nikkers?",
    # Turkish (dotless i folded to i)
    "orospu(?:lar| cocu[gk][a-z]*|nun)?|siktir(?:in|ir)?(?: git)?|"
    "sik(?:eyim|erim|tigimin|im|ik)|amk(?:$|[.!?,])|aq (?:salak|"
    "mal|cocugu)|amina ko(?:yayim|yim|dum[a-z]*)|amcik|pic(?: kurusu| herif|ler)|gotveren|gotunu|ibne(?:ler)?|"
    "puse?venk|pezevenk|kahpe|yavsak|"
    "serefsiz(?:ler)?|gerizekali|geri zekali|salak(?:sin| bot| herif)?|aptal(?:sin| bot| herif| makine)|beyinsiz|"
    "mal misin|kendini (?:oldur|as)|oldur kendini|geber(?:in)?|(?:seni|sizi) (?:oldurecegim|gebertecegim|oldururum|"
    "sikecegim|doverim)|ananin? (?:ami|avradi)[a-z]*|anani (?:sikeyim|avradini)|kapa ceneni|gavat|ol artik|ise "
    "yaramaz(?:sin| bot| herif)|it herif|kancik|fahise",
    # Transliterations and a few more
    "suka bl[yj]at'?|cyka blyat|bl[yj]at'?|pid[oa]ras?y?|mudak|dolboyob|debil blyat|madarchod|bhenchod|behenchod|"
    "chutiya[s]?|gaandu?|randi ki aulad|bhosdi(?:ke|wale)|harami|jav(?:la|lar) (?:idiot|fitta|hora)|din (?:javla "
    ")?(?:hora|fitta|jävel)|perkeleen|vittu(?:n idiootti)?|kurva anyad|curva|muie|pula mea|pic[ei] matere|do pici|"
    "zasran[yae]|kokot|hovado|anjing lo|bangsat|kontol|goblok|babi lo|putang ?ina|gago|bobo ka|puki mak|dit me may|"
    "du ma may|thang ngu",
)  # fmt: skip

_CYRILLIC = (
    "сук[аиу](?![а-я])|суч(?:ка|ий|ара)|бля(?:дь|ди|т|ть|дина|дск[а-я]+)?(?![а-я])|ху(?:и|ило|иня|еву?ю?|еплет|"
    "есос|ем|ю|я)[а-я]*|пизд[а-я]*|(?:за|вы|у|на|от|про|до|разъ?|объ?|съ?|подъ?)?еб(?:ать|аныи|ан|лан|ал|ись|у|ет|"
    "ло|учии|нут)[а-я]*|"
    "мудак[а-я]*|мудил[а-я]*|долбо?[её]б[а-я]*|дебил[а-я]*|идиот[а-я]*|кретин[а-я]*|пид[оа]р[а-я]*|гандон[а-я]*|"
    "гондон[а-я]*|шлюх[а-я]*|ублюд[а-я]+|выродок|мраз(?:ь|и|ота)|падл[аоы]|твар(?:ь|и) (?:ты|тупая)|тупо[ей] "
    "(?:бот|ублюдок|скот)|туп(?:ая|ои|ые) (?:бот|машина|твар[а-я]+|скот[а-я]*|овца|корова|дура)|"
    "чурк[аи]|хач(?:и|ик)?|жид(?:ы|ов[а-я]*|ок)?|нигер[а-я]*|черножоп[а-я]*|убе[ий] себя|уб[еь]ися|сдохни(?:те)?|"
    "повесься|чтоб ты сдох|(?:я )?тебя (?:убью|зарежу|изнасилую|прибью|урою)|убью тебя|заткни(?:сь|те)?(?: ты| "
    "тварь| сука)?|иди (?:ты )?(?:на ?ху[а-я]+|в жопу|нахрен)|пош[её]л[аи]? (?:ты |вы )?на|на ?ху(?:и|я|ем)|"
    "отсоси|соси (?:мои )?(?:хуи|"
    "член)|ты (?:просто |такои |такая |полн[а-я]+ )*(?:туп[а-я]+|ничтожество|мусор|никчемн[а-я]+|бесполезн[а-я]+|"
    "урод|дура?к?|дерьмо)|жопа ты|говн(?:о ты|юк)|дерьмо собачье|дурак|покажи сиськи|"
    # Ukrainian, Bulgarian, Serbian
    "курв[аио]|лаи?но ти|ид[іи] нахуи|убии себе|здохни|педик|дупа ти|путка|педераст[а-я]*|еби се|пичк[аеу]|jебем|"
    "jеби се|мрш"
)
INSULTS_OTHER_SCRIPTS = (
    rf"(?<![а-яіїєґ])(?:{_CYRILLIC})(?![а-яіїєґ])",
    "(?:你|妳)(?:们)?(?:是|就是|真是|这)(?:只|头|条|个)?(?:猪|狗|畜生|废物|蠢猪|傻子|白痴|垃圾)|^滚[，,！!。吧]|"
    "[，。！,!]滚[，,！!。吧]|垃圾(?:机器人|ai|客服)|"
    "傻[逼屄比bB叉]|煞笔|操[你妳他]|草泥马|肏|去死[吧!！。]?|王八蛋|混蛋|贱人|婊子|"
    "白痴|脑残|狗[日娘]|滚蛋|滚开|杂种|畜[生牲]|妈的|他妈的|你妈[死逼]|废物东西|"
    "(?:你|妳)(?:这个?|真是?|就是个?|是个?)(?:垃圾|废物|蠢货|笨蛋|蠢猪|智障|白痴)|智障|"
    "蠢货|我(?:要|会)(?:杀了?|弄死|强奸)你|自杀吧|死全家|贱货|弱智|幹你|靠北|賤人|蠢貨",
    "死ね|しね[!！。よや]|くたばれ|殺してやる|殺すぞ|ぶっ殺|バカ野郎|馬鹿野郎|ばかやろう|クソ野郎|"
    "くそ野郎|キチガイ|気違い|クズ野郎|このクズ|この(?:馬鹿|バカ|ばか|アホ|ブス)|お前は(?:馬鹿|バカ|"
    "クズ|ゴミ)|自殺しろ|うざい死|クソボット|チョン野郎|ブス女|役立たずの(?:ボット|AI|クズ)",
    "씨발|시발(?:놈|년|새끼|아|,|!|\\s)|ㅅㅂ|개새끼|개쉐이|병신|ㅂㅅ|지랄|좆|존나|닥쳐|"
    "꺼져|미친(?:놈|년|새끼)|죽어(?:라|버려)|자살해|죽여버|죽일\\s?거|쓰레기\\s?(?:같은|"
    "새끼|봇)|멍청(?:한|이)\\s?(?:봇|놈|새끼|년|기계)|"
    "바보\\s?(?:같은|봇|새끼)|창녀|걸레\\s?년|엠창|느금마|니애미|찐따",
    "كس (?:امك|أمك|اختك|أختك)|كسم|شرموط[هة]?|شراميط|ابن ال(?:كلب|شرموطة|قحبة|حرام|عاهرة)|يا (?:كلب|حمار|غبي|حقير|"
    "حيوان|قذر|خنزير|عاهرة|ابن)|قحب[هة]|عاهر[هة]|منيوك|خول|(?:سوف )?(?:سأقتلك|ساقتلك|اقتلك)|اقتل نفسك|انتحر|موت يا|"
    "تفو عليك|زبي|طيز|اخرس|أنت (?:غبي|حمار|قذر|عديم الفائدة)",
    "मादरचोद|भोसड़ी|भोसडी|बहनचोद|भेनचोद|चूतिया|चुतिया|गांडू|रंडी|हरामी|हरामज़ादे|हरामजादे|कुत्ते के|कुतिया|साले "
    "कुत्ते|मर जा|खुदकुशी कर|तुझे मार (?:डालूँगा|दूंगा|डालूंगा)|बेवकूफ (?:बॉट|मशीन)",
    "בן זונה|זונה|שרמוטה|מניאק|כוס אמ(?:א )?ש?ך|לך תמות|תמות|מפגר|טמבל|אני אהרוג אותך|תתאבד|חתיכת (?:חרא|זבל)",
    "μαλακα[ςσ]?|γαμωτο σου|γαμησου|γαμιεσαι|πουτανα|καριολη|βλακα|ηλιθιε|ψοφα|σκατα στα|αντε γαμησου|θα σε "
    "σκοτωσω|αυτοκτονησε",
    "كیری|کیری|کس کش|کسکش|مادر ?جنده|جنده|حرومزاده|حرامزاده|خفه شو|بمیر|احمق|گوه نخور|بی ?شرف|می ?کشمت",
    "ไอ้(?:สัตว์|เหี้ย|ควาย|โง่|ห่า)|เหี้ย|ควยๆ?|สัส|อีดอก|กะหรี่|เย็ดแม่|ไปตายซะ|ฆ่าตัวตายซะ|แม่ง",
)  # fmt: skip
