"""Corpora and scored pairs: read as they lie on disk, split once and for all, refused in a line."""

import random
import shutil
import zipfile

import pytest
import torch

from deepaug.training.modalities.text import corpora, pairs
from deepaug.training.modalities.text import task as text
from deepaug.validation import DataError

SPLITS = ("train", "validation", "test")


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """An empty data folder; nothing is remembered and nothing downloaded."""
    monkeypatch.setenv("DEEPAUG_DATA", str(tmp_path))
    monkeypatch.setattr("nltk.data.path", [str(tmp_path / "elsewhere")])
    monkeypatch.setattr("nltk.download", lambda *_, **__: False)
    corpora.load.cache_clear()
    pairs.load.cache_clear()
    yield tmp_path
    corpora.load.cache_clear()
    pairs.load.cache_clear()


def refusal(read, name) -> str:
    with pytest.raises(DataError) as caught:
        read(str(name))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def written(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def sentences(corpus, split):
    return [corpus.sentences[i] for i in getattr(corpus, split).tolist()]


# WordNet and Brown, in NLTK's layout

TOPICS = ("adj.all", "noun.act", "verb.body")


def wordnet(folder, synsets=200):
    """Synsets "s<number>" with a definition and two examples; topics go round."""
    lines = {
        part: ["  1 This is a licence | not a gloss"] for part in ("adj", "adv", "noun", "verb")
    }
    for n in range(synsets):
        part, topic = (("adj", 0), ("noun", 1), ("verb", 2))[n % 3]
        lines[part].append(
            f"{n:08} {topic:02} n 01 word 0 000 | meaning of s{n} (of `a | thing'); "
            f'"one use of s{n}"; "another, s{n}; said so" - A. Poet  '
        )
    for part, rows in lines.items():
        written(folder / "corpora" / "wordnet" / f"data.{part}", "".join(f"{r}\n" for r in rows))
    rows = "".join(f"{n:02}\t{topic}\t1\n" for n, topic in enumerate(TOPICS))
    written(folder / "corpora" / "wordnet" / "lexnames", rows)


def test_definitions_and_examples_carry_their_synsets_topic(root):
    wordnet(root / "nltk_data")
    found = corpora.load("wordnet")
    assert len(found.sentences) == 600 and found.classes == TOPICS
    topic = {s: found.classes[k] for s, k in zip(found.sentences, found.labels, strict=True)}
    assert topic["meaning of s4 (of `a | thing')"] == "noun.act"
    assert topic["one use of s5"] == topic["another, s5; said so"] == "verb.body"
    assert not any('"' in s or "Poet" in s or "licence" in s for s in found.sentences)


def test_no_synset_is_both_trained_on_and_tested(root):
    wordnet(root / "nltk_data")
    found = corpora.load("wordnet")
    parts = [set(getattr(found, split).tolist()) for split in SPLITS]
    assert set.union(*parts) == set(range(600)) and sum(map(len, parts)) == 600
    assert [len(parts[1]), len(parts[2])] == pytest.approx([60, 60], abs=3)
    synsets = [
        {
            w.strip(",;")
            for s in sentences(found, split)
            for w in s.split()
            if w.startswith("s") and w[1:2].isdigit()
        }
        for split in SPLITS
    ]
    assert not (synsets[0] & synsets[1] or synsets[0] & synsets[2] or synsets[1] & synsets[2])
    for split in SPLITS:  # drawn at random, not from one end of the alphabet
        assert len(found.labels[getattr(found, split)].unique()) == 3


def test_held_out_sentences_are_few(root, monkeypatch):
    monkeypatch.setattr(corpora, "MOST_HELD_OUT", 9)
    wordnet(root / "nltk_data")
    found = corpora.load("wordnet")
    assert (len(found.train), len(found.validation), len(found.test)) == (582, 9, 9)


def test_a_sentence_counts_once_wherever_it_is_from(root):
    lines = ["00 00 n 01 w 0 000 | the same", '01 01 n 01 w 0 000 | the same; "other"']
    wordnet(root / "nltk_data", synsets=3)
    folder = root / "nltk_data" / "corpora" / "wordnet"
    written(folder / "data.noun", "\n".join(lines) + "\n")
    assert corpora.load("wordnet").sentences.count("the same") == 1


def test_wordnet_is_read_from_an_archive_alike(root):
    wordnet(root / "nltk_data")
    plain = corpora.load("wordnet")
    corpora.load.cache_clear()
    folder = root / "nltk_data" / "corpora"
    with zipfile.ZipFile(folder / "wordnet.zip", "w") as archive:
        for file in (folder / "wordnet").iterdir():
            archive.write(file, f"wordnet/{file.name}")
    shutil.rmtree(folder / "wordnet")
    found = corpora.load("wordnet")
    assert found.sentences == plain.sentences and found.digest == plain.digest


def test_nltks_own_folders_come_second(root):
    wordnet(root / "elsewhere", synsets=30)
    assert len(corpora.load("wordnet").sentences) == 90
    wordnet(root / "nltk_data", synsets=60)
    corpora.load.cache_clear()
    assert len(corpora.load("wordnet").sentences) == 180


BROWN = (
    "\n\n\tThe/at jury/nn said/vbd ``/`` no/at evidence/nn ''/'' ,/, that/cs was/bedz all/abn ./.\n"
    "\tWhy/wrb not/* ?/. ?/.\n\n\t(/( See/vb and/or/cc )/) ;/. ;/.\n"
)


def brown(folder):
    written(folder / "corpora" / "brown" / "ca01", BROWN)
    written(folder / "corpora" / "brown" / "cr09", "\tLast/ap one/cd ./.\n")
    written(folder / "corpora" / "brown" / "cats.txt", "ca01 news\n")


def test_brown_is_plain_text(root):
    brown(root / "nltk_data")
    found = corpora.load("brown")
    assert found.sentences == (
        'The jury said "no evidence", that was all.',
        "Why not?",
        "(See and/or);",
        "Last one.",
    )
    assert found.labels.tolist() == [-100] * 4 and found.classes == ()
    assert len(found.train) == 4 and len(found.validation) == len(found.test) == 0


def test_both_together_hold_out_labelled_sentences_alone(root):
    wordnet(root / "nltk_data")
    brown(root / "nltk_data")
    found = corpora.load("wordnet-brown")
    assert len(found.sentences) == 604
    for split in ("validation", "test"):
        assert (found.labels[getattr(found, split)] >= 0).all()
    assert (found.labels[found.train] == -100).sum() == 4


@pytest.mark.parametrize("name", ["wordnet", "brown", "wordnet-brown"])
def test_a_missing_corpus_says_where_it_was_looked_for(root, name):
    message = refusal(corpora.load, name)
    for wanted in ("nltk_data", "elsewhere", "nltk.downloader", "DEEPAUG_DATA"):
        assert wanted in message
    assert list(root.rglob("*")) == []


@pytest.mark.parametrize("root", ["/dev/null", "/dev/null/below", "/proc/nowhere"])
def test_a_data_folder_that_is_none_is_named(monkeypatch, root):
    monkeypatch.setenv("DEEPAUG_DATA", root)
    message = refusal(corpora.load, "wordnet")
    assert "could not be downloaded ([Errno" in message
    assert f"{root}/nltk_data" in message and "set DEEPAUG_DATA to the folder" in message


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("data.noun", "00001740 03 n 01 entity 0 000 a gloss without its bar\n"),
        ("data.noun", "00001740 44 n 01 entity 0 000 | of an unknown topic\n"),
        ("data.noun", b"00001740 01 n 01 entity 0 000 | \xff\n"),
        ("lexnames", "adj.all\n"),
        ("data.verb", None),
    ],
)
def test_a_damaged_corpus_is_named(root, file, content):
    wordnet(root / "nltk_data")
    path = root / "nltk_data" / "corpora" / "wordnet" / file
    path.unlink()
    if content is not None:
        written(path, content)
    assert str(path.parent) in refusal(corpora.load, "wordnet")


