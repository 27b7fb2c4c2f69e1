"""Verifiers are those that Postgres itself makes."""

from __future__ import annotations

import base64

import pytest
from ansible_collections.rackspread.ha.plugins.module_utils import scram

POSTGRES = (
    "SCRAM-SHA-256$4096:1HwFrPmdlwGedPV5A2CBqg==$bvPEHaITXnX4NWrHpK0mNIEBmbAns1/heQ7Sq4DT7cs="
    ":y8TYkqAlRW2xFLcG0Wzp8lUB8zkmycPKgxVd5IAmk74="
)
"""What PostgreSQL 17.11 made of CREATE ROLE … PASSWORD 'pencil 7%'."""


def test_it_is_what_postgres_makes() -> None:
    assert scram.verifier("pencil 7%", base64.b64decode("1HwFrPmdlwGedPV5A2CBqg==")) == POSTGRES


def test_a_password_is_known_again() -> None:
    assert scram.matches(POSTGRES, "pencil 7%")
    assert scram.matches(scram.verifier("other"), "other")


@pytest.mark.parametrize("stored", [None, "", "md5abc", POSTGRES[:-5]])
def test_what_is_no_verifier_matches_nothing(stored: str | None) -> None:
    assert not scram.matches(stored, "pencil 7%")


def test_another_password_does_not_match() -> None:
    assert not scram.matches(POSTGRES, "pencil 8%")


def test_each_verifier_has_its_own_salt() -> None:
    assert scram.verifier("same") != scram.verifier("same")


@pytest.mark.parametrize("password", ["", "naïve", "tab\there"])
def test_what_would_have_to_be_normalised_is_refused(password: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        scram.verifier(password)
