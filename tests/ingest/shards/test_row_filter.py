"""Filters over columns select what Milvus Lite selects, and say what they do not understand."""

from __future__ import annotations

import random
import re
import sys
import time

import numpy as np
import pytest
from milvus_lite import CollectionSchema, DataType, FieldSchema, MilvusLite

from vidsim.ingest.milvus.filters import differs, equals, is_after, is_in
from vidsim.ingest.shards.row_filter import FilterError, parse_filter
from vidsim.schemas.collections import FIELDS
from vidsim.schemas.rows import SCALARS

from ...helpers.repository import ROOT

TEXTS = [
    "snow",
    "rain",
    "Snow",
    "a_b",
    "50%",
    "b/a.mkv",
    'q"u',
    "it's",
    "x\\y",
    "äb",
    "😀",
    "l\nm",
    "",
]

COLUMNS = {
    "label": np.array(TEXTS, object),
    "video_id": np.array([f"lib/{i}" for i in range(len(TEXTS))]),
    "segment": np.arange(len(TEXTS)),
    "start_s": np.arange(len(TEXTS)) * 2.5,
}


def selected(expression, columns=COLUMNS):
    return np.flatnonzero(parse_filter(expression).mask(columns)).tolist()


@pytest.mark.parametrize(
    ("expression", "rows"),
    [
        ('label == "snow"', [0]),
        ("label == 'snow' or label == \"rain\"", [0, 1]),
        ('"snow" == label', [0]),
        ('label > "x"', [8, 9, 10]),
        ('label in ["rain", "snow",]', [0, 1]),
        ('label not in ["rain"] && segment < 3', [0, 2]),
        ("label in []", []),
        ("segment in [1, 2.0, 3.5, -4]", [1, 2]),
        ("start_s in [5]", [2]),
        ('label like "%now"', [0, 2]),
        ('label like "s%"', [0]),
        ('label like "%a%"', [1, 3, 5]),
        ('label like "_now"', [0, 2]),
        ('label like "_"', [10]),
        ('label like "%"', [*range(13)]),
        ('label like ""', [12]),
        ('label like "%/%.m_v"', [5]),
        (r'label like "a\\_b"', [3]),
        (r'label like "%\\%"', [4]),
        (r'label like "x\\\\%"', [8]),
        ('label like "l%m"', [11]),
        ("segment >= 10 and start_s < 30 and not (segment == 11)", [10]),
        ("not segment < 12", [12]),
        ("!(segment < 11 || segment > 11)", [11]),
        ("segment == 1 or segment == 2 and segment == 3", [1]),
        ("segment * 2.5 == start_s and segment / 2 > 5", [11, 12]),
        ("-segment + 1 == -(2 + 1)", [4]),
        ("1 - segment - 1 == --1 - 2", [1]),
        ("start_s == 2.5e0", [1]),
        ("1 / 0 > segment and segment > 11", [12]),
        ("segment > -9223372036854775808", [*range(13)]),
        ("video_id == 'lib/3' AND true", [3]),
        ("(segment == 4) == true", [4]),
        ("label is not null AND NOT label is null AND segment < 2", [0, 1]),
        ("false", []),
        ("True", [*range(13)]),
    ],
)
def test_it_selects_the_rows_that_match(expression, rows):
    assert selected(expression) == rows


@pytest.mark.parametrize("text", TEXTS)
def test_what_vidsim_quotes_is_understood(text):
    row = TEXTS.index(text)
    others = [i for i in range(len(TEXTS)) if i != row]
    assert selected(equals("label", text)) == selected(is_in("label", [text, "none"])) == [row]
    assert selected(differs("label", text)) == others
    assert selected(is_after("label", text)) == [i for i in others if TEXTS[i] > text]


def test_its_fields_are_those_that_are_named():
    parsed = parse_filter(
        'segment > 1 and (start_s < 2 or segment in [3]) and not label like "segment"'
    )
    assert parsed.fields == {"segment", "start_s", "label"}
    assert parse_filter("true").fields == frozenset()


