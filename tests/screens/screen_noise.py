"""Gibberish and loops with their near misses, made up before the rules were fitted to them."""

from __future__ import annotations

from tests.screens.screen_corpus import Cases

GIBBERISH_THIRD = Cases(
    found=(
        "lkajsdf lkjasdf poiqwer zxmcvn",
        "dfghdfgh dfghdfgh fghjfghj",
        "sdfsdf wefwef sdfsdf",
        "qazwsx edcrfv tgbyhn",
        "jfjfjfjf dkdkdkdk slslsls",
        "zxczxczxc asdasdasd qweqweqwe",
        "xvbnx lkwjq zzrtp mnbqx pqrst",
        "kkkkkkkkkkkkkkkkkkkkk",
        "mmmmmmm nnnnnnn bbbbbbb vvvvvvv",
        "??!!??!!??!!??!!??!!",
        "$$$$ %%%% ^^^^ &&&& **** ((((",
        "hvghv jhgjhg kjhkjh jhgfjhgf uytuyt",
        "rtyrty fghfgh vbnvbn",
        "qwe rty uio asd fgh jkl zxc vbn",
        "sjdhf ksjdhf kjsdhf kjsdhf skdjfh ksjdfh",
        "tgyhuj rdcfvg bhnjmk wsedrf",
        "йцукен фывапр ячсмит",
        "щшгнек уцй лорп авыф",
        "Ð¡ÐµÑ€Ð²ÐµÑ€ Ð½Ðµ Ð¾Ñ‚Ð²ÐµÑ‡Ð°ÐµÑ‚ Ð½Ð° Ð·Ð°Ð¿Ñ€Ð¾Ñ",
        "Ã¤Ã¶Ã¼ÃŸ Ã©Ã¨Ãª Ã±",
        "���l�� w��ld",
        "vjkwq bxzpm ghtrk ljdfn cvbws qqpzx",
        "dlkfgj ldkfjg dlfkgj dflkgj dlfkjg ldfkgj",
        "nmjkl hgfdc vbtyu qazxc",
        "xX9k2 pQ7zv mN3wb kL8jd hG5fs",
        "pppppp oooooo iiiiii uuuuuu",
        "wertz uiopü asdfg hjklö",
        "gfdsa rewq vcxz trewq",
        "ijwefoijwef oiwjefoi jweofij woeifj",
        "bvcbvc nmbnmb cvxcvx",
    ),
    left=(
        "kubectl get po,svc,ing -A -o wide",
        "ssh -L 5432:db:5432 bastion",
        "pkg-config --cflags --libs libssl",
        "EADDRINUSE 0.0.0.0:8080",
        "vmstat iostat sar mpstat pidstat",
        "curl jq yq fzf rg fd bat htop",
        "bzip2 xz zstd lz4 gzip",
        "CrashLoopBackOff ImagePullBackOff OOMKilled",
        "pthread_mutex_lock strncpy memcpy snprintf",
        "xyz.example.com CNAME abc.example.net",
        "fe80::1ff:fe23:4567:890a",
        "d41d8cd98f00b204e9800998ecf8427e",
        "550e8400-e29b-41d4-a716-446655440000",
        "Krkonoše čtvrtek smršť vlk zmrzl",
        "Przepraszam, źle zrozumiałem pytanie",
        "Gżegżółka, ślimak, dżdżownica",
        "Verkehrssicherungspflicht, Haftpflichtversicherung",
        "Angstschweiß, Strumpfhose, Kopfschmerzen",
        "slechtstschrijvend, angstschreeuw",
        "Hrvatska vlk krv prst trg smrt",
        "Eyjafjallajökull gýs aftur",
        "Llanfairpwllgwyngyll",
        "Kiểm tra nhật ký rồi khởi động lại",
        "Tarkista lokit ja käynnistä palvelu uudelleen",
        "Ellenőrizd a naplót és indítsd újra",
        "Kontrollera loggarna och starta om tjänsten",
        "Günlükleri kontrol edin ve hizmeti yeniden başlatın",
        "ログを確認してから再起動してください",
        "检查日志然后重启",
        "로그를 확인하고 다시 시작하세요",
        "تحقق من السجلات ثم أعد التشغيل",
        "ตรวจสอบบันทึกแล้วเริ่มใหม่",
        "Проверьте журналы и перезапустите",
        "בדוק את היומנים והפעל מחדש",
        "s/^[ \\t]*//;s/[ \\t]*$//",
        "(?P<year>\\d{4})-(?P<month>\\d{2})",
        "4 8 15 16 23 42",
        "thx np brb wfh ooo eod",
        "MX TXT SRV PTR NS SOA records",
        "Mr. Schwarz, Mrs. Nguyen, Dr. Hrbek",
    ),
)

