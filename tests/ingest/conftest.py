"""One film for all tests of this folder."""

import pytest

import filmed_street


@pytest.fixture(scope="session")
def film(tmp_path_factory):
    return filmed_street.write(tmp_path_factory.mktemp("film") / "door_c03.avi")


@pytest.fixture
def oracle(film):
    return filmed_street.Oracle(film)
