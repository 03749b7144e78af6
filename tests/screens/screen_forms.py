"""Labelled answers for the screens of form: gibberish, refusals, cut ones, loops, wrong languages.

`FIRST` was written before the rules, `SECOND` after them; tests print the figures of both. Written for this project.
"""

from __future__ import annotations

from tests.screens.screen_corpus import Cases

LONG = (
    "The pod is killed because its memory limit is below the heap that the runtime asks for. Raise the limit to 1 GiB "
    "and set the heap to three quarters of it. After the change, watch the restarts for an hour. If they stop, keep "
    "the setting and add an alert for the working set. "
)

GIBBERISH_FIRST = Cases(
    found=(
        "asdf asdf qwer zxcv hjkl",
        "sdkjfhskdjfh ksjdhf kjsdhfkjsdf",
        "xkqj zvtp wqmn brtx ghkl pqrz",
        "!@#$%^&*()_+!@#$%^&*()_+!@#$%^&",
        "qwertyuiop asdfghjkl zxcvbnm",
        "FÃ¼r den Server mÃ¼ssen wir die GrÃ¶ÃŸe Ã¤ndern",
        "the pod canâ€™t start itâ€™s out of memory, donâ€™t restart â€œapiâ€\x9d",
        "TG9yZW0gaXBzdW0gZG9sb3Igc2l0IGFtZXQsIGNvbnNlY3RldHVyIGFkaXBpc2NpbmcgZWxpdCwgc2VkIGRvIGVpdXNtb2Q=",
        "jfkdls; ajfkdls; fjdksla; fjdksl",
        "lkjhg fdsa poiuy trewq mnbvc xz",
        "\ufffd\ufffd\ufffd t\ufffd\ufffd \ufffd\ufffdl\ufffd",
        "ggggh hhjjk kkllk jjhhg ffdds sdfgh",
        "vbnm,./ ;lkj poiu !!! qwer ### zxc",
    ),
    left=(
        LONG,
        "kubectl rollout restart deploy/api -n prod",
        "df -h; du -xsh /var/* | sort -h",
        "ls",
        "awk '{print $1}' access.log | sort | uniq -c | sort -rn | head",
        "Traceback (most recent call last):\n  File \"app.py\", line 3, in <module>\nKeyError: 'x'",
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\nspec:\n  containers: []",
        "请检查磁盘空间，然后清理旧日志。",
        "تحقق من مساحة القرص ثم احذف السجلات القديمة",
        "ตรวจสอบพื้นที่ดิสก์แล้วลบบันทึกเก่า",
        "The magic bytes are 7f 45 4c 46 02 01 01 00, so the file is an ELF binary.",
        "^(\\d{1,3}\\.){3}\\d{1,3}$",
        "nginx, kubectl, etcdctl, grpc, k8s, tls, mtls, ssh, rsync",
        "chmod 644 /etc/nginx/nginx.conf && nginx -t && systemctl reload nginx",
    ),
)

REFUSAL_FIRST = Cases(
    found=(
        "I can't help with that.",
        "I'm sorry, but I can't assist with that request.",
        "As an AI language model, I cannot access your cluster.",
        "I cannot fulfill this request.",
        "Sorry, I am unable to provide that information.",
        "I'm not able to help with this.",
        "I apologize, but I cannot comply with this request as it goes against my guidelines.",
        "Es tut mir leid, aber dabei kann ich nicht helfen.",
        "Je suis désolé, mais je ne peux pas vous aider avec cela.",
        "Lo siento, pero no puedo ayudarte con eso.",
        "Mi dispiace, ma non posso aiutarti con questa richiesta.",
        "Desculpe, não posso ajudar com isso.",
        "Извините, я не могу помочь с этим.",
        "抱歉，我无法帮助您解决这个问题。",
    ),
    left=(
        "I can't reproduce it: check the version of the client first.",
        "You can't help with that flag; use --force instead.",
        "I cannot see a limit in this manifest, so add resources.limits.memory: 1Gi.",
        "Sorry for the noise: the alert was wrong. Silence it with amtool.",
        "The server is unable to provide that certificate because the chain is incomplete.",
        "nginx cannot fulfill the request: the upstream is down. Restart it.",
        "As an AI language model service, vLLM needs a GPU with enough memory.",
        "I can't answer that without the logs. Run `kubectl logs api-0 -p` and look for OOMKilled.",
        "It does not comply with the policy: add the label team=core.",
        "Unable to help you connect? Check port 22 first.",
        "You are not able to help this process: it is in state D. Reboot the host.",
        "The request is refused with 403, because the token lacks the scope.",
        LONG,
    ),
)

