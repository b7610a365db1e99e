"""Uploads in a browser: what is refused, what is cut, and what goes on."""

from pathlib import Path

from playwright.sync_api import expect
from stage import BIG, SHOTS, SILENT, SLOW, TONE_MKV, TONE_MP4
from stage import account, ask, jobs, visit, under_way


def refused(browser):
    """What is no video is refused with a reason, and does not stay."""
    email = account("refused")
    text = Path(SHOTS, "notes <img src=x onerror=alert(1)>.mp4")
    text.write_text("no video\n" * 100_000)
    with visit(browser) as anna:
        anna.sign_in(email)
        anna.choose(text, SILENT)
        row = anna.upload(text.name)
        expect(row).to_contain_text("Not taken")
        expect(row).to_contain_text("Convert it to MP4 first.")
        expect(anna.upload("silent.mp4")).to_contain_text("Choose a video that has sound.")
        anna.judge("refused")
        anna.act(row, "Remove").click()
        anna.act(anna.upload("silent.mp4"), "Remove").click()
        expect(anna.page.locator("#uploads")).to_be_hidden()
        assert jobs(email) == []
        empty = {"name": "empty.mp4", "mimeType": "video/mp4", "buffer": b""}
        anna.page.locator("#files").set_input_files(empty)
        expect(anna.page.get_by_role("alert")).to_contain_text("Not taken: empty.mp4.")
    text.unlink()


def cut(browser):
    """An upload goes on where it was, after a cut and after a reload."""
    email = account("cut")
    with visit(browser) as anna:
        anna.sign_in(email)
        ask(SLOW)
        anna.choose(BIG)
        row = under_way(anna, "big.mp4", 0.05)
        expect(row).to_contain_text("left")
        anna.judge("uploading")
        ask("refuse")
        expect(row).to_contain_text("the connection is lost")
        anna.shoot("cut")
        ask(SLOW)
        anna.until("it goes on", lambda: len(anna.offsets()) > 1)
        before = anna.offsets()
        assert before[0] == 0 and before[1] > 0, before
        under_way(anna, "big.mp4", 0.05)

        # The browser asks whether to leave.
        anna.page.once("dialog", lambda dialog: dialog.accept())
        anna.page.reload()
        expect(anna.job("big.mp4")).to_contain_text("Choose the same file again")
        anna.judge("left")
        anna.choose(BIG)
        ask("heal")
        expect(anna.job("big.mp4")).to_contain_text("Ready")
        assert min(anna.offsets()[len(before):]) >= before[1], anna.offsets()
        assert len(jobs(email)) == 1, "all of it became one job"


def given_up(browser):
    """An upload that was tried for some minutes stops, and goes on when it is told to."""
    email = account("stopped")
    with visit(browser) as anna:
        anna.page.clock.install()
        anna.page.reload()
        anna.sign_in(email)
        ask(SLOW)
        anna.choose(BIG)
        row = under_way(anna, "big.mp4", 0.05)
        ask("refuse")
        expect(row).to_contain_text("the connection is lost")

        def is_stopped():
            anna.page.clock.fast_forward(30_000)
            return "Stopped" in row.inner_text()

        anna.until("it is given up", is_stopped)
        expect(row).to_contain_text("The server can't be reached.")
        anna.judge("stopped")
        ask("heal")
        asked = []

        def at_first_not(route):
            """The server is there again, and its store is not."""
            if route.request.method == "HEAD":
                asked.append(route)
            if len(asked) == 1 and route.request.method == "HEAD":
                route.fulfill(status=503)
            else:
                route.continue_()

        anna.page.route("**/files/*", at_first_not)
        anna.act(row, "Try again").click()
        expect(anna.job("big.mp4")).to_contain_text("Ready")
        assert anna.offsets()[-1] > 0, anna.offsets()


def expired(browser):
    """A session ends in the middle of an upload, which goes on after signing in again."""
    email = account("expired")
    with visit(browser) as anna:
        anna.sign_in(email)
        ask(SLOW)
        anna.choose(BIG, TONE_MP4)
        under_way(anna, "big.mp4", 0.05)
        ask("new-keys")
        expect(anna.page.get_by_text("Your session has ended.")).to_be_visible()
        expect(anna.page.get_by_label("E-mail address")).to_have_value(email)
        expect(anna.page.get_by_label("Password")).to_be_focused()
        anna.judge("expired")
        anna.sign_in(email)
        expect(anna.job("big.mp4")).to_contain_text("Ready")
        expect(anna.job("tone.mp4")).to_contain_text("Ready")
        assert max(anna.offsets()) > 0, anna.offsets()
        assert len(jobs(email)) == 2
        # The same without an upload.
        ask("new-keys")

        def is_told():
            anna.page.evaluate("dispatchEvent(new Event('focus'))")
            return anna.page.get_by_text("Your session has ended.").is_visible()

        anna.until("the session ends", is_told)


def dropped(browser):
    """Files are taken wherever they are dropped, and never twice at a time."""
    email = account("dropped")
    drop = """bytes => {
        const data = new DataTransfer();
        data.items.add(new File([Uint8Array.from(bytes)], 'dropped.mkv', { lastModified: 1 }));
        data.items.add(new File([], 'empty.mkv'));
        document.body.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true }));
    }"""
    with visit(browser) as anna:
        anna.sign_in(email)
        ask("throttle 20000")
        anna.page.evaluate(drop, list(Path(TONE_MKV).read_bytes()))
        expect(anna.upload("dropped.mkv")).to_be_visible()
        anna.page.evaluate(drop, list(Path(TONE_MKV).read_bytes()))
        told = anna.page.get_by_role("alert")
        expect(told).to_contain_text("dropped.mkv is being uploaded already. Not taken: empty.mkv.")
        ask("heal")
        expect(anna.job("dropped.mkv")).to_contain_text("Ready")
        assert len(jobs(email)) == 1


CASES = [refused, cut, given_up, expired, dropped]
