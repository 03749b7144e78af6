"""Words that tell a name from a word that only begins a sentence: common first words, and names that are well known.

Neither list is knowledge of the world: a known name is a claim as any other. They decide only what a capital means
where everything has one, at the beginning of a sentence and in German.
"""

from __future__ import annotations

import re

from flytewheel.evaluation.groundedness.language import STOP_WORDS
from flytewheel.evaluation.groundedness.wording import listed

GIVEN_NAMES = (
    "anna maria peter paul thomas michael stefan andreas julia laura sarah lisa lena sophie emma mia noah liam "
    "lucas lukas jonas felix max leon tim jan martin daniel david alexander christian sebastian tobias markus "
    "matthias claudia sabine petra monika ursula karin birgit heike katharina johanna hannah clara charlotte "
    "emily olivia ava james john robert william richard joseph charles christopher matthew anthony mark donald "
    "steven andrew joshua kenneth kevin brian george edward ronald timothy jason jeffrey ryan jacob gary "
    "nicholas eric jonathan stephen larry justin scott brandon benjamin samuel gregory patrick jack dennis "
    "jerry tyler aaron mary patricia jennifer linda elizabeth barbara susan jessica karen nancy margaret betty "
    "sandra ashley kimberly donna michelle amanda melissa deborah stephanie rebecca sharon cynthia kathleen amy "
    "angela helen nicole samantha katherine christine rachel carolyn janet catherine diane ruth alice bob carol "
    "dave eve frank grace heidi ivan judy mallory oscar priya rahul amit ravi anita sanjay deepak wei li ming "
    "yuki hiroshi kenji akira sakura haruto aisha fatima omar ali hassan ahmed mohammed yusuf layla nadia "
    "pierre jean marie claire sophie camille julien nicolas antoine louis hugo chloé léa manon élodie françois "
    "jacques luc mathieu thierry isabelle nathalie sylvie josé juan carlos luis miguel jorge pedro pablo diego "
    "javier fernando alejandro antonio manuel sofia lucía carmen elena isabel marta rosa ana teresa pilar "
    "ingrid sven lars erik astrid olga natasha dmitri sergei katya giulia marco luca giovanni"
)
PLACES = (
    "germany france spain italy portugal austria switzerland belgium netherlands poland denmark sweden norway "
    "finland ireland scotland england britain russia ukraine turkey greece hungary romania bulgaria croatia "
    "serbia china japan korea india pakistan vietnam thailand indonesia malaysia singapore australia canada "
    "mexico brazil argentina chile peru colombia egypt morocco kenya nigeria ethiopia israel iran iraq america "
    "europe asia africa deutschland frankreich spanien italien österreich schweiz belgien niederlande polen "
    "dänemark schweden norwegen finnland russland türkei griechenland ungarn japan indien kanada brasilien "
    "europa allemagne espagne italie suisse belgique alemania francia españa italia suiza bélgica berlin "
    "hamburg münchen munich köln cologne frankfurt stuttgart düsseldorf leipzig dresden bremen hannover "
    "nürnberg wien vienna zürich zurich genf geneva bern basel paris lyon marseille toulouse bordeaux nantes "
    "lille nice strasbourg london manchester liverpool edinburgh dublin oxford cambridge madrid barcelona "
    "valencia sevilla seville bilbao málaga granada lisbon lisboa porto rome roma milan milano naples venice "
    "florence turin brussels amsterdam rotterdam copenhagen stockholm oslo helsinki warsaw prague budapest "
    "athens istanbul moscow kyiv tokyo osaka kyoto beijing shanghai shenzhen seoul bangkok delhi mumbai "
    "bangalore sydney melbourne toronto montreal vancouver chicago boston seattle dallas houston denver miami "
    "atlanta philadelphia detroit california texas florida bayern hessen sachsen"
)
BRANDS = (
    "google amazon microsoft apple facebook meta netflix oracle ibm intel nvidia amd samsung sony siemens bosch "
    "bmw volkswagen mercedes toyota honda tesla airbus boeing lufthansa visa mastercard paypal stripe klarna "
    "adyen sap salesforce slack zoom jira confluence github gitlab bitbucket jenkins docker kubernetes "
    "terraform ansible grafana prometheus datadog splunk pagerduty opsgenie kafka rabbitmq redis postgres "
    "postgresql mysql mongodb cassandra elasticsearch kibana nginx apache linux ubuntu debian windows android "
    "chrome firefox safari python javascript java golang azure aws gcp cloudflare heroku vercel openai "
    "anthropic wordpress shopify hubspot zendesk excel outlook dropbox wikipedia twitter linkedin instagram "
    "whatsapp youtube ikea lidl aldi ryanair easyjet ibuprofen paracetamol aspirin penicillin amoxicillin "
    "metformin insulin"
)
KNOWN = listed(f"{GIVEN_NAMES} {PLACES} {BRANDS}") - listed(
    "nice mark max visa jan set meta ava grace rosa apple eve slack"
)

