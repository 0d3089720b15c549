import json
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from lineshaft_event_router.subscriptions.retrying import RetrySchedule, retry_after_seconds
from lineshaft_event_router.subscriptions.signing import (
    BadSecretError,
    key_of,
    make_secret,
    signatures,
)
from standardwebhooks import Webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW = datetime(2026, 3, 2, 6, 15, tzinfo=UTC)


def test_the_fixed_vector_of_standard_webhooks_is_signed_alike() -> None:
    """From the reference libraries' own tests."""
    body = b'{"test": 2432232314}'
    assert (
        signatures([key_of(SECRET)], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
        == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


@pytest.mark.parametrize("accepted", [0, 1])
def test_the_published_verifier_accepts_both_signatures_of_a_rotation(accepted: int) -> None:
    secrets = [make_secret(), make_secret()]
    body = json.dumps({"text": "Grüße 工"}).encode()
    at = int(datetime.now(UTC).timestamp())
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(at),
        "webhook-signature": signatures([key_of(one) for one in secrets], "msg_1", at, body),
    }
    assert Webhook(secrets[accepted]).verify(body, headers) == {"text": "Grüße 工"}


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
)
def test_a_bad_secret_is_refused(secret: str) -> None:
    with pytest.raises(BadSecretError):
        key_of(secret)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("999999999", 86_400.0),
        ("Mon, 02 Mar 2026 06:16:00 GMT", 60.0),
        ("Mon, 02 Mar 2026 06:00:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400.0),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("9" * 400, None),
        (None, None),
    ],
)
def test_retry_after_is_read_as_http_says(value: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(value, NOW) == seconds


def test_waits_double_up_to_a_bound_and_are_random_below_it() -> None:
    schedule = RetrySchedule(
        retry_for=timedelta(days=1), delay_seconds=5.0, delay_seconds_max=7200.0
    )
    random = Random(1)
    for attempts, bound in [(1, 5), (2, 10), (5, 80), (12, 7200), (10_000, 7200)]:
        waits = [
            (schedule.next_at(attempts, NOW, random) - NOW).total_seconds() for _ in range(2000)
        ]
        assert 0 <= min(waits) < bound * 0.02
        assert bound * 0.98 < max(waits) <= bound
        assert abs(sum(waits) / len(waits) - bound / 2) < bound * 0.05


def test_nothing_is_tried_before_the_receiver_wants_it() -> None:
    schedule = RetrySchedule(retry_for=timedelta(days=1), delay_seconds=0.1, delay_seconds_max=0.1)
    assert schedule.next_at(1, NOW, Random(1), retry_after=60) == NOW + timedelta(minutes=1)


def test_a_day_after_the_first_failure_an_event_is_given_up() -> None:
    schedule = RetrySchedule(retry_for=timedelta(days=1), delay_seconds=5, delay_seconds_max=60)
    assert not schedule.is_exhausted(NOW, NOW + timedelta(hours=23))
    assert schedule.is_exhausted(NOW, NOW + timedelta(hours=24))
