from __future__ import annotations

import pytest
from pydantic import BaseModel, ValidationError

from asi_core.errors import InvalidInput, one_sentence, shortened
from asi_core.units import (
    fewer_or_more,
    format_bytes,
    format_count,
    format_seconds,
    less_or_more,
    signed,
    than_vanilla,
    three_digits,
)


class Record(BaseModel):
    count: int


def test_a_sentence_has_rule_value_and_remedy() -> None:
    error = InvalidInput("rank must be at least 1", 0, "choose 1 or more")
    assert one_sentence(error) == "rank must be at least 1, got 0: choose 1 or more."


def test_validation_errors_become_one_line() -> None:
    with pytest.raises(ValidationError) as caught:
        Record(count="many")  # type: ignore[arg-type]
    sentence = one_sentence(caught.value)
    assert sentence.startswith("count: ")
    assert "'many'" in sentence
    assert "\n" not in sentence


def test_the_middle_of_a_long_text_is_cut() -> None:
    assert shortened("all of it", 9) == "all of it"
    assert shortened("0123456789", 9) == "012345…89"
    assert len(shortened("x" * 10**6, 400)) == 400


def test_long_values_are_shortened() -> None:
    with pytest.raises(ValidationError) as caught:
        Record.model_validate({"count": "x" * 10**6})
    assert len(one_sentence(caught.value)) < 200


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1 023 B"),
        (1536, "1.5 KiB"),
        (6.19 * 2**20, "6.19 MiB"),
        (2**31, "2 GiB"),
    ],
)
def test_bytes(count: float, text: str) -> None:
    assert format_bytes(count).replace("\u202f", " ") == text


def test_counts_and_seconds() -> None:
    assert format_count(1_617_518_592, "MACs").replace("\u202f", " ") == "1.62 GMACs"
    assert format_count(12, "MACs").replace("\u202f", " ") == "12 MACs"
    assert format_seconds(0.0331).replace("\u202f", " ") == "33.1 ms"
    assert format_seconds(75.2).replace("\u202f", " ") == "75.2 s"
    assert format_seconds(125).replace("\u202f", " ") == "2 min 5 s"
    assert three_digits(12345) == "12\u202f345"


def plain_spaces(text: str) -> str:
    return text.replace("\u202f", " ")


def test_negative_numbers_have_a_real_minus_and_a_unit() -> None:
    assert plain_spaces(format_bytes(-348_160)) == "\u2212340 KiB"
    assert plain_spaces(format_count(-1500, "MACs")) == "\u22121.5 kMACs"
    assert three_digits(-0.51234) == "\u22120.512"
    assert signed(-0.44) == "\u22120.4"
    assert signed(1) == "+1.0"
    assert signed(-0.02) == "0.0"


def test_ratios_say_less_or_more() -> None:
    assert plain_spaces(less_or_more(1, 64)) == "64 × less"
    assert plain_spaces(than_vanilla(243, 100)) == "2.43 × more than vanilla"
    assert than_vanilla(100, 100) == "the same as vanilla"


def test_small_differences_of_counts_are_percentages() -> None:
    assert plain_spaces(fewer_or_more(68, 100, "MACs")) == "32 % fewer MACs"
    assert plain_spaces(fewer_or_more(136, 100, "MACs")) == "36 % more MACs"
    assert plain_spaces(fewer_or_more(243, 100, "MACs")) == "2.43 × more MACs"
    assert plain_spaces(fewer_or_more(25, 100, "")) == "4 × fewer"
    assert fewer_or_more(100, 100, "MACs") == "as many MACs"


def test_a_minute_has_no_sixtieth_second() -> None:
    assert plain_spaces(format_seconds(419.7)) == "7 min 0 s"
