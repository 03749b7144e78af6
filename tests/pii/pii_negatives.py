"""What only looks like personal data: of an operator's day; and ordinary text with little planted. From seeds."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable

from faker import Faker

from tests.pii.pii_corpus import Planted, draw_positives
from tests.pii.pii_things import draw_text


def draw_ordinary(seed: int, count: int) -> list[str]:
    """`count` texts of some 400 characters as operators write them: 2 % hold a thing, 30 % digits."""
    chance = random.Random(f"ordinary {seed}")
    faker = Faker("en_US")
    faker.seed_instance(chance.randrange(1 << 30))
    prose = [faker.paragraph(12)[:400] for _ in range(2000)]
    planted = draw_positives(seed, 40)
    texts = []
    for _ in range(count):
        parts = [chance.choice(prose)]
        if chance.random() < 0.3:
            host = f"{chance.choice(('db', 'web', 'api', 'cache'))}-{chance.randrange(1, 40):02d}"
            day = f"2026-{chance.randrange(1, 13):02d}-{chance.randrange(1, 29):02d}"
            parts += chance.sample(
                (
                    f"Upgrade to v{chance.randrange(9)}.{chance.randrange(40)}.{chance.randrange(20)} on {day}.",
                    f"Since {day} {chance.randrange(24):02d}:{chance.randrange(60):02d} the pods on {host} restart.",
                    f"kubectl scale deploy/api --replicas={chance.randrange(20)} -n team-{chance.randrange(9)}",
                    f"{host}.example.com:8443 answers after {chance.randrange(3000)} ms",
                    f"Set the limit to {chance.randrange(1, 64)} GiB and retry {chance.randrange(9)} times.",
                ),
                2,
            )
        if chance.random() < 0.02:
            parts.append(chance.choice(planted).sentence)
        texts.append(" ".join(parts))
    return texts


def draw_negatives(seed: int, count: int) -> list[Planted]:
    """`count` sentences of an operator's day that hold nothing to be found."""
    chance = random.Random(f"negative {seed}")
    fakers = [
        Faker(locale)
        for locale in ("en_US", "de_DE", "fr_FR", "es_ES", "en_GB", "it_IT", "nl_NL", "pl_PL", "sv_SE", "ja_JP")
    ]
    for faker in fakers:
        faker.seed_instance(chance.randrange(1 << 30))
    return [Planted("", "", _draw_negative(chance, chance.choice(fakers)), "negative") for _ in range(count)]