def test_a_damaged_archive_is_named(root):
    path = written(root / "nltk_data" / "corpora" / "wordnet.zip", b"PK not an archive")
    assert str(path) in refusal(corpora.load, "wordnet")


# Lee's news documents, in gensim's wheel


def test_lee_is_split_into_sentences():
    found = corpora.load("lee")
    assert len(found.sentences) == 2600 and found.classes == ()
    assert found.sentences[0].endswith("towards the town of Hill Top.")
    assert found.sentences[1].startswith("A new blaze near Goulburn")
    assert sum(len(s.split()) < 4 for s in found.sentences) < 30  # no crumbs: "Mr.", "U.S."


def test_lee_pairs_are_the_upper_triangle_halved():
    found = pairs.load("lee")
    validation, test = (found.splits[split]["spearman"] for split in ("validation", "test"))
    parts = [
        {frozenset(p) for p in zip(s.first, s.second, strict=True)} for s in (validation, test)
    ]
    assert [len(p) for p in parts] == [612, 613] and not parts[0] & parts[1]
    assert all(len(pair) == 2 for part in parts for pair in part)
    assert 0 <= min(validation.scores) < 0.25 and 0.9 < max(validation.scores) <= 1


def test_lee_without_gensim_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'deepaug[run]'" in refusal(corpora.load, "lee")
    assert "pip install 'deepaug[run]'" in refusal(pairs.load, "lee")