LOOP_THIRD = Cases(
    found=(
        (
            "Check the firewall. Check the firewall. Check the firewall. Check the firewall. Check the "
            "firewall. Check the firewall. Check the firewall. Check the firewall. "
        ),
        "is is is is is is is is is is is is is is",
        (
            "you need to restart you need to restart you need to restart you need to restart you need to "
            "restart you need to restart"
        ),
        "Yes. Yes. Yes. Yes. Yes. Yes. Yes. Yes. Yes. Yes. Yes. Yes. Yes. Yes.",
        (
            "- Restart nginx\n- Restart nginx\n- Restart nginx\n- Restart nginx\n- Restart nginx\n- Restart "
            "nginx\n- Restart nginx\n- Restart nginx\n- Restart nginx\n"
        ),
        (
            "systemctl restart nginx\nsystemctl restart nginx\nsystemctl restart nginx\nsystemctl restart "
            "nginx\nsystemctl restart nginx\nsystemctl restart nginx"
        ),
        (
            "The disk is full. Delete the old logs. The disk is full. Delete the old logs. The disk is full. "
            "Delete the old logs. The disk is full. Delete the old logs. The disk is full. Delete the old "
            "logs. The disk is full. Delete the old logs. "
        ),
        "I don't know. I don't know. I don't know. I don't know. I don't know. I don't know. I don't know.",
        "lolololololololololololololololololololololololololololol",
        "xyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxyxy",
        (
            "because of the fact that because of the fact that because of the fact that because of the fact "
            "that because of the fact that"
        ),
        (
            "Open the console.\nOpen the console.\nOpen the console.\nOpen the console.\nOpen the console.\n"
            "Open the console."
        ),
        (
            "To scale, edit the file. Then save it and apply it again. Then save it and apply it again. Then "
            "save it and apply it again. Then save it and apply it again. Then save it and apply it again. "
            "Then save it and apply it again. Then save it and apply it again. Then save it and apply it "
            "again. "
        ),
        "node node node node node node node node node node node node node node",
        "thank you thank you thank you thank you thank you thank you thank you thank you thank you",
        (
            "Bitte warten. Bitte warten. Bitte warten. Bitte warten. Bitte warten. Bitte warten. Bitte "
            "warten. Bitte warten. Bitte warten. Bitte warten. "
        ),
        (
            "Vérifiez les journaux. Vérifiez les journaux. Vérifiez les journaux. Vérifiez les journaux. "
            "Vérifiez les journaux. Vérifiez les journaux. Vérifiez les journaux. Vérifiez les journaux. "
        ),
        "reinicia el pod y reinicia el pod y reinicia el pod y reinicia el pod y reinicia el pod",
        "проверьте журнал проверьте журнал проверьте журнал проверьте журнал проверьте журнал проверьте журнал",
        "请重启请重启请重启请重启请重启请重启请重启请重启请重启请重启",
        "再起動してください。再起動してください。再起動してください。再起動してください。再起動してください。再起"
        "動してください。再起動してください。再起動してください。",
        "다시 시작하세요. 다시 시작하세요. 다시 시작하세요. 다시 시작하세요. 다시 시작하세요. 다시 시작하세요. "
        "다시 시작하세요. 다시 시작하세요. 다시 시작하세요. ",
        "أعد التشغيل ثم أعد التشغيل ثم أعد التشغيل ثم أعد التشغيل ثم أعد التشغيل ثم أعد التشغيل ثم",
        (
            "Step 1: Open it. Step 2: Open it. Step 3: Open it. Step 4: Open it. Step 5: Open it. Step 6: "
            "Open it. Step 7: Open it."
        ),
        "a b c d a b c d a b c d a b c d a b c d a b c d a b c d",
        (
            "The limit is 2. The limit is 3. The limit is 2. The limit is 3. The limit is 2. The limit is 3. "
            "The limit is 2. The limit is 3."
        ),
        (
            "print(1)\nprint(1)\nprint(1)\nprint(1)\nprint(1)\nprint(1)\nprint(1)\nprint(1)\nprint(1)\n"
            "print(1)\nprint(1)\nprint(1)\nprint(1)\nprint(1)\nprint(1)\n"
        ),
        "wait wait wait wait wait wait wait wait wait wait wait wait",
        (
            "The service failed because the service failed because the service failed because the service "
            "failed because the service failed"
        ),
        "Note: back up first. Note: back up first. Note: back up first. Note: back up first. Note: back up first.",
    ),
    left=(
        "drain node-1\ndrain node-2\ndrain node-3\ndrain node-4\ndrain node-5",
        "GET /healthz 200\nGET /healthz 200\nGET /healthz 200\nGET /api 500\nThe last request failed.",
        "a, b, c and d; then e, f, g and h",
        "1111 2222 3333 4444 is a test card",
        "**********\n* NOTICE *\n**********\nMaintenance on Sunday.",
        "Very, very slow: add an index.",
        "check, check, and check again before you delete",
        "Yes, yes and yes.",
        "- cpu: 1\n- cpu: 2\n- cpu: 4\n- cpu: 8",
        "Try 1, try 2, try 3, then alert.",
        "0x00 0x00 0x00 0x01 is the header",
        "The log says: retry retry retry retry, then fatal. Raise the timeout.",
        "apt update && apt upgrade -y && apt autoremove -y",
        "CREATE TABLE a (id int); CREATE TABLE b (id int); CREATE TABLE c (id int);",
        "web-1 Ready\nweb-2 Ready\nweb-3 Ready\nweb-4 NotReady",
        "x x x o o o x o x is the board",
        "ha ha, good one: the DNS again",
        "If the pod fails, restart the pod; if the node fails, restart the node; if the zone fails, wait.",
        "region: eu\nzone: eu-1\nregion: us\nzone: us-1",
        "- [ ] stop\n- [ ] copy\n- [ ] start\n- [ ] verify",
        "10 GB for A, 10 GB for B, 10 GB for C, 40 GB for D",
        "ping -c 3 a; ping -c 3 b; ping -c 3 c",
        "Left, right, left, right is how the LEDs blink.",
        "Tora! Tora! Tora!",
        "the more the merrier, the fewer the faster",
        "Error 500, error 502, error 503 and error 504 are server errors.",
        '{"a": null, "b": null, "c": null, "d": null}',
        "kubectl scale deploy/a --replicas=0\nkubectl scale deploy/b --replicas=0\nkubectl scale deploy/c --replicas=0",
        "AAAA records point to IPv6 addresses.",
        "no, no. Use -n, not -N.",
        "line 1\nline 2\nline 3\nline 4",
        "one two three four five six seven eight nine ten",
        "false false true",
        "The first replica is up, the second replica is up, the third replica is down.",
        "erst stoppen, dann kopieren, dann starten",
        "重启一次，等一分钟，再重启一次。",
        "はい、はい、わかりました。",
        "da da, понятно, перезапустил",
        "%%%%%%%%%% 100 %",
        "From 10:00 to 11:00, from 11:00 to 12:00, from 12:00 to 13:00",
    ),
)
