"""Fixtures for the tests of ringfence_shell: one zygote, a new worker for each test."""

import pytest
from shell_harness import Zygote


@pytest.fixture(scope="session")
def zygote(tmp_path_factory):
    zygote = Zygote(tmp_path_factory.mktemp("zygote"))
    yield zygote
    zygote.close()


@pytest.fixture
def spawn(zygote):
    workers = []

    def spawn(*args, **more):
        workers.append(zygote.spawn(*args, **more))
        return workers[-1]

    yield spawn
    for worker in workers:
        worker.close()


@pytest.fixture
def worker(spawn):
    return spawn()