@pytest.mark.parametrize("name", SCALARS)
def test_every_field_can_be_named(name):
    kind = next(field.kind for field in FIELDS if field.name == name)
    values = np.array(["a", "b"], object) if kind == "string" else np.array([1, 2])
    value = '"a"' if kind == "string" else "1"
    assert selected(f"{name} == {value}", {name: values}) == [0]


def test_the_examples_of_the_documentation_are_understood():
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    written = re.compile(r"(?:--filter |filter=|Milvus filter, e\.g\. )'([^'\n]+)'")
    examples = {example for page in pages for example in written.findall(page.read_text())}
    assert {'label == "snow"', 'label like "%Speech%"'} <= examples
    assert all(parse_filter(example).fields == {"label"} for example in examples)


def test_no_rows_and_one_row():
    assert parse_filter('label like "a%"').mask({"label": np.array([], object)}).shape == (0,)
    assert parse_filter("1 < 2 and segment == 3").mask({"segment": np.array([3])}).tolist() == [
        True
    ]


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("", "expected a value, not the end, at character 1"),
        (" ", "expected a value, not the end, at character 2"),
        ("labl == 'x'", "unknown field 'labl' at character 1"),
        ("label = 'x'", r"unexpected '=' \(did you mean '=='\?\) at character 7"),
        ("label ===== 3", "unexpected '='.* at character 11"),
        ("label ==", "expected a value after '==', not the end, at character 9"),
        ("label == 'x", "a string without an end at character 10"),
        ("label == 'x\n'", "a string without an end at character 10"),
        (r"label == '\q'", r"unknown escape '\\q' at character 11"),
        (r"label like 'a\\'", r"the pattern ends in a '\\' that escapes nothing at character 12"),
        ("label == 3", "'==' cannot compare a string with a number at character 7"),
        (
            "0 < segment < 5",
            r"cannot compare a condition with a number \(join comparisons with 'and'\)",
        ),
        ("segment like '3%'", "'like' needs a string, not a number, at character 9"),
        ("label like segment", "expected a string, not 'segment', at character 12"),
        ("segment in ['3']", "expected a number, not ''3'', at character 13"),
        ("segment in [1, '3']", "expected a number"),
        ("segment in [1 2]", "expected ',', not '2', at character 15"),
        ("segment in [1, label]", "expected a value or ']', not 'label',"),
        ("segment in 3", r"expected '\[', not '3', at character 12"),
        ("segment not 3", "expected 'in', not '3', at character 13"),
        ("segment + 1 in [3]", "expected a field before 'in' at character 13"),
        ("segment is 3", "expected 'null', not '3', at character 12"),
        ("label + 'x' == 'y'", r"'\+' needs a number, not a string, at character 7"),
        ("-label == 'x'", "'-' needs a number, not a string, at character 1"),
        ("label and true", "'and' needs a condition, not a string, at character 7"),
        ("not label", "'not' needs a condition, not a string, at character 1"),
        ("segment", "expected a condition, not a number, at character 1"),
        ("segment == 1)", r"unexpected '\)' at character 13"),
        ("(segment == (1)", r"a '\(' without '\)' at character 1"),
        ("segment == 1 label", "unexpected 'label' at character 14"),
        ("segment in [1] == true", "unexpected '==' at character 16"),
        ("segment == not 1", "expected a value after '==', not 'not', at character 12"),
        ("segment == 9223372036854775808", "an integer over 64 bits at character 12"),
        (f"segment == {'9' * 5000}", "an integer over 64 bits at character 12"),
        ("segment % 2 == 0", "unexpected '%' at character 9"),
        ("text_match(label, 'x')", "unknown field 'text_match'"),
        ("label['x'] == 'y'", r"unexpected '\['"),
        ("exists label", "expected a value, not 'exists',"),
        ("vector == 1", "unknown field 'vector'"),
    ],
)
def test_what_is_not_understood_is_explained(expression, reason):
    with pytest.raises(FilterError, match=reason) as raised:
        parse_filter(expression)
    assert 0 <= raised.value.position <= len(expression)


