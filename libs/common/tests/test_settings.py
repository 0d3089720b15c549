"""Settings from the environment."""

import pytest
from lineshaft_common.settings import DatabaseSettings, SettingsError


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("LINESHAFT_AMQP_URL", "amqp://user:secret@localhost/lineshaft")
    monkeypatch.setenv("LINESHAFT_POSTGRES_URL", "postgresql://user:secret@localhost/db")
    return monkeypatch


def test_what_is_not_given_has_a_default(environment: pytest.MonkeyPatch) -> None:
    settings = DatabaseSettings.from_environment()
    assert settings.metrics_interval_seconds == 30
    assert settings.http_host == "127.0.0.1"
    assert settings.instance != DatabaseSettings.from_environment().instance


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTP_PORT", "70000"),
        ("METRICS_INTERVAL_SECONDS", "0"),
        ("LOG_LEVEL", "loud"),
        ("INSTANCE", "Not a word"),
        ("AMQP_URL", "http://localhost"),
    ],
)
def test_a_malformed_value_stops_the_process_with_its_variable(
    environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    environment.setenv(f"LINESHAFT_{name}", value)
    with pytest.raises(SettingsError, match=f"LINESHAFT_{name}: "):
        DatabaseSettings.from_environment()


def test_every_missing_value_is_named_and_no_secret_is_told(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.delenv("LINESHAFT_AMQP_URL")
    environment.setenv("LINESHAFT_POSTGRES_URL", "postgresql://user:secret@:port/")
    with pytest.raises(SettingsError) as stopped:
        DatabaseSettings.from_environment()
    assert "LINESHAFT_AMQP_URL: Field required" in str(stopped.value)
    assert "LINESHAFT_POSTGRES_URL" in str(stopped.value)
    assert "secret" not in str(stopped.value)
