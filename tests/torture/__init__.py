"""Crashes, faults and crowds: proof that nothing is lost and nothing doubled, against a slow model."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.torture.harness")