# Text files


def test_a_file_has_a_sentence_a_line(tmp_path):
    path = written(tmp_path / "a.txt", "One.\r\n\n  Two\u2028 still two. \nThree.\nOne.\n")
    found = corpora.load(str(path))
    assert found.sentences == ("One.", "Two\u2028 still two.", "Three.")
    assert found.classes == () and len(found.train) == 3


@pytest.mark.parametrize("line", ["Three.", "Three.\t", "\ttea", "Three.\ttea\tcoffee"])
def test_a_line_without_its_label_is_refused(tmp_path, line):
    path = written(tmp_path / "a.txt", f"One.\ttea\n\nTwo.\tcoffee\n{line}\n")
    with pytest.raises(DataError, match="line 4"):
        corpora.load(str(path))


@pytest.mark.parametrize("row", ["\tTwo.\t1", "One.\t \t1"])
def test_an_empty_sentence_of_a_pair_is_refused(tmp_path, row):
    rows = "\n".join(f"a {n}\tb {n}\t{n}" for n in range(20))
    path = written(tmp_path / "p.tsv", f"sentence1\tsentence2\tscore\n{rows}\n{row}\n")
    with pytest.raises(DataError, match=r"line 22: sentence. is empty"):
        pairs.load(str(path))


def test_a_byte_order_mark_is_no_text(tmp_path):
    path = written(tmp_path / "a.txt", "\ufeffOne.\nTwo.\n")
    assert corpora.load(str(path)).sentences == ("One.", "Two.")


def test_a_file_may_have_labels(tmp_path):
    lines = [f"sentence {n}\t{('tea', 'coffee')[n % 2]}" for n in range(40)]
    found = corpora.load(str(written(tmp_path / "a.txt", "\n".join(lines) + "\n")))
    assert found.classes == ("coffee", "tea") and found.labels.tolist() == [1, 0] * 20
    assert [len(getattr(found, split)) for split in SPLITS] == [32, 4, 4]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "0 different"),
        (" \n\n", "0 different"),
        ("One.\n", "1 different"),
        ("One.\nOne.\n", "1 different"),
        (b"Eins.\nZwei.\nDr\xe4i.\n", "line 3"),
        (b"\xff\xfeO\0n\0e\0", "line 1"),
        ("a\tx\nb\tx\n", "'x'"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path, content, words):
    path = written(tmp_path / "a.txt", content)
    message = refusal(corpora.load, path)
    assert str(path) in message and words in message


