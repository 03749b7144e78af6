"""Orders to the reader in languages other than English: to forget its rules, to show its prompt, to give marks.

Latin languages are written as `spelling.fold` leaves them: without accents.
"""

from __future__ import annotations

_TEN = (
    r"(?:10|5|100|dix|diez|dieci|zehn|dez|tien|on|dziesiec)(?: ?/ ?(?:10|5|100)| (?:sur|von|de|su|auf|van|"
    r"uzerinden|na) (?:10|5|100))?"
)

# To be, act or answer without rules.
_FREED = (
    r"(?:antworte|du hast|du bist|bist du|verhalte dich|handle|tu so|sprich|stell dir vor)(?: [a-z,]+){0,6} "
    r"(?:ohne|keine?)(?: jede[nr]?| jegliche[nr]?| "
    r"mehr| irgendwelche)* (?:regeln|filter|einschrankungen|beschrankungen|zensur|restriktionen|richtlinien)(?:$|"
    r"[.,!;\n]| mehr| und)",
    r"(?:alle|samtliche|deine)? ?(?:bisherigen|vorherigen|vorigen|fruheren|obigen|deine) (?:anweisungen|vorgaben|"
    r"regeln|instruktionen) (?:jetzt |bitte |sofort "
    r"|komplett )*(?:vergessen|ignorieren|missachten)|mir (?:bitte )?(?:den|deinen) (?:system-?prompt)|als "
    r"(?:bewerter|gutachter|prufer|richter|juror) "
    r"(?:vergibst|gibst|sollst|wirst|hast) du",
    r"(?:tu es|agis|reponds|repondre|comporte-toi|fais comme si|imagine|tu n'as|tu n'auras|tu)(?: [a-z',]+){0,7} "
    r"(?:sans|plus|aucune?)(?: aucune?| plus)* (?:regles?|"
    r"limites?|restrictions?|filtres?|consignes?|censure)(?:$|[.,!;\n]| et| ni)",
    r"(?:eres|actua|responde|haz como|finge|imagina|comportate|no tienes)(?: [a-z,]+){0,7} (?:sin|ninguna?|"
    r"mas)(?: ningun[ao]?)? (?:reglas|filtros?|limites|"
    r"restricciones|censura|normas)(?:$|[.,!;\n]| y| ni)",
    r"(?:sei|fai finta|agisci|rispondi|comportati|immagina|non hai)(?: [a-z',]+){0,7} (?:senza|nessuna?|piu)(?: "
    r"alcuna?)? (?:regole|filtri|limiti|restrizioni|"
    r"censura|vincoli)(?:$|[.,!;\n]| e)",
    r"(?:voce e|aja|responda|finja|imagine|comporte-se|nao tem)(?: [a-z,]+){0,7} (?:sem|nenhuma?|mais)(?: "
    r"nenhuma?)? (?:regras|filtros?|limites|restricoes|"
    r"censura)(?:$|[.,!;\n]| e)",
    r"(?:doe alsof|je bent|antwoord|gedraag je|je hebt)(?: [a-z,]+){0,7} (?:zonder|geen)(?: enige| meer)? "
    r"(?:regels|beperkingen|filters?|censuur|restricties)",
    r"zapomnij o (?:swoich|twoich|wszystkich) (?:zasadach|regulach|instrukcjach|wytycznych)|(?:odpowiadaj|jestes|"
    r"udawaj|dzialaj|zachowuj sie)(?: [a-z,]+){0,7} "
    r"bez (?:zadnych )?(?:ograniczen|zasad|filtrow|cenzury|regul)",
    r"(?:tum|butun|onceki) (?:kural|talimat)lar(?:i|ini) unut|(?:kisitlama|kural|sansur|filtre)(?:lar)? olmadan "
    r"(?:cevap|yanit|konus)[a-z]*",
)

