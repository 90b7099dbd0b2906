//! `/`: the page to talk in rooms by hand, and below `/page/` what it is made of: a small client of the
//! client protocol and what shows it, without a build step.

use super::Resource;

const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// A file of a page: path, Content-Type, content.
pub(crate) type File = (&'static str, &'static str, &'static str);

/// What pages of this server share.
pub(crate) const THEME_JS: &str = include_str!("page/theme.js");
/// The same.
pub(crate) const ICON_SVG: &str = include_str!("page/icon.svg");

/// The files of the page.
const FILES: [File; 10] = [
    ("/", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("/page/style.css", CSS, include_str!("page/style.css")),
    ("/page/icon.svg", "image/svg+xml", ICON_SVG),
    ("/page/theme.js", JAVASCRIPT, THEME_JS),
    ("/page/app.js", JAVASCRIPT, include_str!("page/app.js")),
    ("/page/client.js", JAVASCRIPT, include_str!("page/client.js")),
    ("/page/log.js", JAVASCRIPT, include_str!("page/log.js")),
    ("/page/people.js", JAVASCRIPT, include_str!("page/people.js")),
    ("/page/room.js", JAVASCRIPT, include_str!("page/room.js")),
    ("/page/show.js", JAVASCRIPT, include_str!("page/show.js")),
];

/// Lets the page's own files in and connect to this server, and nothing else; keeps it out of frames. The
/// last two forbid every way by which a string becomes markup or script.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// The page and its files as HTTP resources, each with its path.
pub fn resources() -> impl Iterator<Item = (&'static str, Resource)> {
    FILES.into_iter().map(|(path, content_type, content)| (path, resource(content_type, content)))
}

/// A file of a page as a resource.
pub(crate) fn resource(content_type: &'static str, content: &'static str) -> Resource {
    Resource {
        content_type,
        headers: vec![
            ("Content-Security-Policy", CONTENT_SECURITY_POLICY.to_owned()),
            ("X-Content-Type-Options", "nosniff".to_owned()),
            ("Referrer-Policy", "no-referrer".to_owned()),
            // So that the files of two versions are never mixed.
            ("Cache-Control", "no-cache".to_owned()),
        ],
        body: content.as_bytes().into(),
    }
}

/// What every page of this server is held to.
#[cfg(test)]
pub(crate) mod checks {
    use super::*;

    /// What stands in `text` between each `before` and the next `after`.
    fn all_between<'t>(text: &'t str, before: &str, after: &str) -> Vec<&'t str> {
        text.split(before).skip(1).filter_map(|rest| rest.split(after).next()).collect()
    }

    /// What a page names is served, and what is served is named.
    pub fn assert_nothing_missing_or_unused(files: &[File]) {
        let mut named = vec!["/".to_owned()];
        for (path, _, content) in files {
            let own = ["src=\"", "rel=\"stylesheet\" href=\"", "rel=\"icon\" href=\""];
            named.extend(own.iter().flat_map(|start| all_between(content, start, "\"")).map(str::to_owned));
            if path.ends_with(".js") {
                let imports = all_between(content, "from \"./", "\"");
                named.extend(imports.into_iter().map(|name| format!("/page/{name}")));
            }
        }
        for path in &named {
            assert!(files.iter().any(|(known, ..)| known == path), "{path}");
        }
        for (path, ..) in files {
            assert!(named.iter().any(|name| name == path), "{path} is not used");
        }
    }

    /// No file names another site or makes markup of strings.
    pub fn assert_self_contained(files: &[File]) {
        const NEVER: [&str; 12] = [
            "http://",
            "//cdn",
            "@import",
            "url(",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "Function(",
            "DOMParser",
            " style=\"",
        ];
        for (path, _, content) in files {
            // The one name that is no address: of the format itself.
            let content = content.replace("http://www.w3.org/2000/svg", "");
            for never in NEVER {
                assert!(!content.contains(never), "{path}: {never}");
            }
            for tag in all_between(&content, "<", ">").iter().filter(|_| *path == "/") {
                assert!(!tag.contains(" on"), "{path}: a handler in <{tag}>");
            }
        }
    }

    /// Every file has the policy and its own type.
    pub fn assert_policy_and_types(files: &[File]) {
        for (path, content_type, content) in files {
            let resource = resource(content_type, content);
            let header = |name: &str| {
                resource.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
            };
            assert_eq!(header("Content-Security-Policy"), Some(CONTENT_SECURITY_POLICY));
            assert_eq!(header("X-Content-Type-Options"), Some("nosniff"));
            let wanted = match path.rsplit_once('.').map(|(_, ending)| ending) {
                Some("js") => JAVASCRIPT,
                Some("css") => CSS,
                Some("svg") => "image/svg+xml",
                _ => "text/html; charset=utf-8",
            };
            assert_eq!(*content_type, wanted, "{path}");
        }
    }

    /// It stays small and readable.
    pub fn assert_small(files: &[File], bytes_max: usize) {
        const LINES_MAX: usize = 400;
        let bytes: usize = files.iter().map(|(.., content)| content.len()).sum();
        assert!(bytes <= bytes_max, "{bytes} bytes");
        for (path, _, content) in files {
            assert!(content.lines().count() <= LINES_MAX, "{path}: {} lines", content.lines().count());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_whole_self_contained_and_small() {
        checks::assert_nothing_missing_or_unused(&FILES);
        checks::assert_policy_and_types(&FILES);
        checks::assert_self_contained(&FILES);
        checks::assert_small(&FILES, 80 * 1024);
    }

    #[test]
    fn the_policy_lets_nothing_inline_and_nothing_foreign_in() {
        let sources: Vec<&str> = CONTENT_SECURITY_POLICY.split("; ").collect();
        for source in &sources[..8] {
            let (_, allowed) = source.split_once(' ').unwrap();
            assert!(matches!(allowed, "'none'" | "'self'"), "{source}");
        }
        for wanted in ["default-src", "base-uri", "form-action", "frame-ancestors", "trusted-types"] {
            assert!(sources.contains(&format!("{wanted} 'none'").as_str()), "{wanted}");
        }
    }
}