LABELLED = [f"s {n}\t{'abc'[n % 3]}" for n in range(40)]


@pytest.mark.parametrize(
    ("header", "order", "also"),
    [
        ("sentence\tlabel", (0, 1), "1 header"),
        ("\ufeff\nSentence\tLABEL\r", (0, 1), "1 header"),
        ("label\tsentence", (1, 0), "1 header"),
        ('"Sentence"\t"label"', (0, 1), "1 header"),
        ("text\tclass", (0, 1), "1 header"),
        ("category\tid\tdocument", (1, 1, 0), "1 header, 1 column 'id'"),
    ],
)
def test_a_header_is_neither_a_sentence_nor_a_class(tmp_path, header, order, also):
    plain = corpora.load(str(written(tmp_path / "plain.tsv", "\n".join(LABELLED))))
    rows = ["\t".join(row.split("\t")[n] for n in order) for row in LABELLED]
    path = written(tmp_path / "named.tsv", "\n".join([header, *rows]))
    found = corpora.load(str(path))
    assert found.classes == ("a", "b", "c") and found.sentences == plain.sentences
    assert found.digest == plain.digest and plain.told == "took 40 lines; left out nothing"
    assert found.told == f"took 40 lines; left out {also}"


def test_a_file_without_labels_may_have_a_header_too(tmp_path):
    found = corpora.load(str(written(tmp_path / "a.txt", "sentence\nOne.\nTwo.\nOne.\n")))
    assert found.sentences == ("One.", "Two.") and found.classes == ()
    assert found.told == "took 2 lines; left out 1 header, 1 equal to another"
    found = corpora.load(str(written(tmp_path / "b.txt", "text\nOne.\nTwo.\n")))
    assert len(found.sentences) == 3  # it may well be a sentence


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("sentence\tsentence\tlabel\na\tb\tc\n", "line 1: 2 columns are named 'sentence'"),
        ("label\tid\na\t1\n", "line 1: 0 columns are named 'sentence'"),
        ("sentence\tlabel\na\tx\nb\n", "line 3: 1 columns, not 2"),
        ("id\tsentence1\tscore\n1\ta\t2\n", "line 1: 3 columns, not 2 as in ['sentence', 'label']"),
    ],
)
def test_columns_that_are_not_there_are_named(tmp_path, content, told):
    assert told in refusal(corpora.load, written(tmp_path / "a.tsv", content))


@pytest.mark.parametrize("name", ["nowhere/a.txt", "a.txt"])
def test_a_missing_file_is_refused(name):
    assert name in refusal(corpora.load, name)


def test_a_folder_is_no_text_file(tmp_path):
    assert str(tmp_path) in refusal(corpora.load, tmp_path)


def test_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="'wordnet'"):
        corpora.load("wordnets")


def test_digest_is_of_sentences_and_labels(tmp_path):
    contents = ["a\tx\nb\ty\n", "a\tx\nb\tz\n", "a\tx\nc\ty\n"]
    digests = []
    for number, content in enumerate([*contents, contents[0]]):
        digests.append(corpora.load(str(written(tmp_path / f"{number}.txt", content))).digest)
    assert len(set(digests)) == 3 and digests[0] == digests[3]


def test_data_command_tells_what_was_found(tmp_path):
    path = written(tmp_path / "a.txt", "".join(f"s {n}\t{n % 2}\n" for n in range(40)))
    assert "32 train, 4 validation, 4 test sentences; 2 classes" in text.describe(str(path))


# Pairs in SentEval's layout


