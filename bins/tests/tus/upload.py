"""Uploads a file by a client of the protocol tus that is not ours, over a line that breaks. Prints the upload's URL.

upload.py tuspy|tus-js-client SERVER TOKEN FILE
"""

import shutil
import sys
from pathlib import Path

CLIENT, SERVER, TOKEN, FILE = sys.argv[1:]
PIECE = 32 << 20


def tuspy():
    """The Python client."""
    from tusclient.client import TusClient

    client = TusClient(f"{SERVER}/files", headers={"Authorization": f"Bearer {TOKEN}"})
    metadata = {"filename": Path(FILE).name, "bitrate": "128"}
    uploader = client.uploader(FILE, chunk_size=PIECE, metadata=metadata, retries=100, retry_delay=0.2)
    uploader.upload()
    return uploader.url


SCRIPT = """
([token, piece]) => new Promise((resolve, reject) => {
  const file = document.querySelector('#film').files[0];
  const upload = new tus.Upload(file, {
    endpoint: new URL('/files', location).href,
    headers: { Authorization: `Bearer ${token}` },
    metadata: { filename: file.name, bitrate: '128' },
    chunkSize: piece,
    retryDelays: Array(100).fill(200),
    onError: reject,
    onSuccess: () => resolve(upload.url),
  });
  upload.start();
})
"""


def tus_js_client():
    """The JavaScript client, in a browser: as the page brings it, without the page's own ways of using it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(300_000)
        page.goto(SERVER)
        page.evaluate("document.body.insertAdjacentHTML('beforeend', '<input type=file id=film>')")
        page.locator("#film").set_input_files(FILE)
        return page.evaluate(SCRIPT, [TOKEN, PIECE])


print({"tuspy": tuspy, "tus-js-client": tus_js_client}[CLIENT]())
