"""Specs as people write them: JSON, YAML, and `--set` on the command line."""

import io
import json
from pathlib import Path

import pytest

from cli.errors import ServiceRefused, SpecUnreadable
from cli.specs import parse_yaml, read_spec, set_value, text_explained


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("2E5", 200_000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-2.5e+3", -2500.0),
        ("0", 0),
        ("-17", -17),
        ("true", True),
        ("False", False),
        ("null", None),
        ("", None),
        ("full", "full"),
        ("yes", "yes"),
        ("010", "010"),
        ("12:30", "12:30"),
        ("2026-01-01", "2026-01-01"),
        (".nan", ".nan"),
        ('"3"', "3"),
        ("[1, 2.0, x]", [1, 2.0, "x"]),
        ("{name: sgd, lr: 1e-1}", {"name": "sgd", "lr": 0.1}),
    ],
)
def test_a_scalar_is_what_its_writer_means(text: str, value: object) -> None:
    parsed = parse_yaml(text, "text")
    assert parsed == value
    assert type(parsed) is type(value)


def test_the_same_spec_is_read_from_json_and_from_yaml(tmp_path: Path) -> None:
    spec = {"dataset": {"name": "digits"}, "optimizer": {"lr": 0.001}, "epochs": 3}
    as_json, as_yaml = tmp_path / "spec.json", tmp_path / "spec.yaml"
    as_json.write_text(json.dumps(spec))
    as_yaml.write_text("dataset: {name: digits}\noptimizer:\n  lr: 1e-3\nepochs: 3\n")
    assert read_spec(str(as_json)) == read_spec(str(as_yaml)) == spec


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('{"epochs": 3}'))
    assert read_spec("-") == {"epochs": 3}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"epochs": ', "not JSON, line 1, column 12"),
        ('{"epochs": 1, "epochs": 2}', "`epochs` stands twice in one object"),
        ("epochs: 1\na:\n  b: 1\n  b: 2\n", "`b` stands twice, on line 3 and on line 4"),
        ('{"lr": NaN}', "NaN is no number"),
        ("a: [1", "neither JSON nor YAML"),
        ("[1, 2]", "a spec is an object"),
        ("", "a spec is an object"),
        ("[" * 10_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("!!python/object:os.system {}", "neither JSON nor YAML"),
    ],
    ids=lambda value: value[:20],
)
def test_what_is_no_spec_is_refused_by_name(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "spec.txt"
    file.write_text(text)
    with pytest.raises(SpecUnreadable, match=reason) as refused:
        read_spec(str(file))
    assert str(file) in str(refused.value)


def test_a_json_file_is_never_read_as_yaml(tmp_path: Path) -> None:
    file = tmp_path / "spec.json"
    file.write_text("{\n  epochs: 3}")
    with pytest.raises(SpecUnreadable, match="not JSON, line 2, column 3"):
        read_spec(str(file))
    assert read_spec(str(file.rename(tmp_path / "spec.yaml"))) == {"epochs": 3}


def test_a_number_where_text_is_wanted_is_refused_with_the_cure() -> None:
    errors = [{"loc": ["name"], "msg": "text is expected"}, {"loc": ["epochs"], "msg": "no"}]
    refusal = ServiceRefused(422, {"title": "The spec breaks a rule", "errors": errors})
    with pytest.raises(SpecUnreadable) as refused, text_explained(["epochs=x", "name=123"]):
        raise refusal
    assert str(refused.value).splitlines()[1:] == [
        "  name: text is expected",
        "  epochs: no",
        "  as text: --set 'name=\"123\"'",
    ]
    with pytest.raises(ServiceRefused), text_explained(["epochs=x"]):
        raise refusal


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecUnreadable, match="No such file"):
        read_spec(str(tmp_path / "missing.json"))
    (tmp_path / "picture").write_bytes(b"\x89PNG\xff")
    with pytest.raises(SpecUnreadable, match="not UTF-8"):
        read_spec(str(tmp_path / "picture"))


def test_set_reaches_into_objects_and_lists_and_makes_what_is_missing() -> None:
    spec = {"network": {"layers": [{"conv": {"channels": 8}}, {"relu": {}}]}, "epochs": 1}
    set_value(spec, "network.layers.0.conv.channels=32")
    set_value(spec, "network.layers.1={gelu: {}}")
    set_value(spec, "optimizer.lr=1e-2")
    set_value(spec, "name=a=b")
    assert spec == {
        "network": {"layers": [{"conv": {"channels": 32}}, {"gelu": {}}]},
        "epochs": 1,
        "optimizer": {"lr": 0.01},
        "name": "a=b",
    }


@pytest.mark.parametrize(
    ("assignment", "reason"),
    [
        ("epochs", "path=value"),
        ("=3", "path=value"),
        ("epochs.first=3", "no place for 'first'"),
        ("layers.2=x", "none of the list's 2 places"),
        ("layers.one=x", "none of the list's 2 places"),
        ("epochs=[1", "neither JSON nor YAML"),
    ],
)
def test_a_set_that_leads_nowhere_is_refused(assignment: str, reason: str) -> None:
    with pytest.raises(SpecUnreadable, match=reason):
        set_value({"epochs": 1, "layers": [1, 2]}, assignment)
