"""How the page looks: in light and dark, on paper and on a phone; nothing is said by colour alone.

Everything hangs under `.fw-e`, so that the page can be a Flyte deck inside another page.
"""

from __future__ import annotations

from html import escape
from typing import Any

from flytewheel.figures import clean

_COLOURS = {  # name: light, dark
    "ink": ("#1b232e", "#e6eaf0"),
    "soft": ("#596576", "#9ba7b6"),
    "line": ("#d8dee7", "#303946"),
    "page": ("#f4f6f9", "#11151a"),
    "card": ("#ffffff", "#191f27"),
    "good": ("#0a6b42", "#57d9a0"),
    "good-tint": ("#e1f4ea", "#133528"),
    "bad": ("#a8201a", "#ff958c"),
    "bad-tint": ("#fce9e7", "#401d1c"),
    "unsure": ("#7a4f00", "#efc266"),
    "unsure-tint": ("#fcf1d8", "#382b0e"),
    "accent": ("#1f5fc4", "#79b0ff"),
    "accent-tint": ("#e6eefb", "#1a2c47"),
}
_LIGHT = "".join(f"--{name}:{light};" for name, (light, _) in _COLOURS.items())
_DARK = "".join(f"--{name}:{dark};" for name, (_, dark) in _COLOURS.items())
_RULES = """
.fw-e{color:var(--ink);background:var(--page);font:16px/1.55 system-ui,sans-serif;max-width:76rem;margin:0 auto;
padding:1.2rem clamp(.8rem,3vw,2rem) 3rem;overflow-wrap:anywhere;text-size-adjust:100%}
.fw-e *{box-sizing:border-box;min-width:0}
.fw-e h1{font-size:clamp(1.4rem,4vw,2rem);line-height:1.2;margin:.4rem 0 .2rem;letter-spacing:-.01em}
.fw-e h2{font-size:1.25rem;margin:2.4rem 0 .3rem;letter-spacing:-.005em}
.fw-e h3{font-size:1rem;margin:1.3rem 0 .4rem}.fw-e h4{font-size:.85rem;margin:0 0 .3rem;color:var(--soft)}
.fw-e p{margin:.35rem 0}.fw-e a{color:var(--accent)}.fw-e small,.fw-e .soft{color:var(--soft)}
.fw-e code{font:.88em ui-monospace,monospace;overflow-wrap:anywhere}
.fw-e nav{display:flex;flex-wrap:wrap;gap:.3rem 1.1rem;margin:1rem 0;font-size:.92rem}
.fw-e .card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1rem 1.1rem;margin:.8rem 0}
.fw-e .verdict{border-left:10px solid var(--edge);background:var(--tint);padding:1.1rem 1.3rem}
.fw-e .stamp{font-size:clamp(1.7rem,6vw,2.5rem);font-weight:750;line-height:1.1;color:var(--edge);margin:0 0 .4rem}
.fw-e .why{font-size:1.1rem;max-width:60rem}
.fw-e .good{--edge:var(--good);--tint:var(--good-tint)}.fw-e .bad{--edge:var(--bad);--tint:var(--bad-tint)}
.fw-e .unsure{--edge:var(--unsure);--tint:var(--unsure-tint)}.fw-e .plain{--edge:var(--soft);--tint:var(--card)}
.fw-e .reasons{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(20rem,100%),1fr));gap:.9rem;margin:.9rem 0}
.fw-e .reasons .plain{grid-column:1/-1}
.fw-e .reasons .card{margin:0;border-top:4px solid var(--edge)}.fw-e .reasons h3{margin:0 0 .4rem;color:var(--edge)}
.fw-e .reasons ul{margin:0;padding:0;list-style:none;font-size:.92rem}
.fw-e .reasons li+li{margin-top:.5rem;padding-top:.5rem;border-top:1px solid var(--line)}
.fw-e .chip{display:inline-block;border-radius:1rem;padding:.05rem .65rem;font-size:.82rem;font-weight:600;
background:var(--tint);color:var(--edge);border:1px solid var(--edge)}
.fw-e table{border-collapse:collapse;width:100%;font-size:.93rem;font-variant-numeric:tabular-nums}
.fw-e th,.fw-e td{padding:.45rem .6rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
.fw-e thead th{font-size:.78rem;text-transform:uppercase;letter-spacing:.04em;color:var(--soft);font-weight:600}
.fw-e tbody th{font-weight:600}.fw-e td small{display:block}.fw-e td.n{text-align:right;white-space:nowrap}
.fw-e tbody tr:last-child>*{border-bottom:0}.fw-e .wide{overflow-x:auto}
.fw-e .figures th small{display:block;font-weight:400}.fw-e .figures .chip{margin-top:.15rem;white-space:nowrap}
.fw-e .figures td b{font-size:1.02rem}
.fw-e td.heat{background:var(--tint);box-shadow:inset 3px 0 var(--edge)}.fw-e td.heat b{color:var(--edge)}
.fw-e svg.iv{display:block;width:100%;max-width:17rem;height:auto}
.fw-e .iv text{font:11px system-ui,sans-serif;fill:var(--soft)}.fw-e .iv .ok{fill:var(--good-tint)}
.fw-e .iv .no{fill:var(--bad-tint)}.fw-e .iv .zero{stroke:var(--ink);stroke-width:1.2}
.fw-e .iv .lim{stroke:var(--bad);stroke-width:1.2;stroke-dasharray:3 3}.fw-e .iv .bar{stroke:var(--mark);stroke-width:3}
.fw-e .iv .dot{fill:var(--mark)}.fw-e .iv{--mark:var(--soft)}.fw-e .iv.good{--mark:var(--good)}
.fw-e .iv.bad{--mark:var(--bad)}.fw-e .iv text.dir{fill:var(--good);font-weight:600}
.fw-e .facts{display:flex;flex-wrap:wrap;gap:.7rem;margin:.8rem 0;padding:0;list-style:none}
.fw-e .facts li{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:.5rem .9rem}
.fw-e .facts b{display:block;font-size:1.3rem;line-height:1.2}
.fw-e .pair header{display:flex;flex-wrap:wrap;gap:.3rem .7rem;align-items:baseline}.fw-e .pair h3{margin:0}
.fw-e .asked{border-left:4px solid var(--accent);background:var(--accent-tint);border-radius:0 8px 8px 0;
padding:.5rem .8rem;margin:.6rem 0}
.fw-e .sides{display:grid;grid-template-columns:1fr 1fr;gap:1rem;margin:.7rem 0}
.fw-e .said{white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:plaintext;tab-size:4}
.fw-e .side{border:1px solid var(--line);border-radius:8px;padding:.6rem .8rem}
.fw-e ins,.fw-e del{border-radius:3px;padding:0 1px}
.fw-e ins{background:var(--good-tint);text-decoration:underline solid var(--good) 2px;text-underline-offset:3px}
.fw-e del{background:var(--unsure-tint);text-decoration:underline dashed var(--unsure) 2px;text-underline-offset:3px}
.fw-e .sign{opacity:.75}.fw-e details{margin:.5rem 0}.fw-e summary{cursor:pointer;color:var(--accent)}
.fw-e summary:focus-visible,.fw-e a:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
.fw-e .ref{color:var(--soft);font-size:.95rem}.fw-e .fw-c{display:flex;flex-wrap:wrap;gap:.8rem}
.fw-e .fw-c figure{margin:0;max-width:100%}.fw-e .fw-c svg{max-width:100%;height:auto}
@media(max-width:44rem){.fw-e .sides{grid-template-columns:1fr}.fw-e .verdict{padding:.9rem 1rem}}
@media(max-width:54rem){
.fw-e .figures col{display:none}
.fw-e table.stack,.fw-e .stack tbody,.fw-e .stack tr,.fw-e .stack th,.fw-e .stack td{display:block;width:100%}
.fw-e .stack thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.fw-e .stack tr{padding:.7rem 0;border-bottom:1px solid var(--line)}
.fw-e .stack th,.fw-e .stack td{border:0;padding:.12rem .3rem}
.fw-e .stack td[data-head]::before{content:attr(data-head) ": ";color:var(--soft);font-size:.85rem}
.fw-e .stack td.heat{margin:.25rem 0;padding:.3rem .6rem;border-radius:4px}
.fw-e .stack td.n{text-align:left}.fw-e .stack td small{display:inline}.fw-e .stack td.heat small{display:block}
.fw-e .figures th{font-size:1.05rem}.fw-e .stack td.plot{padding:.3rem 0}}
@media print{.fw-e{background:#fff;font-size:11pt;max-width:none;padding:0}.fw-e nav{display:none}
.fw-e .card,.fw-e tr,.fw-e .side,.fw-e svg{break-inside:avoid}.fw-e .pair{break-inside:auto}
.fw-e h2,.fw-e h3{break-after:avoid}.fw-e .verdict{border:2px solid var(--edge);border-left-width:10px}
.fw-e *{print-color-adjust:exact}@page{margin:1.4cm}}
"""
_TURNING = {code: f"⟦U+{code:04X}⟧" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}
STYLE = (
    f"<style>.fw-e{{{_LIGHT}color-scheme:light}}"
    f"@media screen and (prefers-color-scheme:dark){{.fw-e{{{_DARK}color-scheme:dark}}}}{_RULES}</style>"
)
BODY_STYLE = (
    "<style>body{margin:0;background:#f4f6f9}@media screen and (prefers-color-scheme:dark){body{background:#11151a}}"
    "@media print{body{background:#fff}}</style>"
)


def words(value: Any) -> str:
    """A text as HTML: nothing in it is markup, characters that no page may hold are replaced, and those that turn the
    direction of what follows are shown: with them a text could look like another one.
    """
    return escape(clean(str(value)).translate(_TURNING))


def section(name: str, title: str, *parts: str) -> str:
    """A titled part of the page that can be linked to; nothing where it has no parts."""
    body = "".join(parts)
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{words(title)}</h2>{body}</section>' if body else ""
