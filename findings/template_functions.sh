#!/bin/sh
# transformers 5.23: a function handed to a chat template arrives as a text.
# Usual guess: `apply_chat_template(..., strftime_now=f)` overrides the clock that templates call, as any template
# variable overrides a Jinja global. A macro in front of the template does override it.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check transformers==5.23.0 jinja2==3.1.6
"$folder/venv/bin/python" - <<'PYTHON'
import transformers
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

template = "{{ strftime_now('%Y') }}: {{ messages[0].content }}"
tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), chat_template=template)
talk = [{"role": "user", "content": "hi"}]
print("transformers", transformers.__version__)
print("usual guess: strftime_now=lambda form: '1999' gives '1999: hi'")
try:
    seen = tokenizer.apply_chat_template(talk, tokenize=False, strftime_now=lambda form: "1999")
except TypeError as error:
    seen = f"TypeError: {error}"
print("seen:", seen)
macro = "{%- macro strftime_now(form) -%}1999{%- endmacro -%}"
ours = tokenizer.apply_chat_template(talk, tokenize=False, chat_template=macro + template)
print("with a macro in front of the template:", ours)
raise SystemExit(not (seen == "TypeError: 'str' object is not callable" and ours == "1999: hi"))
PYTHON
