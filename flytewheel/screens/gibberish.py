"""Finds answers that are no language: mashed keys, random letters, signs, damaged encoding, bare base64.

Code, logs, commands, manifests and scripts other than Latin are language. A text with the small words of prose is never
called mashed; otherwise the judgement falls on its plain words alone (letters, four or more), by pairs of letters that
hardly occur in words of Latin-written languages (a table set by hand and corrected on the labelled texts of the tests,
not counted on a corpus: rare names and languages with other habits may look odd), by missing vowels, and by runs along
the rows of a keyboard. A text in which many words have letters beyond ASCII is no mash: fingers that run over keys do
not stop for accents.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

ODD_SHARE = 0.5  # of the plain words
LETTERED_SHARE = 0.3  # letters and digits among what can be seen
DAMAGED_SHARE = 0.01  # damaged characters among all
LONGEST_ROW = 40  # words that anybody mashes
LONG_WORD = 11  # letters from which a word may be several joined, with odd pairs at the joints
ACCENTED = 4  # one word of so many with a letter beyond ASCII
LONGEST_DUMP = 64  # characters without a space that may be a digest or a key

# Words that stand in nearly every sentence of prose; two kinds of them and a short text is language.
_COMMON = (
    "the a an and or of to in is it for on that this with as at by be not are from if you your then can was has have "
    "der die das und ist nicht ein eine zu mit auf für den von le la les et est un une des du que pour pas dans el los "
    "las es en por para con no se del una il di che per non lo o os as do da em um uma de het een van niet op met "
    "i w na "
    "z jest się nie att det som en bir ve bu için"
)
PROSE = 3  # kinds of them in any prose
COMMON = frozenset(_COMMON.split())
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "yxcvbnm", "azertyuiop", "qsdfghjklm", "wxcvbn")
_RUNS = frozenset(
    row[place : place + 4] for line in _ROWS for row in (line, line[::-1]) for place in range(len(row) - 3)
) - {"were", "erty", "wert"}  # "were", "property", "Wert"
# For each first letter, those that hardly ever follow it; set by hand, see above.
_RARE = {
    "b": "fgkpqvxz",
    "c": "bfgjvwx",
    "d": "xz",
    "f": "bdghjkmpqvwxz",
    "g": "bcfjkpqvxz",
    "h": "bcfgjkpqvxz",
    "j": "bcdfghlmnpqrstvwxyz",
    "k": "cdfgjqvxz",
    "l": "jqrwxz",
    "m": "dghjkqrvwxz",
    "n": "x",
    "p": "bdfgjkqvwxz",
    "q": "bcdefghjklmnopqrstvwxyz",
    "r": "jqx",
    "s": "dgjrvxz",
    "t": "bdgjkpqvx",
    "v": "bcdfghjkmnpqstvwxz",
    "w": "bcfgjkmpquvxz",
    "x": "bdghjklmnqrsvwxz",
    "y": "hjqvyx",
    "z": "bcdfghjkmnpqrstvwx",
    "u": "jquw",
    "i": "jqwy",
    "o": "jq",
    "e": "jq",
    "a": "jq",
}
_RARE_PAIRS = frozenset(first + second for first, seconds in _RARE.items() for second in seconds)
# Names without vowels or with odd pairs that operators write in a row.
_KNOWN_WORDS = (
    "zstd gzip bzip zlib snmp smtp imap nfs ntfs "
    "nginx mysql psql pgsql grpc btrfs mdadm xfsprogs sqlx kvm ldconfig lsblk lspci lscpu dmesg sysctl "
    "systemctl systemd "
    "journalctl kubectl kubelet cgroup cgroups crictl ctrl dpkg rsync vxlan vlan wget xargs zsh tmux pwsh "
    "https html "
    "xhtml mkdir chmod chown fstab grep egrep zgrep pgrep pkill mkfs cfdisk vmstat iostat nfsstat strace "
    "ltrace ssh sshd "
    "openssl libvirt qemu kvmtool ffmpeg npm pnpm nvm jvm jdbc jwks oidc ldap kdc krb5 mtls xml yml jsx tsx "
    "css scss "
    "tcpdump iptables nftables traefik haproxy rabbitmq zfs zpool lvm vgs pvs lvs xfs dhcp dhcpd dns bgp "
    "ospf vrrp mpls"
)
_KNOWN = frozenset(_KNOWN_WORDS.split())
_VOWELS = frozenset("aeiouyäöüåæøáéíóúàèìòùâêîôûãõëïıąęó")
_PLAIN = re.compile(r"(?<![\w./:@$#%&={}<>\[\]\\-])[^\W\d_]{4,}(?![\w/:@={}<>\[\]\\]|[.-]\w)")
_THREES = frozenset(
    row[place : place + 3] for line in _ROWS for row in (line, line[::-1]) for place in range(len(row) - 2)
) - {"wer", "tre", "ere", "was", "are", "rew", "poi", "try", "yui", "ert"}
_HELD = re.compile(r"\W*([^\W\d_])\1{11,}\W*")
_CYRILLIC_RUN = re.compile("фыва|ывап|ждло|олдж|лджэ|йцук|цуке|ячсм|чсми|митьб|тьбю|нгшщ|гшщз|шщзх|авыф|кецу|уцй")
_SPACES = re.compile(r"\s+")
_DAMAGE = re.compile(
    "\ufffd|ï¿½|â€[\x80-\xbf™œž˜¢“”¦º]?|Ã[\x80-\xbf€ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ¡-¿]|Â[\xa0-\xbf]|Ð[\x80-\xbf°-¿]|"
    "Ñ[\x80-\xbf€-™]|å[\xa4-\xbf][\x80-\xbf]|[\x80-\x9f]"
)
# One of these begins whatever `_DAMAGE` finds.
_DAMAGE_BEGINS = ("\ufffd", *"ïâÃÂÐÑå", *map(chr, range(0x80, 0xA0)))
_CLASS = re.compile(r"\[[^\]]*\w-\w[^\]]*\]|\(\?[:=!<]")  # of a regular expression
_RULER = re.compile(r"^[ \t]*([-=*_#~+.])\1{2,}[ \t]*$", re.MULTILINE)
_DUMP = re.compile(r"[A-Za-z0-9+/=_-]{40,}")
_HEX = re.compile(r"[0-9a-fA-F]+")
_LATIN_WORD = re.compile(r"[A-Za-z\xc0-\u024f]{4}")
_LATIN = re.compile(r"[a-zà-öø-ÿāăąćčďđēęěğģīįıķļłńňņőœřśşšťūůűųźżž]+")


def is_gibberish(text: str) -> bool:
    """Whether a text is no language; see the module's text."""
    if is_damaged(text):
        return True
    words = text.lower().split()
    common = len(COMMON.intersection(words))
    # A mash of 300 words meets `a` and `do` by chance, prose of 300 words has dozens of them.
    if common >= PROSE or (common == 2 and len(words) <= 40):
        return False
    return _is_mash(text) or _is_row(text, words) or _is_signs(text) or _is_dump(text, len(words))


