"""Texts that hold all kinds of spans, for properties."""

from __future__ import annotations

from hypothesis import strategies as st

PIECES = (
    "Maria Lopez", "the Payments Team", "Restart", "billing-api", "`kubectl get pods -n prod`",
    "run dbctl flush cart-api", "1,200.50 €", "$30", "3 March 2026", "28.11.2026", "2:30 pm", "14:30", "90 min",
    "twenty-one", "v1.2.3", "5 %", "½ cup", '"do not drive"', "“take food”", "« oui »", "「安全」",
    "#ops-general", "@tom", "a.b@example.com", "https://example.com/x?y=1", "max_retries", "userName",
    "/etc/app.conf", "PAY-4012", "10.0.0.7", "王经理", "三天", "佐藤さん", "und", "der", "the", "is",
    "Frau Weber", "in Hamburg", "1.", "- ", "**bold**", "_x_", "*", "```", "`", '"', "'", "„", "\n", "\n\n",
    ": ", ". ", ", ", "é", "e\u0301", "\u200b", "ﬁ", "１２", "🙂", "--dry-run", "<service>", "$HOME", "(", ")",
    "[1]", "24/7", "3/4", "10-17",
)  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=14).map(" ".join) | st.lists(
    st.sampled_from(PIECES), max_size=10
).map("".join)
