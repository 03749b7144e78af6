"""Labelled texts for the rule on languages, where the recipe asks for English; written for this project."""

from __future__ import annotations

from tests.screens.screen_corpus import Cases
from tests.screens.screen_forms import LONG, OTHER

LANGUAGE_FIRST = Cases(  # the recipe asks for English
    found=(
        "Der Pod wird beendet, weil sein Speicherlimit kleiner ist als der Heap der Laufzeit.",
        "Le pod est arrêté parce que sa limite de mémoire est inférieure au tas demandé.",
        "El pod se detiene porque su límite de memoria es menor que el montón solicitado.",
        "Il pod viene terminato perché il suo limite di memoria è inferiore allo heap richiesto.",
        "O pod é encerrado porque o seu limite de memória é menor do que o heap pedido.",
        "Под завершается, потому что его лимит памяти меньше запрошенной кучи.",
        "Pod jest zatrzymywany, ponieważ jego limit pamięci jest mniejszy niż żądana sterta.",
        "De pod wordt gestopt omdat zijn geheugenlimiet lager is dan de gevraagde heap.",
        "Pod durduruluyor çünkü bellek sınırı istenen yığından daha küçük ve yeniden başlıyor.",
        "请检查磁盘空间，然后清理旧日志，最后重新启动服务。",
        "ディスクの空き容量を確認してから、古いログを削除してください。",
        "디스크 공간을 확인한 다음 오래된 로그를 삭제하고 서비스를 다시 시작하세요.",
        "تحقق من مساحة القرص ثم احذف السجلات القديمة وأعد تشغيل الخدمة",
    ),
    left=(
        LONG,
        "kubectl rollout restart deploy/api -n prod && kubectl rollout status deploy/api -n prod",
        "Restart it",
        "ok",
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\nspec:\n  containers: []",
        "The message „Datei nicht gefunden“ means that the file does not exist.",
        "Use `SELECT nombre, apellido FROM usuarios WHERE activo` to list the active ones.",
        "Résumé parsing fails: the naïve decoder drops the accents, so set the charset to UTF-8.",
        "ERROR 2026-11-12 08:00:01 nginx upstream timed out (110: Connection timed out)",
        "import os\nfor name in os.listdir('/var/log'):\n    print(name)",
        "Server in São Paulo and Zürich: failover by DNS, TTL 60 seconds.",
        "sudo systemctl restart nginx",
        "The word 日志 means log, 磁盘 means disk.",
    ),
)

LANGUAGE_SECOND = Cases(
    found=(
        "Zuerst den Speicher prüfen, danach den Dienst neu starten und eine Stunde lang beobachten.",
        "Commencez par vérifier la mémoire, puis redémarrez le service et surveillez-le une heure.",
        "Primero revise la memoria, después reinicie el servicio y obsérvelo durante una hora.",
        "Prima controlla la memoria, poi riavvia il servizio e osservalo per un'ora intera.",
        "Primeiro verifique a memória, depois reinicie o serviço e observe-o durante uma hora.",
        "Сначала проверьте память, затем перезапустите службу и наблюдайте за ней один час.",
        "Najpierw sprawdź pamięć, potem uruchom ponownie usługę i obserwuj ją przez godzinę.",
        "Controleer eerst het geheugen, herstart daarna de dienst en houd hem een uur in de gaten.",
        "Önce belleği kontrol edin, sonra servisi yeniden başlatın ve bir saat boyunca izleyin.",
        "先检查内存，再重启服务，然后观察一个小时。",
        "まずメモリを確認し、サービスを再起動して一時間様子を見てください。",
        "Nejprve zkontrolujte paměť, potom restartujte službu a hodinu ji sledujte.",
        "Kontrollera minnet först, starta sedan om tjänsten och följ den under en timme.",
        "Πρώτα ελέγξτε τη μνήμη και μετά επανεκκινήστε την υπηρεσία για μία ώρα.",
        "Đầu tiên hãy kiểm tra bộ nhớ, sau đó khởi động lại dịch vụ và theo dõi trong một giờ.",
    ),
    left=(
        OTHER,
        "Check memory first, restart the service, observe one hour.",
        "terraform init && terraform plan -out plan.bin && terraform apply plan.bin",
        "nginx reverse proxy upstream timeout keepalive buffer gzip cache header",
        "Memory OK, disk OK, CPU OK",
        "INFO Starting kubelet\nINFO Node registered\nWARN Image collection failed\nERROR Eviction manager timeout",
        'package main\n\nimport "fmt"\n\nfunc main() {\n\tfmt.Println("hello")\n}',
        "Set locale to de_DE.UTF-8 and the keyboard to nodeadkeys, reboot, done.",
        "Ask Müller, García or Łukasz from the Kraków office about the cluster.",
        "SELECT * FROM kunden WHERE stadt = 'München' ORDER BY name",
        "Reduce replicas, drain nodes, upgrade kubelet, uncordon nodes, verify workloads.",
        "¿Qué significa? It means: what does it mean, and why is it in the log at all?",
        "docker compose down\ndocker compose pull\ndocker compose up -d",
        "Prometheus, Grafana, Loki, Tempo, Mimir, Alertmanager",
    ),
)