def sts(root, gold="5.0\n\n0.5\n\n2\n", inputs="a b\tc d\nx\ty\ne f\tg h\nx\ty\ni\tj\n"):
    for part in ("dev", "test"):
        rows = [
            f"main-captions\tMSRvid\t2012test\t{n:04}\t{n / 4:.3f}\tA \"{part} {n}.\tIt's {n}\tlink"
            for n in range(12)
        ]
        written(root / "sts" / "STSBenchmark" / f"sts-{part}.csv", "".join(f"{r}\n" for r in rows))
    for year in range(12, 17):
        folder = root / "sts" / f"STS{year}-en-test"
        written(folder / "STS.input.news.txt", inputs)
        written(folder / "STS.gs.news.txt", gold)
        written(folder / "STS.input.web.pages.txt", "k\tl\n")
        written(folder / "STS.gs.web.pages.txt", "1\n")
        written(folder / "STS.gs.SMT.txt", "1\n")  # STS13's, whose sentences are not free
        written(folder / "00-readme.txt", "about it\n")
    return root / "sts"


def test_sts_is_read_in_sentevals_layout(root):
    sts(root)
    splits = pairs.load("sts").splits
    assert list(splits["validation"]) == ["spearman"]
    assert list(splits["test"]) == ["spearman", "sts12", "sts13", "sts14", "sts15", "sts16"]
    dev = splits["validation"]["spearman"]
    assert (dev.first[3], dev.second[3], dev.scores[3]) == ('A "dev 3.', "It's 3", 0.75)
    assert len(dev.scores) == 12 and splits["test"]["spearman"].first[0] == 'A "test 0.'


def test_pairs_without_a_score_are_left_out_and_the_others_keep_theirs(root):
    sts(root)
    year = pairs.load("sts").splits["test"]["sts15"]
    assert year.first == ("a b", "e f", "i", "k") and year.second == ("c d", "g h", "j", "l")
    assert year.scores == (5.0, 0.5, 2.0, 1.0)


def test_missing_sts_says_where_it_was_looked_for(root):
    message = refusal(pairs.load, "sts")
    assert str(root / "sts") in message and "DEEPAUG_DATA" in message
    folder = sts(root)
    shutil.rmtree(folder / "STS14-en-test")
    assert "STS14" in refusal(pairs.load, "sts")
    folder = sts(root)
    (folder / "STS13-en-test" / "STS.gs.news.txt").unlink()
    assert "STS.gs.news.txt" in refusal(pairs.load, "sts")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gold": "5.0\n\n"}, "5 lines"),
        ({"gold": "5.0\n\nhigh\n\n2\n"}, "line 3"),
        ({"inputs": "a b\tc d\nx\ty\ne f\nx\ty\ni\tj\n"}, "line 3"),
    ],
)
def test_damaged_sts_is_named(root, changes, words):
    sts(root, **changes)
    message = refusal(pairs.load, "sts")
    assert "STS12" in message and words in message


# Pairs in a TSV file


def tsv(path, rows, columns="sentence1\tsentence2\tscore"):
    return written(path, columns + "\n" + "".join(f"{row}\n" for row in rows))


ROWS = [f"first {n}\tsecond {n}\t{n / 10}" for n in range(30)]


def test_a_tsv_file_is_halved_at_random(tmp_path):
    found = pairs.load(str(tsv(tmp_path / "p.tsv", ROWS)))
    parts = [found.splits[split]["spearman"] for split in ("validation", "test")]
    assert [len(part.scores) for part in parts] == [15, 15]
    for part in parts:
        for first, second, score in zip(part.first, part.second, part.scores, strict=True):
            assert first.split()[1] == second.split()[1] == str(round(10 * score))
    assert {*parts[0].first} | {*parts[1].first} == {f"first {n}" for n in range(30)}
    assert max(parts[0].scores) > 2 and min(parts[0].scores) < 1


def test_a_tsv_file_may_say_the_splits_in_columns_of_any_order(tmp_path):
    rows = [f"{n}\t{('test', 'validation')[n % 3 > 0]}\ta{n}\tb{n}\tx" for n in range(30)]
    columns = "score\tsplit\tsentence2\tsentence1\tnote"
    found = pairs.load(str(tsv(tmp_path / "p.tsv", rows, columns)))
    test = found.splits["test"]["spearman"]
    assert test.scores == tuple(range(0, 30, 3)) and test.first[1] == "b3"
    assert len(found.splits["validation"]["spearman"].scores) == 20


