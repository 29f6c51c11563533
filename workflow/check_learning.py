"""Print what the quick baseline of each modality has learnt; exit non-zero if that is too little.

Too little is what does not exceed the range of the trained scores over seeds. Run from the
repository's root; records that are missing are made.
"""

import sys

from deepaug.pages import page
from deepaug.studies import rulebook
from deepaug.verdicts import effects


def main():
    found = {name: effects.learnt(page.load(name, {}).live) for name in rulebook.rules()["bases"]}
    lines = {name: f"{name} at quick: {learnt}" for name, learnt in found.items()}
    if short := [lines[name] for name, learnt in found.items() if not learnt.enough]:
        sys.exit("\n".join(f"check_learning: too little: {line}" for line in short))
    print("\n".join(lines.values()))


if __name__ == "__main__":
    main()
