//! The document as one page: no script, nothing from elsewhere, readable on a phone.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use serde_json::Value;

const STYLE: &str = include_str!("docs.css");
/// In the order of what they do, where a path has several.
const METHODS: [&str; 7] = ["options", "get", "head", "post", "put", "patch", "delete"];

/// `Content-Security-Policy`: this style, and nothing else at all.
pub(super) fn policy() -> String {
    let style = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// The page.
pub(super) fn page(document: &Value) -> String {
    let (info, mut html) = (&document["info"], String::new());
    let title = text(&info["title"]);
    // A string takes whatever is written: so in all of this file.
    let _ = write!(
        html,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title} API</title>\n<style>{STYLE}</style>\n</head>\n\
         <body>\n<header><h1>{title} API <small>{}</small></h1>{}\
         <p>In what follows, <code>$SERVER</code> is the address of this page without <code>/docs</code>, and \
         <code>$TOKEN</code> what <code>POST /login</code> gives. For programs: \
         <a href=\"openapi.json\">openapi.json</a>, OpenAPI 3.1.</p></header>\n",
        text(&info["version"]),
        prose(&info["description"]),
    );
    let calls = calls(document);
    contents(&mut html, document, &calls);
    html.push_str("<main>\n");
    for tag in list(&document["tags"]) {
        let name = text(&tag["name"]);
        let _ = write!(html, "<section>\n<h2>{name}</h2>{}", prose(&tag["description"]));
        calls.iter().filter(|call| *call.tag() == tag["name"]).for_each(|call| call.write(&mut html, document));
        html.push_str("</section>\n");
    }
    html.push_str("<section>\n<h2 id=\"schemas\">What is written</h2>\n");
    for (name, schema) in members(&document["components"]["schemas"]) {
        let name = escaped(name);
        let _ = write!(html, "<article id=\"schema-{name}\"><h3>{name}</h3>");
        describe(&mut html, schema);
        html.push_str("</article>\n");
    }
    html.push_str("</section>\n</main>\n</body>\n</html>\n");
    html
}

/// A call, as the document has it.
struct Call<'a> {
    method: &'static str,
    path: &'a str,
    operation: &'a Value,
}

fn calls(document: &Value) -> Vec<Call<'_>> {
    let paths = members(&document["paths"]);
    let calls = paths.flat_map(|(path, item)| {
        METHODS.iter().filter_map(move |method| Some(Call { method, path, operation: item.get(*method)? }))
    });
    calls.collect()
}

fn contents(html: &mut String, document: &Value, calls: &[Call<'_>]) {
    html.push_str("<nav aria-label=\"Calls\">\n");
    for tag in list(&document["tags"]) {
        let _ = write!(html, "<h2>{}</h2><ul>", text(&tag["name"]));
        for call in calls.iter().filter(|call| *call.tag() == tag["name"]) {
            let (id, summary) = (text(&call.operation["operationId"]), text(&call.operation["summary"]));
            let _ = write!(html, "<li><a href=\"#{id}\">{}</a> {summary}</li>", call.line());
        }
        html.push_str("</ul>\n");
    }
    html.push_str("</nav>\n");
}

impl Call<'_> {
    fn tag(&self) -> &Value {
        &self.operation["tags"][0]
    }

    fn line(&self) -> String {
        format!("<code><b>{}</b> {}</code>", self.method.to_uppercase(), escaped(self.path))
    }

    fn write(&self, html: &mut String, document: &Value) {
        let operation = self.operation;
        let (id, summary) = (text(&operation["operationId"]), text(&operation["summary"]));
        let _ = write!(html, "<article id=\"{id}\">\n<h3>{}</h3><p class=\"summary\">{summary}.</p>", self.line());
        html.push_str(&prose(&operation["description"]));
        let _ = write!(html, "<p>{}</p>", self.credentials());
        for sample in list(&operation["x-codeSamples"]) {
            let _ = write!(html, "<pre tabindex=\"0\"><code>{}</code></pre>", text(&sample["source"]));
        }
        self.parameters(html);
        for (kind, media) in members(&operation["requestBody"]["content"]) {
            let _ = write!(html, "<h4>Body: <code>{}</code></h4>", escaped(kind));
            describe(html, &media["schema"]);
            if let Some(example) = media.get("example") {
                let _ = write!(html, "<pre tabindex=\"0\"><code>{}</code></pre>", escaped(&example.to_string()));
            }
        }
        html.push_str("<h4>Answers</h4><dl>");
        for (status, answer) in members(&operation["responses"]) {
            let _ = write!(html, "<dt><b>{}</b> {}</dt><dd>", escaped(status), kinds(answer));
            html.push_str(&prose(&answer["description"]));
            if !is_error(status) {
                headers(html, document, answer);
            }
            html.push_str("</dd>");
        }
        html.push_str("</dl>\n</article>\n");
    }

    fn credentials(&self) -> String {
        let ways = list(&self.operation["security"]);
        let key = ways.iter().flat_map(members).find(|(name, _)| *name == "key");
        let or_key = key.map_or_else(String::new, |(_, scopes)| {
            format!(", or an API key of the scope <code>{}</code>", text(&scopes[0]))
        });
        let or_link = if ways.iter().any(|way| members(way).next().is_none()) { ", or a link" } else { "" };
        match ways.iter().find_map(|way| members(way).next()) {
            Some(("password", _)) => "Wants address and password (Basic).".to_owned(),
            Some(_) => format!("Wants a token (Bearer){or_key}{or_link}."),
            None => "Wants no credentials.".to_owned(),
        }
    }

    fn parameters(&self, html: &mut String) {
        let parameters = list(&self.operation["parameters"]);
        if parameters.is_empty() {
            return;
        }
        html.push_str("<h4>Parameters</h4><dl>");
        for parameter in parameters {
            let needed = if parameter["required"] == true { ", required" } else { "" };
            let (name, place) = (text(&parameter["name"]), text(&parameter["in"]));
            let (kind, says) = (kind(&parameter["schema"]), prose(&parameter["description"]));
            let _ = write!(html, "<dt><code>{name}</code> <small>{place}{needed}</small> {kind}</dt><dd>{says}</dd>");
        }
        html.push_str("</dl>");
    }
}