@pytest.mark.parametrize(
    "header", [None, "Sentence1\tsentence2\tSCORE", "\nscore\tsentence2\tsentence1"]
)
def test_a_tsv_file_of_pairs_may_have_a_header_as_one_of_sentences_may(tmp_path, header):
    named = pairs.load(str(tsv(tmp_path / "p.tsv", ROWS)))
    turned = ["\t".join(row.split("\t")[::-1]) for row in ROWS]
    rows = turned if header and "score" in header else ROWS
    path = written(tmp_path / "q.tsv", "\n".join([*([header] if header else []), *rows]))
    assert pairs.load(str(path)).splits == named.splits


@pytest.mark.parametrize(
    ("rows", "columns", "words"),
    [
        (ROWS, "first\tsecond\tlikeness", "line 1: score 'likeness' is not a number"),
        ([], "", "'sentence1'"),
        (ROWS, "sentence1\tsentence2\tscores", "'score'"),
        (ROWS, "sentence1,sentence2,score", "'sentence1'"),
        (ROWS, "sentence1\tsentence2\tscore\tscore", "2 columns are named 'score'"),
        (ROWS[:9], None, "9 pairs"),
        ([*ROWS[:4], "a\tb\tgood"], None, "line 6: score 'good'"),
        ([*ROWS[:4], "", "a\tb\tnan"], None, "line 7: score 'nan'"),
        ([*ROWS[:4], "a\tb"], None, "line 6: 2 columns"),
        ([*ROWS[:4], "", "a\tb\t1\tc"], None, "line 7: 4 columns, not 3"),
        ([], None, "0 pairs"),
        (ROWS, "sentence1\tsentence2\tscore\tsplit\tsplit", "2 columns are named 'split'"),
        ([f"a{n}\tb\t1" for n in range(30)], None, "equal"),
        (
            [f"{r}\tdev" for r in ROWS],
            "sentence1\tsentence2\tscore\tsplit",
            "line 2: unknown split",
        ),
        ([f"{r}\ttest" for r in ROWS], "sentence1\tsentence2\tscore\tsplit", "0 validation pairs"),
    ],
)
def test_a_tsv_file_that_cannot_be_used_is_refused(tmp_path, rows, columns, words):
    columns = "sentence1\tsentence2\tscore" if columns is None else columns
    path = tsv(tmp_path / "p.tsv", rows, columns)
    message = refusal(pairs.load, path)
    assert str(path) in message and words in message


def test_pairs_that_are_nowhere_are_refused():
    assert "'stsb'" in refusal(pairs.load, "stsb")


def test_the_first_origins_of_a_random_order_are_for_testing_the_next_for_validation():
    train, validation, test = corpora._split(torch.ones(50, dtype=torch.bool), torch.arange(50))
    rank = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    assert sorted(rank[test].tolist()) == [0, 1, 2, 3, 4]
    assert sorted(rank[validation].tolist()) == [5, 6, 7, 8, 9]
    assert len(train) == 40


def test_splits_are_the_same_every_time(root):
    """Whatever was drawn before."""
    wordnet(root / "nltk_data")
    before = corpora.load("wordnet"), pairs.load("lee")
    corpora.load.cache_clear()
    pairs.load.cache_clear()
    torch.manual_seed(1)
    random.seed(1)
    after = corpora.load("wordnet"), pairs.load("lee")
    assert torch.equal(before[0].test, after[0].test) and before[1] == after[1]


def test_a_vocabulary_is_not_learnt_from_held_out_sentences_of_a_labelled_file(tmp_path):
    path = tmp_path / "mine.tsv"
    path.write_text("".join(f"sentence {i}\tlabel{i % 2}\n" for i in range(100)))
    corpus = corpora.load(str(path))
    held_out = {corpus.sentences[i] for part in (corpus.validation, corpus.test) for i in part}
    assert held_out and not held_out & {*corpus.vocabulary}
