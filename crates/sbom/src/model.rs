//! What a bill of materials says, apart from a format.

/// A bill of materials of one program for one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    /// The program. Its dependencies are the parts that it uses directly.
    pub product: Part,
    /// The files that ship, each with the program in it.
    pub files: Vec<ShippedFile>,
    /// Everything in the program, and everything that made it, by [`Role`]; the order does not matter.
    pub parts: Vec<Part>,
    /// Whether nothing else is known to be in the program.
    pub is_complete: bool,
    /// What was done to make the files, in order.
    pub steps: Vec<Step>,
    /// When, in RFC 3339: the time of the source, so that a second build writes the same document.
    pub created: String,
    /// Name of the program that writes the document.
    pub author: String,
    /// Its version.
    pub author_version: String,
}

/// A file that ships.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShippedFile {
    /// Its name, without a folder.
    pub name: String,
    /// What kind of file it is.
    pub description: String,
    /// Digests of its bytes.
    pub checksums: Checksums,
}

/// Digests in lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksums {
    /// SPDX 2.3 requires it of each file. It identifies, it protects nothing.
    pub sha1: String,
    /// Proves the bytes.
    pub sha256: String,
}

/// A program, a library or a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Unique in the bill; `bom-ref` of CycloneDX, and the base of `SPDXID`.
    pub id: String,
    /// What it is to the product.
    pub role: Role,
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// One line, when the name does not say it.
    pub description: Option<String>,
    /// SPDX expression; `None` when none is declared.
    pub licence: Option<String>,
    /// Package URL.
    pub purl: Option<String>,
    /// Digest of what `purl` names: the package, or the file of a tool.
    pub sha256: Option<String>,
    /// Address of the project.
    pub homepage: Option<String>,
    /// Address of the source, when it is fixed.
    pub source_url: Option<String>,
    /// What it was made of, for a part that was changed.
    pub pedigree: Option<Pedigree>,
    /// Further facts: full name and value.
    pub properties: Vec<(String, String)>,
    /// Ids of the parts that it uses.
    pub depends_on: Vec<String>,
}

/// What a part is to the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The program itself.
    Product,
    /// In the program: code or data of it was found there.
    Linked,
    /// Compiled for the program, and nothing of it was found there: macros, re-exports, functions without a call.
    Untraced,
    /// A library that ran while the program was compiled: code generators and what they use.
    BuildDependency,
    /// A program that made the files.
    Tool,
}

/// The origin of a part that was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pedigree {
    /// Package URL of the unchanged release.
    pub purl: String,
    /// Digest of its archive.
    pub sha256: Option<String>,
    /// Where it can be fetched, in words.
    pub origin: String,
    /// In the order in which they were applied.
    pub patches: Vec<Patch>,
}

/// A change of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// File name.
    pub name: String,
    /// The whole patch file.
    pub text: Vec<u8>,
    /// Digests of it.
    pub checksums: Checksums,
    /// The defect without it.
    pub reason: String,
    /// A link to the upstream change, or the reason why there is none.
    pub upstream: String,
}

/// A step of the build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Name.
    pub name: String,
    /// What it does.
    pub description: String,
}

impl Part {
    /// A part with a name and nothing else that is known.
    pub fn new(
        role: Role,
        id: impl Into<String>,
        name: impl Into<String>,
        version: impl Into<String>,
    ) -> Self {
        Self {
            id: id.into(),
            role,
            name: name.into(),
            version: version.into(),
            description: None,
            licence: None,
            purl: None,
            sha256: None,
            homepage: None,
            source_url: None,
            pedigree: None,
            properties: Vec::new(),
            depends_on: Vec::new(),
        }
    }

    /// Adds a fact; an empty value is none.
    pub fn property(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let value = value.into();
        if !value.is_empty() {
            self.properties.push((name.into(), value));
        }
    }
}

impl Bill {
    /// The parts with one of these roles, sorted by id.
    pub(crate) fn parts_of(&self, roles: &[Role]) -> Vec<&Part> {
        let mut parts: Vec<&Part> = self.parts.iter().filter(|part| roles.contains(&part.role)).collect();
        parts.sort_by(|a, b| a.id.cmp(&b.id));
        parts
    }
}
