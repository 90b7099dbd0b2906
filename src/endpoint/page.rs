//! `/`: the page to try a room by hand.

use super::Resource;

const PAGE: &str = include_str!("page.html");

/// Lets the page's own style and script run and nothing else, and keeps it out of frames. A test
/// works the hashes out anew, so they cannot fall behind the page.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; \
    style-src 'sha256-SGxrlyJsgT89deoo0Z+XewytgEqrjE0bCK1WAIi4ckM='; \
    script-src 'sha256-yQPp1BeLeWKgZDhPGHirBT8X3setKkQ991SFsUB01ys='; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page as an HTTP resource.
pub fn resource() -> Resource {
    Resource {
        content_type: "text/html; charset=utf-8",
        headers: vec![
            ("Content-Security-Policy", CONTENT_SECURITY_POLICY.to_owned()),
            ("X-Content-Type-Options", "nosniff".to_owned()),
            ("Referrer-Policy", "no-referrer".to_owned()),
            ("Cache-Control", "no-cache".to_owned()),
        ],
        body: PAGE.as_bytes().into(),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use sha2::{Digest, Sha256};

    use super::*;

    fn hash_of(element: &str) -> String {
        let (_, after) = PAGE.split_once(&format!("<{element}>")).unwrap();
        let (content, rest) = after.split_once(&format!("</{element}>")).unwrap();
        assert!(!rest.contains(&format!("<{element}")), "one {element} is covered by the policy");
        base64::engine::general_purpose::STANDARD.encode(Sha256::digest(content))
    }

    #[test]
    fn the_policy_allows_exactly_the_style_and_script_of_the_page() {
        for element in ["style", "script"] {
            let wanted = format!("{element}-src 'sha256-{}';", hash_of(element));
            assert!(CONTENT_SECURITY_POLICY.contains(&wanted), "update the policy: {wanted}");
        }
    }

    #[test]
    fn the_page_names_no_other_site() {
        for marker in ["http://", "https://", "//cdn", "@import", " src=", " onclick="] {
            assert!(!PAGE.contains(marker), "{marker}");
        }
    }
}
