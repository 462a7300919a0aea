# SPDX-License-Identifier: BSD-2-Clause
"""What the log tells of generations that drain for hours; the test puts the clock forward."""

import re

import pytest

from lib import conf, header
from lib.chatter import next_client
from lib.conn import FIN
from lib.reloading import Reloader, client_sessions, drained

pytestmark = pytest.mark.release

NOTICE = r"\[ \] generation ([0-9]+) has been draining for ([0-9]+) s: ([0-9]+) sessions are left"
HOUR_S = 3600
LOOK_EVERY_S = 10  # how often the supervisor looks whether there is something to tell
STEP_S = 20

# A minute, doubled each time up to an hour, and then every hour.
AGES = (60, 120, 240, 480, 960, 1920, 3840, 3840 + HOUR_S, 3840 + 2 * HOUR_S)


@pytest.fixture
def session(dial):
    yield from client_sessions(dial)


@pytest.fixture
def draining(serve, directory, session, target, clock):
    """draining(2, 1): generations with so many sessions each drain, and another one serves."""
    def start(*counts):
        gateway = serve(options={"env": clock.environment})
        clock.stop()
        service, reloader, generations = target(), Reloader(gateway, directory), []
        for number, count in enumerate(counts):
            generations.append([session(service, header.v1(*next_client()))
                                for _ in range(count)])
            reloader.write([conf.listener(keepalive=100 + number)])
            reloader.hup()
        return gateway, generations
    return start


def _pass(clock, seconds):
    for _ in range(0, seconds, STEP_S):
        clock.forward(STEP_S)


def _end(pairs):
    for peer, conn in pairs:
        peer.trip(conn)
        conn.close()
        peer.expect_end(FIN)
        peer.close()


def _told(gateway):
    """(age, sessions) of all lines of each generation."""
    told = {}
    for line in gateway.find(NOTICE):
        generation, age, sessions = map(int, re.fullmatch(NOTICE, line).groups())
        told.setdefault(generation, []).append((age, sessions))
    return told


def _expect_in_time(told, wanted, sessions):
    assert len(told) == len(wanted), told
    for (age, left), at in zip(told, wanted):
        assert at <= age < at + LOOK_EVERY_S + STEP_S and left == sessions, told


def test_drain_is_reported_after_a_minute_then_ever_less_often_then_hourly(draining, clock):
    gateway, (pairs,) = draining(2)
    _pass(clock, AGES[-1] + HOUR_S // 2)
    _end(pairs)
    gateway.wait_line(drained(1))
    told = _told(gateway)
    assert list(told) == [1]
    _expect_in_time(told[1], AGES, 2)


def test_each_generation_that_drains_is_reported_with_its_own_sessions(draining, clock):
    gateway, (first, second) = draining(3, 1)
    _pass(clock, 180)
    for pairs, number in ((first, 1), (second, 2)):
        _end(pairs)
        gateway.wait_line(drained(number))
    told = _told(gateway)
    assert sorted(told) == [1, 2]
    _expect_in_time(told[1], AGES[:2], 3)
    _expect_in_time(told[2], AGES[:2], 1)


def test_nothing_is_reported_where_nothing_drains(draining, clock):
    """Neither before the first reload, nor when all have drained, nor of a drain that is short."""
    gateway, (pairs,) = draining(1)
    _pass(clock, 40)
    _end(pairs)
    gateway.wait_line(drained(1))
    _pass(clock, 3 * HOUR_S)
    gateway.stop()
    assert not [line for line in gateway.lines if "draining" in line]
