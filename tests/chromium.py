"""A headless Chromium, driven over the DevTools protocol through a pair of pipes: no port, no package, no network.

Messages are JSON, each ended by a NUL byte: the browser reads from its descriptor 3 and writes to 4.
"""

from __future__ import annotations

import base64
import json
import os
import selectors
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.debian import install

PROGRAM = "/usr/bin/chromium"
_SECONDS = 60.0
_OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--force-color-profile=srgb", "--remote-debugging-pipe",
)  # fmt: skip
Fields = dict[str, Any]


def install_chromium() -> str:
    """Nothing to say if there is a Chromium, which is installed where that is possible; else why there is none."""
    if os.access(PROGRAM, os.X_OK):
        return ""
    return install("chromium")


class Browser:
    """One browser process with a profile of its own; `page` opens a page in it."""

    def __init__(self, profile: Path) -> None:
        commands, self._write = os.pipe()
        self._read, replies = os.pipe()

        def connect() -> None:
            # Moved out of the way first: either may be 3 or 4 already.
            spare = [os.dup(fd) for fd in (commands, replies)]
            high = [os.dup2(fd, number) for fd, number in zip(spare, (60, 61), strict=True)]
            for fd, number in zip(high, (3, 4), strict=True):
                os.dup2(fd, number)

        self._process = subprocess.Popen(
            [PROGRAM, *_OPTIONS, f"--user-data-dir={profile}", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            close_fds=False, start_new_session=True, preexec_fn=connect,  # noqa: PLW1509 - one thread, nothing held
        )  # fmt: skip
        os.close(commands)
        os.close(replies)
        self._buffer = b""
        self._number = 0
        self.events: list[Fields] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Nothing; the browser and all its processes have ended."""
        os.close(self._write)  # it ends by itself when nobody can command it any more
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)
        os.close(self._read)

    def command(self, method: str, *, session: str = "", **parameters: Any) -> Fields:
        """What the browser answers to a command; events that come meanwhile are kept. RuntimeError if it refuses."""
        self._number += 1
        message: Fields = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        rest = json.dumps(message).encode() + b"\0"
        while rest:
            rest = rest[os.write(self._write, rest) :]
        deadline = time.monotonic() + _SECONDS
        while True:
            answer = self._message(deadline)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: Fields = answer["result"]
                return result
            self.events.append(answer)

    def wait(self, method: str, *, session: str) -> Fields:
        """The parameters of the next event of that name, or of one that has come and was not waited for."""
        deadline = time.monotonic() + _SECONDS
        while True:
            for at, event in enumerate(self.events):
                if event.get("method") == method and event.get("sessionId") == session:
                    parameters: Fields = self.events.pop(at)["params"]
                    return parameters
            self.events.append(self._message(deadline))

    def _message(self, deadline: float) -> Fields:
        with selectors.DefaultSelector() as selector:
            selector.register(self._read, selectors.EVENT_READ)
            while b"\0" not in self._buffer:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError("the browser says nothing")
                piece = os.read(self._read, 1 << 20)
                if not piece:
                    raise EOFError("the browser has ended")
                self._buffer += piece
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: Fields = json.loads(text)
        return message

    def page(self, *, width: int, height: int = 900, dark: bool = False, scripts: bool = True) -> Page:
        """A new page of that size in CSS pixels."""
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        session = self.command("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.command(f"{domain}.enable")
        page.resize(width, height)
        page.emulate(dark=dark)
        page.command("Emulation.setScriptExecutionDisabled", value=not scripts)
        return page


class Page:
    """One page."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session

    def command(self, method: str, **parameters: Any) -> Fields:
        """What the page answers."""
        return self._browser.command(method, session=self._session, **parameters)

    def resize(self, width: int, height: int) -> None:
        """Nothing; the page is so large, as a telephone's is where it is narrow."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700}
        self.command("Emulation.setDeviceMetricsOverride", **metrics)

    def emulate(self, *, dark: bool, media: str = "") -> None:
        """Nothing; the system's colours are so, and the medium is a screen or the one given."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def open(self, path: Path) -> None:
        """Nothing; the file has been loaded."""
        self.command("Page.navigate", url=path.as_uri())
        self._browser.wait("Page.loadEventFired", session=self._session)

    def value(self, expression: str) -> Any:
        """The value of an expression; RuntimeError for what it throws. It runs where the page's own scripts may not."""
        answer = self.command("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"].get("description", "thrown"))
        return answer["result"].get("value")

    def settle(self) -> None:
        """Nothing; what the page does when it next draws has been done. Only where scripts run."""
        frame = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"
        self.value(frame)

    def type(self, text: str) -> None:
        """Nothing; the text has been typed, a key for each character."""
        for letter in text:
            self.command("Input.dispatchKeyEvent", type="keyDown", text=letter, key=letter)
            self.command("Input.dispatchKeyEvent", type="keyUp", key=letter)

    def press(self, key: str, code: int) -> None:
        """Nothing; a key that has a name has been pressed."""
        for what in ("keyDown", "keyUp"):
            self.command("Input.dispatchKeyEvent", type=what, key=key, code=key, windowsVirtualKeyCode=code)

    def happened(self, *methods: str) -> list[Fields]:
        """The parameters of all events of those names, so far."""
        self.command("Runtime.evaluate", expression="0")
        return [
            event["params"]
            for event in self._browser.events
            if event.get("method") in methods and event.get("sessionId") == self._session
        ]

    def picture(self, *, whole: bool = False) -> bytes:
        """The page as PNG."""
        return base64.b64decode(self.command("Page.captureScreenshot", captureBeyondViewport=whole)["data"])

    def printed(self) -> bytes:
        """The page as PDF."""
        return base64.b64decode(self.command("Page.printToPDF", printBackground=True)["data"])
