"""What the tests of the page stand on: a browser, somebody who has an account, and judges of what is to be seen.

The script's stdout is a line to the test that started it (`bins/tests/all/page.rs`), which has the server; stderr is
for people.
"""

import json
import shutil
import sys
import time
import urllib.request
from base64 import b64encode
from contextlib import contextmanager
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

URL, SHOTS, TONE_MP4, TONE_MKV, SILENT, BIG, LONG = sys.argv[1:]
PASSWORDS, TOKENS = {}, {}
# A browser is told that bytes are gone when they are in a buffer; what has arrived is much less.
SLOW = "throttle 600000"
PROGRESS = "row => row.querySelector('progress').value"
# What a browser says of answers that are errors; these are expected.
EXPECTED = ("Failed to load resource", "net::ERR_")
# What assistive technology needs, and good practice. Only contrast depends on the colours.
RULES = {"light": {}, "dark": {"runOnly": ["color-contrast"]}}

PATIENCE = 60
expect.set_options(timeout=1000 * PATIENCE)


def tell(text):
    print(f"page: {text}", file=sys.stderr, flush=True)


def ask(line):
    """Asks the test for what a browser can't do."""
    print(line, flush=True)
    return input()


def account(name):
    """Makes an account of its own, so that cases don't see each other's jobs."""
    email = f"{name}@example.com"
    PASSWORDS[email] = ask(f"user {email}")
    return email


def launch(playwright):
    """Debian's Chromium, which sees nothing but this server: as root, too, and where there is little shared memory."""
    options = ["--no-sandbox", "--disable-dev-shm-usage"]
    return playwright.chromium.launch(executable_path=shutil.which("chromium"), args=options)


class Visit:
    """A window on the page. Every error in it that nobody expects is kept."""

    def __init__(self, context, url=URL):
        self.context, self.errors, self.requests = context, [], []
        self.page = context.new_page()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._heard)
        self.page.on("request", lambda request: self.requests.append(request))
        self.page.goto(url)

    def _heard(self, message):
        if message.type in ("error", "warning") and not any(word in message.text for word in EXPECTED):
            self.errors.append(message.text)

    def button(self, name):
        return self.page.get_by_role("button", name=name, exact=True)

    def sign_in(self, email):
        self.page.get_by_label("E-mail address").fill(email)
        self.page.get_by_label("Password").fill(PASSWORDS[email])
        self.button("Sign in").click()
        expect(self.button("Choose videos")).to_be_visible()
        return self

    def choose(self, *files):
        self.page.locator("#files").set_input_files(files)

    def row(self, of, name):
        return self.page.locator(f"#{of} > li").filter(has=self.page.get_by_role("heading", name=name, exact=True))

    def job(self, name):
        return self.row("job-list", name)

    def upload(self, name):
        return self.row("upload-list", name)

    def act(self, row, action):
        """The button in a row that begins with this word."""
        return row.get_by_role("button", name=f"{action}: ")

    def until(self, what, is_so):
        """Waits for what the browser is not asked about; events come in meanwhile."""
        given_up = time.monotonic() + PATIENCE
        while not is_so():
            assert time.monotonic() < given_up, what
            self.page.wait_for_timeout(50)

    def offsets(self):
        """Where the parts of uploads began that were sent."""
        return [int(r.headers["upload-offset"]) for r in self.requests if r.method == "PATCH"]

    def judge(self, state):
        """Nothing is in the way of anybody in this state, in light and dark; what it looks like is kept."""
        for scheme in ("light", "dark"):
            self.page.emulate_media(color_scheme=scheme)
            violations = Axe().run(self.page, options=RULES[scheme]).response["violations"]
            found = [(v["id"], [node["html"] for node in v["nodes"]]) for v in violations]
            assert not found, f"{state}, {scheme}: {json.dumps(found, indent=1)}"
            self.shoot(f"{state}-{scheme}")
        self.page.emulate_media(color_scheme="light")
        self.fits(state)

    def shoot(self, name):
        self.page.screenshot(path=Path(SHOTS, f"{name}.png"), full_page=True)

    def fits(self, state):
        """Nothing sticks out at the side."""
        wide, room = self.page.evaluate("[document.scrollingElement.scrollWidth, innerWidth]")
        assert wide <= room, f"{state}: {wide} pixels wide, in {room}"

    def focused(self):
        """What has the keyboard: its label, or its text."""
        return self.page.evaluate("document.activeElement.ariaLabel ?? document.activeElement.textContent.trim()")


@contextmanager
def visit(browser, url=URL, **options):
    """A browser of nobody's, with a window on the page; that nothing went wrong in it is judged at the end."""
    context = browser.new_context(viewport={"width": 1000, "height": 800}, **options)
    opened = Visit(context, url)
    try:
        yield opened
        assert not opened.errors, opened.errors
    except BaseException:
        opened.shoot("failed")
        raise
    finally:
        context.close()


def under_way(opened, name, share):
    """Waits until so much of an upload has been sent."""
    row = opened.upload(name)
    expect(row).to_be_visible()
    opened.until(f"{name} is on its way", lambda: (row.evaluate(PROGRESS) or 0) > share)
    return row


def token(email):
    if email not in TOKENS:
        basic = b64encode(f"{email}:{PASSWORDS[email]}".encode()).decode()
        TOKENS[email] = json.loads(request("login", "POST", {"Authorization": f"Basic {basic}"}))["token"]
    return TOKENS[email]


def request(path, method, headers):
    with urllib.request.urlopen(urllib.request.Request(f"{URL}{path}", method=method, headers=headers)) as answer:
        return answer.read()


def call(email, path, method="GET", headers=None):
    """What the API says to somebody, without any browser."""
    return request(path, method, {"Authorization": f"Bearer {token(email)}"} | (headers or {}))


def jobs(email):
    return json.loads(call(email, "jobs"))["jobs"]