def _draw_negative(chance: random.Random, faker: Faker) -> str:
    def hexa(length: int) -> str:
        return chance.randbytes((length + 1) // 2).hex()[:length]

    def num(low: int, high: int) -> int:
        return chance.randrange(low, high)

    def broken_card() -> str:
        digits = faker.credit_card_number("visa16")
        return digits[:-1] + str((int(digits[-1]) + num(1, 10)) % 10)

    def version() -> str:
        return f"{num(0, 20)}.{num(0, 40)}.{num(0, 300)}"

    word = chance.choice(("api", "web", "worker", "db", "cache", "ingress", "billing", "search"))
    stamp = f"2026-{num(1, 13):02d}-{num(1, 29):02d}T{num(0, 24):02d}:{num(0, 60):02d}:{num(0, 60):02d}"
    makers: tuple[Callable[[], str], ...] = (
        lambda: f"order {num(10**9, 10**10)} shipped with {num(1, 9)} items",
        lambda: f"order number {num(10**13, 10**14)} and ticket INC-{num(10**6, 10**7):07d}",
        lambda: f"order {broken_card()} shipped",
        lambda: f"order id: {num(200, 999)}-{num(1000000, 9999999)}-{num(1000000, 9999999)}",
        lambda: f"invoice {num(10**10, 10**11)} of {num(1, 29):02d}.{num(1, 13):02d}.2026",
        lambda: f"version {version()}.{num(0, 99)} of the chart, release v{version()}.{num(0, 99)}",
        lambda: f"upgraded {word} from {version()}.{num(1, 99)} to {version()}.{num(1, 99)}",
        lambda: f"Chrome/{num(90, 130)}.0.{num(0, 250)}.{num(0, 200)} Safari/537.36",
        lambda: f"commit {hexa(40)} broke it, {hexa(7)} and {hexa(12)} are fine",
        lambda: f"sha256 {hexa(64)}",
        lambda: f"image {word}@sha256:{hexa(64)} pulled",
        lambda: f"md5 {hexa(32)}  {word}-{version()}.tar.gz",
        lambda: f"trace {uuid.UUID(bytes=chance.randbytes(16))} is slow, span {hexa(16)}",
        lambda: f"{stamp}.{num(0, 10**6):06d}Z {word}-{hexa(10)}-x7kqz WARN {num(1, 99999)} ms",
        lambda: f'{stamp}+02:00 level=info msg="done" duration={num(1, 10**9)}ns count={num(1, 10**8)}',
        lambda: f"since {stamp.replace('T', ' ')} UTC, again at {num(0, 24)}:{num(0, 60):02d}",
        lambda: (
            f"epoch {num(16 * 10**8, 18 * 10**8)}, {num(16 * 10**11, 18 * 10**11)} or {num(16 * 10**17, 18 * 10**17)}"
        ),
        lambda: f"listens on 127.0.0.1:{num(1024, 65535)} and 0.0.0.0:80, mask 255.255.{num(0, 255)}.0, ::1",
        lambda: f"ssh root@{word}-0{num(1, 9)} and git clone git@github.com:org/{word}.git",
        lambda: f"scp {word}.tar deploy@{word}.example.com:/srv/{word}/",
        lambda: f"std::vector<int> a::b, std::chrono::seconds({num(1, 999)}), Foo::Bar{num(1, 9)}::baz",
        lambda: f"kubectl -n team-{num(1, 9)} get pod {word}-{hexa(9)}-x{num(1, 9)}kqz",
        lambda: f"arn:aws:iam::{num(10**11, 10**12)}:role/{word} and arn:aws:s3:::bucket-{num(1, 999)}",
        lambda: f"arn:aws:ec2:eu-west-1:{num(10**11, 10**12)}:instance/i-0{hexa(16)}, vpc-{hexa(8)}",
        lambda: f"{num(0, 60)} {num(0, 24)} * * {num(0, 7)} /usr/bin/{word} --retries={num(1, 20)}",
        lambda: f"price {num(1, 999)}.{num(10, 99)} EUR, {num(1, 9)},{num(100, 999)},{num(100, 999)}.{num(10, 99)} USD",
        lambda: f"at {num(10, 80)}.{num(10**5, 10**6)}, {num(10, 170)}.{num(10**5, 10**6)} (lat, lon)",
        lambda: (
            f"ISBN 978-{num(0, 9)}-{num(100, 999)}-{num(10000, 99999)}-{num(0, 9)} and ISBN 978{num(10**9, 10**10)}"
        ),
        lambda: f"CAS {num(50, 9999)}-{num(10, 99)}-{num(0, 9)}, part X{num(100, 999)}-{num(1000, 9999)}-{num(10, 99)}",
        lambda: f"data:image/png;base64,iVBORw0KGgo{draw_text(chance, 80)}== in the page",
        lambda: f"lodash@{version()} and {word}@{version()}, logo@2x.png, user@{num(100, 999)}.service",
        lambda: f"password: required; set token = os.environ['TOKEN'], max_tokens={num(100, 9999)}",
        lambda: f"secretName: {word}-tls, tokenizer: llama-{num(1, 9)}, passwordSecretRef: {word}-db",
        lambda: (
            f"postgres://user:password@localhost:{num(1024, 9999)}/app, https://<user>:<token>@host, $USER:$PASS@host"
        ),
        lambda: "the api key is missing, pass a bearer token please; password=${DB_PASSWORD} --token $TOKEN",
        lambda: f"from_pretrained('{word}'); max_new_tokens: {num(10, 999)}; token_type: bearer; token: null",
        lambda: f"http://localhost:{num(1024, 9999)}/path?x=1&id={num(1, 10**6)} and https://example.com:443/a@b",
        lambda: f"  PID {num(100, 99999)} {num(0, 99)}.{num(0, 9)} ? Ssl {num(0, 24):02d}:{num(0, 60):02d}",
        lambda: f"rx {num(10**8, 10**10)} bytes, tx {num(10**8, 10**10)} bytes, {num(1, 10**6)} packets",
        lambda: f"{hexa(2)} {hexa(2)} {hexa(2)} {hexa(2)} {hexa(2)} {hexa(2)} {hexa(2)} {hexa(2)}  |...|",
        lambda: f"@@ -{num(1, 9999)},{num(1, 99)} +{num(1, 9999)},{num(1, 99)} @@ def {word}():",
        lambda: f"{num(100, 9999)} * {num(10, 99)} + {num(1000, 99999)}-{num(1000, 9999)} = {num(10**5, 10**7)}",
        lambda: f"Thus the phone can hold {num(1000, 99999)}-{num(1000, 9999)}={num(1000, 9999)} pictures",
        lambda: f"call {word}() returned {num(100, 599)} after {num(1, 99)} retries, call me if it stays",
        lambda: f"the phone rang at {num(0, 24):02d}:{num(0, 60):02d}, ticket {num(10**7, 10**8)}",
        lambda: f"contact the team in #{word}-{num(1, 99)} before {num(1, 29):02d}/{num(1, 13):02d}/2026",
        lambda: f"error code {num(100000, 999999)} 0x{hexa(8)} at 0x{hexa(16)}",
        lambda: f"set the timeout to {num(1000, 99999)} and the limit to {num(10**6, 10**8)}",
        lambda: f"tracking number 1Z{num(10**9, 10**10)}{num(10**5, 10**6)}, batch {num(10**11, 10**12)}",
        lambda: f"SKU {num(10**11, 10**12)}, EAN {num(4 * 10**12, 5 * 10**12)}, serial {num(10**14, 10**15)}",
        lambda: f"{num(1, 12)}/{num(1, 29)}/2026, {num(1, 29):02d}-{num(1, 13):02d}-2026 {num(0, 24):02d}",
        lambda: (
            f"model-{num(10, 999)}b-q4.gguf is {num(10**9, 10**10)} bytes, loss 0.{num(10**5, 10**6)}e-0{num(1, 9)}"
        ),
        lambda: faker.street_address().replace("\n", ", "),
        lambda: f"{faker.city()}, {faker.date()}",
        lambda: faker.sentence(12),
        lambda: f"{faker.company()} uses {faker.file_path()}",
        lambda: f"build-20261{num(100, 130)}-{num(1000, 2400)} and nightly-2026{num(1000, 1230)}.{num(1, 9)}",
        lambda: f"snapshot {word}-2026.{num(1, 13)}.{num(1, 29)}-{num(0, 24):02d}{num(0, 60):02d}",
        lambda: (
            f"RFC {num(1000, 9999)} section {num(1, 9)}.{num(1, 9)}.{num(1, 9)}.{num(1, 9)}, pages 12-{num(301, 600)}"
        ),
        lambda: f"OID 1.3.6.1.4.1.{num(1, 9999)}.{num(1, 99)}.{num(1, 99)}",
        lambda: f'etag "{hexa(32)}-{num(1, 99)}" x-amz-request-id: {draw_text(chance, 16).upper()}',
        lambda: f"fingerprint {':'.join(hexa(2) for _ in range(16))}",
        lambda: f"nodes={num(1, 99)} cpus={num(1, 999)} gpu_hours={num(10**4, 10**6)} user_id={num(10**6, 10**9)}",
        lambda: f"build {num(1000, 9999)}-{num(1000, 9999)}-{num(1000, 9999)} of job #{num(10**9, 10**10)}",
    )
    return chance.choice(makers)()
