# SPDX-License-Identifier: Apache-2.0
"""Stories out of the lower-cased TinyStories file: cut apart, cleaned, their capitals given back.

`python3 tinystories.py FILE [N]` prints what was recognised as names and N of the stories.
"""

import re
import sys
from collections import Counter

# UTF-8 once read as Windows-1252 and lower-cased; longest first, the bare pair last.
MOJIBAKE = {
    "â€œ": '"', "â€™": "'", "â€˜": "'", "â€“": "-", "â€”": "-", "â€¦": "...", "â€": '"',
    "“": '"', "”": '"',
}
SHORTEST = 150  # characters; what is shorter was cut off
SPEECH = (
    "said|says|asked|replied|answered|exclaimed|shouted|cried|yelled|called|whispered|laughed|"
    "thought|screamed|suggested|smiled|giggled|begged|wondered|agreed|explained|responded"
)
DETERMINER = "a|an|the|some|very|more|too|so|my|your|his|her|their|our|its|this|that|of|in|with|to"
NOT_NAMES = {
    "everyone", "everything", "slowly", "true", "midnight", "may", "suddenly", "today", "bun"
}
ALWAYS = {
    "i", "mr", "mrs", "christmas", "halloween",
    "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday",
}


def split(text: str) -> list[str]:
    """Stories: paragraphs have a blank line between them, stories have not.

    A story's last line carries no space at its end; a line that does ends a paragraph only.
    """
    stories: list[list[str]] = [[]]
    previous = ""
    for line in text.splitlines():
        if line.strip():
            if previous.strip() and previous == previous.rstrip():
                stories.append([])
            stories[-1].append(line.strip())
        previous = line
    return ["\n\n".join(paragraphs) for paragraphs in stories]


def find_names(text: str) -> set[str]:
    """Words that are introduced like names ("named lily") and otherwise behave like names."""
    words = Counter(re.findall(r"[a-z]+", text))
    named = Counter(re.findall(r"\b(?:named|name is|name was) ([a-z]+)", text))
    named += Counter(re.findall(r"(?:^|\n)([a-z]+) (?:and|was|liked|loved)\b", text))
    determined = Counter(re.findall(rf"\b(?:{DETERMINER}) ([a-z]+)", text))
    return {
        word
        for word, count in named.items()
        if len(word) > 2 and word not in NOT_NAMES
        if count >= 2 and count >= 0.004 * words[word] and determined[word] < 0.1 * words[word]
    }


def names_within(story: str) -> set[str]:
    """What one story calls its hero, where it never says "the hero"."""
    named = re.findall(rf"\b(?:named|called) (?!(?:{DETERMINER})\b)([a-z]{{3,}})", story)
    return {word for word in named if not re.search(rf"\b(?:{DETERMINER}) {word}\b", story)}


def recase(story: str, names: set[str]) -> str:
    """One story with capitals at sentence and quotation starts, in names and in "I"."""

    def upper(match: re.Match[str]) -> str:
        return match.group(1) + match.group(2).upper()

    def name(match: re.Match[str]) -> str:
        word = match.group()
        return word.capitalize() if word in names or word in ALWAYS else word

    story = re.sub(r"\b[a-z]+\b", name, story)
    story = re.sub(r"(^|\n\s*|[.!?] +|\.[\"'] +)([a-z])", upper, story)
    # "?" and "!" inside quotation marks end a sentence only when nobody is said to say it.
    tag = rf"(?:\w+ ){{0,3}}(?:{SPEECH})\b(?![^.!?\"]*, \")"
    story = re.sub(rf"([!?][\"'] +)(?!{tag})([a-z])", upper, story)
    return re.sub(r"((?:^|\s)[\"'])([a-z])", upper, story)


def read(path: str) -> list[str]:
    """Cleaned, cased stories of the file, in its order."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    for wrong, right in MOJIBAKE.items():
        text = text.replace(wrong, right)
    names = find_names(text)
    stories = (re.sub(r"[ \t]+", " ", story) for story in split(text))
    return [
        recase(story, names | names_within(story))
        for story in stories
        if len(story) >= SHORTEST and story.isascii()
    ]


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as source:
        print(" ".join(sorted(find_names(source.read()))), end="\n\n")
    print("\n\n----\n".join(read(sys.argv[1])[: int(sys.argv[2]) if len(sys.argv) > 2 else 3]))
