"""Prompts of invented teams in eight topics and six languages, for benchmarks.drift: a seed gives the same ones.

Real sentences of a small grammar: subject, trouble, time, question. What a prompt is about, its language and its length
are free of each other, so that one can change while the others stay.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flytewheel.drift.wording import hash_ngrams
from flytewheel.screens.language import name_language

LENGTHS = tuple(round(45 * 1.5**step) for step in range(9))  # characters: from one sentence to some twenty
VARIANTS = 24

TOPICS = {
    "database": "replica, index, query, transaction, backup, schema, lock, migration",
    "network": "gateway, router, firewall, packet, tunnel, proxy, subnet, latency",
    "storage": "volume, bucket, snapshot, disk, quota, inode, archive, mount",
    "login": "password, token, session, certificate, role, account, key, badge",
    "billing": "invoice, refund, payment, receipt, discount, contract, currency, tax",
    "deploy": "pipeline, release, image, rollout, branch, artifact, canary, build",
    "monitoring": "alert, dashboard, metric, trace, threshold, pager, sample, log",
    "mail": "inbox, attachment, newsletter, sender, bounce, calendar, folder, template",
}
# Subject {0}, trouble, when, question: the thing keeps its English name, as it does among such people.
GRAMMAR = {
    "en": (
        ("The {0} of our team", "Since the last change the {0}", "Every {0} that we have", "My {0}"),
        ("does not answer any more", "is much too slow for us", "shows an error that I have not seen before"),
        ("since this morning", "after the update", "when two people use it", "and only on some of the machines"),
        ("What should I do first?", "Is there a way to see why?", "Please tell me which steps are safe."),
    ),
    "de": (
        ("Der {0} unserer Gruppe", "Seit der letzten Änderung ist der {0}", "Jeder {0}, den wir haben,"),
        ("nicht mehr zu erreichen", "viel zu langsam für uns", "mit einem Fehler, den ich noch nicht kenne"),
        ("seit heute Morgen", "nach dem Update", "wenn zwei Leute ihn benutzen", "und nur auf einigen Maschinen"),
        ("Was soll ich zuerst tun?", "Kann man sehen, warum das so ist?",
         "Bitte sag mir, welche Schritte sicher sind."),
    ),
    "es": (
        ("El {0} de nuestro equipo", "Desde el último cambio el {0}", "Cada {0} que tenemos"),
        ("no responde más", "es demasiado lento para nosotros", "muestra un error que no conozco"),
        ("desde esta mañana", "después de la actualización", "cuando lo usan dos personas", 
         "y solo en pocos equipos"),
        ("¿Qué debo hacer primero?", "¿Hay una manera de ver por qué?", "Dime por favor qué pasos son seguros."),
    ),
    "fr": (
        ("Le {0} de notre équipe", "Depuis le dernier changement le {0}", "Chaque {0} que nous avons"),
        ("ne répond plus", "est beaucoup trop lent pour nous", "montre une erreur que je ne connais pas"),
        ("depuis ce matin", "après la mise à jour", "quand deux personnes l'utilisent", "et sur quelques machines"),
        ("Que dois-je faire en premier ?", "Est-ce que nous pouvons voir pourquoi ?", "Dis-moi ce qui est sûr."),
    ),
    "pl": (
        ("Nasz {0}", "Od ostatniej zmiany {0}", "Każdy {0}, który mamy,"),
        ("już nie odpowiada", "jest dla nas o wiele za wolny", "pokazuje błąd, którego nie znam"),
        ("od dzisiaj rano", "po aktualizacji", "kiedy używają go dwie osoby", "i to tylko na niektórych maszynach"),
        ("Co mam zrobić najpierw?", "Jak można zobaczyć, dlaczego tak jest?", "Powiedz mi, które kroki są bezpieczne."),
    ),
    # The same people in other words: no other topic, language or length, and only the classifier can see it.
    "en, reworded": (
        ("hey, the {0} in prod", "ok so that {0} thing", "quick one: one {0}", "fyi the {0}"),
        ("keeps dying on me", "is crawling again", "throws some weird stacktrace"),
        ("right now", "ever since we upgraded", "under load", "but just in staging"),
        ("any idea?", "how can I debug it?", "whats the fix here"),
    ),
}  # fmt: skip
LANGUAGES = tuple(GRAMMAR)


@dataclass(frozen=True, slots=True)
class Corpus:
    """Distinct prompts, with what the shipped functions say of each: language, length and n-grams are counted once.

    Prompt `variant` of topic, language and length stands at `place(...)`.
    """

    texts: tuple[str, ...]
    lengths: NDArray[np.float64]
    told: NDArray[Any]
    features: Any

    @staticmethod
    def place(topic: Any, language: Any, length: Any, variant: Any) -> Any:
        """Where prompts stand, by numbers or arrays."""
        return ((topic * len(LANGUAGES) + language) * len(LENGTHS) + length) * VARIANTS + variant


def write_corpus(seed: int = 11) -> Corpus:
    """All prompts."""
    chance = random.Random(seed)
    texts = tuple(
        write_prompt(topic, language, length, chance)
        for topic in TOPICS
        for language in LANGUAGES
        for length in LENGTHS
        for _ in range(VARIANTS)
    )
    return Corpus(
        texts,
        np.array([len(text) for text in texts], dtype=float),
        np.array([name_language(text) for text in texts], dtype=object),
        hash_ngrams(texts),
    )


def write_prompt(topic: str, language: str, length: int, chance: random.Random) -> str:
    """Sentences until it is about so long, cut at a word."""
    things, parts = TOPICS[topic].split(", "), GRAMMAR[language]
    most = length * chance.uniform(0.8, 1.25)
    said: list[str] = []
    while sum(map(len, said)) + len(said) < most:
        words = [chance.choice(part) for part in parts]
        said.append(f"{words[0].format(chance.choice(things))} {words[1]} {words[2]}. {words[3]}")
    cut = " ".join(said)[: round(most)]
    return cut.rpartition(" ")[0] or cut
