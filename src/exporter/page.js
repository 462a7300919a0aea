/* SPDX-License-Identifier: BSD-2-Clause */
"use strict";
(() => {
  const EVERY_MS = 2000;
  const SHOWN_MAX = 200;
  const STATES = {
    drained: ["closed: drained", ""],
    target_down: ["closed: target down", "bad"],
    netns: ["closed: no namespace", "bad"],
    removed: ["removed, its last sessions are open", ""],
  };
  const by = (id) => document.getElementById(id);
  let paused = false;
  let timer = 0;
  let before = null;
  let latest = null;
  let earlier = null; /* the document before the latest */

  const count = (n) => Math.round(n).toLocaleString("en");
  const rate = (n) => n >= 100 ? count(n) : n.toFixed(1);
  function bytes(n) {
    const units = ["B", "kB", "MB", "GB", "TB", "PB"];
    let i = 0;
    while (n >= 1000 && i < units.length - 1) {
      n /= 1000;
      i++;
    }
    return `${i === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)}\u00a0${units[i]}`;
  }
  function span(seconds) {
    const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
    const first = units.findIndex(([, size]) => seconds >= size);
    const i = first < 0 ? units.length - 1 : first;
    const whole = Math.floor(seconds / units[i][1]);
    const rest = seconds - whole * units[i][1];
    const next = units[i + 1];
    const more = next ? Math.floor(rest / next[1]) : 0;
    return `${whole} ${units[i][0]}` + (more > 0 ? ` ${more} ${next[0]}` : "");
  }
  const sum = (object) => Object.values(object).reduce((all, n) => all + n, 0);

  function make(tag, text, name) {
    const element = document.createElement(tag);
    element.textContent = text;
    if (name) element.className = name;
    return element;
  }

  function showFacts(status) {
    const failed = !status.reload.successful;
    const facts = [
      ["Generation", `${status.generation}` +
        (status.draining ? `, ${status.draining} draining` : "")],
      ["Workers", count(status.workers)],
      ["Running for", span(status.now - status.started)],
      ["Last reload", (failed ? "failed, see the log; " : "") +
        span(status.now - status.reload.at) + " ago", failed ? "bad" : "good"],
      ["Descriptors", `${count(status.descriptors.used)} of ${count(status.descriptors.limit)}`],
      ["Version", status.version],
    ];
    by("facts").replaceChildren(...facts.map(([name, value, look]) => {
      const pair = document.createElement("div");
      pair.append(make("dt", name), make("dd", value, look));
      return pair;
    }));
  }

  /* series: [[seconds, value], ...] for each line. say: how the highest value is written. */
  function draw(id, series, say) {
    const name = "http://www.w3.org/2000/svg";
    const all = series.flat();
    const first = Math.min(...all.map(([at]) => at));
    const last = Math.max(...all.map(([at]) => at), first + 1);
    const top = Math.max(1, ...all.map(([, value]) => value));
    const base = document.createElementNS(name, "line");
    for (const [key, value] of [["x1", 0], ["x2", 300], ["y1", 78], ["y2", 78]])
      base.setAttribute(key, value);
    const lines = series.map((points, i) => {
      const line = document.createElementNS(name, "polyline");
      line.setAttribute("points", points.map(([at, value]) =>
        `${((at - first) / (last - first) * 300).toFixed(1)},${(78 - value / top * 74).toFixed(1)}`)
        .join(" "));
      if (i > 0) line.setAttribute("class", "second");
      return line;
    });
    const areas = lines.map((line) => {
      const area = document.createElementNS(name, "polygon");
      area.setAttribute("points", line.getAttribute("points") && `0,78 ${line.getAttribute("points")} 300,78`);
      area.setAttribute("class", line.getAttribute("class") || "");
      return area;
    });
    by(id).replaceChildren(base, ...areas, ...lines);
    by(`${id}-top`).textContent = `at most ${say(Math.max(0, ...all.map(([, value]) => value)))}`;
  }

  function rates(history, column) {
    const points = [];
    for (let i = 1; i < history.length; i++) {
      const seconds = history[i][0] - history[i - 1][0];
      if (seconds > 0)
        points.push([history[i][0],
          Math.max(0, history[i][column] - history[i - 1][column]) / seconds]);
    }
    return points;
  }

  function showCharts(status) {
    const listeners = status.listeners;
    const total = (key) => listeners.reduce((all, each) => all + each[key], 0);
    const now = [status.now, total("sessions"), total("connections"),
      listeners.reduce((all, each) => all + sum(each.refused), 0),
      total("bytes_in"), total("bytes_out")];
    const history = [...status.history, now];
    const ends = (column) => {
      const seconds = before ? now[0] - before[0] : 0;
      return seconds > 0 ? Math.max(0, now[column] - before[column]) / seconds : 0;
    };
    for (const each of document.querySelectorAll(".ago"))
      each.textContent = `${Math.round((now[0] - history[0][0]) / 60)} min ago`;
    draw("chart-sessions", [history.map((point) => [point[0], point[1]])], count);
    draw("chart-rates", [rates(history, 2), rates(history, 3)], rate);
    draw("chart-bytes", [rates(history, 4), rates(history, 5)], bytes);
    by("now-sessions").textContent = count(now[1]);
    by("now-rates").textContent = `${rate(ends(2))} and ${rate(ends(3))}`;
    by("now-bytes").textContent = `${bytes(ends(4))} and ${bytes(ends(5))}`;
    before = now;
  }

  function cell(label, text, more, look) {
    const data = document.createElement("td");
    const inner = make("span", text, look);
    data.dataset.label = label;
    if (more) inner.append(make("small", more));
    data.append(inner);
    return data;
  }

  /* [words, is it bad?] of each target that has been checked. */
  function targets(listener) {
    return [["ipv4", "IPv4"], ["ipv6", "IPv6"]].filter(([family]) => listener.targets[family])
      .map(([family, name]) => {
        const state = listener.targets[family];
        const isLost = listener.return_path[family] === "down";
        return [`${name} ${state}` + (isLost ? ", replies do not come back" : ""),
          state === "down" || isLost];
      });
  }

  const needsHelp = (listener) => ["target_down", "netns"].includes(listener.state) ||
    targets(listener).some(([, isBad]) => isBad);

  function targetsCell(listener) {
    const all = targets(listener);
    const data = cell("Targets", all.length ? "" : "not checked", "", "none");
    if (all.length)
      data.firstChild.replaceChildren(...all.map(([words, isBad]) =>
        make("span", words, isBad ? "dot bad" : "dot good")));
    return data;
  }

  /* Connections a second since the document before; "" where that is not known. */
  function pace(listener) {
    const old = earlier && earlier.listeners.find((each) => each.name === listener.name);
    const seconds = old ? latest.now - earlier.now : 0;
    const more = seconds > 0 ? listener.connections - old.connections : 0;
    return more > 0 ? `${rate(more / seconds)} a second` : "";
  }

  function row(listener) {
    const line = document.createElement("tr");
    const name = make("th", listener.name);
    const refused = Object.entries(listener.refused).sort((a, b) => b[1] - a[1]);
    const checks = listener.health_checks ? `${count(listener.health_checks)} health checks` : "";
    const connections = cell("Connections", count(listener.connections), pace(listener));
    if (checks) connections.firstChild.append(make("small", checks));
    name.scope = "row";
    if (listener.protocol === "udp") name.append(make("small", "UDP"));
    if (listener.state !== "open") {
      const [words, look] = STATES[listener.state] || [listener.state, ""];
      name.append(make("small", words, look));
    }
    line.append(name,
      cell("Sessions", count(listener.sessions),
        listener.pending ? `${count(listener.pending)} without a header` : ""),
      connections,
      cell("In", bytes(listener.bytes_in)),
      cell("Out", bytes(listener.bytes_out)),
      targetsCell(listener),
      cell("Refused", count(sum(listener.refused)),
        refused.map(([reason, n]) => `${reason} ${count(n)}`).join(", "),
        refused.length ? "" : "none"));
    return line;
  }

  function showListeners(status) {
    const wanted = by("filter").value.toLowerCase();
    /* A removed one is in the document for its totals; without sessions it is nothing to look at. */
    const there = status.listeners.filter((each) => each.state !== "removed" || each.sessions > 0);
    const found = there.filter((each) => each.name.toLowerCase().includes(wanted));
    by("listeners").replaceChildren(...found.slice(0, SHOWN_MAX).map(row));
    document.querySelector("table").hidden = found.length === 0;
    by("none").hidden = found.length > 0;
    by("none").textContent = there.length ? "No listener has such a name."
      : "The configuration has no listener.";
    by("shown").textContent = found.length > SHOWN_MAX
      ? `the first ${SHOWN_MAX} of ${count(found.length)}` : "";
  }

  function say(text, look) {
    if (by("state").textContent !== text) by("state").textContent = text;
    by("state").className = look;
  }

  function sayState(status) {
    const n = status.listeners.filter(needsHelp).length;
    const help = n ? `, ${n === 1 ? "1 listener needs" : `${count(n)} listeners need`} attention` : "";
    if (paused) say("paused", "none");
    else say((status.serving ? "serving" : "no generation serves") + help,
      status.serving && !n ? "good" : "bad");
  }

  async function refresh() {
    clearTimeout(timer);
    try {
      const answer = await fetch("/status.json", { cache: "no-store" });
      if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
      earlier = latest;
      latest = await answer.json();
      showFacts(latest);
      showCharts(latest);
      showListeners(latest);
      document.body.dataset.updated = latest.now;
      sayState(latest);
    } catch (error) {
      say("no answer; trying again", "bad");
    }
    if (!paused && !document.hidden) timer = setTimeout(refresh, EVERY_MS);
  }

  by("pause").addEventListener("click", () => {
    paused = !paused;
    by("pause").setAttribute("aria-pressed", paused);
    by("pause").textContent = paused ? "Resume" : "Pause";
    if (paused) {
      clearTimeout(timer);
      say("paused", "none");
    } else {
      refresh();
    }
  });
  by("filter").addEventListener("input", () => latest && showListeners(latest));
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && !paused) refresh();
  });
  refresh();
})();
