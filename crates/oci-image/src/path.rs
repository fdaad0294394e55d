//! Paths inside an image: exactly one spelling for each file.

/// The name field of a ustar header without its slash; longer names need an extension. Folders end in a slash.
const PATH_BYTES_MAX: usize = 99;

/// Why an absolute path is not the one plain spelling of a file, as a predicate of the path.
pub fn path_problem(path: &str) -> Option<String> {
    let Some(relative) = path.strip_prefix('/') else {
        return Some("is not absolute; start it with /".into());
    };
    if relative.is_empty() {
        return Some("is the root of the image, which always exists".into());
    }
    // Other characters need a pax header, which tar readers interpret differently.
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some("has characters other than printable ASCII without spaces".into());
    }
    for component in relative.split('/') {
        if matches!(component, "" | "." | "..") {
            return Some(format!(
                "has the component `{component}`; expected a plain path without //, . and .."
            ));
        }
        if component.starts_with(".wh.") {
            return Some(format!("has the component `{component}`, which deletes a file (OCI whiteout)"));
        }
    }
    (relative.len() > PATH_BYTES_MAX).then(|| {
        format!("is {} bytes long; at most {PATH_BYTES_MAX} fit into a plain tar header", relative.len())
    })
}
