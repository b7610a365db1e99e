//! The answers that clients of the well-known Python tutorial wait for: a bare token, and `success!`.

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};

/// The same router, which answers a login with the bare token and an upload with `200 success!`, as the tutorial's gateway
/// does. `Location` still tells where the job is. Errors are as ever, those of logins in text.
pub fn as_in_the_tutorial(router: Router) -> Router {
    router.layer(from_fn(translate))
}

async fn translate(mut request: Request, next: Next) -> Response {
    let is_post = request.method() == Method::POST;
    let is_upload = is_post && request.uri().path() == "/upload";
    if is_post && request.uri().path() == "/login" {
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("text/plain"));
    }
    let response = next.run(request).await;
    if !is_upload || response.status() != StatusCode::ACCEPTED {
        return response;
    }
    let (accepted, _) = response.into_parts();
    let mut response = (StatusCode::OK, "success!").into_response();
    for (name, value) in &accepted.headers {
        if *name != header::CONTENT_TYPE && *name != header::CONTENT_LENGTH {
            response.headers_mut().append(name.clone(), value.clone());
        }
    }
    response
}
