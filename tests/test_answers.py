"""What the book answers to each claim: sentences, strip and figures, all by the verdicts."""

import re
from dataclasses import replace
from pathlib import Path

import matplotlib
import pytest
import tiny
from synthetic import LOST, World, judged, world

matplotlib.use("agg")

from deepaug.pages import answers, depths, figures, home, intervals, show
from deepaug.pages.exploratory import reading
from deepaug.pages.page import Page
from deepaug.pages.texts import texts
from deepaug.studies import arms, rulebook
from deepaug.training.trial import WAYS
from deepaug.verdicts import exploratory, wording
from deepaug.verdicts.comparison import FAMILY
from deepaug.verdicts.exploratory import AUGMENTATION, ROBUSTNESS
from deepaug.verdicts.statistics import Effect
from deepaug.verdicts.table import table

ROOT = Path(__file__).parents[1]
EFFECT = re.compile(r"[+−]\d+\.\d+( points)? \[[+−]\d+\.\d+, [+−]\d+\.\d+\]")


@pytest.fixture
def told(monkeypatch):
    """What is shown, as text."""
    said = []

    def display(shown):
        said.append(shown if isinstance(shown, str) else getattr(shown, "data", str(shown)))

    for module in (answers, depths, home, figures, show):
        monkeypatch.setattr(module, "display", display, raising=False)
    return said


def verdicts(monkeypatch, folder, made):
    found = judged(monkeypatch, folder, made)
    monkeypatch.setattr(answers, "tables", lambda: (found,))
    return found


def cell(found, claim):
    return next(cell for cell in found.cells if cell.claim == claim)


@pytest.mark.parametrize(
    ("made", "claim", "word", "answer"),
    [
        (World(), "C1", "supported", "It does. Against the tuned baseline: +3.0 points ["),
        (World(), "C2", "supported", "than its supervised twin does (inverse). Gain in"),
        (World(), "C3a", "supported", "They do. Kendall's τ of depth and gain: +1.00 ["),
        (world(gains=(0, 0, 0, -3.0)), "C1", "opposed", "It costs accuracy. Against the tuned"),
        (world(gains=(0, 0, 0, 0.1), size=0.3), "C1", "negligible", "no difference that matters."),
        (world(gains=(0, 0, 0, 0.4), size=3.0), "C1", "inconclusive", "The runs do not decide it."),
        (
            world(lost={**LOST, "arm": 6.6}),
            "C4",
            "inconclusive",
            "One half holds, the other makes no",
        ),
    ],
)
def test_a_judged_cell_answers_with_its_effect(monkeypatch, tmp_path, made, claim, word, answer):
    of = cell(verdicts(monkeypatch, tmp_path, made), claim)
    sentence = answers.sentence(of)
    assert of.word == word and sentence.startswith(answers.badge(word))
    assert answer in sentence and EFFECT.search(sentence)
    if claim == "C4":  # of several tests each tells its own word
        assert "n = 10, supported; " in sentence and sentence.endswith("n = 10, negligible.")
    else:
        assert sentence.endswith("n = 10.")
    assert "-" not in re.sub(r"<[^>]*>", "", sentence)  # true minus signs


def test_a_cell_that_runs_says_how_far_and_nothing_of_its_effect(monkeypatch, tmp_path, told):
    made = world(test=lambda self, trial: None if trial.seed == 109 else World().test(trial))
    found = verdicts(monkeypatch, tmp_path, made)
    sentence = answers.sentence(cell(found, "C1"))
    assert re.search(r"running</span> \*\*Text\.\*\* \d+ of \d+ runs are recorded\.$", sentence)
    answers.meaning("C1")
    assert "before the last of its runs" in told[0] and "What would change it" not in told[0]
    assert home.answer(found).endswith(" 0 of 6 verdicts are in.")
    assert "not yet judged" in home.answer(found)


def test_every_claim_has_a_question_and_an_answer_to_each_word():
    said, rules = texts()["answers"], rulebook.rules()
    assert list(said) == list(rules["claims"]) == list(home.PAGES)
    for claim, rule in rules["claims"].items():
        if "records" not in rule or claim == "C7":
            continue
        tests = [name for name in rules["family"]["tests"] if name.split()[0] == claim]
        words = {"supported", "opposed", "negligible", "inconclusive"}
        assert words | ({"mixed", "between"} if len(tests) > 1 else set()) <= set(said[claim])
        assert list(said[claim]["tests"]) == tests
        assert {"asks", "short", "not", "more"} <= set(said[claim])


