"""Vectors that Go's own text/template made: template, conversation, rendered text.

`python -m tests.export.go_golden` makes them anew where Go is installed; do so when `go_template` writes templates
otherwise. The tests hold them against the tokenizer's rendering, and our small renderer against them.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from flytewheel.export.go_template import write_go_template
from flytewheel.export.turns import measure_turns
from tests.export.chat_templates import FITTING, make_tokenizer

GOLDEN = Path(__file__).with_name("go_golden.json")
PROGRAM = Path(__file__).parent / "gotemplate" / "render.go"
GO = shutil.which("go")

TALKS: list[list[tuple[str, str]]] = [
    [("user", "Hi")],
    [("system", "Be brief."), ("user", "Why?")],
    [("user", "\n  two\u00a0lines\n\tand a tab \u3000"), ("assistant", " Fine.\r\n"), ("user", "{{ .Content }} }}{{")],
    [
        ("system", " \u2028kind\u2009 "),
        ("user", " a "),
        ("assistant", "\x1cb\x85"),
        ("user", ""),
        ("assistant", "`c`"),
        ("user", '"""d"""'),
    ],
    [("system", ""), ("user", "é🙂 你好 <s> {% raw %}")],
    [
        ("user", "1"),
        ("assistant", "2"),
        ("user", "3"),
        ("assistant", "4"),
        ("user", "5"),
        ("assistant", "6"),
        ("user", "\t\n 7 \\n \\u0041"),
    ],
    [("system", "x"), ("user", " " * 60 + "far" + "\n" * 60)],
    [("user", "one"), ("user", "two")],
    [("user", "one"), ("assistant", "two")],
    [("tool", "none")],
]


def run_go(jobs: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Renders through Go itself."""
    assert GO
    with tempfile.TemporaryDirectory() as cache:
        program = Path(cache) / "render"
        environ = {
            "PATH": str(Path(GO).parent) + ":/usr/bin:/bin",
            "HOME": cache,
            "GOCACHE": cache,
            "GO111MODULE": "off",
        }
        subprocess.run([GO, "build", "-o", program, PROGRAM], check=True, env=environ)
        done = subprocess.run([program], input=json.dumps(jobs), capture_output=True, text=True, check=True)
    results: list[dict[str, str]] = json.loads(done.stdout)
    return results


def list_jobs(template: str) -> list[dict[str, Any]]:
    """One template over all conversations."""
    return [
        {"template": template, "messages": [{"role": role, "content": content} for role, content in talk]}
        for talk in TALKS
    ]


def main() -> None:
    """Writes the vectors."""
    vectors = {}
    for name, template in FITTING.items():
        text = write_go_template(measure_turns(make_tokenizer(template)))
        vectors[name] = {"template": text, "rendered": run_go(list_jobs(text))}
    GOLDEN.write_text(json.dumps({"talks": TALKS, "vectors": vectors}, indent=1, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    main()