@pytest.mark.parametrize(
    ("expression", "rows"),
    [
        ("(" * 10_000 + "segment == 1" + ")" * 10_000, [1]),
        ("not " * 10_001 + "segment == 1", [0, *range(2, 13)]),
        ("-(" * 10_000 + "segment" + ")" * 10_000 + " == 1", [1]),
        ("segment == 1" + "+0" * 10_000, [1]),
        (" or ".join(["segment == 1"] * 1000), [1]),
        (is_in("label", [*map(str, range(100_000)), "snow"]), [0]),
    ],
    ids=["parentheses", "not", "minus", "sum", "or", "ids"],
)
def test_deep_and_long_expressions_work(expression, rows):
    assert sys.getrecursionlimit() < 10_000
    assert selected(expression) == rows


@pytest.mark.parametrize("wrong", ["(" * 10_000, "not " * 10_000, "-" * 10_000, ")" * 10_000])
def test_deep_nonsense_is_refused(wrong):
    with pytest.raises(FilterError):
        parse_filter(wrong)


def test_no_pattern_takes_exponential_time():
    column = {"path": np.array(["a" * 2000] * 10, object)}
    begin = time.monotonic()
    assert selected(f'path like "{"%a" * 30}b"', column) == []
    assert selected(f'path like "{"%a" * 30}%"', column) == [*range(10)]
    assert selected(f'path like "{"%_a" * 30}_b"', column) == []
    assert time.monotonic() - begin < 1


LETTERS = ["a", "b", "B", "é", "😀", "%", "_", "\\", '"', "'", "\n", "\t", ".", "*", "(", "[", " "]


def text(chance: random.Random) -> str:
    return "".join(chance.choices(LETTERS, k=chance.choice([0, 1, 1, 2, 2, 3, 5])))


def quoted(value: str, chance: random.Random) -> str:
    escapes = {"\\": r"\\", "\n": r"\n", "\r": r"\r"} | (
        {"\t": r"\t"} if chance.random() < 0.5 else {}
    )
    mark = chance.choice("\"'")
    return mark + value.translate(str.maketrans(escapes | {mark: f"\\{mark}"})) + mark


def number(chance: random.Random) -> str:
    return chance.choice(
        ["0", "1", "2", "3", "4", "007", "-1", "1.5", "2.0", "3e0", "1E+1", "25e-1", "-2.5"]
    )


def numeric(chance: random.Random, depth: int) -> str:
    if depth == 0 or chance.random() < 0.4:
        return chance.choice(["segment", "start_s", "end_s", number(chance)])
    left, right = numeric(chance, depth - 1), numeric(chance, depth - 1)
    form = chance.choice(
        ["{} + {}", "{} - {}", "{} * {}", "{}/{}", "({} + {})", "-({} - {})", "- {}", "({})"]
    )
    return form.format(left, right)


def textual(chance: random.Random) -> str:
    names = ["label", "label", "path", "video_id", "library", "id", "fingerprint"]
    return chance.choice([*names, quoted(text(chance), chance)])


def pattern(chance: random.Random) -> str:
    # Without a backslash that escapes a letter or itself: see the docstring of `row_filter`.
    pieces = ["%", "%", "%", "_", r"\%", r"\_", "a", "b", "B", "é", ".", "*", "(", "\n", "'", '"']
    return quoted("".join(chance.choices(pieces, k=chance.randint(0, 6))), chance)


def comparison_or_test(chance: random.Random) -> str:
    comparison = chance.choice(["==", "!=", "<", "<=", ">", ">="])
    negated = chance.choice(["", "not "])
    match chance.randrange(8):
        case 0 | 1:
            return f"{numeric(chance, 2)} {comparison} {numeric(chance, 1)}"
        case 2 | 3:
            return f"{textual(chance)}{comparison}{textual(chance)}"
        case 4:
            values = [quoted(text(chance), chance) for _ in range(chance.randrange(5))]
            return f"label {negated}in [{', '.join(values)}]"
        case 5:
            values = [number(chance) for _ in range(chance.randint(1, 4))]
            return f"{chance.choice(['segment', 'start_s'])} {negated}in [{','.join(values)},]"
        case 6:
            return f"{textual(chance)} like {pattern(chance)}"
    return chance.choice(
        ["true", "FALSE", "label is null", "segment IS NOT NULL", "segment == 1 == true"]
    )


