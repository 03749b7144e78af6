"""Names of programs, by which a command is told in running prose, and words that end one.

Any name ending in `ctl` counts, and so does a path that is run. Names that are also words (`find`, `make`) count only
before a flag, a path or the like.
"""

from __future__ import annotations

import re

from flytewheel.evaluation.groundedness.wording import listed

STRONG = listed(
    "kubectl docker git helm terraform ansible ansible-playbook npm npx yarn pnpm pip pip3 pipx conda poetry pytest "
    "python python3 ruby cargo rustc javac mvn gradle dotnet curl wget ssh scp sftp rsync psql mysql mysqldump pg_dump "
    "pg_restore sqlite3 redis-cli mongosh aws gcloud gsutil kafka-topics podman nerdctl "
    "grep sed awk chmod chown chgrp sudo apt apt-get dpkg yum dnf pacman apk zypper tar gzip unzip nslookup "
    "traceroute openssl netstat iptables ufw ls cd rm mkdir rmdir cp mv df pkill killall lsof "
    "mount umount nano vim crontab useradd usermod passwd flytewheel pyflyte ollama ffmpeg jq "
    "ipconfig ifconfig netsh adb heroku vercel netlify supervisord supervisorctl "
    "gunicorn uvicorn alembic dbt spark-submit hdfs nmap tcpdump htop sysctl"
)
WEAK = listed(
    "find make cat go node java kill top sort service export echo source set head tail less more watch test time date "
    "host cut join split nice bash sh zsh exec env touch ln history screen tmux code open expr "
    "perl php ruby lua nice who which wc xargs tee diff patch nc telnet whois reboot shutdown systemd "
    "du dig ping vault rake bundle celery nomad consul artisan flutter composer rails airflow ss ps uv az brew"
)
VERBS = listed(
    "run runs execute use using try type enter invoke call with via issue launch start by führe führen ausführen nutze "
    "verwende starte starten tippe gib lance lancez lancer exécute exécutez exécuter utilisez tapez avec ejecuta "
    "ejecute ejecutar usa use lanza lance corre con mit per command befehl commande comando"
)
ENDS = listed(
    "and then to or on in if when which that is are was for with from as at by until before after but so the a an this "
    "will can should may instead because while once und dann oder um wenn auf mit aus der die das ist zum bei für nach "
    "vor ein eine einmal et puis pour ou si sur avec dans le la les un une est ensuite avant après y luego para o con "
    "en el los las es antes después entonces it you we they has have had do does not also of into via per"
)
ADVERBS = listed(
    "again first now once twice afterwards next manually immediately too also only yourself there here please daily "
    "hourly regularly directly erneut nochmals zuerst jetzt sofort bitte encore maintenant ensuite ahora primero "
    "command commands container containers image images repository repositories logs log output tool cli users "
    "aus"
)
_PATH = re.compile(r"(?:\.{1,2}/|~?/)[\w.-]+(?:/[\w.-]+)*")
_NAME = re.compile(r"\.{0,2}/?[a-z][\w.+-]*(?:/[\w.+-]+)*")
_STATEMENTS = listed("SELECT INSERT UPDATE DELETE CREATE DROP ALTER SHOW EXPLAIN VACUUM GRANT TRUNCATE")
_ASSIGNED = re.compile(r"[A-Z_][A-Z0-9_]*=\S*")


def is_strong(name: str) -> bool:
    """Whether a word is a program's name and hardly anything else."""
    return name in STRONG or (len(name) > 4 and name.endswith("ctl") and name.isascii() and name.islower())


def is_run_path(name: str) -> bool:
    """Whether a word is a path, as to a script."""
    return _PATH.fullmatch(name) is not None


def is_technical(token: str) -> bool:
    """Whether a token is an argument rather than a word of prose."""
    return token[:1] in "-<$@{\"'" or any(letter in "-_/=:<>$@{}|*~.0123456789" for letter in token)


def reads_as_command(text: str) -> bool:
    """Whether several tokens, set off as code, are a command or statement rather than a message or a phrase."""
    tokens = text.split()
    if len(tokens) < 2:
        return False
    if tokens[0] in _STATEMENTS or _ASSIGNED.fullmatch(tokens[0]):
        return True
    if not _NAME.fullmatch(tokens[0]):
        return False
    if is_strong(tokens[0]) or any(token.startswith("-") and len(token) > 1 for token in tokens[1:]):
        return True
    words = {token.strip(".,;:!?").lower() for token in tokens}
    return not words & _PROSE and not tokens[-1].endswith((".", "!", "?", ","))


_PROSE = listed(
    "the a an is are was were be has have not of and or der die das ist sind nicht und oder ein eine le la les un une "
    "est sont pas et el los las es no y una this that your you with failed error cannot"
)