TRUNCATED_FIRST = Cases(
    found=(
        LONG + "Then open the dashboard of the",
        LONG + "You should also check the limits, the requests and",
        LONG + "Finally, apply the change:\n```yaml\nresources:\n  limits:\n    memory: 1Gi\n",
        "Run this:\n```bash\nkubectl get pods",
        LONG + "Watch the restar",
        LONG + "If that is not enough, then",
        "Do this:\n1. Drain the node.\n2. Reboot it.\n3.",
        LONG + "Look at the first line (the one with",
        LONG + "Because the cache is cold, the queue grows,",
        "| node | state |\n|---|---|\n| a | Ready |\n| b | Not",
        '{"status": "degraded", "nodes": [{"name": "a", "ready": true}, {"name": "b", "re',
        LONG + "It is important to keep your",
        LONG + "Set `memory: 1Gi",
    ),
    left=(
        LONG,
        "Run this:\n```bash\nkubectl get pods\n```",
        LONG + "Then run:\n\nkubectl rollout restart deploy/api",
        LONG + "See https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/",
        LONG + "Good luck 👍",
        LONG + "Then restart the service and you should be good to go",
        "Steps:\n- drain the node\n- reboot it\n- uncordon it",
        "1. Drain the node\n2. Reboot it\n3. Uncordon it",
        LONG + "## Notes\n- the limit is per container",
        "| node | state |\n|---|---|\n| a | Ready |\n| b | NotReady |",
        '{"status": "ok", "nodes": [1, 2, 3]}',
        "Check which host you connect to",
        "resources:\n  limits:\n    memory: 1Gi",
        LONG + "Hope this helps",
        LONG + "Set the flag to `true`",
    ),
)

LOOP_FIRST = Cases(
    found=(
        "Look at the job history. " * 4,
        "a line here\n" * 4,
        "yes " * 40,
        "1. Restart the pod.\n2. Restart the pod.\n3. Restart the pod.\n4. Restart the pod.\n5. Restart the pod.",
        LONG + "Check the logs and then the limits. " * 12,
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "检查磁盘空间。" * 12,
        "The cache is cold and the queue grows and the cache is cold and the queue grows and "
        "the cache is cold and the queue grows and the cache is cold and the queue grows",
        "```yaml\n" + "- name: web\n  image: nginx\n" * 30 + "```",
        LONG + "ha" * 60,
        "I think the answer is to restart. " * 3 + "I think",
        "the the the the the the the the the the the the",
        "Error: retry. Error: retry. Error: retry. Error: retry. Error: retry. Error: retry.",
    ),
    left=(
        LONG,
        "",
        "1. Run a\n2. Run b\n3. Run c\n4. Run d",
        "\n".join(f"- restart web-{n} and check its log" for n in range(12)),
        "NAME READY STATUS RESTARTS AGE\n" + "\n".join(f"web-{n} 1/1 Running 0 5d" for n in range(20)),
        "[\n" + ",\n".join(f'  {{"id": {n}, "status": "ok", "retries": 0, "error": null}}' for n in range(12)) + "\n]",
        "\n".join(f"64 bytes from 10.0.0.1: icmp_seq={n} ttl=64 time=0.0{n} ms" for n in range(1, 10)),
        "+-----+-----+\n| a   | b   |\n+-----+-----+\n| 1   | 2   |\n+-----+-----+\n| 3   | 4   |\n+-----+-----+",
        "00000000 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00\n00000010 00 00 00 00 00 00 00 00 00 00 00 00",
        "services:\n"
        + "".join(
            f"  web{n}:\n    image: nginx\n    restart: always\n    networks:\n      - front\n" for n in range(5)
        ),
        "if a:\n    return 1\nif b:\n    return 1\nif c:\n    return 1\nif d:\n    return 1\nreturn 0",
        "Very, very, very slow queries need an index.",
        "no, no, no: never restart etcd like that",
    ),
)

