"""Tells people what happened: Slack, PagerDuty and mail, from a cluster's tasks and from local runs alike.

Which of them hear of it is the message's severity:

| severity | Slack | PagerDuty | mail |
|---|---|---|---|
| `info`: a turn ended, a stage grew, a summary | yes | resolves the incident that it ends, if any | yes |
| `warning`: something to look at | yes | – | yes |
| `error`, `critical`: failed, or harmful | yes | triggers | yes |

A channel exists where its secret is in the environment (`flytewheel.settings`); without one, telling does nothing.
"""
