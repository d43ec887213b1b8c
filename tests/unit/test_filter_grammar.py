"""The filter language: what it understands, and where it says that it does not."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from models.domain.errors import FilterInvalid
from models.domain.search import parse_filter
from models.domain.search.conditions import (
    Comparison,
    Either,
    Every,
    Likeness,
    Membership,
    Opposite,
)
from models.domain.search.fields import find_field
from models.domain.search.grammar import MOST_CHARACTERS, MOST_CONDITIONS, MOST_LEVELS

LOSS = find_field("loss")


def refusal(text: str) -> tuple[int, str]:
    with pytest.raises(FilterInvalid) as caught:
        parse_filter(text)
    return caught.value.position, str(caught.value)


def test_and_binds_closer_than_or_and_not_closest() -> None:
    one, two, three = (Comparison(LOSS, "=", n) for n in (1, 2, 3))  # type: ignore[arg-type]
    assert parse_filter("loss = 1 or loss = 2 and loss = 3") == Either((one, Every((two, three))))
    assert parse_filter("(loss=1 or loss=2) and loss=3") == Every((Either((one, two)), three))
    assert parse_filter("not loss = 1 and loss = 2") == Every((Opposite(one), two))
    assert parse_filter("NOT NOT\tloss=1") == one


def test_words_of_the_language_may_be_names_of_tags() -> None:
    made = parse_filter("tags.and = 'x' AND NOT tags.in LIKE 'y' or tags.not in ('or')")
    assert made == Either(
        (
            Every(
                (
                    Comparison(find_field("tags.and"), "=", "x"),  # type: ignore[arg-type]
                    Opposite(Likeness(find_field("tags.in"), "y")),
                )
            ),
            Membership(find_field("tags.not"), ("or",)),
        )
    )


def test_a_quote_is_doubled_and_a_name_with_other_characters_is_quoted() -> None:
    made = parse_filter("""tags."a.b ""c""" + '"' + """ = 'it''s'""")
    assert isinstance(made, Comparison)
    assert made.field.path == ("tags", 'a.b "c')
    assert made.value == "it's"
    assert find_field(str(made.field)) == made.field


@pytest.mark.parametrize(
    ("text", "position", "said"),
    [
        ("", 1, "the filter ends here; expected: a field, not, ("),
        ("loss", 5, "the filter ends here; expected: = != < <= > >=, not, like, in"),
        ("loss = ", 8, "the filter ends here; expected: text in '…', a number, true, false, null"),
        ("loss == 1", 7, "expected: text in '…', a number"),
        ("loss = 1 loss = 2", 10, "expected: and, or, the end"),
        ("(loss = 1", 10, "the filter ends here; expected: )"),
        ("loss in (1, 2", 14, "expected: ), a comma"),
        ("loss = 'x", 8, "expected: text in '…', a number"),
        ("loss = 1x", 8, "expected: text in '…', a number"),
        ("loss = 'x'", 8, "latest.loss is a number: compare it with a number"),
        ("loss = 1e999", 8, "larger than any"),
        ("loss like '1'", 11, "like goes with text"),
        ("loss < null", 8, "null, true and false are neither less nor greater"),
        ("name in ('a', null)", 15, "null is asked for by name = null"),
        ("name = 5", 8, "name is text: compare it with text in '…'"),
        ("name like 'x\\'", 11, "a backslash at a pattern's end"),
        ("state = 'runing'", 9, "did you mean 'running'?"),
        ("state = 'x'", 9, "it is one of queued, running"),
        ("state < 'running'", 9, "state has no order"),
        ("loss = 1 and summary.bestloss < 1", 14, "did you mean summary.best_loss?"),
        ("spec.optimiser.lr < 1", 1, "spec.optimiser is no field: did you mean spec.optimizer?"),
        ("spec.stop.target_los < 1", 1, "did you mean spec.stop.target_loss?"),
        ("spec.epochs.x = 1", 1, "spec.epochs.x is no field"),
        ("tags = 'x'", 1, "tags.<key>"),
        ("metrics.f1 > 0.5", 1, "metrics.<name>.last"),
        ("created_at > 'yesterday'", 14, "RFC 3339"),
        ("created_at > '2026-02-30T00:00:00Z'", 14, "RFC 3339"),
        ("created_at > '2026-01-31T12:00:00'", 14, "RFC 3339"),
        ("reproducible = 1", 16, "true or false"),
        ("id = 'x'", 6, "a UUID"),
        ("spec.epochs = NaN", 15, "JSON, which has no such number"),
        ("spec" + ".a" * 20 + " = 1", 1, "at most 16 names"),
    ],
)
def test_a_refusal_points_at_the_place_and_says_what_was_expected(
    text: str, position: int, said: str
) -> None:
    assert refusal(text)[0] == position
    assert said in refusal(text)[1]
    assert f"at character {position}: " in refusal(text)[1]


def test_length_depth_and_number_of_conditions_are_bounded() -> None:
    assert refusal("x" * (MOST_CHARACTERS + 1))[0] == MOST_CHARACTERS + 1
    many = " or ".join(["loss=1"] * MOST_CONDITIONS)
    parse_filter(many)
    assert "at most 100 conditions" in refusal(f"{many} or loss=1")[1]
    assert "at most 100 conditions" in refusal(f"not not ({many}) or loss=1")[1]
    deep = "not (loss=1 or " * MOST_LEVELS + "loss=1" + ")" * MOST_LEVELS
    assert "more than 20 levels" in refusal(deep)[1]


@pytest.mark.parametrize("text", ["(" * 1_990 + "loss=1" + ")" * 1_990, "not " * 990 + "loss=1"])
def test_parentheses_and_nots_without_end_use_up_nothing(text: str) -> None:
    assert parse_filter(text) == parse_filter("loss=1")


WORDS = st.sampled_from(
    [
        "loss",
        "name",
        "state",
        "spec.optimizer.lr",
        "tags.x",
        "plan.epochs",
        "=",
        "!=",
        "<",
        "<=",
        ">",
        ">=",
        "like",
        "in",
        "and",
        "or",
        "not",
        "(",
        ")",
        "'x'",
        "'running'",
        "1",
        "-2.5e3",
        "NaN",
        "-Infinity",
        "true",
        "null",
        "'2026-01-01T00:00:00Z'",
        ".",
        ",",
        "\\",
        "'",
        '"',
    ]
)


@given(st.text(max_size=60) | st.lists(WORDS, max_size=14).map(" ".join))
@example("'\ud800'")
@example("loss = '\x00'")
@example("spec." + "9" * 400 + " = 1")
@example("loss = " + "9" * 3_000)
@example("loss = \N{ARABIC-INDIC DIGIT ONE}")
def test_any_text_is_a_filter_or_is_refused_at_a_place_in_it(text: str) -> None:
    place = 1
    try:
        parse_filter(text)
    except FilterInvalid as error:
        place = error.position
    assert 1 <= place <= len(text) + 1
