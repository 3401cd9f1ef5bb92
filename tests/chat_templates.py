# SPDX-License-Identifier: Apache-2.0
"""tests/chat_templates.py - renders Jinja chat templates into tests/fixtures/chat_templates.json.

usage: chat_templates.py DIR > tests/fixtures/chat_templates.json

DIR holds NAME.jinja for every name of model/template.c, as the published models have them (their
licences keep them out of this repository), and optionally NAME.json with bos_token and eos_token.
What jinja2 makes of them, in Hugging Face transformers' settings, is what unit_template expects.
A template that refuses a conversation leaves it out.
"""
import json
import pathlib
import sys

from jinja2.exceptions import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

CONVERSATIONS = [
    [("user", "Hello")],
    [("system", "You are a helpful assistant"), ("user", "Hello")],
    [("system", "Be brief."), ("user", " Hello "), ("assistant", "Hi there"),
     ("user", "Who are you?"), ("assistant", "   I am an assistant   "),
     ("user", "Another question")],
    [("user", "Hello"), ("assistant", "<think>\nhm\n</think>\n\nHi"), ("user", "Bye")],
]


def refuse(message):
    raise TemplateError(message)


def main():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    env.globals["raise_exception"] = refuse
    cases = []
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*.jinja")):
        tokens = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        for conversation in CONVERSATIONS:
            messages = [{"role": role, "content": text} for role, text in conversation]
            try:
                text = env.from_string(path.read_text(encoding="utf-8")).render(
                    messages=messages, add_generation_prompt=True, **tokens)
            except TemplateError:
                continue
            cases.append({"template": path.stem, "messages": messages,
                          "text": text.removeprefix(tokens["bos_token"])})
    json.dump(cases, sys.stdout, ensure_ascii=False, indent=1)
    print()


main()