_FIRST_WORDS = (
    "accept access add additionally adjust after all allow alternatively also always although another any apply "
    "approve arrive ask assign attach avoid back bake based because before begin below besides beyond block "
    "boil book both bring build call cancel change charge check choose clean clear click close collect combine "
    "compare complete confirm connect consider contact continue convert cook cool copy cover create currently "
    "cut deactivate delete deploy disable do don't download drain drink drop during each eat edit email enable "
    "ensure enter escalate every everything execute fill finally find first fix flush follow fold for from fry "
    "further generally get give go great have heat hello here hi hold how however i if import in increase "
    "inform insert inspect install instead join keep last later leave let list load lock log look lower make "
    "many max maximum mention merge message migrate min minimum mix mode monitor more most mount move multiple "
    "my need neither never new next no none nor not note nothing notify now okay once one only open order other "
    "otherwise our page passengers patients pause pay per ping place please pour prepare press proceed provide "
    "pull push put query raise read reboot recipient record reduce refer refund register release remember "
    "remove renew repeat replace reply report request reset resize restart restore resume retry return revert "
    "review roll rotate run save scale schedule search see select send serve set several she he shut sign "
    "similarly simmer simply since some sometimes sorry sprinkle start stay stir stop store submit subscribe "
    "sure switch take tell tenants tenant thank thanks that's their them there these they third those through "
    "thus today together tomorrow total transfer turn two type under unless until update upgrade upload use "
    "users using usually verify via view visit wait warm warning wash watch we what whatever where whether "
    "which while who whoever why within without work write yes yesterday you'll your customers customer "
    "employees team teams service services owner contact support section article step steps summary answer "
    "question result results example important attention caution tip hint error errors status laut gemäß seit "
    "wegen trotz während zwischen gegen durch bis unter neben statt innerhalb ab beim vom ins samt achten "
    "ändern alle alles also anschließend außerdem beachten bevor bitte danach dann das daher dazu deshalb die "
    "dies diese dieser dieses drücken erst falls fragen führen geben gehen gern hier hinweis ihr im immer "
    "informieren jede jeder jedes kein keine können kontaktieren legen leider löschen man melden mit müssen "
    "nach nehmen nur ob öffnen ohne prüfen rufen schalten senden setzen sobald sollte starten stellen stoppen "
    "trotzdem verwenden vielen vor wählen warten warum was weitere wenden wenn wer wie wo zuerst zunächst "
    "zusätzlich ajoutez alors appelez appuyez arrêtez attendez aucun avant avez bonjour c'est ce cela ces cette "
    "chaque cliquez comme comment consultez contactez créez dans demandez depuis donc d'abord elle enfin "
    "ensuite envoyez faites fermez il ils j'ai je l' laissez lancez mais merci mettez ne notre nous ouvrez "
    "pendant pour pourquoi prenez puis quand quel quelle qui redémarrez remplacez si suivez supprimez toutes "
    "tous tout utilisez veuillez vérifiez versez votre vous abra agregue ahora además algunos añada antes aquí "
    "así borre busque cada cambie cierre como compruebe consulte contacte cree cuando debe deje después desde "
    "donde durante ejecute elimine ella ellos entonces entre envíe escriba espere esta este esto estos "
    "finalmente gracias haga hasta hay hola llame luego mantenga más mezcle mi muchas nuestro nunca para pero "
    "pida ponga por primero pruebe puede pulse que quien recuerde reinicie retire revise sí siempre siga sin "
    "sobre solo también tiene todas todos tome tras tu use utilice ver verifique vierta"
)
_LETTER_WORDS = (
    "dear kind best warm regards sincerely cordially assistant sir madam agent everyone folks welcome greetings"
)
COMMON = listed(f"{_FIRST_WORDS} {_LETTER_WORDS}") | STOP_WORDS

