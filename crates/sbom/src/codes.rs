diag::codes! {
    /// A bill of materials contradicts itself.
    pub SBOM_INVALID = Violation "sbom-invalid": "a bill of materials contradicts itself" {
        "cause": "two parts have one identity, or a part depends on one that is not in the bill; a schema detects neither",
        "fix": "this is a defect of the program that collects the parts: report it with the message",
    }
}