def condition(chance: random.Random, depth: int) -> str:
    if depth == 0:
        return comparison_or_test(chance)
    left, right = condition(chance, depth - 1), condition(chance, chance.randrange(depth))
    forms = [
        "{} and {}",
        "{} or {}",
        "{} && {}",
        "{}||{}",
        "({} AND {})",
        "({} Or {})",
        "not {}",
        "!({})",
        "(({}))",
    ]
    return chance.choice(forms).format(left, right)


def spoiled(expression: str, chance: random.Random) -> str:
    """The expression with a character less, more, or another."""
    at = chance.randrange(len(expression) + 1)
    put = chance.choice(
        ["", "", "(", ")", "not ", "-", "=", "<", "'", "0", "x", ",", " and ", "label", " in "]
    )
    return expression[:at] + put + expression[at + chance.choice([0, 1, 1, 4]) :]


@pytest.fixture(scope="module")
def rows():
    chance = random.Random(20)
    kinds = {
        "string": text,
        "integer": lambda c: c.randrange(5),
        "number": lambda c: c.randrange(12) / 2,
    }
    rows = [{f.name: kinds[f.kind](chance) for f in FIELDS} for _ in range(300)]
    return [row | {"id": f"{row['id']}#{i}"} for i, row in enumerate(rows)]


@pytest.fixture(scope="module")
def lite(rows, tmp_path_factory):
    """A collection of Milvus Lite that holds `rows`."""
    kinds = {"string": DataType.VARCHAR, "integer": DataType.INT64, "number": DataType.DOUBLE}
    fields = [
        FieldSchema(name=f.name, dtype=kinds[f.kind], is_primary=f.name == "id") for f in FIELDS
    ]
    vector = FieldSchema(name="vector", dtype=DataType.FLOAT_VECTOR, dim=2)
    milvus = MilvusLite(str(tmp_path_factory.mktemp("lite")))
    collection = milvus.create_collection("rows", CollectionSchema(fields=[*fields, vector]))
    collection.insert([row | {"vector": [1.0, 0.0]} for row in rows])
    collection.load()
    yield collection
    milvus.close()


@pytest.fixture(scope="module")
def columns(rows):
    kinds = {"string": object, "integer": np.int64, "number": np.float64}
    return {f.name: np.array([row[f.name] for row in rows], kinds[f.kind]) for f in FIELDS}


def by_lite(lite, expression):
    """The ids that Milvus Lite selects; None where it refuses."""
    try:
        return {row["id"] for row in lite.query(expression, output_fields=["id"])}
    except Exception:
        return None


def by_us(columns, expression):
    try:
        return set(columns["id"][parse_filter(expression).mask(columns)])
    except FilterError:
        return None


@pytest.mark.parametrize("seed", range(6))
def test_milvus_lite_selects_the_same_rows(lite, columns, seed):
    chance = random.Random(seed)
    several = 0
    for _ in range(60):
        expression = condition(chance, chance.randrange(4))
        expected = by_lite(lite, expression)
        assert expected is not None, expression
        assert by_us(columns, expression) == expected, expression
        several += 0 < len(expected) < len(columns["id"])
    assert several > 15, "most tell nothing"


@pytest.mark.parametrize("seed", range(6))
def test_milvus_lite_refuses_the_same_expressions(lite, columns, seed):
    chance = random.Random(seed)
    refused = 0
    for _ in range(50):
        expression = spoiled(condition(chance, chance.randrange(3)), chance)
        expected = by_lite(lite, expression)
        assert by_us(columns, expression) == expected, expression
        refused += expected is None
    assert 15 < refused < 49


def test_zeros_before_an_integer_do_not_count_however_many():
    assert selected(f"segment == {'0' * 6000}3") == [3]
    assert selected(f"segment == {'0' * 6000}") == [0]
    with pytest.raises(FilterError, match="over 64 bits"):
        parse_filter(f"segment == {'0' * 6000}{'9' * 6000}")
