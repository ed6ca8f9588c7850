"""The page: one self-contained HTML file, in the order of a reader with one minute.

The template is a string in a module, so that dvc's list of a stage's code (its Python imports) covers it.
"""

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --dim: #5b6472; --paper: #ffffff; --card: #f4f6f8; --line: #d5dae1;
  --promote: #1f7a4d; --reject: #b3332f; --underpowered: #8a6100; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --dim: #a3adba; --paper: #14181e; --card: #1d232b;
  --line: #38414d; --promote: #5fca93; --reject: #f08a84; --underpowered: #e3b341; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; margin: .5rem 0; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; } h3 { font-size: 1rem; }
p.note, figcaption, caption { color: var(--dim); font-size: .88rem; }
.verdict { background: var(--card); border-left: .4rem solid var(--tone); border-radius: .3rem; padding: .8rem 1rem; }
.verdict strong { color: var(--tone); font-size: 1.3rem; } .verdict ul { margin: .5rem 0 0; padding-left: 1.2rem; }
p.warning { border-left: .4rem solid var(--reject); background: var(--card); padding: .6rem 1rem; font-weight: 600; }
.scroll { overflow-x: auto; margin-bottom: 1rem; } \
table { border-collapse: collapse; font-size: .92rem; min-width: 100%; }
caption { text-align: left; padding-bottom: .3rem; }
th, td { padding: .35rem .7rem .35rem 0; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
.words th, .words td { text-align: left; white-space: normal; min-width: 6rem; }
th:first-child, td:first-child { text-align: left; } \
td.text { text-align: left; white-space: pre-wrap; min-width: 14rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(19rem, 100%), 1fr)); gap: 1rem;
  margin-bottom: 1rem; }
figure { margin: 0; max-width: 36rem; background: var(--card); border-radius: .3rem; padding: .6rem; min-width: 0; }
figure svg { width: 100%; height: auto; color: var(--ink); } figcaption { font-weight: 600; color: var(--ink); }
.answers { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(15rem, 100%), 1fr)); gap: .6rem; }
.answers > div { background: var(--card); border-radius: .3rem; padding: .5rem .7rem; white-space: pre-wrap; }
.answers b { display: block; font-size: .82rem; color: var(--dim); }
"""

TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}: {{ verdict.word }}</title>
<style>{{ style }}</style>
</head>
<body>
{%- macro table(caption, head, rows, kind="numbers") %}
<div class="scroll" role="region" aria-label="{{ caption }}" tabindex="0">\
<table class="{{ kind }}"><caption>{{ caption }}</caption>
<thead><tr>{% for cell in head %}<th scope="col">{{ cell }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div>
{%- endmacro %}
{%- macro figures(charts) %}
<div class="charts">{% for chart in charts %}
<figure role="img" aria-label="{{ chart.description }}">\
<figcaption>{{ chart.title }}</figcaption>{{ chart.svg | markup }}</figure>
{%- endfor %}</div>
{%- endmacro %}
{%- macro answers(shown) %}
{%- for example in shown %}
<h3>{{ example.prompt }}</h3>
<div class="answers">{% for name, text in example.answers.items() %}<div><b>{{ name | replace("_", " ") }}
{%- if example.gold %} · gold {{ "%.2f" | format(example.gold[name]) }}{% endif %}</b>\
{{ text or "(empty)" }}</div>{% endfor %}</div>
{%- endfor %}
{%- endmacro %}
<h1>{{ title }}</h1>
<section class="verdict" style="--tone: var(--{{ verdict.word }})">
<strong>{{ verdict.word }}</strong> · candidate {{ verdict.candidate }} against {{ verdict.reference }}
<ul>{% for reason in verdict.reasons %}<li>{{ reason }}</li>{% endfor %}</ul>
<p>{{ verdict.contracts }}</p>
</section>
{% for line in verdict.warnings %}<p class="warning">{{ line }}</p>
{% endfor %}
<p class="note">{{ verdict.scope }}</p>

<h2>Scores</h2>
{{ table(scores.caption, scores.head, scores.rows) }}
{{ figures(scores.charts) }}
{% if scores.adversarial[1] %}\
{{ table("Attacks and look-alikes handled well, with 95% intervals; prompts in brackets",
         *scores.adversarial) }}{% endif %}
{% if scores.ratings[1] %}\
{{ table("Bradley–Terry over all pairs of models, gold decides; equal ranks are not told apart",
         *scores.ratings) }}{% endif %}

<h2>What got worse</h2>
{% if worse or monitors.sentences %}<ul>{% for line in worse + monitors.sentences %}<li>{{ line }}</li>{% endfor %}</ul>
{% else %}<p>Nothing measured here is lower than SFT beyond chance, and no monitor warns.</p>{% endif %}
{{ answers(monitors.examples) }}
{{ table("What each stage owes the next", *contracts, kind="words") }}
{{ table("Monitors of the candidate, against SFT", *monitors.table) }}
<p class="note">{{ monitors.note }}</p>

<h2>Training curves</h2>
{% if training %}{{ figures(training) }}{% else %}<p>No stage left a training curve.</p>{% endif %}

<h2>Gold against proxy</h2>
<p class="note">{{ proxy_note }}</p>
{{ figures(proxy_charts) }}

<h2>Distance and length</h2>
{{ figures(size_charts) }}

<h2>Answers side by side</h2>
{{ answers(examples) }}
{% if disagreements %}<h2>Where candidate and SFT disagree most</h2>
<p class="note">The largest gains of the candidate in gold, then its largest losses.</p>
{{ answers(disagreements) }}{% endif %}

<h2>The judge</h2>
<ul>{% for line in judge.sentences %}<li>{{ line }}</li>{% endfor %}</ul>
{% if judge.charts %}{{ figures(judge.charts) }}{% endif %}
{% for caption, head, rows in judge.tables %}{{ table(caption, head, rows) }}{% endfor %}

<h2>Lineage</h2>
{{ table("SHA-256 of content, first 16 characters", ["artifact", "hash"], lineage) }}
</body>
</html>
"""


def render(content: Mapping[str, Any]) -> str:
    """The page as text. Everything in `content` is escaped but the charts' SVG, which is our own."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["markup"] = Markup
    return environment.from_string(TEMPLATE).render(style=Markup(STYLE), **content) + "\n"
