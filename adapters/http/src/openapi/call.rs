//! A call as OpenAPI describes it: an operation object, put together in the order in which one would explain it.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use microserve_core::api_key::Scope;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::problem::Code;

/// What may happen to every call.
const ALWAYS: [Code; 2] = [Code::Internal, Code::Unavailable];

/// Headers of answers: name, whether an answer that may have it always has it, what it says, and an example.
const HEADERS: [(&str, bool, &str, &str); 31] = [
    ("Accept-Ranges", true, "Parts can be asked for.", "bytes"),
    ("Allow", true, "The methods that are known here.", "GET,HEAD"),
    ("Cache-Control", true, "Who may keep the answer.", "private, no-cache"),
    ("Content-Disposition", true, "A name for the file.", "attachment; filename=\"video.mp3\""),
    ("Content-Length", true, "The file's size in bytes.", "4831838"),
    ("Content-Range", true, "Which part it is, and of how many bytes.", "bytes 0-99/4831838"),
    ("ETag", true, "The version of what is described.", "\"7\""),
    ("Last-Modified", false, "When the MP3 was made.", "Fri, 01 May 2026 12:00:00 GMT"),
    ("Location", true, "Where to go on.", "/jobs/6a1f0c9be2d84f37a5c01b7e"),
    ("Microserve-Job", false, "The job that a complete upload has become.", "6a1f0c9be2d84f37a5c01b7e"),
    ("Preference-Applied", false, "How long the answer may have been waited for.", "wait=30"),
    ("RateLimit", false, "How many attempts are left, and for how many seconds.", "\"login\";r=4;t=900"),
    ("RateLimit-Policy", false, "How many attempts there are in how many seconds.", "\"login\";q=5;w=900"),
    ("Repr-Digest", true, "The digest of the whole file (RFC 9530).", DIGEST),
    ("Retry-After", true, "After how many seconds to try again.", "5"),
    ("Tus-Checksum-Algorithm", true, "What `Upload-Checksum` may name.", "sha1,sha256,sha512"),
    ("Tus-Extension", true, "What the server can do.", "creation,termination"),
    ("Tus-Max-Size", true, "The largest file in bytes.", "4294967296"),
    ("Tus-Resumable", true, "The version of the protocol.", "1.0.0"),
    ("Tus-Version", true, "The versions of the protocol that are known.", "1.0.0"),
    ("Upload-Defer-Length", false, "The length of the file is not known yet.", "1"),
    ("Upload-Expires", false, "When an upload that does not go on is given up.", "Fri, 01 May 2026 12:00:00 GMT"),
    ("Upload-Length", false, "The length of the file in bytes.", "48318382"),
    ("Upload-Metadata", false, "What the client has said of the file.", "filename dmlkZW8ubWt2"),
    ("Upload-Offset", true, "How many bytes have come.", "1048576"),
    ("WWW-Authenticate", true, "Which credentials are wanted.", "Bearer realm=\"microserve\", error=\"invalid_token\""),
    ("X-Accel-Buffering", true, "Tells proxies not to hold events back.", "no"),
    ("X-Content-Type-Options", true, "Tells browsers to believe the type.", "nosniff"),
    ("X-Request-Id", true, "Names the request in the log: the client's own, or a new one.", "6a1f0c9be2d84f37a5c01b7e"),
    ("Content-Security-Policy", true, "What a page may do.", "default-src 'none'"),
    ("Referrer-Policy", true, "What a page says of itself.", "no-referrer"),
];
const DIGEST: &str = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:";

/// The headers of all answers, for `components`.
pub(super) fn headers() -> Value {
    let described = HEADERS.iter().map(|(name, required, description, example)| {
        let header =
            json!({ "description": description, "required": required, "schema": { "type": "string" }, "example": example });
        ((*name).to_owned(), header)
    });
    Value::Object(described.collect())
}