def is_damaged(text: str) -> bool:
    """Whether a text's encoding is."""
    if text.isascii() or not any(map(text.__contains__, _DAMAGE_BEGINS)):
        return False
    damaged = sum(len(found) for found in _DAMAGE.findall(text))
    return damaged >= 3 and damaged >= DAMAGED_SHARE * len(text)


def _is_mash(text: str) -> bool:
    if not _LATIN_WORD.search(text):
        return False
    plain = [word for word in _PLAIN.findall(text) if not word.isupper() and _LATIN.fullmatch(word.lower())]
    if not text.isascii() and sum(not word.isascii() for word in plain) * ACCENTED >= len(plain):
        return False
    plain = [word for word in plain if word.lower() not in _KNOWN]
    letters = sum(map(len, plain))
    if letters < 8 or letters < 0.4 * len(_SPACES.sub("", text)):
        return False
    odd = sum(len(word) for word in plain if _is_odd(word.lower()))
    return odd >= ODD_SHARE * letters and (len(plain) > 1 or letters >= 12)


def _is_row(text: str, words: Sequence[str]) -> bool:
    """One key held down, threes of neighbouring keys in turns, or runs along the rows of a Cyrillic keyboard."""
    if _HELD.fullmatch(text):
        return True
    if len(words) >= 4 and sum(word in _THREES for word in words) >= 0.6 * len(words):
        return True
    if text.isascii():
        return False
    rows = sum(_CYRILLIC_RUN.search(word) is not None for word in words[:LONGEST_ROW])
    return rows >= 0.4 * len(words) and rows > 0 and len(words) <= LONGEST_ROW


@lru_cache(maxsize=1 << 14)  # prose without small words is made of few words
def _is_odd(word: str) -> bool:
    if any(word[place : place + 4] in _RUNS for place in range(len(word) - 3)):
        return True
    rare = sum(word[place : place + 2] in _RARE_PAIRS for place in range(len(word) - 1))
    vowels = sum(letter in _VOWELS for letter in word)
    longest = max((len(run) for run in re.split("[aeiouyäöüáéíóúàèìòùâêîôûãõëïıąę]", word)), default=0)
    return (
        rare >= (2 if len(word) < LONG_WORD else 3)
        or rare >= len(word) / 5
        or (not vowels and len(word) >= 5)
        or longest >= (6 if len(word) < LONG_WORD else 10)
    )


def _is_signs(text: str) -> bool:
    if sum(map(str.isalnum, text)) >= LETTERED_SHARE * len(text):
        return False  # what is taken out below has no letters
    seen = _SPACES.sub("", _RULER.sub("", text))
    if (
        len(seen) < 16
        or sum(map(str.isalnum, seen)) >= LETTERED_SHARE * len(seen)
        or "\\" in seen
        or "|" in seen
        or _CLASS.search(seen)
    ):
        return False
    return sum(letter.isalnum() or ord(letter) > 0x2000 for letter in seen) < LETTERED_SHARE * len(seen)


def _is_dump(text: str, words: int) -> bool:
    dumped = sum(len(run) for run in _DUMP.findall(text) if not _HEX.fullmatch(run) and _is_random(run))
    return dumped >= LONGEST_DUMP and dumped >= 0.9 * len(_SPACES.sub("", text)) and words <= 2 + text.count("\n")


def _is_random(run: str) -> bool:
    """Whether a run of base64 letters looks drawn: capitals, small letters and digits in turns, no path of words."""
    kinds = [(letter.isupper(), letter.isdigit()) for letter in run]
    turns = sum(one != other for one, other in pairwise(kinds))
    return turns >= 0.25 * len(run)
