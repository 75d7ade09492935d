"""Pages in headless Chromium: what they are like when a person looks at them."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any

import pytest

# At the start of each page: what goes wrong from then on.
WATCH = b"""<script>
window.wrong = [];
addEventListener("error", e => wrong.push(e.message || "can't load " +
  (e.target.src || e.target.href)), true);
addEventListener("unhandledrejection", e => wrong.push(String(e.reason)));
</script>"""
# Shows each page in a frame of each width, since no window can be narrower than 500 pixels.
DRIVER = """<!doctype html><body style="margin:0"><script>
const wait = ms => new Promise(done => setTimeout(done, ms));
const load = (frame, page) => new Promise(done => {
  frame.onload = done;
  frame.src = page;
});
PROBE
async function all() {
  const found = [];
  for (const [page, width] of VISITS) {
    const frame = document.createElement("iframe");
    frame.style.border = 0;
    frame.width = width;
    frame.height = 900;
    document.body.replaceChildren(frame);
    await load(frame, page);
    let shown = {};
    try {
      shown = await probe(frame.contentWindow, frame.contentDocument);
    } catch (error) {
      shown = { failed: String(error) };
    }
    found.push({ page, width, wrong: frame.contentWindow.wrong, ...shown });
  }
  return found;
}
all().then(found => fetch("/found", { method: "POST", body: JSON.stringify(found) }));
</script>"""


def chromium() -> str:
    """The path of Chromium; without one, the test is skipped and says so."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip("no Chromium: the checks of pages in a browser need one on PATH")
    return found


class Handler(SimpleHTTPRequestHandler):
    """A folder of pages, each with WATCH, and what the driver finds."""

    driver: str
    found: Queue[Any]

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        page = path / "index.html" if path.is_dir() else path
        if self.path == "/driver":
            self.reply(self.driver.encode())
        elif page.suffix == ".html" and page.exists():
            self.reply(page.read_bytes().replace(b"<head>", b"<head>" + WATCH, 1))
        else:
            super().do_GET()

    def do_POST(self) -> None:
        self.found.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.reply(b"")

    def reply(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def headless(profile: Path, *more: str) -> list[str]:
    """The command that starts Chromium without a window."""
    return [
        *(chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
        *("--disable-dev-shm-usage", f"--user-data-dir={profile}", *more),
    ]


def visit(
    folder: Path,
    visits: Sequence[tuple[str, int]],
    probe: str,
    profile: Path,
    limit: float = 120,
) -> list[dict[str, Any]]:
    """Look at pages of a folder, one after the other, in one Chromium.

    Args:
        folder: with the pages.
        visits: the address of each page in the folder, and the width in pixels.
        probe: JavaScript, `async function probe(window, document) {...}`, which returns an
            object of what it found on the page. It may call `wait(milliseconds)`.
        profile: a folder for Chromium.
        limit: seconds that all may take.

    Returns:
        For each visit what `probe` returned, with `page`, `width` and `wrong`, the messages
        of the scripts that failed and the files that could not be loaded.
    """
    driver = DRIVER.replace("PROBE", probe).replace("VISITS", json.dumps(list(visits)))
    own = type("Own", (Handler,), {"driver": driver, "found": Queue()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(own, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/driver"
    command = headless(profile, "--window-size=1400,1000", "--remote-debugging-port=0")
    browser = subprocess.Popen(
        [*command, address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        found: list[dict[str, Any]] = own.found.get(timeout=limit)  # type: ignore[attr-defined]
    except Empty:
        pytest.fail(f"Chromium showed not all of {len(visits)} pages in {limit:g} s")
    finally:
        browser.kill()
        browser.wait()
        server.shutdown()
        server.server_close()
    return found


def screenshot(page: Path, picture: Path, width: int, height: int, profile: Path) -> None:
    """Write a picture of a page, as a window of this width shows it."""
    frame = page.parent / "frame-of-a-screenshot.html"
    frame.write_text(
        f'<body style="margin:0"><iframe src="{page.name}" width="{width}" '
        f'height="{height}" style="border:0"></iframe>'
    )
    command = headless(
        profile,
        "--allow-file-access-from-files",
        "--virtual-time-budget=4000",
        f"--screenshot={picture}",
        f"--window-size={max(width, 500)},{height}",
    )
    try:
        subprocess.run(
            [*command, frame.as_uri()], capture_output=True, timeout=120, check=True
        )
    finally:
        frame.unlink()