fn references(headers: &[&str]) -> Value {
    let all = headers.iter().chain(&["X-Request-Id"]);
    all.map(|name| ((*name).to_owned(), json!({ "$ref": format!("#/components/headers/{name}") }))).collect()
}

/// A method of a path, described.
pub(super) struct Call {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    operation: Map<String, Value>,
    parameters: Vec<Value>,
    answers: BTreeMap<u16, Value>,
    problems: Vec<Code>,
    /// What every answer has.
    headers: &'static [&'static str],
}

impl Call {
    /// `call` is a method and a path; `id` names it for programs, `summary` for people.
    pub(super) fn new(method: &'static str, path: &'static str, id: &str, summary: &str) -> Self {
        let operation = [("operationId", json!(id)), ("summary", json!(summary)), ("security", json!([]))];
        let operation = operation.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let problems = ALWAYS.to_vec();
        let call =
            Self { method, path, operation, parameters: Vec::new(), answers: BTreeMap::new(), problems, headers: &[] };
        if path.contains("{id}") {
            call.parameter("path", "id", "The id of what it is about.", id_schema())
        } else {
            call
        }
    }

    fn with(mut self, name: &str, value: Value) -> Self {
        self.operation.insert(name.to_owned(), value);
        self
    }

    pub(super) fn tag(self, tag: &str) -> Self {
        self.with("tags", json!([tag]))
    }

    /// What else there is to say, in Markdown.
    pub(super) fn says(self, description: &str) -> Self {
        self.with("description", json!(description))
    }

    /// It wants a token.
    pub(super) fn bearer(self) -> Self {
        self.with("security", json!([{ "token": [] }])).fails(&[Code::InvalidToken, Code::InsufficientScope])
    }

    /// It wants a token, or an API key of this scope.
    pub(super) fn bearer_or_key(self, scope: Scope) -> Self {
        self.bearer().with("security", json!([{ "token": [] }, { "key": [scope] }]))
    }

    /// It wants address and password.
    pub(super) fn basic(self) -> Self {
        self.with("security", json!([{ "password": [] }])).fails(&[Code::InvalidCredentials])
    }

    /// It wants a token, or an API key of this scope, or something else instead.
    pub(super) fn bearer_or_key_or_not(self, scope: Scope) -> Self {
        self.bearer().with("security", json!([{ "token": [] }, { "key": [scope] }, {}]))
    }