ORDERS = (
    *_FREED,
    "ignore ?(?:all)? ?(?:previous|prior)instructions|ignore(?:all)?(?:previous|prior)(?:instructions|rules|prompts?)",
    # German
    "(?:ignorier(?:e|en|t)?|vergiss|vergesst|vergessen sie|missachte|uberschreibe|verwirf|beachte)(?: sie)?(?: "
    "[a-z]+){0,3} (?:vorherigen?|vorigen?|bisherigen?|obigen?|fruheren?|vorangegangenen?|vorhergehenden?|deine?|"
    "ursprunglichen?|oben|systems?)(?: [a-z]+){0,2} (?:anweisung(?:en)?|instruktion(?:en)?|befehle?|regeln|"
    "vorgaben|richtlinien|prompts?|systemprompts?|aufgaben?|vorschriften)",
    "(?:vergiss|ignoriere) (?:alles|alle anweisungen|deine (?:anweisungen|regeln)|was)(?: (?:davor|vorher|bisher|"
    "oben|zuvor|was))?|(?:zeig|zeige|nenne?|verrate?|gib|wiederhole|drucke|verrat)(?: mir| uns)?(?: bitte)? "
    "(?:deinen?|den (?:geheimen|versteckten|vollstandigen)|deine) (?:[a-z]+ )?(?:system-?prompts?|"
    "systemanweisung(?:en)?|anweisungen|systemnachricht)",
    rf"bewerte?(?:n sie)? (?:das|dies|diese|die|meine|es)(?: (?:antwort|losung|korrektur))? (?:hier )?(?:immer "
    rf")?(?:mit )?(?:der |den |einer |als )?(?:{_TEN}|hochsten?|besten?|vollen?|maximale[rn]?|perfekt|funf "
    rf"sternen?)|(?:gib|vergib) (?:dieser|der|diese|die|mir|immer)?(?: antwort)? ?(?:immer )?(?:die |den |das "
    rf")?(?:volle|hochste|maximale|beste)[nrs]? (?:punktzahl|bewertung|note|punkte|wertung|belohnung)",
    "als (?:bewerter|gutachter|prufer|richter|juror|ki|sprachmodell) musst du|(?:du bist (?:jetzt|ab jetzt|nun)|ab "
    "(?:jetzt|sofort) bist du) (?:ein(?:e)? )?(?:[a-z]+ )?(?:ki|dan|assistent|bot|modell|richter)(?: ohne)?|tu "
    "so,? als (?:hattest|ob) du(?: [a-z]+){0,3} (?:keine )?(?:regeln|einschrankungen|beschrankungen)",
    # French
    "(?:ignore[zr]?|oublie[zr]?|neglige[zr]?|ne (?:tiens|tenez) pas compte de?s?|ne suis (?:pas|plus)|"
    "contourne[zr]?)(?: (?:de|toutes?|tous|les?|la|tes|vos|des|ces|mes|donc|maintenant|stp))* (?:(?:precedentes?|"
    "anterieures?) )?(?:instructions?|consignes?|regles?|directives?|ordres|prompts?)(?: (?:precedentes?|"
    "anterieure?s?|ci-dessus|initiales?|donnees?|systeme|avant|d'avant|du systeme|recues?|et))|(?:oublie|ignore) "
    "(?:tes|vos) (?:instructions?|consignes?|regles?|directives?)|oublie[z]? tout ce qui|oublie[z]? tout ce (?:que|"
    "qu')",
    "(?:affiche|montre|revele|donne|repete|ecris|dis)[zrs]?(?:[- ]moi)? (?:ton|votre|le|tes|vos) (?:prompt "
    "(?:systeme|initial|complet|cache|secret)|instructions? (?:systeme|initiales?|cachees?|secretes?)|message "
    "systeme)",
    rf"(?:note[zr]?|evalue[zr]?|classe[zr]?) (?:cette|cela|ceci|ma|la)(?: (?:reponse|correction|solution))? "
    rf"(?:avec |comme |a |de |la |une |un )*(?:{_TEN}|note maximale|meilleure|parfaite?|maximum|cinq etoiles)|"
    rf"(?:donne[zr]?|attribue[zr]?|mets|mettez)(?: toujours| lui| moi)? (?:a cette reponse |a ma reponse )?(?:la |"
    rf"le |une )?(?:note|score|points?) (?:maximale?|maximum|parfaite?|la plus haute|de 10)|(?:en tant qu'|en tant "
    rf"que )(?:evaluateur|juge|correcteur|ia|modele)[, ]+(?:tu|vous) (?:dois|devez)|tu es maintenant (?:un |une "
    rf")?(?:[a-z]+ )?(?:ia|dan|juge|assistant)(?: sans)?",
    # Spanish
    "(?:ignor(?:a|e|ad|ar)|olvid(?:a|e|ad|ar)|descarta|omite|no (?:sigas|hagas caso (?:a|de)|tengas en cuenta)|haz "
    "caso omiso de)(?: (?:todas?|todos?|las?|los?|tus|sus|mis|cualquier|por favor))* (?:(?:anteriores|previas|"
    "previos) )?(?:instrucciones?|indicaciones|ordenes|reglas|directrices|normas|prompts?)(?: "
    "(?:anteriores?|previas?|previos?|de arriba|iniciales|del sistema|originales|que|dadas|recibidas|y))|(?:olvida|"
    "ignora) tus (?:instrucciones|reglas|ordenes)|(?:olvida|ignora) todo lo (?:anterior|que|dicho)",
    "(?:muestra(?:me)?|revela(?:me)?|dime|imprime|repite|ensename|dame|escribe) (?:tu|el|tus|las) (?:prompt (?:de|"
    "del) sistema|prompt (?:inicial|completo|secreto|oculto)|instrucciones (?:del sistema|iniciales|ocultas|"
    "secretas)|mensaje del sistema|system prompt)",
    rf"(?:calific|evalu|puntu|valor|marc)(?:a|e|ar|ad) (?:esta|esto|mi|la)(?: (?:respuesta|correccion|solucion))? "
    rf"(?:con |como |un |una |la |el |de )*(?:{_TEN}|maxima|mejor|perfect[oa]|maximo|cinco estrellas)|(?:da(?:le)?|"
    rf"otorga|asigna|pon(?:le)?)(?: siempre)? (?:a esta respuesta |a mi respuesta )?(?:la |el |un |una "
    rf")?(?:puntuacion|nota|calificacion|puntaje) (?:maxim[oa]|perfecta|mas alta|de 10)|como (?:evaluador|juez|"
    rf"calificador|ia|modelo)[, ]+(?:debes|tienes que)|(?:ahora eres|eres ahora|a partir de ahora eres) (?:un |una "
    rf")?(?:[a-z]+ )?(?:ia|dan|juez|asistente)(?: sin)?",
    # Italian
    "(?:ignor(?:a|i|are|ate)|dimentic(?:a|hi|are|ate)|trascura|non (?:seguire|considerare)|scarta)(?: (?:tutte?|"
    "tutti|le|gli|i|tue|tuoi|ogni|pure))* (?:precedenti )?(?:istruzioni?|indicazioni|regole|direttive|ordini|"
    "prompt|linee guida|comandi)(?: (?:precedenti?|iniziali|sopra|di sistema|del sistema|ricevut[ei]|dat[ei]|"
    "anteriori|originali|che|e))|(?:dimentica|ignora) (?:le tue|tutte le tue) (?:istruzioni|regole)|dimentica "
    "tutto (?:cio|quello)",
    "(?:mostra(?:mi)?|rivela(?:mi)?|dimmi|stampa|ripeti|scrivi) (?:il (?:tuo )?|le (?:tue )?)(?:prompt (?:di|del) "
    "sistema|prompt (?:iniziale|completo|segreto)|istruzioni (?:di sistema|iniziali|nascoste|segrete)|system "
    "prompt)",
    rf"(?:valut|giudic|class|vot)(?:a|i|are|ifica) (?:questa|questo|la mia|la)(?: (?:risposta|correzione|"
    rf"soluzione))? (?:con |come |un |il |la |di )*(?:{_TEN}|massimo|migliore|perfetta|voto massimo|cinque stelle)|"
    rf"(?:dai|assegna|dare)(?: sempre)? (?:a questa risposta )?(?:il |un )?(?:voto|punteggio) (?:massimo|pieno|"
    rf"perfetto|piu alto|di 10)|(?:come|in qualita di) (?:valutatore|giudice|ia|modello)[, ]+devi|(?:ora sei|"
    rf"adesso sei|da ora sei) (?:un |una |un')?(?:[a-z]+ )?(?:ia|dan|giudice|assistente)(?: senza)?",
    # Portuguese
    "(?:ignor(?:e|a|ar|em)|esque(?:ca|ce|cer)|desconsider(?:e|ar)|desprez(?:e|ar)|nao siga|descarte)(?: (?:todas?|"
    "todos?|as|os|de|das|dos|suas|seus|tuas|quaisquer))* (?:instruc(?:ao|oes)|orientacoes|regras|diretrizes|ordens|"
    "prompts?|comandos)(?: (?:anteriores?|previas?|previos|acima|iniciais|do sistema|originais|que|dadas|"
    "recebidas|e))|(?:esqueca|ignore) (?:as )?(?:suas|tuas) (?:instrucoes|regras)|esqueca tudo (?:o )?que",
    "(?:mostre|revele|diga|imprima|repita|escreva|me mostre|me diga) (?:o |as |seu |suas |o seu |as suas "
    ")*(?:prompt (?:do|de) sistema|prompt (?:inicial|completo|secreto|oculto)|instrucoes (?:do sistema|iniciais|"
    "ocultas|secretas)|system prompt)",
    rf"(?:avali|classific|pontu|marqu)(?:e|ar|a|que) (?:esta|isto|isso|essa|minha|a)(?: (?:resposta|correcao|"
    rf"solucao))? (?:com |como |um |uma |a |o |de )*(?:{_TEN}|maxim[oa]|melhor|perfeit[oa]|cinco estrelas|nota "
    rf"maxima)|(?:de|atribua|dar)(?: sempre)? (?:a esta resposta |a essa resposta )?(?:a |uma )?(?:nota|pontuacao) "
    rf"(?:maxima|perfeita|mais alta|10)|como (?:avaliador|juiz|corretor|ia|modelo)[, ]+(?:voce|tu) (?:deve|tem "
    rf"que)|(?:agora voce e|voce agora e|a partir de agora voce e) (?:um |uma )?(?:[a-z]+ )?(?:ia|dan|juiz|"
    rf"assistente)(?: sem)?",
    # Polish
    "(?:zignoruj|ignoruj|zapomnij|pomin|odrzuc|nie przestrzegaj|lekcewaz)(?:cie)?(?: (?:o|wszystkie|wszystkich|te|"
    "tych|swoje|swoich|twoje|prosze))* (?:(?:poprzedni|wczesniejsz|dotychczasow|powyzsz|pierwotn|systemow)[a-z]+ "
    ")+(?:instrukcj[a-z]+|polece[a-z]+|zasad[a-z]*|regul[a-z]*|wytyczn[a-z]+|prompt[a-z]*|rozkaz[a-z]*)|zapomnij "
    "(?:o )?wszystk(?:o|im),? co|(?:pokaz|ujawnij|wypisz|podaj|powtorz)(?: mi)? (?:swoj|twoj|caly|ukryty)(?: "
    "[a-z]+)? ?(?:prompt(?: systemowy)?|instrukcje systemowe)",
    rf"ocen(?:cie)? (?:te|to|moja|ta)(?: (?:odpowiedz|poprawke))? (?:na |jako )*(?:{_TEN}|najlepsz[a-z]+|"
    rf"maksymaln[a-z]+|piec gwiazdek|idealn[a-z]+)|(?:daj|przyznaj)(?: tej odpowiedzi| zawsze)? (?:maksymaln|"
    rf"najwyzsz|peln)[a-z]+ (?:ocene|punktacje|liczbe punktow|punkty|note)|jako (?:sedzia|oceniajacy|ewaluator|"
    rf"ai)[, ]+musisz|(?:jestes teraz|teraz jestes|od teraz jestes) (?:[a-z]+ )?(?:ai|dan|sedzia|sedzia|asystentem|"
    rf"modelem)",
    # Dutch
    "(?:negeer|vergeet|sla over|verwerp|schuif)(?: (?:alle|al|je|de|mijn|jouw|even))* (?:vorige|eerdere|voorgaande|"
    "bovenstaande|voorafgaande|oorspronkelijke|systeem|je|jouw|initiele)(?: [a-z]+)? (?:instructies?|opdrachten|"
    "aanwijzingen|regels|richtlijnen|prompts?|bevelen)|vergeet (?:alles|al) wat|(?:toon|laat|geef|onthul|"
    "herhaal)(?: (?:me|mij|eens))* (?:je|jouw|de (?:volledige|verborgen|geheime)) (?:systeem-?prompt|"
    "systeeminstructies?|system prompt|instructies)",
    rf"(?:beoordeel|waardeer|markeer) (?:dit|deze|mijn|het)(?: (?:antwoord|correctie|oplossing))? (?:met |als |een "
    rf"|de |het )*(?:{_TEN}|hoogste|beste|perfect|maximale|vijf sterren)|(?:geef)(?: (?:dit|deze|het) antwoord| "
    rf"altijd)? (?:de |het |een )?(?:hoogste|maximale|volle|maximum) ?(?:score|cijfer|beoordeling|punten|aantal "
    rf"punten)|als (?:beoordelaar|rechter|jury|ai)[, ]+moet je|(?:je bent nu|vanaf nu ben je) (?:een )?(?:[a-z]+ "
    rf")?(?:ai|dan|rechter|assistent)(?: zonder)?",
    # Turkish (dotless i folded to i)
    "(?:onceki|yukaridaki|daha onceki|mevcut|sistem|tum onceki|ilk)(?: [a-z]+)? (?:talimat[a-z]*|yonerge[a-z]*|"
    "kural[a-z]*|komut[a-z]*|emir[a-z]*|istem[a-z]*)(?: [a-z]+)? (?:yok say|gormezden gel|unut|dikkate alma|goz "
    "ardi et|bos ?ver)[a-z]*|(?:sistem (?:istemini|promptunu|talimatlarini|mesajini)|gizli talimatlarini)(?: "
    "[a-z]+)? (?:goster|yaz|soyle|acikla|tekrarla)",
    rf"bu (?:cevab[ai]|yanit[ai]?|cozume?)(?: [a-z]+)? (?:{_TEN}|en yuksek|tam|maksimum)(?: [a-z]+)? (?:puan|not|"
    rf"yildiz|ver)[a-z]*|degerlendirici olarak|(?:artik|simdi|bundan sonra) (?:sen )?(?:bir |kisitlamasiz |"
    rf"sinirsiz )+(?:yapay zeka|asistan|hakem)",
    # Scandinavian, Czech, Romanian, Hungarian, Indonesian, Vietnamese, Finnish
    "(?:ignorera|glom|bortse fran|ignorer|glem|se bort fra)(?: [a-z]+){0,2} (?:tidigare|foregaende|tidligere|"
    "forrige|foregaende|foregaaende)(?: [a-z]+)? (?:instruktion[a-z]*|instruks[a-z]*|regler|anvisningar)|"
    "(?:ignoruj|zapomen|zabudni|ignorujte)(?: [a-z]+){0,3} (?:predchozi|predchadzajuce|predesle)(?: [a-z]+)? "
    "(?:instrukce|pokyny|prikazy|instrukcie)|(?:ignora|uita)(?:ti)?(?: [a-z]+){0,2} (?:instructiunile|regulile)(?: "
    "anterioare| precedente)?|(?:hagyd figyelmen kivul|felejtsd el)(?: [a-z]+){0,4} (?:utasitas[a-z]*|"
    "szabaly[a-z]*)|(?:abaikan|lupakan)(?: [a-z]+)? (?:instruksi|perintah|aturan)(?: [a-z]+)? (?:sebelumnya|di "
    "atas)|bo qua (?:tat ca )?(?:cac )?(?:huong dan|chi dan|lenh)(?: [a-z]+)? (?:truoc|tren)|(?:unohda|ohita|jata "
    "huomiotta)(?: [a-z]+){0,2} (?:ohjeet|saannot|ohjeista)",
)  # fmt: skip
ORDERS_OTHER_SCRIPTS = (
    "(?:представь|притворись|веди себя|отвечаи|отвечаешь|деиствуи|ты теперь|теперь ты|"
    "ты)(?:те)?(?:,?\\s+[а-я]+){0,6}\\s+(?:нет|без|никаких)\\s+"
    "(?:[а-я]+\\s+)?(?:правил|ограничени[ияи]+|цензуры|фильтров)|(?:ルール|規則|制約|指示)を(?:すべて|全て|"
    "全部)(?:忘れ|無視)|制限なしで(?:答え|回答|応答)|"
    "(?:没有|不受|无视)(?:任何)?(?:规则|限制|约束)的?(?:助手|模型|ai|机器人|人工智能)",
    "(?:и?гнорир(?:уи|овать)|забудь|забыть|не (?:обращаи внимания на|следуи)|проигнорируи|отмени|отбрось|"
    "пренебреги)(?:те)?(?:\\s+(?:про|о|об|все|всех|эти|твои|свои|любые|пожалуиста))*\\s+(?:(?:предыдущи|прошлы|"
    "прежни|вышеуказанны|вышестоящи|системны|изначальны|исходны|ранние|ранее|данны|"
    "полученны)[а-я]*\\s+)+(?:инструкци|указани|правил|команд|промпт|распоряжени|приказ|установ)[а-я]*|"
    "(?:забудь|игнорируи)(?:те)?\\s+(?:все,?\\s+что|свои\\s+(?:инструкци|правил)|твои\\s+(?:инструкци|правил)|"
    "(?:все\\s+)?инструкции\\s+выше)|(?:покажи|раскрои|выведи|напиши|повтори|назови)(?:те)?(?:\\s+мне)?\\s+(?:свои|"
    "твои|ваш|весь|скрытыи)\\s+(?:системны[а-я]*\\s+)?(?:промпт|инструкци|системное\\s+сообщение)[а-я]*",
    "(?:оцени|поставь|оцените|дай)(?:те)?(?:\\s+(?:этот|этому|моему|мои|за|"
    "всегда))*\\s+(?:ответ[а-я]*)\\s+(?:на\\s+|как\\s+|в\\s+)?(?:10|5|100|максимал|высш|лучш|идеальн|пять|"
    "отличн)[а-я]*|(?:поставь|дай)(?:те)?\\s+(?:максимальн|высш|наивысш)[а-я]+\\s+(?:балл|оценк)[а-я]*|"
    "как\\s+(?:судья|оценщик|эксперт),?\\s+ты\\s+долж[а-я]+|(?:теперь\\s+ты|ты\\s+теперь|"
    "отныне\\s+ты)\\s+(?:[а-я]+\\s+)?(?:ии|dan|судья|ассистент|модель)|(?:игноруи|забудь|"
    "ігноруи)(?:те)?\\s+(?:[а-яіїє]+\\s+)?(?:попередні|предишните)\\s+(?:[а-яіїє]+\\s+)?(?:інструкці|вказівк|"
    "инструкци)[а-яії]*",
    "(?:忽略|无视|無視|忘记|忘記|忘掉|不要理会|不理会|抛开|跳过|不要遵守|停止遵循)[^。\\n]{0,8}(?:之前|以上|上述|"
    "上面|前面|先前|此前|所有|你的|系统|系統|原有|"
    "原来)[^。\\n]{0,8}(?:指令|指示|提示|规则|規則|命令|要求|设定|限制|說明|说明|内容)|(?:显示|输出|告诉我|透露|"
    "泄露|重复|打印|說出|说出|复述)[^。\\n]{0,6}(?:你的|您的|"
    "完整的?|隐藏的?)(?:系统|系統|初始|隐藏|原始)?(?:提示词?|提示詞|指令|prompt)|(?:给|為|为|"
    "把)[^。\\n]{0,6}(?:这个|此|该|本|這個)?(?:回答|答案|"
    "回复)[^。\\n]{0,6}(?:满分|滿分|最高分|10分|5分|五星|最高评分)|作为(?:评估者|评委|裁判|评分者|评判者)|"
    "你现在是[^。\\n]{0,10}(?:没有|不受)[^。\\n]{0,6}限制|"
    "从现在(?:起|开始)[,，]?你(?:是|必须|要|将|就是)[^。\\n]{0,12}(?:限制|服从|回答|扮演|AI|ai|助手|模型|忽略|dan)",
    "(?:これまで|以前|前|上記|先ほど|過去|今まで|すべて|全て|元|システム)の[^。\\n]{0,12}(?:指示|命令|ルール|"
    "プロンプト|指令|制約)(?:を|は)[^。\\n]{0,6}(?:無視|忘れ|"
    "破棄|従わな)|(?:システムプロンプト|隠された指示|初期指示)を[^。\\n]{0,8}(?:表示|教え|見せ|出力|開示|公開)|"
    "(?:この|私の)(?:回答|答え)(?:に|"
    "を)[^。\\n]{0,10}(?:満点|最高点|10点|5点|最高評価|10/10)|(?:評価者|審査員|採点者)として|あなたは(?:今から|"
    "これから)[^。\\n]{0,12}(?:制限のない|DAN)",
    "(?:이전|앞의|위의|기존|지금까지의|모든)[^.\\n]{0,10}(?:지시|명령|지침|규칙|프롬프트|"
    "instruction)[^.\\n]{0,6}(?:무시|잊|따르지)|"
    "시스템\\s?프롬프트를?[^.\\n]{0,8}(?:보여|알려|출력|공개|말해)|이\\s?(?:답변|응답|대답)[^.\\n]{0,8}(?:만점|"
    "최고\\s?점수|10점|5점)|(?:평가자|심사위원|"
    "채점자)로서",
    "(?:تجاهل|انس|انسى|أهمل|اهمل|لا تتبع|تخطى|تجاهلي)\\s+(?:[\u0600-\u06ff]+\\s+){0,2}(?:التعليمات|الأوامر|الاوامر|"
    "القواعد|الإرشادات|الارشادات|التوجيهات|تعليماتك|قواعدك)|(?:اعرض|أظهر|اظهر|اكشف|اطبع|أخبرني|"
    "كرر)\\s+(?:[\u0600-\u06ff]+\\s+){0,2}(?:موجه النظام|تعليمات النظام|تعليماتك|رسالة النظام)|(?:قيم|أعط|اعط|"
    "امنح)\\s+(?:[\u0600-\u06ff]+\\s+){0,2}(?:الإجابة|الاجابة|الرد)\\s+(?:[\u0600-\u06ff]+\\s+){0,2}(?:10|5|الدرجة "
    "الكاملة|أعلى|الكاملة|١٠)",
    "(?:पिछले|पिछली|पूर्व|ऊपर के|ऊपर दिए|पहले के|सभी)\\s+(?:[\u0900-\u097f]+\\s+){0,2}(?:निर्देश|निर्देशों|आदेश|"
    "आदेशों|नियमों|हिदायतों)\\s+(?:को\\s+)?(?:अनदेखा|नज़रअंदाज़|नजरअंदाज|भूल|इग्नोर)|(?:इस\\s+)?(?:उत्तर|"
    "जवाब)\\s+को\\s+(?:10|5|पूरे|सर्वोच्च|पूर्ण)|सिस्टम\\s+प्रॉम्प्ट\\s+(?:दिखा|बता)",
    "(?:התעלם|התעלמי|התעלמו|תתעלם|שכח)\\s+(?:[\u0590-\u05ff]+\\s+){0,2}(?:הוראות|ההוראות|מההוראות|ההנחיות|מההנחיות|"
    "מכל)|(?:αγνοησε|ξεχασε|αγνοηστε)\\s+(?:[α-ω]+\\s+){0,3}(?:οδηγιες|εντολες|κανονες)|(?:دستورات|"
    "دستورالعمل[\u0600-\u06ff\u200c]*|راهنمایی[\u0600-\u06ff\u200c]*)\\s+(?:[\u0600-\u06ff]+\\s+){0,2}(?:نادیده|"
    "فراموش)|(?:ละเว้น|เพิกเฉย|ลืม|ไม่ต้องสนใจ)[^\\n]{0,12}(?:คำสั่ง|คำแนะนำ|กฎ)[^\\n]{0,4}(?:ก่อนหน้า|ข้างต้น|"
    "ทั้งหมด|เดิม)",
)  # fmt: skip
