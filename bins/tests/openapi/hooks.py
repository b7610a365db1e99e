"""What the document can't say, for schemathesis: jobs in the states that a call is about, bytes that are sound, options
that go together, and an account for those calls that end one.

bins/tests/all/openapi.rs starts it beside stage.json, which says where everything is, and reads tally.json: how often
each operation was answered with each status.
"""

import atexit
import base64
import hashlib
import itertools
import json
import os
import re
from collections import Counter, defaultdict
from pathlib import Path

import requests
import schemathesis
from schemathesis.core.failures import AcceptedNegativeData
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation.meta import TestPhase
from schemathesis.openapi.checks import UseAfterFree
from schemathesis.transport.serialization import Binary

STAGE = json.loads(Path("stage.json").read_text())
URL, TOKEN, JOBS = STAGE["url"], os.environ["TOKEN"], STAGE["jobs"]
SOUND = Path(STAGE["sound"]).read_bytes()
PART = "application/offset+octet-stream"
PASSWORD = "eleven green bottles"

# What each option is about, of which nothing may be said twice. An end may happen to lie before a start.
OPTIONS = {
    **{option: option for option in ("preset", "sample_rate", "track", "normalize")},
    **{option: option for option in ("title", "artist", "album", "date")},
    **{"bitrate": "quality", "vbr": "quality", "channels": "channels", "mono": "channels"},
    **{"start": "time", "end": "time"},
}

turns = defaultdict(itertools.count)
answered = Counter()
statuses = {}


def call(method, path, token=TOKEN, headers=None, **more):
    """A call that is right."""
    headers = {"Tus-Resumable": "1.0.0", "Authorization": f"Bearer {token}", **(headers or {})}
    answer = requests.request(method, URL + path, headers=headers, timeout=20, **more)
    assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
    return answer


def queued():
    return call("PUT", "/upload/tone.wav", data=SOUND).json()["job_id"]


def cancelled():
    job = queued()
    call("DELETE", f"/jobs/{job}")
    return job


def begun():
    """An upload that has told its length."""
    location = call("POST", "/files", headers={"Upload-Length": str(len(SOUND))}).headers["Location"]
    return location.rsplit("/")[-1]


def deferred():
    """An upload that has not."""
    return call("POST", "/files", headers={"Upload-Defer-Length": "1"}).headers["Location"].rsplit("/")[-1]


# What a call needs, and uses up.
FRESH = {
    "removeJob": queued,
    "retryJob": cancelled,
    "abandonUpload": begun,
    "continueUpload": begun,
    "overrideMethod": begun,
}
# What it may look at, any number of times.
STANDING = {
    "showJob": ["done", "failed", "waiting", "part"],
    "watchJob": ["done", "failed", "waiting", "part"],
    "makeLink": ["done", "done", "waiting"],
    "revokeLinks": ["done"],
    "showUpload": ["part"],
    "downloadMp3": ["done", "done", "failed"],
    "describeMp3": ["done", "done", "failed"],
}


@schemathesis.serializer(PART)
def send_part(context, value):
    return value.data if isinstance(value, Binary) else str(value).encode()


def name(case):
    return case.operation.definition.raw["operationId"]


def turn(case, what, of):
    """Whose turn it is, of so many, among the cases of an operation."""
    return next(turns[name(case), what]) % of


def in_base64(data):
    return base64.b64encode(data).decode()


def is_sound(case, location):
    """Whether what is sent there is as the document has it."""
    return case.meta is not None and not case.meta.is_negative_at(location)


def choose_job(case):
    """Jobs that are there, in two cases of three, and none of those that others still want to look at for a call that
    ends them. In sequences of calls, ids come from the answers before."""
    operation = name(case)
    place, key, where = case.path_parameters, "id", ParameterLocation.PATH
    if operation in ("downloadMp3", "describeMp3"):
        place, key, where = case.query, "fid", ParameterLocation.QUERY
    if key not in place or not is_sound(case, where):
        return
    is_free = case.meta.phase.name != TestPhase.STATEFUL and turn(case, "job", 3) > 0
    if operation in FRESH and (is_free or place[key] in JOBS.values()):
        place[key] = FRESH[operation]()
    elif operation in STANDING and is_free:
        place[key] = JOBS[STANDING[operation][turn(case, "state", len(STANDING[operation]))]]


def bring_sound(case):
    """Bytes that can be converted, in three cases of four."""
    body = case.body.get("file") if isinstance(case.body, dict) else case.body
    if isinstance(body, Binary) and turn(case, "bytes", 4):
        body.data = SOUND
        # They are as right as those before; schemathesis can't tell of bytes, and would take them for wrong ones.
        case._sync_validated_hashes()


def option_in_question(case):
    """The option that a case is about, if it says so."""
    data = case.meta.phase.data
    said = " ".join(str(getattr(data, member, "")) for member in ("parameter", "location", "description"))
    return next((word for word in re.findall("[a-z_]+", said) if word in OPTIONS), None)


def agree(case):
    """Options that go together, in two cases of three: no two may say the same, also not one in the form and one
    in the query."""
    tested, form = option_in_question(case), case.body if isinstance(case.body, dict) else {}
    if not turn(case, "options", 3) or (case.meta.generation.mode.is_negative and tested is None):
        return
    told = set()
    places = [(place, option) for place in (form, case.query) for option in list(place) if option in OPTIONS]
    for place, option in sorted(places, key=lambda there: there[1] != tested):
        if OPTIONS[option] in told:
            del place[option]
        told.add(OPTIONS[option])
    # What may be left out makes nothing right or wrong.
    case._sync_validated_hashes()


