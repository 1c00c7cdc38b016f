"""A real Chromium for tests, driven by plain WebDriver through chromedriver, with nothing but the standard library.

`Browser.wait` polls a script until it is true: what a page shows cannot be waited for otherwise. Each browser has a
profile of its own in a temporary folder, and ends with its chromedriver, which ends with the test.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import unittest
from typing import Any

from tests.field import programs

PATIENCE_S = 20.0
# What a page did that it must not: kept on the window from before its first line.
_WITNESS = (
    "window.__violations = []; window.__canary = 0; window.canary = () => { window.__canary += 1; };"
    "window.alert = window.confirm = window.prompt = () => { window.__canary += 1; };"
    "document.addEventListener('securitypolicyviolation', (e) => window.__violations.push(e.violatedDirective + ' ' + e.blockedURI));"
    "window.__errors = []; window.addEventListener('error', (e) => window.__errors.push(String(e.message)));"
    "window.addEventListener('unhandledrejection', (e) => window.__errors.push(String(e.reason)));"
)


def _programs() -> tuple[str, str]:
    """(chromedriver, chromium). SkipTest where one is missing; a failure where C2_LATTICE_REQUIRE_FIELD=1 says that it must be there."""
    try:
        return programs.on_path("chromedriver", "chromium chromium-driver"), programs.on_path("chromium", "chromium chromium-driver")
    except unittest.SkipTest as missing:
        if os.environ.get("C2_LATTICE_REQUIRE_FIELD") == "1":
            raise AssertionError(str(missing)) from missing
        raise


class WebDriverError(Exception):
    """chromedriver said no; the message is its own."""


class Browser:
    """One Chromium with one or more tabs. Use as a context manager. SkipTest when it is not installed."""

    def __init__(self, width: int = 1400, height: int = 900, *, dark: bool = False) -> None:
        driver, chromium = _programs()
        self.folder = tempfile.mkdtemp(prefix="c2page")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        environ = {**os.environ, "HOME": self.folder, "TMPDIR": self.folder}
        self.driver = subprocess.Popen(
            [driver, f"--port={self.port}", "--allowed-ips=127.0.0.1"], env=environ,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.session = ""
        try:
            self._await_driver()
            arguments = [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
                "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server",
                f"--user-data-dir={os.path.join(self.folder, 'profile')}", f"--window-size={width},{height}", "--hide-scrollbars",
                *(["--force-dark-mode", "--blink-settings=preferredColorScheme=0"] if dark else []),
            ]  # fmt: skip
            wanted = {
                "browserName": "chrome",
                "goog:chromeOptions": {"binary": chromium, "args": arguments},
                "goog:loggingPrefs": {"browser": "ALL"},
                "timeouts": {"script": 20_000, "pageLoad": 30_000},
            }
            said = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}}, whole_path=True)
            self.session = said["sessionId"]
            self.prepare_tab()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self.session:
            with contextlib.suppress(OSError, WebDriverError, http.client.HTTPException):
                self._call("DELETE", "")
            self.session = ""
        self.driver.terminate()
        try:
            self.driver.wait(10)
        except subprocess.TimeoutExpired:
            self.driver.kill()
            self.driver.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _await_driver(self) -> None:
        end = time.monotonic() + PATIENCE_S
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self._call("GET", "/status", whole_path=True)["ready"]:
                    return
            if time.monotonic() > end or self.driver.poll() is not None:
                raise AssertionError("chromedriver did not start")
            time.sleep(0.05)

    def _call(self, method: str, path: str, body: object = None, *, whole_path: bool = False) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            payload = None if method == "GET" else json.dumps(body or {})
            where = path if whole_path else f"/session/{self.session}{path}"
            connection.request(method, where, payload, {"Content-Type": "application/json"})
            value = json.loads(connection.getresponse().read())["value"]
        finally:
            connection.close()
        if isinstance(value, dict) and "error" in value:
            raise WebDriverError(f"{value['error']}: {value.get('message', '')[:400]}")
        return value

    # -- what a test does

    def devtools(self, command: str, **params: Any) -> Any:
        return self._call("POST", "/goog/cdp/execute", {"cmd": command, "params": params})

    def prepare_tab(self) -> None:
        """Every page of this tab is watched from before its first line."""
        self.devtools("Page.enable")
        self.devtools("Page.addScriptToEvaluateOnNewDocument", source=_WITNESS)

    def go(self, address: str) -> None:
        self._call("POST", "/url", {"url": address})

    def address(self) -> str:
        return str(self._call("GET", "/url"))

    def run(self, script: str, *given: Any) -> Any:
        """The value of a script (a function body), run by the driver, which the page's policy does not bind."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(given)})

    def wait(self, script: str, *given: Any, what: str = "", within_s: float = PATIENCE_S) -> Any:
        end = time.monotonic() + within_s
        while True:
            with contextlib.suppress(WebDriverError):  # the page may be between two documents
                value = self.run(script, *given)
                if value:
                    return value
            if time.monotonic() > end:
                raise AssertionError(f"not within {within_s} s: {what or script}\n{self.text()[:2000]}")
            time.sleep(0.05)

    def text(self) -> str:
        """What a person can read on it."""
        with contextlib.suppress(WebDriverError):
            return str(self.run("return document.body.innerText"))
        return ""

    def wait_for_text(self, text: str, *, within: str = "body") -> None:
        script = "const one = document.querySelector(arguments[0]); return one && one.innerText.includes(arguments[1])"
        self.wait(script, within, text, what=f"{text!r} in {within}")

    def click(self, text: str, *, within: str = "body") -> None:
        """Click, as a mouse does, the first visible button or link with this text."""
        find = (
            "for (const one of document.querySelectorAll(arguments[0] + ' :is(button, a, summary)'))"
            " if (one.innerText.trim() === arguments[1] && one.offsetParent !== null && !one.disabled) return one; return null"
        )
        element = self.wait(find, within, text, what=f"a button {text!r} in {within}")
        self._call("POST", f"/element/{next(iter(element.values()))}/click")

    def type(self, selector: str, text: str) -> None:
        element = self.wait("return document.querySelector(arguments[0])", selector, what=selector)
        self._call("POST", f"/element/{next(iter(element.values()))}/value", {"text": text})

    def press(self, key: str) -> None:
        keys = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self._call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": keys}]})

    def new_tab(self) -> None:
        """A fresh tab beside the others; it is the current one then."""
        said = self._call("POST", "/window/new", {"type": "tab"})
        self._call("POST", "/window", {"handle": said["handle"]})
        self.prepare_tab()

    def close_tab_and_open_another(self) -> None:
        old = self._call("GET", "/window")
        self.new_tab()
        new = self._call("GET", "/window")
        self._call("POST", "/window", {"handle": old})
        self._call("DELETE", "/window")
        self._call("POST", "/window", {"handle": new})

    def size(self, width: int, height: int) -> None:
        """The viewport, also below the narrowest window."""
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def scheme(self, name: str) -> None:
        """light or dark, as the person's system would ask for."""
        self.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def picture(self, path: str, *, whole: bool = True) -> None:
        said = self.devtools("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        with open(path, "wb") as file:
            file.write(base64.b64decode(said["data"]))

    def misdeeds(self) -> dict[str, Any]:
        """What the witness saw on this document: all empty on a good page."""
        found = self.run("return {canary: window.__canary, violations: window.__violations, errors: window.__errors}")
        log = self._call("POST", "/se/log", {"type": "browser"})
        found["console"] = [one["message"] for one in log if one["level"] == "SEVERE" or "Content Security Policy" in one["message"]]
        return dict(found)
