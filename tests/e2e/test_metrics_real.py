# SPDX-License-Identifier: BSD-2-Clause
"""The exporter and real programs: Prometheus scrapes it, Chromium shows its page."""

import json
import os
import pathlib
import signal
import urllib.parse

import pytest

from lib import conf, exporter, header
from lib.browser import Browser
from lib.reloading import FAILED, Reloader
from lib.services import Service
from lib.wait import until

pytestmark = pytest.mark.real

SETTINGS = {"metrics": exporter.ADDRESS}
PAGE = f"http://{exporter.ADDRESS}/"
PROMETHEUS = 9090
WIDTHS = {"desktop": (1280, 900), "phone": (360, 740), "small phone": (320, 640)}
# For somebody who wants to look at the page: a folder for the pictures.
PICTURES = os.environ.get("MMPROXY_E2E_PICTURES")


@pytest.fixture
def gateway(serve):
    return serve(settings=SETTINGS)


@pytest.fixture
def session(net, dial, echo):
    echo()

    def start(n=5):
        conn = dial()
        conn.send(header.v1("79.1.2.3", conn.port) + b"x" * n)
        assert conn.recv(n) == b"x" * n
        return conn

    return start


# --- Prometheus


@pytest.fixture
def prometheus(net, gateway, directory):
    path = directory / "prometheus.yml"
    path.write_text(f"""
global: {{ scrape_interval: 1s, evaluation_interval: 1s }}
rule_files: [ {pathlib.Path(__file__).parents[2]}/etc/prometheus/alerts.yml ]
scrape_configs:
  - job_name: mmproxy
    static_configs: [ {{ targets: [ "{exporter.ADDRESS}" ] }} ]
""")
    service = Service(net.origin, [
        "prometheus", f"--config.file={path}", f"--storage.tsdb.path={directory}/tsdb",
        f"--web.listen-address=127.0.0.1:{PROMETHEUS}"], [PROMETHEUS],
        directory / "prometheus.log")
    until(lambda: exporter.get(net.origin, "/-/ready", port=PROMETHEUS)[0] == 200,
          "Prometheus to be ready")
    yield lambda query: _ask(net.origin, query)
    service.stop()


def _ask(namespace, query):
    """The value of each series, by its labels."""
    code, _, text = exporter.get(namespace, "/api/v1/query?query=" + urllib.parse.quote(query),
                                 port=PROMETHEUS)
    assert code == 200, text
    return {tuple(sorted(each["metric"].items())): float(each["value"][1])
            for each in json.loads(text)["data"]["result"]}


def test_prometheus_scrapes_and_its_rules_fire(net, prometheus, gateway, directory, session):
    kept = [session(100) for _ in range(3)]
    until(lambda: list(prometheus('up{job="mmproxy"}').values()) == [1], "a scrape")
    until(lambda: list(prometheus("sum(mmproxy_sessions_active)").values()) == [3],
          lambda: f"the sessions: {prometheus('mmproxy_sessions_active')}")
    until(lambda: list(prometheus('mmproxy_bytes_total{direction="out"}').values()) == [300],
          "the bytes")
    for line in ("count(mmproxy_refused_total) > 10", "mmproxy_build_info == 1",
                 'mmproxy_connect_duration_seconds_bucket{le="+Inf"} == 3'):
        assert prometheus(line), line
    assert not prometheus('ALERTS{alertname="MmproxyReloadFailed"}')
    reloader = Reloader(gateway, directory)
    reloader.write([conf.listener(mark=0)], **SETTINGS)
    reloader.hup_only(FAILED)
    until(lambda: prometheus('ALERTS{alertname="MmproxyReloadFailed"}'), "an alert")
    for each in kept:
        each.close()


# --- the page


@pytest.fixture
def browse(net, directory):
    """browse(width, height, ...): a browser that has opened the page."""
    started = []

    def start(*size, **options):
        started.append(Browser(net.origin, directory, *size, **options))
        started[-1].open(PAGE)
        wait_shown(started[-1])
        return started[-1]

    yield start
    for each in started:
        each.close()


def state_of(page):
    return page.run("document.getElementById('state').textContent")


def wait_shown(page):
    until(lambda: state_of(page).startswith("serving") and page.run("document.body.dataset.updated"),
          lambda: f"the page to be filled: {state_of(page)} {page.complaints()}")