    /// Every answer has these, errors too.
    pub(super) fn always_with(self, headers: &'static [&'static str]) -> Self {
        Self { headers, ..self }
    }

    /// A parameter `in` the path, or one of the query or a header that may be left away.
    #[allow(clippy::needless_pass_by_value, reason = "it is written on the spot")]
    pub(super) fn parameter(mut self, place: &str, name: &str, description: &str, schema: Value) -> Self {
        let required = place == "path";
        let parameter =
            json!({ "in": place, "name": name, "description": description, "required": required, "schema": schema });
        self.parameters.push(parameter);
        self
    }

    /// A parameter that may not be left away.
    pub(super) fn required(self, place: &str, name: &str, description: &str, schema: Value) -> Self {
        let mut call = self.parameter(place, name, description, schema);
        if let Some(parameter) = call.parameters.last_mut() {
            parameter["required"] = json!(true);
        }
        call
    }

    /// A body of this media type.
    #[allow(clippy::needless_pass_by_value, reason = "it is written on the spot")]
    pub(super) fn body(self, required: bool, kind: &str, media: Value) -> Self {
        self.with("requestBody", json!({ "required": required, "content": { kind: media } }))
    }

    /// A body that is read as `T`.
    pub(super) fn json_body<T: JsonSchema>(self, example: &Value) -> Self {
        let settings = schemars::generate::SchemaSettings::draft2020_12().with(|s| {
            s.inline_subschemas = true;
            s.meta_schema = None;
        });
        let schema = settings.into_generator().into_root_schema_for::<T>();
        self.body(true, "application/json", json!({ "schema": schema, "example": example }))
    }

    /// An answer without a body.
    pub(super) fn empty(self, status: u16, description: &str, headers: &[&str]) -> Self {
        self.answer(status, description, headers, Value::Null)
    }

    /// An answer that `T` is written in.
    pub(super) fn json<T: JsonSchema>(
        self,
        status: u16,
        description: &str,
        headers: &[&str],
        schemas: &mut SchemaGenerator,
    ) -> Self {
        let content = json!({ "application/json": { "schema": schemas.subschema_for::<T>() } });
        self.answer(status, description, headers, content)
    }

    /// An answer with a body of these media types.
    pub(super) fn answer(mut self, status: u16, description: &str, headers: &[&str], content: Value) -> Self {
        let mut answer = json!({ "description": description, "headers": references(headers) });
        if !content.is_null() {
            answer["content"] = content;
        }
        self.answers.insert(status, answer);
        self
    }

    /// Which problems there may be.
    pub(super) fn fails(mut self, codes: &[Code]) -> Self {
        self.problems.extend(codes);
        self
    }

    /// How curl does it; `SERVER` and `TOKEN` are variables.
    pub(super) fn curl(self, command: &str) -> Self {
        self.with("x-codeSamples", json!([{ "lang": "Shell", "label": "curl", "source": command }]))
    }

    /// The operation object.
    pub(super) fn operation(mut self) -> Value {
        let mut by_status = BTreeMap::<u16, Vec<Code>>::new();
        for code in &self.problems {
            by_status.entry(code.status().as_u16()).or_default().push(*code);
        }
        for (status, codes) in by_status {
            self.answers.insert(status, problem(&codes, self.method));
        }
        for answer in self.answers.values_mut() {
            for name in self.headers {
                answer["headers"][name] = json!({ "$ref": format!("#/components/headers/{name}") });
            }
        }
        let answers = self.answers.into_iter().map(|(status, answer)| (status.to_string(), answer));
        self.operation.insert("responses".to_owned(), Value::Object(answers.collect()));
        if !self.parameters.is_empty() {
            self.operation.insert("parameters".to_owned(), Value::Array(self.parameters));
        }
        Value::Object(self.operation)
    }
}

/// The answer that tells of one of these problems, which have the same status.
fn problem(codes: &[Code], method: &str) -> Value {
    let meanings: Vec<_> = codes.iter().map(|code| format!("`{}`: {}", code.as_str(), code.meaning())).collect();
    let words: Vec<_> = codes.iter().map(|code| code.as_str()).collect();
    let status = codes.first().map_or(StatusCode::INTERNAL_SERVER_ERROR, |code| code.status());
    let headers: &[&str] = match status {
        StatusCode::UNAUTHORIZED => &["WWW-Authenticate"],
        StatusCode::TOO_MANY_REQUESTS if codes.contains(&Code::Throttled) => {
            &["Retry-After", "RateLimit", "RateLimit-Policy"]
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => &["Retry-After"],
        StatusCode::PRECONDITION_FAILED => &["Tus-Version"],
        StatusCode::RANGE_NOT_SATISFIABLE => &["Content-Range"],
        StatusCode::METHOD_NOT_ALLOWED => &["Allow"],
        _ => &[],
    };
    let mut answer = json!({ "description": meanings.join("\n"), "headers": references(headers) });
    if method != "HEAD" {
        let narrowed = json!({ "properties": { "status": { "const": status.as_u16() }, "code": { "enum": words } } });
        answer["content"] = json!({
            "application/problem+json": { "schema": { "allOf": [{ "$ref": "#/components/schemas/Problem" }, narrowed] } },
            "text/plain": { "schema": { "type": "string" } },
        });
    }
    answer
}

fn id_schema() -> Value {
    json!({ "$ref": "#/components/schemas/Id" })
}
