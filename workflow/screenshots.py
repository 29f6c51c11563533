"""Pictures of the built site, to be looked at: phone and laptop, light and dark.

    python workflow/screenshots.py                     # the pages that matter most
    python workflow/screenshots.py book/notebooks/text # others

Needs the site (`make book`) and the system's Chromium (`make browser` installs it). Pictures go to
build/screenshots/.
"""

import shutil
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from playwright.sync_api import sync_playwright

SITE, PICTURES = Path("_build/html"), Path("build/screenshots")
PAGES = ("home", "claims", "nodes", "method", "explorer")
# Width by the device's own metrics: a window of 380 is really 500.
DEVICES = {
    "phone": {
        "viewport": {"width": 380, "height": 800},
        "device_scale_factor": 2,
        "is_mobile": True,
    },
    "laptop": {"viewport": {"width": 1280, "height": 900}},
}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def main(pages: list[str]) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None or not SITE.exists():
        sys.exit("screenshots: needs a Chromium and the built site; run make browser")
    PICTURES.mkdir(parents=True, exist_ok=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=SITE))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for device, metrics in DEVICES.items():
            for theme in ("light", "dark"):
                context = browser.new_context(**metrics, color_scheme=theme)
                context.add_init_script(f"localStorage.setItem('mode', '{theme}')")
                page = context.new_page()
                for name in pages:
                    page.goto(f"http://127.0.0.1:{server.server_port}/{name}.html")
                    page.wait_for_timeout(500)
                    picture = PICTURES / f"{Path(name).name}-{device}-{theme}.png"
                    page.screenshot(path=picture, full_page=True)
                    print(picture)
                context.close()
        browser.close()
    server.shutdown()


if __name__ == "__main__":
    main(sys.argv[1:] or [f"book/notebooks/{name}" for name in PAGES])