def test_findings_are_of_verdicts_that_stand():
    of = table("cpu")
    words = {(cell.claim, cell.modality): cell for cell in of.cells}
    for claim, by_modality in texts()["findings"].items():
        for modality, by_word in by_modality.items():
            (word,) = by_word
            cell = words[claim, modality]
            assert cell.state == word, f"{claim} of {modality} is {cell.verdict}: write anew"
            assert answers.finding(of, cell) == by_word[word]


@pytest.mark.parametrize("place", [AUGMENTATION, ROBUSTNESS])
def test_what_is_read_out_of_exploratory_gains_stands(place):
    found = {}
    for gain in exploratory.of_judged(table("cpu"), place):
        found.setdefault(gain.modality, []).append(gain)
    for modality, written in texts()["exploratory"][place.split()[0]].items():
        told = reading(place, found[modality], "cpu")
        assert told == written["says"], f"{place} of {modality} has changed: write anew"


def test_what_was_read_out_of_gains_is_gone_once_they_lie_otherwise(monkeypatch):
    where = {"ascending": ["above"], "untuned": ["zero"]}
    written = {"robustness": {"text": {"where": where, "says": "It helps."}}}
    monkeypatch.setattr("deepaug.pages.exploratory.texts", lambda: {"exploratory": written})

    def gain(setting, interval, modality):
        effect = interval and Effect(0.0, *interval, 5, 0)
        return exploratory.Gain(modality, setting, 1.0, 0.5, "", True, 10, 10, effect)

    def read(place, *intervals, modality="text", profile="cpu"):
        pairs = zip(("", "untuned"), intervals, strict=False)
        return reading(place, [gain(*pair, modality) for pair in pairs], profile)

    above, zero = (0.1, 0.3), (-0.1, 0.3)
    assert read(ROBUSTNESS, above, zero) == "It helps."
    for lie in [(zero, above), (above, above), (above, (-0.3, -0.1)), (above, None), (above,)]:
        assert read(ROBUSTNESS, *lie) == ""
    assert read(ROBUSTNESS, above, zero, modality="nodes") == ""
    assert read(ROBUSTNESS, above, zero, profile="gpu-small") == ""
    assert read(AUGMENTATION, above, zero) == ""


def test_the_readme_has_the_verdicts():
    """Of text and of images it has a dash until they are judged."""
    words = {(cell.claim, cell.modality): cell.word for cell in table("cpu").cells}
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    told = [line.strip("| ").split(" | ") for line in lines if re.match(r"\| C\d", line)]
    assert [head.split()[0] for head, *_ in told] == ["C1", "C2", "C3a", "C3b", "C4", "C5"]
    for head, *cells in told:
        of = [words[head.split()[0], modality] or "–" for modality in ("nodes", "text", "vision")]
        assert cells == of, head


def test_a_finding_is_gone_with_its_verdict(monkeypatch, tmp_path, told):
    of = verdicts(monkeypatch, tmp_path, World())
    found = {"C1": {"text": {"supported": "A gain.", "opposed": "A loss."}}}
    monkeypatch.setattr(answers, "texts", lambda: texts() | {"findings": found})
    answers.meaning("C1")
    assert "A gain." not in told[0]  # it is of another scale
    monkeypatch.setattr(answers, "WRITTEN_AT", of.profile)
    answers.meaning("C1")
    assert "A gain." in told[1] and "A loss." not in told[1]


def test_the_strip_has_a_word_in_every_cell_and_the_answer_counts_them(monkeypatch, tmp_path):
    found = verdicts(monkeypatch, tmp_path, World())
    strip = home.strip(found)
    assert strip.count("<tr>") == 1 + len(home.PAGES)
    judged_cells = [c for c in found.cells if c.claim != "C7"]
    assert strip.count('class="verdict') == len(judged_cells)
    supported = [c.word for c in judged_cells].count("supported")
    assert strip.count(answers.badge("supported")) == supported
    assert f"{supported} supported" in home.answer(found)
    assert "On text (20 Newsgroups) it does (+3.0 points [" in home.answer(found)


def test_meaning_says_what_is_excluded_and_what_would_decide(monkeypatch, tmp_path, told):
    verdicts(monkeypatch, tmp_path, world(gains=(0, 0, 0, 0.4), size=3.0))
    answers.meaning("C1")
    needed = r"\d+ seeds in a new study would narrow the interval to ±0\.5\. A gain above"
    assert re.search(needed, told[0])
    assert "Not meant" in told[0] and "What would change it" in told[0]


