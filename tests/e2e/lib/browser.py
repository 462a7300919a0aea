# SPDX-License-Identifier: BSD-2-Clause
"""
Debian's Chromium without a window, steered over its DevTools pipe.

spec: https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import json
import os
import select
import subprocess

from lib.wait import DEADLINE, until

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-dev-shm-usage", "--remote-debugging-pipe")
KEYS = {"Tab": 9, "Enter": 13, " ": 32}


class Browser:
    """One page, in a namespace of the test. width and height: of the window."""

    def __init__(self, namespace, directory, width, height, dark=False):
        to_read, self._out = os.pipe()
        self._in, to_write = os.pipe()
        self._buffer, self._number, self.events = b"", 0, []
        self._log = open(directory / "chromium.log", "ab")
        self._process = subprocess.Popen(
            namespace.argv("bash", "-c", f'exec "$@" 3<&{to_read} 4>&{to_write}', "-", "chromium",
                           *FLAGS, f"--user-data-dir={directory}/chromium-{id(self)}",
                           f"--window-size={width},{height}", "about:blank"),
            pass_fds=(to_read, to_write), stdin=subprocess.DEVNULL, stdout=self._log,
            stderr=self._log, env=os.environ | {"HOME": str(directory)})
        os.close(to_read)
        os.close(to_write)
        self._session = None
        try:
            self._attach(width, height, dark)
        except BaseException:
            self.close()
            raise

    def _attach(self, width, height, dark):
        targets = until(lambda: [t for t in self.call("Target.getTargets")["targetInfos"]
                                 if t["type"] == "page"], "a page")
        self._session = self.call("Target.attachToTarget", targetId=targets[0]["targetId"],
                                  flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def _receive(self):
        while b"\0" not in self._buffer:
            readable, _, _ = select.select([self._in], [], [], DEADLINE)
            data = os.read(self._in, 65536) if readable else b""
            assert data, "the browser says nothing any more"
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def call(self, method, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def open(self, address):
        self.call("Page.navigate", url=address)
        until(lambda: self.run("document.readyState") == "complete", f"{address} to be loaded")

    def run(self, script):
        """What the expression comes to."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def press(self, key):
        facts = {"key": key, "code": "Space" if key == " " else key,
                 "windowsVirtualKeyCode": KEYS.get(key, 0)}
        text = {"Enter": "\r", "Tab": ""}.get(key, key)
        self.call("Input.dispatchKeyEvent", type="keyDown", **facts,
                  **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **facts)

    def write(self, text):
        self.call("Input.insertText", text=text)

    def picture(self, path):
        path.write_bytes(base64.b64decode(self.call(
            "Page.captureScreenshot", captureBeyondViewport=True)["data"]))

    def complaints(self):
        """What its console has: errors, violations of the policy, exceptions."""
        self.run("0")
        return [event for event in self.events
                if event["method"] in ("Log.entryAdded", "Runtime.exceptionThrown")]

    def requested(self):
        """Every address that the page asked for."""
        return {event["params"]["request"]["url"] for event in self.events
                if event["method"] == "Network.requestWillBeSent"}

    def close(self):
        os.close(self._out)  # it ends with its pipe
        try:
            self._process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        self._log.close()
