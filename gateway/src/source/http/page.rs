//! The page that a browser draws the last values with. It has no readings in it: it fetches
//! [events](super::events), and shows everything that comes from a device as text.

use hyper::header::{self, HeaderName, HeaderValue};

use super::resources::{Answer, content};

/// What a browser may do on the page: use its own parts, and ask this server. No page may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// A part of the page, by its name.
pub(super) fn part(name: &str) -> Answer {
    let (content_type, text) = match name {
        "page.css" => ("text/css; charset=utf-8", include_str!("page/page.css")),
        "page.js" => ("text/javascript; charset=utf-8", include_str!("page/page.js")),
        _ => ("text/html; charset=utf-8", include_str!("page/page.html")),
    };
    let mut answer = content(content_type, text);
    let lines: [(HeaderName, _); 4] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    for (name, value) in lines {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}