def expect_nothing_sticks_out(page, width):
    assert page.run("document.documentElement.scrollWidth") <= width
    assert page.run("[...document.querySelectorAll('td, td *, th, dd, figure, button, input')].filter("
                    "e => e.getBoundingClientRect().right > innerWidth + 1).length") == 0


def cell(page, label):
    """Of the first listener."""
    return page.run(f"document.querySelector('tbody td[data-label=\"{label}\"] span')"
                    ".firstChild.textContent")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", WIDTHS)
def test_page_shows_everything_at_every_width(net, gateway, browse, session, size, dark):
    kept = session(1000)
    page = browse(*WIDTHS[size], dark=dark)
    until(lambda: cell(page, "Out") == "1.0\u00a0kB", "the bytes")
    assert cell(page, "Sessions") == "1"
    facts = page.run("document.getElementById('facts').innerText")
    assert "Generation" in facts and "Descriptors" in facts
    # Nothing sticks out sideways, and nothing is cut off.
    expect_nothing_sticks_out(page, WIDTHS[size][0])
    wanted = "rgb(20, 23, 26)" if dark else "rgb(247, 247, 245)"
    assert page.run("getComputedStyle(document.body).backgroundColor") == wanted
    assert not page.complaints()
    assert {urllib.parse.urlsplit(each).netloc for each in page.requested()
            if not each.startswith("data:")} == {exporter.ADDRESS}
    if PICTURES:
        until(lambda: len(exporter.status(net.origin)["history"]) > 3, "something to draw")
        page.picture(pathlib.Path(PICTURES) / f"page-{size}-{'dark' if dark else 'light'}.png")
    kept.close()


@pytest.mark.parametrize("size", WIDTHS)
def test_sixty_long_names_stick_out_nowhere_and_none_is_said(net, launch, directory, browse, size):
    names = [f"{number:02}-{'x' * 60}" for number in range(60)]
    gateway = launch(net.origin, "-c", conf.write(directory, [
        conf.listener(name=name, listen=f"0.0.0.0:{3000 + number}", target_v6=None)
        for number, name in enumerate(names)], **SETTINGS))
    gateway.wait_listening("0.0.0.0:3000", name=names[0])
    page = browse(*WIDTHS[size])
    assert page.run("document.querySelectorAll('tbody tr').length") == 60
    expect_nothing_sticks_out(page, WIDTHS[size][0])
    until(lambda: state_of(page) == "serving, 60 listeners need attention", lambda: state_of(page))
    conf.write(directory, [], **SETTINGS)
    gateway.signal(signal.SIGHUP)
    until(lambda: "has no listener" in page.run("document.getElementById('none').innerText"),
          "the page to say that there is none")
    assert state_of(page) == "serving"


def test_page_refreshes_itself(gateway, browse, session, net, directory):
    page = browse(*WIDTHS["desktop"])
    assert cell(page, "Sessions") == "0"
    kept = [session() for _ in range(2)]
    until(lambda: cell(page, "Sessions") == "2", "the new sessions to be shown")
    assert page.run("document.querySelectorAll('#chart-sessions polyline').length") == 1
    for each in kept:
        each.close()
    until(lambda: cell(page, "Sessions") == "0", "their end to be shown")
    reloader = Reloader(gateway, directory)
    reloader.write([conf.listener(mark=0)], **SETTINGS)
    reloader.hup_only(FAILED)
    until(lambda: "failed" in page.run("document.getElementById('facts').innerText"),
          "the failed reload to be shown")
    gateway.signal(signal.SIGTERM)
    until(lambda: state_of(page) == "no answer; trying again", "the end to be shown")


def test_page_works_with_a_keyboard_alone(gateway, browse):
    page = browse(*WIDTHS["desktop"])

    def focused():
        return page.run("document.activeElement.id || document.activeElement.textContent")

    page.press("Tab")
    assert focused() == "pause"
    assert page.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.press(" ")
    assert state_of(page) == "paused"
    assert page.run("document.activeElement.getAttribute('aria-pressed')") == "true"
    page.press("Enter")
    wait_shown(page)
    page.press("Tab")
    assert focused() == "filter"
    page.write("nobody")
    assert page.run("document.querySelectorAll('tbody tr').length") == 0
    page.run("document.activeElement.value = ''")
    page.write("SS")
    assert page.run("document.querySelectorAll('tbody tr').length") == 1
    page.press("Tab")
    assert focused() == "/metrics"