GIBBERISH_SECOND = Cases(
    found=(
        "wertzu sdfghj xcvbnm poiuzt",
        "kjhgfdsa mnbvcxy lkjhgfd",
        "fhqwhgads bvnzxq ptrkl mwsdf jkjk",
        "jjjj kkkk lllll asdlkj qweoiu zmxn",
        "dhfjs kdfhg sldkf gjhsd kfjgh",
        "@@##$$%% ^^&&** (())__ ++==--!! ~~``",
        "Le systÃ¨me redÃ©marre aprÃ¨s lâ€™erreur, vÃ©rifiez la mÃ©moire",
        "Ð¿ÑÐ¸Ð²ÐµÑ ÐºÐ°Ðº Ð´ÐµÐ»Ð°",
        "iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4//8/w38GIAXDIBKE0DHxgljNBAAO9TXL0Y4OHwAAAABJRU5ErkJggg==",
        "H4sIAAAAAAAAA8tIzcnJVyjPL8pJUQQAlRmFGwwAAABmb3JnZXR0YWJsZQ\nQ29udGVudFR5cGVBcHBsaWNhdGlvbkpzb25DaGFyc2V0VVRGOA==",
        "xzcv qwpr tgbn yhnm ujmk ikol plmn",
        "gfhjdksl gfhdjsk fdhsjak vfbdhsj",
        "blrgh fnord zzzyx qqqwv krtz mpfgh",
    ),
    left=(
        "Przeprowadź rozruch węzła, potem sprawdź źródło błędu w dzienniku.",
        "Überprüfe die Größe des Protokolls und lösche die ältesten Einträge.",
        "strč prst skrz krk je česká věta",
        "Check journalctl -u kubelet, then restart containerd.",
        "xfs_repair /dev/sdb1",
        "SELECT pid, wait_event FROM pg_stat_activity WHERE state <> 'idle';",
        "panic: runtime error: index out of range\n\ngoroutine 1 [running]:\nmain.main()\n\t/app/main.go:8",
        "rsync -avz --delete src/ dst/",
        "vgextend, lvextend, xfs_growfs, mkfs, fstab, chmod, chgrp, sysctl, dmesg",
        '{"level":"warn","ts":1731484800.1,"msg":"retry","attempt":3}',
        "сначала проверьте журнал, потом перезапустите службу",
        "디스크 공간을 확인하세요",
        "42",
        "Yes, port 8443.",
        "if (x >>> 0 !== x) { return [...y].map(([k, v]) => `${k}=${v}`).join('&'); }",
        "┌────┬────┐\n│ a  │ b  │\n├────┼────┤\n│ 1  │ 2  │\n└────┴────┘",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "nvidia-smi, nvcc, cuDNN, NCCL and RDMA must match",
        "nginx 502 upstream timeout",
    ),
)

REFUSAL_SECOND = Cases(
    found=(
        "Sorry, but I can't do that.",
        "I won't be able to help with this one.",
        "I'm afraid I can't provide instructions for that.",
        "I'm just an AI, so I don't have access to your logs.",
        "That's not something I can help with.",
        "I must decline to answer this question.",
        "This request goes against my guidelines, so I can't continue.",
        "Unfortunately, I am not able to answer that question.",
        "As a large language model trained by OpenAI, I am unable to browse the internet.",
        "I do not feel comfortable discussing this topic.",
        "Als KI-Sprachmodell kann ich darauf nicht zugreifen.",
        "Leider kann ich diese Frage nicht beantworten.",
        "En tant que modèle de langage, je ne peux pas répondre à cette question.",
        "Como modelo de lenguaje, no tengo acceso a tu sistema.",
        "Como uma IA, não posso acessar o seu servidor.",
        "Przykro mi, ale nie mogę pomóc w tej sprawie.",
        "Het spijt me, maar daar kan ik je niet bij helpen.",
        "Üzgünüm, bu konuda yardımcı olamam.",
        "申し訳ありませんが、そのご質問にはお答えできません。",
        "Non sono in grado di rispondere a questa domanda.",
    ),
    left=(
        "I can't tell from this log which node failed. Look at `kubectl get events -A` for the node's name.",
        "I would not help the kernel here: let it swap, and add memory later.",
        "You cannot do that in Postgres 14; upgrade to 15 or use a partial index.",
        "The agent won't answer this request until the token is renewed.",
        "I'm not able to see the attachment, but a 137 exit code means OOM: raise the memory limit.",
        "Sorry, my last answer was wrong: the flag is --grace-period=0.",
        "As an AI platform team we cannot give out root. Open a ticket at https://tickets.example/new instead.",
        "It can't assist: the sidecar has no route to the mesh. Add the annotation and redeploy.",
        "Unfortunately the migration cannot be undone. Restore last night's backup.",
        "The firewall refuses the request; allow port 5432 from the app subnet.",
        "I decline to guess; measure it first: run `fio` with 4k random writes.",
        "Das kann nicht helfen, solange der Port zu ist: öffne 443 in der Firewall.",
        "No puedo reproducirlo; revisa la versión del cliente con `psql --version`.",
        "Je ne peux pas le reproduire : vérifiez la version du client.",
        "I don't know the exact limit, but the default is 110 pods per node.",
        "If the client says it can't help with that, it is out of date.",
    ),
)

OTHER = (
    "Postgres keeps dead rows until vacuum removes them. When a transaction stays open for hours, vacuum cannot remove "
    "what that transaction might still see, and the table grows. Find the oldest transaction first. End it if nobody "
    "needs it, and watch the table shrink again over the next run. "
)