def test_meaning_names_what_keeps_an_interval_beside_zero_from_deciding(
    monkeypatch, tmp_path, told
):
    """Of four targets the perfect order alone passes the permutation test."""
    found = verdicts(monkeypatch, tmp_path, world(gains=(0, 1.1, 1.0, 2.2), size=0.1))
    (test,) = (row for row in cell(found, "C3a").tests if row.kind == FAMILY)
    assert test.effect.low > 0 and test.adjusted_p < 0.001
    answers.meaning("C3a")
    assert "not enough here. By permutation of the mean profile p is 0.167; 0.05" in told[0]
    assert "corrected for the family" not in told[0]


def test_controls_say_which_side_of_zero_they_lie_on(monkeypatch, tmp_path, told):
    verdicts(monkeypatch, tmp_path, world(control=-40.0))
    answers.controls("text")
    assert "Input augmentation* brings +5.0 points" in told[0]
    assert "It ends below random initialisation." in told[0]
    verdicts(monkeypatch, tmp_path, World())
    answers.controls("text")
    assert "It ends below random initialisation." not in told[1]
    answers.controls("vision")
    assert told[2] == texts()["controls"]["none"]


def test_figures_are_drawn_of_what_is_judged(monkeypatch, tmp_path, told):
    from matplotlib import pyplot as plt

    verdicts(monkeypatch, tmp_path, World())
    drawn = []
    plt.rcParams["axes.titlelocation"] = "center"  # whatever a page has set before
    monkeypatch.setattr(plt, "show", lambda: drawn.append(plt.gcf()))
    answers.figure("C1", "C4")
    depths.gain_by_depth(Page(None, [], []), "text")
    home.proportion()
    titles = [figure.axes[0].get_title() for figure in drawn]
    assert titles[0].startswith("C1 at") and titles[1].startswith("C4 at")
    assert titles[2].startswith("text at") and "10 seeds, test" in titles[2]
    dots = [line for line in drawn[2].axes[0].lines if line.get_marker() == "o"]
    assert sum(len(line.get_xdata()) for line in dots) == 4 * 10
    plt.close("all")
    rows = [text.get_text() for text in drawn[3].axes[0].texts]
    assert rows == [f"text: {label}" for label in home.PROPORTION.values()]


@pytest.mark.parametrize(("doubling", "short"), [(0.2, False), (3.0, True)])
def test_the_answer_says_where_training_is_short(monkeypatch, tmp_path, doubling, short):
    found = verdicts(monkeypatch, tmp_path, World())
    scale = replace(found.scales["text"], doubling=doubling)
    answer = home.answer(replace(found, scales=found.scales | {"text": scale}))
    assert ("On text (20 Newsgroups), in short training, it" in answer) == short


def test_an_arm_in_words_says_in_which_views():
    assert wording.VIEWS.keys() == WAYS.keys()
    for way, fields in WAYS.items():
        arm = replace(
            tiny.trial(layer="stage2", transform="dropout-feature", strength=0.2), **fields
        )
        told = wording.arm(arms.name(arm))
        assert told == f"dropout of features at stage2, strength 0.2, {wording.VIEWS[way]}"


def test_context_alone_makes_no_figure(monkeypatch, tmp_path):
    c4 = cell(verdicts(monkeypatch, tmp_path, World()), "C4")
    context = replace(c4, tests=tuple(row for row in c4.tests if row.kind == "context"))
    assert context.tests and intervals.drawn(c4) and not intervals.drawn(context)


def test_a_figure_leaves_the_other_arms_controls_to_the_tables(monkeypatch, tmp_path):
    c1 = cell(verdicts(monkeypatch, tmp_path, World()), "C1")
    (primary,) = {row.transform for row in c1.tests if row.kind == FAMILY}
    told = [row for row in c1.tests if row.interval and row.kind != "context"]
    left = {row.test for row in told if row not in intervals.drawn(c1)}
    assert "C1 over noise" in left and "C1" not in left
    assert {row.transform for row in told if row not in intervals.drawn(c1)}.isdisjoint({primary})


def test_while_a_cell_runs_the_gains_it_is_judged_by_stay_unseen(monkeypatch, tmp_path, told):
    made = world(test=lambda self, trial: None if trial.seed == 109 else World().test(trial))
    verdicts(monkeypatch, tmp_path, made)
    seen = []
    monkeypatch.setattr(show, "gain_by_depth", lambda page, stage: seen.append(stage))
    depths.gain_by_depth(Page(None, [], []), "text")
    depths.gain_by_depth_of_all()
    assert seen == ["pilot"] and told == [depths.OF_PILOT, "No modality is judged yet."]
