"""A headless Chromium driven by its DevTools protocol over a pipe: no port, no network, no package."""

import json
import os
import select
import shutil
import subprocess
import time
from contextlib import contextmanager

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
ANSWER_SECONDS = 60


def find_chromium():
    """Return the path of a Chromium, None where there is none."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Page:
    """A page of the browser; `problems` are errors and warnings of its console, exceptions, and failed loads."""

    def __init__(self, reader, writer):
        self._reader, self._writer, self._buffer, self._number = reader, writer, b"", 0
        self._session, self._events = None, []
        self.problems, self.requests = [], []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        """Send a command and return its result; events that come meanwhile are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writer, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def _receive(self):
        deadline = time.monotonic() + ANSWER_SECONDS
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._reader], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"Chromium said nothing for {ANSWER_SECONDS} s"
            piece = os.read(self._reader, 1 << 20)
            assert piece, "Chromium closed its end of the pipe"
            self._buffer += piece
        text, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(text)
        if "method" in message:
            self._note(message["method"], message["params"])
        return message

    def _note(self, method, params):
        self._events.append(method)
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("warning", "error"):
            self.problems.append(params["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("warning", "error", "assert"):
            self.problems.append(str(params["args"]))
        elif method == "Network.requestWillBeSent" and not params["request"]["url"].startswith("data:"):
            self.requests.append(params["request"]["url"])

    def open(self, path):
        """Load a local file and wait for it."""
        self._events.clear()
        self.call("Page.navigate", url=path.absolute().as_uri())
        while "Page.loadEventFired" not in self._events:
            self._receive()

    def run(self, expression):
        """Return the value of a JavaScript expression in the page."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def resize(self, width, height, *, is_phone=False):
        """Give the page a size in CSS pixels."""
        scale = 2 if is_phone else 1
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=is_phone
        )

    def prefer(self, scheme):
        """Set the colour scheme that the page is told of: light or dark."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def place_in(self, selector, share_x, share_y):
        """Return where a place within an element is on the screen, to which it is brought, in shares of its size."""
        # What was out of sight is laid out in the frames after, which may move it again.
        place = self.run(
            f"(async () => {{ const e = document.querySelector({json.dumps(selector)}); "
            "for (let i = 0; i < 3; i++) { e.scrollIntoView({block: 'center', behavior: 'instant'}); "
            "await new Promise(requestAnimationFrame); } "
            "const r = e.getBoundingClientRect(); return [r.left, r.top, r.width, r.height]; })()"
        )
        return place[0] + share_x * place[2], place[1] + share_y * place[3]

    def point_at(self, selector, share_x, share_y=0.5):
        """Move the mouse to a place within an element, in shares of its size."""
        x, y = self.place_in(selector, share_x, share_y)
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def press(self, key):
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)


@contextmanager
def chromium_page(profile):
    """Yield a page of a new Chromium with an empty profile, which ends with the block."""
    to_browser, from_us = os.pipe()
    from_browser, to_us = os.pipe()
    # The protocol's pipes are file descriptors 3 and 4 of the browser.
    command = ["bash", "-c", f'exec "$@" 3<&{to_browser} 4>&{to_us}', "bash", find_chromium(), *FLAGS]
    with (profile / "chromium.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"--user-data-dir={profile / 'profile'}"], pass_fds=(to_browser, to_us), stdout=log, stderr=log
        )
        os.close(to_browser)
        os.close(to_us)
        try:
            yield Page(from_browser, from_us)
        finally:
            os.close(from_us)
            os.close(from_browser)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
