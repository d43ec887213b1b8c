"""A run's figures, for people and for programs."""

import json

from foundation.faults import Moment
from tests.chaos.control import Action, Hit
from tests.chaos.report import Report


def test_the_figures_can_be_read_and_parsed() -> None:
    report = Report(7, rounds=2, taken_seconds=[3.0, 2.0, 9.0])
    report.faults.update(["stop", "stop", "pause"])
    report.outcomes.update(["lost", "open"])
    report.count_hits([Hit(Moment.CLAIM, Action.KILL, 1, 0.0)])
    lines = {line[:52].strip(): line[53:] for line in report.lines()}
    assert lines["seed"] == "7"
    assert (lines["faults"], lines["stop"], lines["pause"]) == ("3", "2", "1")
    assert (lines["claim"], lines["rewind"]) == ("1", "0")
    assert lines["a lone worker's death to the queue"] == "3.0 s, at most 9.0 s"
    parsed = json.loads(report.json())
    assert parsed["faults"] == {"stop": 2, "pause": 1}
    assert parsed["hits"] == {str(moment): int(moment is Moment.CLAIM) for moment in Moment}