/// The headers of a good answer, apart from the one that all have.
fn headers(html: &mut String, document: &Value, answer: &Value) {
    for (name, _) in members(&answer["headers"]).filter(|(name, _)| *name != "X-Request-Id") {
        let header = &document["components"]["headers"][name];
        let (says, example) = (text(&header["description"]), text(&header["example"]));
        let _ = write!(html, "<p><code>{}: {example}</code><br>{says}</p>", escaped(name));
    }
}

/// What a body may be: media types, and the schema of JSON.
fn kinds(answer: &Value) -> String {
    let kinds = members(&answer["content"]).map(|(kind, media)| {
        let schema =
            media["schema"].get("$ref").map_or_else(String::new, |_| format!(" {}", self::kind(&media["schema"])));
        format!("<code>{}</code>{schema}", escaped(kind))
    });
    kinds.collect::<Vec<_>>().join(" ")
}

/// A schema: its members, or what kind of value it is.
fn describe(html: &mut String, schema: &Value) {
    html.push_str(&prose(&schema["description"]));
    if schema.get("properties").is_none() {
        let _ = write!(html, "<p>{}</p>", kind(schema));
        return;
    }
    let required = list(&schema["required"]);
    html.push_str("<dl>");
    for (name, member) in members(&schema["properties"]) {
        let needed = if required.iter().any(|one| one == name) { "" } else { " <small>optional</small>" };
        let (kind, says) = (kind(member), prose(&member["description"]));
        let _ = write!(html, "<dt><code>{}</code>{needed} {kind}</dt><dd>{says}</dd>", escaped(name));
    }
    html.push_str("</dl>");
}

/// What kind of value a schema allows, in a few words.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        let name = escaped(name);
        return format!("<a href=\"#schema-{name}\">{name}</a>");
    }
    if let Some(ways) = schema["anyOf"].as_array() {
        return ways.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().map(|word| format!("<code>{}</code>", text(word))).collect::<Vec<_>>().join(" ");
    }
    if let Some(word) = schema.get("const") {
        return format!("<code>{}</code>", text(word));
    }
    let types = match &schema["type"] {
        Value::Array(types) => types.iter().map(text).collect::<Vec<_>>().join(" or "),
        one => text(one),
    };
    let items = schema.get("items").map_or_else(String::new, |items| format!(" of {}", kind(items)));
    let bounds = match (schema.get("minimum"), schema.get("maximum")) {
        (Some(least), Some(most)) => format!(" from {} to {}", text(least), text(most)),
        (Some(least), None) => format!(" from {}", text(least)),
        _ => String::new(),
    };
    let pattern = schema["pattern"].as_str().map_or_else(String::new, |p| format!(" <code>{}</code>", escaped(p)));
    format!("<em>{types}{items}{bounds}</em>{pattern}")
}

fn is_error(status: &str) -> bool {
    status.starts_with(['4', '5'])
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

/// A value as text that is no markup.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| if value.is_null() { String::new() } else { escaped(&value.to_string()) }, escaped)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The little Markdown that descriptions have: lines, and code between backticks.
fn prose(value: &Value) -> String {
    let Some(text) = value.as_str() else { return String::new() };
    let paragraphs = text.lines().filter(|line| !line.is_empty()).map(|line| {
        let pieces = line.split('`').enumerate().map(|(n, piece)| match (n % 2, escaped(piece)) {
            (1, code) => format!("<code>{code}</code>"),
            (_, words) => words,
        });
        format!("<p>{}</p>", pieces.collect::<String>())
    });
    paragraphs.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_descriptions_say_is_no_markup() {
        assert_eq!(
            prose(&json!("a `<b>` & \"c\"\n\nd")),
            "<p>a <code>&lt;b&gt;</code> &amp; &quot;c&quot;</p><p>d</p>"
        );
        let evil = json!({ "enum": ["<script>"], "$ref": null });
        assert_eq!(kind(&evil), "<code>&lt;script&gt;</code>");
    }
}