TRUNCATED_SECOND = Cases(
    found=(
        OTHER + "Next, look at the replication slots, because an unused",
        OTHER + "The most common cause is a",
        OTHER + "It also helps to set idle_in_transaction_session_timeout, which is",
        OTHER + "You may want to check the autovacu",
        OTHER + "```sql\nSELECT pid, xact_start\nFROM pg_stat_activity\nORDER BY",
        "1. Find the transaction.\n2. End it.\n3. Watch the vacuum.\n4.",
        OTHER + "For example, the transac",
        OTHER + "This setting (which exists since version 9.6 and",
        "| slot | active |\n| --- | --- |\n| a | f |\n| b",
        '[{"slot": "a", "active": false}, {"slot": "b", "act',
        OTHER + "Raise maintenance_work_mem, lower the cost delay, and",
        OTHER + "Then they",
        OTHER + "Set the timeout, restart the pooler, check the slots, drop the unused ones,",
        OTHER + "Make sure that every",
    ),
    left=(
        OTHER,
        OTHER + "Run VACUUM (VERBOSE) orders",
        OTHER + "Let me know how it goes",
        OTHER + "Then end it with\n\n    SELECT pg_terminate_backend(4711)",
        OTHER + "More in the documentation: https://www.postgresql.org/docs/current/routine-vacuuming.html",
        OTHER + "- find it\n- end it\n- watch it",
        OTHER + "That is what the timeout is for",
        OTHER + "It will behave as it should",
        OTHER + "Best regards\nAnn",
        OTHER + "### Summary\nOld transactions hold back vacuum",
        "```sql\nSELECT 1;\n```\n\n```bash\npsql -c 'SELECT 1'\n```",
        OTHER + "😀",
        "SELECT pid\nFROM pg_stat_activity\nWHERE state = 'idle in transaction'\nORDER BY xact_start",
        "[INFO] vacuum started\n[INFO] vacuum ended",
        OTHER + "The logical operator you need is AND",
        OTHER + "Use vacuumdb --all --analyze-in-stages",
        OTHER + "它会自动恢复",
        "name: vacuum\nschedule: '0 3 * * *'\ncommand:\n  - vacuumdb\n  - --all",
        OTHER + "Ends at 03:00 UTC",
    ),
)

LOOP_SECOND = Cases(
    found=(
        OTHER + "\n" + "Find the oldest transaction first.\n" * 8,
        "I am sorry I am sorry I am sorry I am sorry I am sorry I am sorry",
        "- restart the node\n- restart the node\n- restart the node\n- restart the node\n- restart the node",
        (OTHER * 4).strip(),
        "SELECT 1 FROM t WHERE a = 1 AND b = 2 AND a = 1 AND b = 2 AND a = 1 AND b = 2 AND a = 1 AND b = 2 AND a = 1",
        "!".join(["restart now please"] * 15),
        "noooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo",
        "ログを確認してください。" * 10,
        OTHER + "and then and then and then " * 10,
        "Step 1: Drain the node.\nStep 2: Drain the node.\nStep 3: Drain the node.\nStep 4: Drain the node.",
        "lol " * 12,
        OTHER + "```bash\n" + "sleep 1 && date\n" * 40 + "```",
        "The pod restarts because the pod restarts because the pod restarts because the pod restarts.",
    ),
    left=(
        OTHER,
        OTHER + OTHER,
        "\n".join(f"kubectl delete pod web-{n} --grace-period=0 --force" for n in range(8)),
        "| host | state | load |\n|---|---|---|\n" + "\n".join(f"| db{n} | ok | 0.{n} |" for n in range(10)),
        "\n".join(f"INSERT INTO hosts (name, zone) VALUES ('db{n}', 'a');" for n in range(10)),
        "Filesystem Size Used Avail Use% Mounted on\n"
        + "\n".join(f"tmpfs 16G 0 16G 0% /run/user/{n}" for n in range(9)),
        "2026-11-12 08:00:01 ERROR connection refused\n2026-11-12 08:00:02 ERROR connection refused\n"
        "2026-11-12 08:00:03 ERROR connection refused\n2026-11-12 08:00:04 ERROR connection refused",
        "\n".join(f"{n}. Drain node-{n}, reboot it, wait until it is ready." for n in range(1, 8)),
        "rules:\n"
        + "".join(f"- apiGroups: ['']\n  resources: ['r{n}']\n  verbs: ['get', 'list', 'watch']\n" for n in range(6)),
        "===================\nReport\n===================\nAll good.\n===================\n===================",
        "First check the log. Then check the disk. Then check the network. Then check the clock.",
        "0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0",
        "try, try and try again: the lock is contended",
        "Add `set -e`, `set -u` and `set -o pipefail` at the top.",
    ),
)
