"""Settings: an empty variable is an unset one, and a password is never shown."""

import pytest
from pydantic import ValidationError

from foundation.settings import Settings


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    # docker-compose passes every variable it names, set or not.
    monkeypatch.setenv("GRADBOOK_DATABASE_URL", "")
    monkeypatch.setenv("GRADBOOK_WORKER_SLOTS", "")
    settings = Settings()
    assert settings.database.url is None
    assert settings.worker.slots is None


def test_the_first_word_of_a_name_is_its_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADBOOK_WORKER_LEASE_SECONDS", "2.5")
    monkeypatch.setenv("GRADBOOK_WORKER_QUEUES", "default, large")
    settings = Settings()
    assert settings.worker.lease_seconds == 2.5
    assert settings.worker.queue_names == ("default", "large")


def test_a_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADBOOK_DATABASE_URL", "postgresql://u:canary@127.0.0.1/x")
    monkeypatch.setenv("GRADBOOK_BROKER_URL", "redis://:canary@127.0.0.1/0")
    assert "canary" not in repr(Settings())
    assert "canary" not in Settings().model_dump_json()


def test_packages_whose_code_a_job_may_name_are_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().entrypoint_packages == ()
    monkeypatch.setenv("GRADBOOK_ENTRYPOINTS", "team_vision, losses,")
    assert Settings().entrypoint_packages == ("team_vision", "losses")


@pytest.mark.parametrize("name", ["os", "subprocess", "builtins", "worker", "team.nets", "a b"])
def test_neither_the_standard_library_nor_ours_can_be_listed(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("GRADBOOK_ENTRYPOINTS", f"team_vision,{name}")
    with pytest.raises(ValidationError, match=name.replace(".", r"\.")):
        Settings()