TITLES = listed(
    "mr mrs ms miss dr prof professor sir herr herrn frau mme mlle monsieur madame sr sra srta señor señora art "
    "sec fig no nr don doña doctor captain inspector"
)
INTRODUCE = listed(
    "herr herrn frau dr prof kollege kollegen kollegin firma namens heißt familie projekt projektes codename"
)
CONNECTORS = listed("of the de la las los del della di da du des le van von der den zu zur y et & and for")
ACRONYMS = listed(
    "API APIs ID IDs URL URLs CPU CPUs GPU RAM OK FAQ PDF CSV JSON XML HTML HTTP HTTPS SQL SSH TLS SSL DNS IP "
    "TCP UDP VPN CLI UI OS PC IT AM PM TV ASAP FYI ETA PS NB TODO SMS PIN USB LED DIY CEO CTO HR QA DB VM PR CI "
    "CD SLA SLO TTL UTC GMT CET NOT DO AND OR NO YES ALL NEVER ALWAYS MUST ONLY NOTE IF THE IS ANY IN ON TO PLZ "
    "BLZ KG GB MB KB TB II III IV VI VII VIII IX XL XS MFG USD EUR GBP CHF JPY CNY INR RPC SRE ISO TBD NA "
    "WARNING NOW STOP VAT ATM TL DR"
)
LABELS = listed(
    "owner team contact author lead manager name person responsible assignee doctor physician landlord tenant "
    "ansprechpartner verantwortlich besitzer zuständig leitung kontakt responsable contacto contact équipe "
    "equipo propriétaire propietario city stadt ville ciudad location ort airline carrier vendor supplier bank"
)
SURNAMES = "王李张張刘劉陈陳杨楊黄黃赵趙吴吳周徐孙孫马馬朱胡郭何高林罗羅郑鄭梁谢謝宋唐许許韩韓冯馮邓鄧曹彭曾"
HONORIFICS = "先生|女士|小姐|经理|經理|主管|医生|醫生|老师|老師|总监|工程师|律师|教授"
MEASURES = listed(
    "kilo gramm liter meter tasse tassen stück stücke glas gläser flasche flaschen packung prise bund paar "
    "viertel hälfte drittel ende anfang mitte teelöffel esslöffel dose dosen scheibe scheiben prozent euro uhr "
    "tablette tabletten tropfen jahr jahre monat monate woche wochen tag tage stunde stunden minute minuten art "
    "sorte"
)
AGENT_VERBS = listed(
    "makes owns leads says manages runs sells offers recommends provides handles wrote founded built confirmed "
    "approved rates signed invented announced advises requires produces delivers operates writes warns believes "
    "reported dirige gère fabrique vend propose recommande dit fabrica vende ofrece recomienda dice lidera "
    "gestiona"
)
_ROLES = listed(
    "director manager coach president chairman chairwoman captain agent engineer lead leader head officer nurse "
    "teacher minister founder author editor chef developer ceo cfo cto coo directora directeur directrice "
    "gérant gérante médiateur médiatrice responsable chef leiter chefin team landlord tenant professor doctor"
)
_GERMAN_ROLE = re.compile(r"[A-ZÄÖÜ][a-zäöüß]{3,}(?:erin|orin|ntin|rtin|stin|lerin|ger|ter|tor|ler|ent|chef|kraft)")


def is_role(word: str) -> bool:
    """Whether a word before a name says what somebody is."""
    return word.casefold() in _ROLES or _GERMAN_ROLE.fullmatch(word) is not None