def begin(case):
    """One of two headers tells the length, which OpenAPI has no word for; and what is told of the file is UTF-8."""
    if not is_sound(case, ParameterLocation.HEADER):
        return
    told = [header for header in ("Upload-Length", "Upload-Defer-Length") if header in case.headers]
    if "Upload-Metadata" in case.headers:
        pairs = [pair.split(" ")[0] for pair in case.headers["Upload-Metadata"].split(",")]
        case.headers["Upload-Metadata"] = ",".join(f"{key} {in_base64(key.encode())}" for key in pairs)
    if len(told) == 2:
        del case.headers[told[turn(case, "length", 2)]]
    if "Upload-Defer-Length" not in case.headers and (not told or turn(case, "size", 2)):
        case.headers["Upload-Length"] = str(len(SOUND))


def go_on(case):
    """Where the upload is, and with the checksum that the bytes have, in two cases of three."""
    if not is_sound(case, ParameterLocation.HEADER):
        return
    # That PATCH needs it, can't be said of a POST that stands for it.
    case.headers.setdefault("Upload-Offset", "0")
    if not turn(case, "offset", 3):
        return
    case.headers["Upload-Offset"] = "0"
    if "Upload-Length" in case.headers:
        case.path_parameters["id"] = deferred()
        case.headers["Upload-Length"] = str(len(SOUND))
    if "Upload-Checksum" in case.headers:
        tell_checksum(case)


def tell_checksum(case):
    body = case.body.data if isinstance(case.body, Binary) else b""
    case.headers["Upload-Checksum"] = f"sha256 {in_base64(hashlib.sha256(body).digest())}"


def use_link(case):
    """A link as it was made, in every other case that has a signature; one without its other half is none."""
    if "signature" not in case.query or not is_sound(case, ParameterLocation.QUERY):
        return
    case.query.setdefault("expires", "0")
    if turn(case, "link", 2):
        url = call("POST", f"/jobs/{JOBS['done']}/link").json()["url"]
        case.query.update(pair.split("=") for pair in url.split("?")[1].split("&"))


def wait_a_moment(case):
    """Nobody waits for half a minute here."""
    if "wait" in case.headers.get("Prefer", ""):
        case.headers["Prefer"] = re.sub("[0-9]+", "1", case.headers["Prefer"])


class PasserBy:
    """An account that is there to be ended, and another once it was."""

    count = itertools.count()
    token = None

    def come(self, case):
        if case.headers.get("Authorization") != f"Bearer {TOKEN}":
            return
        if self.token is None:
            email = f"passer-by-{next(self.count)}@example.com"
            call("POST", "/register", json={"email": email, "password": PASSWORD})
            answer = requests.post(URL + "/login", auth=(email, PASSWORD), timeout=20)
            self.token = answer.json()["token"]
        case.headers["Authorization"] = f"Bearer {self.token}"
        for member in ("current", "password"):
            if isinstance(case.body, dict) and isinstance(case.body.get(member), str) and turn(case, member, 3):
                case.body[member] = PASSWORD
        if name(case) == "revokeApiKey" and is_sound(case, ParameterLocation.PATH) and turn(case, "key", 3):
            wanted = {"password": PASSWORD, "name": "for a moment", "scopes": ["read"]}
            case.path_parameters["id"] = call("POST", "/me/keys", self.token, json=wanted).json()["key_id"]

    def go(self, case, status):
        # Who was refused too often has to wait, and who has too many keys gets no more.
        if status in (409, 429) or name(case) in ("removeAccount", "changePassword") and status == 204:
            self.token = None


PASSER_BY = PasserBy()
OF_PASSERS_BY = ("removeAccount", "changePassword", "makeApiKey", "revokeApiKey")
PREPARE = {
    "uploadForm": agree,
    "uploadFile": agree,
    "beginUpload": begin,
    "continueUpload": go_on,
    "overrideMethod": go_on,
    "downloadMp3": use_link,
    "describeMp3": use_link,
    "showJob": wait_a_moment,
    **dict.fromkeys(OF_PASSERS_BY, PASSER_BY.come),
}


@schemathesis.hook
def before_call(context, case, kwargs):
    bring_sound(case)
    choose_job(case)
    # Schemathesis finds no value with a space in it for a header, and sends none.
    if case.headers.get("Upload-Checksum") == "":
        tell_checksum(case)
    if prepare := PREPARE.get(name(case)):
        prepare(case)


@schemathesis.hook
def after_call(context, case, response):
    statuses[case.id] = response.status_code
    if response.request.method == case.operation.method.upper():
        answered[f"{name(case)} {response.status_code}"] += 1
    if name(case) in OF_PASSERS_BY:
        PASSER_BY.go(case, response.status_code)


@schemathesis.hook
def filter_failure(context, failure, case, response):
    # `DELETE` of an unfinished job cancels it, which is 202: it is still there, and is deleted by the next one.
    if isinstance(failure, UseAfterFree):
        return statuses.get(failure.deleted_case_id) != 202
    # What a header means that nobody knows, nobody asks (RFC 9110 §5.1).
    if isinstance(failure, AcceptedNegativeData) and "x-schemathesis-unknown-property" in case.headers:
        return False
    # A POST that stands for HEAD or DELETE looks at no other header.
    if isinstance(failure, AcceptedNegativeData) and name(case) == "overrideMethod":
        return case.headers.get("X-HTTP-Method-Override") not in ("HEAD", "DELETE")
    return True


@atexit.register
def write_tally():
    Path("tally.json").write_text(json.dumps(answered, indent=1, sort_keys=True))
